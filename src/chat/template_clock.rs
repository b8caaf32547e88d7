//! The date that some chat templates print (Llama 3.2: `strftime_now("%d %b %Y")`).
//!
//! A template is given one moment when it is made and keeps it: a run that passes midnight still
//! asks base and candidate with the same prompt. Times are UTC.

use std::fmt::Write;

use minijinja::{Error, ErrorKind};

use crate::text::civil;

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = [
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
    "Sunday",
];

/// Renders a moment, in seconds since 1970, with Python's `strftime` directives.
pub(super) fn strftime(seconds: u64, format: &str) -> Result<String, Error> {
    let days = (seconds / 86_400) as i64;
    let (year, month, day) = civil(days);
    let weekday = DAYS[(days + 3).rem_euclid(7) as usize];
    let month_name = MONTHS[month as usize - 1];
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    let mut out = String::new();
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let mut directive = chars.next();
        let padded = directive != Some('-');
        if !padded {
            directive = chars.next();
        }
        let number = |value: u64| {
            if padded {
                format!("{value:02}")
            } else {
                value.to_string()
            }
        };
        let text = match directive {
            Some('Y') => year.to_string(),
            Some('y') => number(year as u64 % 100),
            Some('m') => number(month),
            Some('d') => number(day),
            Some('H') => number(hour),
            Some('I') => number((hour + 11) % 12 + 1),
            Some('M') => number(minute),
            Some('S') => number(second),
            Some('p') => if hour < 12 { "AM" } else { "PM" }.into(),
            Some('B') => month_name.into(),
            Some('b') => month_name[..3].into(),
            Some('A') => weekday.into(),
            Some('a') => weekday[..3].into(),
            Some('F') => format!("{year}-{month:02}-{day:02}"),
            Some('T') => format!("{hour:02}:{minute:02}:{second:02}"),
            Some('%') => "%".into(),
            other => {
                let mut message = String::from("strftime_now: unknown directive `%");
                let _ = write!(message, "{}`", other.map_or(String::new(), String::from));
                return Err(Error::new(ErrorKind::InvalidOperation, message));
            }
        };
        out.push_str(&text);
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `datetime.fromtimestamp(s, UTC).strftime(f)` of Python 3.11.
    #[test]
    fn dates_are_as_python_prints_them() {
        let of = |s, f| strftime(s, f).unwrap();
        assert_eq!(of(0, "%d %b %Y"), "01 Jan 1970");
        assert_eq!(
            of(1_709_164_800, "%A, %d %B %Y"),
            "Thursday, 29 February 2024"
        );
        assert_eq!(
            of(1_735_689_599, "%Y-%m-%d %H:%M:%S %p %a"),
            "2024-12-31 23:59:59 PM Tue"
        );
        assert_eq!(
            of(1_735_689_600, "%-d/%-m/%y %I %% %F %T"),
            "1/1/25 12 % 2025-01-01 00:00:00"
        );
    }

    #[test]
    fn unknown_directive_is_refused() {
        let error = strftime(0, "%Q").unwrap_err();
        insta::assert_snapshot!(error, @"invalid operation: strftime_now: unknown directive `%Q`");
    }
}
