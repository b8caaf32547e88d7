//! Names of subjects and suites as names of files, and moments as other programs name files by them.

use crate::digest;

/// A name as a part of a file's name: what a path, a shell, or another system takes for something
/// else is `_`, and no name is hidden, empty, or longer than systems allow. A name that was changed ends
/// in eight digits of its digest, so that no two become one.
pub fn file_name(name: &str) -> String {
    const LONGEST: usize = 120;
    let plain = |c: char| c.is_alphanumeric() || "._-@+".contains(c);
    let kept = |c| if plain(c) { c } else { '_' };
    let mut named: String = name.chars().map(kept).collect();
    if named.starts_with('.') || named.is_empty() {
        named.insert(0, '_');
    }
    while named.len() > LONGEST {
        named.pop();
    }
    match named == name {
        true => named,
        false => format!("{named}-{}", &digest::bytes(name)[..8]),
    }
}

/// A moment by calendar and clock, UTC: year, month, day, hour, minute, second.
///
/// The calendar is that of Howard Hinnant's `civil_from_days`
/// (<https://howardhinnant.github.io/date_algorithms.html>), for days after 1970.
pub(super) fn moment(unix_s: u64) -> [u64; 6] {
    let (days, seconds) = (unix_s / 86_400, unix_s % 86_400);
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // Months count from March, so that the day that is not always there is the last one.
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    [
        year,
        month,
        day,
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_in_their_folder() {
        let shown: Vec<String> = [
            "ckpt-40@0.5",
            "../../etc/passwd",
            "http://host:8000/v1#m",
            "http://host:8000/v1/m",
            "",
            ".hidden",
            "a\u{202e}b\0c",
            "模型",
        ]
        .map(file_name)
        .to_vec();
        insta::assert_snapshot!(shown.join("\n"), @"
        ckpt-40@0.5
        _.._.._etc_passwd-3754d6cb
        http___host_8000_v1_m-c18c54ca
        http___host_8000_v1_m-5bfacde2
        _-e3b0c442
        _.hidden-16924190
        a_b_c-e35915ff
        模型
        ");
        assert!(file_name(&"模".repeat(1000)).len() < 140);
    }

    /// `date -u -d @SECONDS` prints them.
    #[test]
    fn moments_are_those_of_the_calendar() {
        assert_eq!(moment(0), [1970, 1, 1, 0, 0, 0]);
        assert_eq!(moment(951_782_399), [2000, 2, 28, 23, 59, 59]);
        assert_eq!(moment(951_782_400), [2000, 2, 29, 0, 0, 0]);
        assert_eq!(moment(1_796_063_145), [2026, 11, 30, 18, 25, 45]);
        assert_eq!(moment(4_107_542_400), [2100, 3, 1, 0, 0, 0]);
    }
}
