//! Text as checks compare it and reports show it, in English and Chinese: normalization, number
//! words, word boundaries, plurals, nearest names, and cuts that never split a character.
//!
//! Normalization is a stated subset of Unicode's NFKC, chosen for what language models write:
//! full-width forms become ASCII, typographic quotes, dashes, and spaces become plain ones,
//! Chinese full stops and enumeration commas become `.` and `,`, Latin ligatures are taken
//! apart, and invisible characters are dropped. Accents are left as they are, composed or not.

use std::borrow::Cow;

use similar::{Algorithm, DiffOp, capture_diff_slices};

/// Folds widths, quotes, dashes, and spaces, and joins lines: every run of white space becomes
/// one space, none at the ends. Letter case is kept.
pub fn fold(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    let mut space = false;
    for c in text.chars() {
        let c = match c {
            '\u{FF01}'..='\u{FF5E}' => char::from_u32(c as u32 - 0xFEE0).unwrap_or(c),
            '‘' | '’' | '‚' | '‛' | '′' => '\'',
            '“' | '”' | '„' | '‟' | '″' | '「' | '」' | '『' | '』' => '"',
            '\u{2010}'..='\u{2015}' | '−' => '-',
            '。' => '.',
            '、' => ',',
            '￠' => '¢',
            '￡' => '£',
            '￥' => '¥',
            '\u{00AD}'
            | '\u{200B}'..='\u{200F}'
            | '\u{2060}'
            | '\u{FE0E}'
            | '\u{FE0F}'
            | '\u{FEFF}' => continue,
            c if c.is_whitespace() => {
                space = true;
                continue;
            }
            c => c,
        };
        if space && !folded.is_empty() {
            folded.push(' ');
        }
        space = false;
        match c {
            'ﬀ' => folded.push_str("ff"),
            'ﬁ' => folded.push_str("fi"),
            'ﬂ' => folded.push_str("fl"),
            '…' => folded.push_str("..."),
            c => folded.push(c),
        }
    }
    folded
}

/// [`fold`], then lower case.
pub fn normalize(text: &str) -> String {
    fold(text).to_lowercase()
}

/// [`normalize`] without the quotes, emphasis marks, and sentence punctuation around it, so that
/// `**"Paris".**` equals `Paris`. Signs and currency stay: `-5` is not `5`. A text of nothing
/// but such marks is left whole.
pub fn bare(text: &str) -> String {
    let normal = normalize(text);
    let bare = normal
        .trim_matches(|c: char| c.is_whitespace() || "\"'`*_.,!?;:()[]".contains(c))
        .to_owned();
    if bare.is_empty() { normal } else { bare }
}

/// Chinese characters, and Japanese kana and Korean syllables: scripts where a character can be
/// a word by itself.
pub fn is_cjk(c: char) -> bool {
    matches!(c,
        '\u{3040}'..='\u{30FF}' | '\u{3400}'..='\u{4DBF}' | '\u{4E00}'..='\u{9FFF}'
        | '\u{AC00}'..='\u{D7AF}' | '\u{F900}'..='\u{FAFF}' | '\u{20000}'..='\u{3134F}')
}

/// Whether a character would move the cursor, change colours, or turn the direction of writing
/// where it is shown: controls other than line ends and tabs, Unicode's own line ends, and its
/// embeddings, overrides, and isolates of direction.
pub fn steers(c: char) -> bool {
    match c {
        '\n' | '\t' => false,
        '\u{2028}' | '\u{2029}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' => true,
        c => c.is_control(),
    }
}

/// A text as it can be shown: what steers is `\u{fffd}`. Whatever a file, a name, or a model says goes
/// through here on its way to a terminal or a report; files and records keep it as it is.
pub fn harmless(text: &str) -> Cow<'_, str> {
    match text.contains(steers) {
        false => Cow::Borrowed(text),
        true => {
            let text = text.replace("\r\n", "\n");
            Cow::Owned(text.replace(steers, "\u{fffd}"))
        }
    }
}

/// Columns that a character takes in a terminal: 2 for CJK, full-width forms, and emoji, 0 for
/// combining and invisible ones, else 1.
pub fn display_width(c: char) -> usize {
    match c {
        '\u{0300}'..='\u{036F}' | '\u{200B}'..='\u{200F}' | '\u{FE00}'..='\u{FE0F}' => 0,
        '\u{3000}'..='\u{303F}' | '\u{FF00}'..='\u{FF60}' | '\u{FFE0}'..='\u{FFE6}' => 2,
        '\u{1F300}'..='\u{1FAFF}' | '\u{1100}'..='\u{115F}' | '\u{2E80}'..='\u{2FFF}' => 2,
        c if is_cjk(c) => 2,
        _ => 1,
    }
}

/// The words of a text in lower case, punctuation left out; each CJK character is one.
pub fn words(text: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut word = String::new();
    for c in normalize(text).chars() {
        if is_cjk(c) {
            words.extend((!word.is_empty()).then(|| std::mem::take(&mut word)));
            words.push(c.to_string());
        } else if c.is_alphanumeric() || (c == '\'' && !word.is_empty()) {
            word.push(c);
        } else if !word.is_empty() {
            words.push(std::mem::take(&mut word));
        }
    }
    words.extend((!word.is_empty()).then_some(word));
    for word in &mut words {
        word.truncate(word.trim_end_matches('\'').len());
    }
    words
}

/// Share of words that changed between two texts: 1 minus the ratio of Ratcliff and Obershelp
/// (twice the words in common over all words), in [0, 1].
pub fn word_distance(a: &str, b: &str) -> f64 {
    let (a, b) = (words(a), words(b));
    if a.is_empty() && b.is_empty() {
        return 0.0;
    }
    let common: usize = capture_diff_slices(Algorithm::Patience, &a, &b)
        .iter()
        .map(|op| match op {
            DiffOp::Equal { len, .. } => *len,
            _ => 0,
        })
        .sum();
    1.0 - 2.0 * common as f64 / (a.len() + b.len()) as f64
}

/// Byte offset of the first place where `needle` stands in `text`. With `whole_word` a letter or
/// digit of an alphabetic script may not continue it on either side: `cat` is not in
/// `concatenate`, 巴黎 is in 在巴黎市.
pub fn find(text: &str, needle: &str, whole_word: bool) -> Option<usize> {
    if needle.is_empty() {
        return None;
    }
    let joins = |a: Option<char>, b: Option<char>| match (a, b) {
        (Some(a), Some(b)) => {
            a.is_alphanumeric() && b.is_alphanumeric() && !is_cjk(a) && !is_cjk(b)
        }
        _ => false,
    };
    let mut from = 0;
    while let Some(at) = text[from..].find(needle).map(|i| i + from) {
        let end = at + needle.len();
        let before = text[..at].chars().next_back();
        let after = text[end..].chars().next();
        if !whole_word
            || !(joins(before, needle.chars().next()) || joins(needle.chars().next_back(), after))
        {
            return Some(at);
        }
        from = at + needle.chars().next().map_or(1, char::len_utf8);
    }
    None
}

/// At most `max_chars` characters; what is left out is shown as `…`, which counts as one.
pub fn ellipsize(text: &str, max_chars: usize) -> String {
    match text.char_indices().nth(max_chars) {
        None => text.to_owned(),
        Some(_) if max_chars == 0 => String::new(),
        Some(_) => {
            let mut cut: String = text.chars().take(max_chars - 1).collect();
            cut.truncate(cut.trim_end().len());
            cut.push('…');
            cut
        }
    }
}

/// The surroundings of `text[start..end]`, `context` characters to each side, with `…` where
/// something is left out. The offsets have to be character boundaries.
pub fn excerpt(text: &str, start: usize, end: usize, context: usize) -> String {
    let from = text[..start]
        .char_indices()
        .rev()
        .take(context)
        .last()
        .map_or(start, |(i, _)| i);
    let to = text[end..]
        .char_indices()
        .nth(context)
        .map_or(text.len(), |(i, _)| end + i);
    let (lead, trail) = (
        if from > 0 { "…" } else { "" },
        if to < text.len() { "…" } else { "" },
    );
    format!("{lead}{}{trail}", &text[from..to])
}

/// A word as a shell reads it: in quotes where it would be taken apart or mean something.
///
/// ```
/// use qeval::text::shell_word;
///
/// assert_eq!(shell_word("run-0001/ckpt-4@0.5"), "run-0001/ckpt-4@0.5");
/// assert_eq!(shell_word("my model"), "'my model'");
/// ```
pub fn shell_word(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./:@%+,=".contains(c);
    match !word.is_empty() && word.chars().all(plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

/// `1 probe`, `2 probes`: regular English plurals and the ones in `-y`, `-s`, `-ch`, and `-sh`.
pub fn plural(count: usize, noun: &str) -> String {
    if count == 1 {
        return format!("1 {noun}");
    }
    let stem = noun
        .strip_suffix('y')
        .filter(|s| !s.ends_with(['a', 'e', 'i', 'o', 'u']));
    match stem {
        Some(stem) => format!("{count} {stem}ies"),
        None if ["s", "x", "ch", "sh"].iter().any(|end| noun.ends_with(end)) => {
            format!("{count} {noun}es")
        }
        None => format!("{count} {noun}s"),
    }
}

/// Seconds for people: `0.4 s`, `41 s`, `12 min`, `2 h 05 min`.
///
/// ```
/// use qeval::text::duration;
///
/// assert_eq!([0.42, 41.2, 700.0, 7500.0].map(duration), ["0.4 s", "41 s", "12 min", "2 h 05 min"]);
/// ```
pub fn duration(seconds: f64) -> String {
    let minutes = (seconds / 60.0).round();
    if seconds < 9.95 {
        format!("{seconds:.1} s")
    } else if seconds < 119.5 {
        format!("{seconds:.0} s")
    } else if minutes < 120.0 {
        format!("{minutes:.0} min")
    } else {
        format!("{} h {:02} min", (minutes / 60.0).floor(), minutes % 60.0)
    }
}

/// Bytes for people, in decimal units: `12 MB`, `1.3 GB`.
///
/// ```
/// use qeval::text::bytes;
///
/// assert_eq!([4_000, 12_400_000, 1_340_000_000].map(bytes), ["1 MB", "13 MB", "1.4 GB"]);
/// ```
pub fn bytes(count: u64) -> String {
    // Rounded up: what is said to be needed has to be enough.
    if count < 1_000_000_000 {
        format!("{} MB", count.div_ceil(1_000_000))
    } else {
        format!("{:.1} GB", count.div_ceil(100_000_000) as f64 / 10.0)
    }
}

/// Days since 1970-01-01 to year, month, day (H. Hinnant, "chrono-compatible low-level date
/// algorithms", `civil_from_days`).
pub fn civil(days: i64) -> (i64, u64, u64) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let day_of_era = z.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = (day_of_year - (153 * shifted_month + 2) / 5 + 1) as u64;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month as u64, day)
}

/// The day of a moment in seconds since 1970-01-01 UTC.
///
/// ```
/// assert_eq!(qeval::text::date(1_796_040_000), "2026-11-30");
/// ```
pub fn date(unix_s: u64) -> String {
    let days = i64::try_from(unix_s / 86_400).unwrap_or(i64::MAX / 2);
    let (year, month, day) = civil(days);
    format!("{year:04}-{month:02}-{day:02}")
}

/// `a`, `a or b`, `a, b, or c`.
pub fn one_of<S: AsRef<str>>(names: &[S]) -> String {
    joined(names, "or")
}

/// `a`, `a and b`, `a, b, and c`.
pub fn all_of<S: AsRef<str>>(names: &[S]) -> String {
    joined(names, "and")
}

fn joined<S: AsRef<str>>(names: &[S], word: &str) -> String {
    match names {
        [] => "nothing".into(),
        [one] => one.as_ref().into(),
        [a, b] => format!("{} {word} {}", a.as_ref(), b.as_ref()),
        [rest @ .., last] => {
            let rest: Vec<&str> = rest.iter().map(AsRef::as_ref).collect();
            format!("{}, {word} {}", rest.join(", "), last.as_ref())
        }
    }
}

/// The known name that `name` probably means, if one is near: Damerau-Levenshtein distance of at
/// most a third of the length and never more than 3, or the one a prefix of the other and of three
/// characters at least. Letter case does not count, and `_` is `-`. Of several the nearest is
/// taken, and of those the first.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let plain = |name: &str| name.to_lowercase().replace('_', "-");
    let name = plain(name);
    let length = name.chars().count();
    let mut best: Option<(usize, &str)> = None;
    for candidate in known {
        let other = plain(candidate);
        let distance = strsim::damerau_levenshtein(&name, &other);
        let prefix = length.min(other.chars().count()) >= 3
            && (other.starts_with(&name) || name.starts_with(&other));
        let near = distance <= (length.max(3) / 3).min(3) || prefix;
        if near && best.is_none_or(|(d, _)| distance < d) {
            best = Some((distance, candidate));
        }
    }
    best.map(|(_, candidate)| candidate.to_owned())
}

/// The value of an English number word from `zero` to `twenty`, and of the tens up to `ninety`
/// and their compounds (`twenty-five`). Lower case is expected.
pub fn number_word(word: &str) -> Option<u32> {
    const SMALL: [&str; 21] = [
        "zero",
        "one",
        "two",
        "three",
        "four",
        "five",
        "six",
        "seven",
        "eight",
        "nine",
        "ten",
        "eleven",
        "twelve",
        "thirteen",
        "fourteen",
        "fifteen",
        "sixteen",
        "seventeen",
        "eighteen",
        "nineteen",
        "twenty",
    ];
    const TENS: [&str; 8] = [
        "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety",
    ];
    if let Some(value) = SMALL.iter().position(|w| *w == word) {
        return u32::try_from(value).ok();
    }
    let (tens, ones) = word.split_once('-').unwrap_or((word, ""));
    let tens = (2..).zip(TENS).find(|(_, w)| *w == tens)?.0 * 10;
    if ones.is_empty() {
        return Some(tens);
    }
    let ones = u32::try_from(SMALL.iter().position(|w| *w == ones)?).ok()?;
    (1..=9).contains(&ones).then_some(tens + ones)
}

/// The value of a Chinese numeral: 零 to 亿, digit by digit (二〇二四) or with units (三千零五),
/// with 点 for the decimals (三点一四). `None` for anything else.
pub fn chinese_number(numeral: &str) -> Option<f64> {
    let (whole, decimals) = match numeral.split_once('点') {
        Some((whole, decimals)) if !whole.is_empty() && !decimals.is_empty() => (whole, decimals),
        Some(_) => return None,
        None => (numeral, ""),
    };
    let chars: Vec<char> = whole.chars().collect();
    let value = if chars.iter().all(|&c| chinese_digit(c).is_some()) {
        let mut value = 0.0;
        for &c in &chars {
            value = value * 10.0 + f64::from(chinese_digit(c)?);
        }
        value
    } else {
        chinese_units(&chars)?
    };
    let mut scale = 1.0;
    let mut fraction = 0.0;
    for c in decimals.chars() {
        fraction = fraction * 10.0 + f64::from(chinese_digit(c)?);
        scale *= 10.0;
    }
    (!chars.is_empty()).then_some(value + fraction / scale)
}

/// The value of a Chinese digit.
pub fn chinese_digit(c: char) -> Option<u32> {
    Some(match c {
        '零' | '〇' => 0,
        '一' | '壹' => 1,
        '二' | '两' | '贰' => 2,
        '三' | '叁' => 3,
        '四' | '肆' => 4,
        '五' | '伍' => 5,
        '六' | '陆' => 6,
        '七' | '柒' => 7,
        '八' | '捌' => 8,
        '九' | '玖' => 9,
        _ => return None,
    })
}

/// What a Chinese unit multiplies by: 十 to 亿.
pub fn chinese_unit(c: char) -> Option<f64> {
    Some(match c {
        '十' | '拾' => 10.0,
        '百' | '佰' => 100.0,
        '千' | '仟' => 1000.0,
        '万' => 1e4,
        '亿' => 1e8,
        _ => return None,
    })
}

fn chinese_units(chars: &[char]) -> Option<f64> {
    let (mut total, mut section, mut digit) = (0.0, 0.0, None);
    for &c in chars {
        if let Some(d) = chinese_digit(c) {
            if digit.is_some_and(|d| d != 0) {
                return None;
            }
            digit = Some(d);
            continue;
        }
        let unit = chinese_unit(c)?;
        if unit >= 1e4 {
            section += f64::from(digit.unwrap_or(0));
            total = if unit > 1e4 {
                (total + section) * unit
            } else {
                total + section * unit
            };
            section = 0.0;
        } else {
            section += f64::from(digit.unwrap_or(1)) * unit;
        }
        digit = None;
    }
    Some(total + section + f64::from(digit.unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_a_terminal_is_shown_and_not_obeyed() {
        assert_eq!(
            harmless("a\u{1b}[31mb\r\n\tc\u{9b}0m\rd"),
            "a\u{fffd}[31mb\n\tc\u{fffd}0m\u{fffd}d"
        );
        assert_eq!(
            harmless("x\u{202e}gpj.exe\u{2066}"),
            "x\u{fffd}gpj.exe\u{fffd}"
        );
        for text in ["plain\n\ttext", "中文 👩\u{200d}🚀 עברית"] {
            assert!(matches!(harmless(text), Cow::Borrowed(same) if same == text));
        }
    }

    #[test]
    fn widths_quotes_and_spaces_fold() {
        for (text, folded) in [
            ("ＡＢＣ　１２３", "ABC 123"),
            ("“it’s”", "\"it's\""),
            ("a\u{00A0}b\n\n c ", "a b c"),
            ("−5 – 3", "-5 - 3"),
            ("你好，世界。", "你好,世界."),
            ("a\u{200B}b\u{FEFF}", "ab"),
            ("ﬁne…", "fine..."),
            ("", ""),
            (" \n ", ""),
        ] {
            assert_eq!(fold(text), folded, "{text:?}");
        }
        assert_eq!(normalize("ÉCOLE Straße"), "école straße");
    }

    #[test]
    fn marks_around_an_answer_go_and_signs_stay() {
        for (text, bare_text) in [
            ("**\"Paris\".**", "paris"),
            ("-5.", "-5"),
            ("(c++)", "c++"),
            ("?!", "?!"),
            ("「巴黎」。", "巴黎"),
            ("$5", "$5"),
        ] {
            assert_eq!(bare(text), bare_text, "{text:?}");
        }
    }

    #[test]
    fn whole_words_are_bounded_in_alphabets_only() {
        assert_eq!(find("concatenate", "cat", false), Some(3));
        assert_eq!(find("concatenate", "cat", true), None);
        assert_eq!(find("concat the cat", "cat", true), Some(11));
        assert_eq!(find("在巴黎市", "巴黎", true), Some(3));
        assert_eq!(find("用Python写", "Python", true), Some(3));
        assert_eq!(find("c++ code", "c++", true), Some(0));
        assert_eq!(find("ééé", "é", true), None);
        assert_eq!(find("x", "", false), None);
    }

    #[test]
    fn words_of_both_languages() {
        assert_eq!(
            words("It's 3 o'clock, 你好!"),
            ["it's", "3", "o'clock", "你", "好"]
        );
        assert_eq!(words("the dogs' 'bone'"), ["the", "dogs", "bone"]);
        assert!(words("…!").is_empty());
    }

    #[test]
    fn cuts_keep_characters_whole() {
        assert_eq!(ellipsize("巴黎是法国的首都", 4), "巴黎是…");
        assert_eq!(ellipsize("Paris is", 7), "Paris…");
        assert_eq!(ellipsize("Paris", 5), "Paris");
        assert_eq!(ellipsize("Paris", 0), "");
        assert_eq!(ellipsize("Paris", 1), "…");
        assert_eq!(excerpt("一二三四五六七", 9, 12, 2), "…二三四五六…");
        assert_eq!(excerpt("abc", 0, 3, 2), "abc");
    }

    #[test]
    fn plurals_and_lists() {
        let nouns = [
            (1, "probe"),
            (2, "probe"),
            (0, "entry"),
            (2, "day"),
            (2, "class"),
            (3, "match"),
        ];
        let shown: Vec<String> = nouns.iter().map(|(n, noun)| plural(*n, noun)).collect();
        assert_eq!(
            shown,
            [
                "1 probe",
                "2 probes",
                "0 entries",
                "2 days",
                "2 classes",
                "3 matches"
            ]
        );
        assert_eq!(one_of(&["a", "b", "c"]), "a, b, or c");
        assert_eq!(one_of(&["a", "b"]), "a or b");
        assert_eq!(all_of(&["a", "b", "c"]), "a, b, and c");
    }

    #[test]
    fn nearest_name_is_near() {
        let known = ["contains", "contains-any", "starts-with", "regex", "number"];
        assert_eq!(nearest("contian", known), Some("contains".into()));
        assert_eq!(nearest("contains_any", known), Some("contains-any".into()));
        assert_eq!(nearest("Regexp", known), Some("regex".into()));
        assert_eq!(nearest("starts", known), Some("starts-with".into()));
        assert_eq!(nearest("banana", known), None);
        assert_eq!(nearest("x", known), None);
        // Neither letter case nor the sign between words counts, on either side.
        assert_eq!(
            nearest("starts_wiht", ["Starts_With"]),
            Some("Starts_With".into())
        );
        assert_eq!(nearest("full", ["auto", "ful"]), Some("ful".into()));
        // Of several that are near the nearest, of equals the first.
        assert_eq!(
            nearest("rope", ["robe", "role", "ropes"]),
            Some("robe".into())
        );
        assert_eq!(nearest("contains-an", known), Some("contains-any".into()));
        // A short name begins many others.
        assert_eq!(nearest("identity", ["id", ""]), None);
        assert_eq!(nearest("", ["id"]), None);
    }

    #[test]
    fn numbers_in_words() {
        for (word, value) in [
            ("zero", Some(0)),
            ("twenty", Some(20)),
            ("twenty-five", Some(25)),
            ("ninety-nine", Some(99)),
            ("twenty-ten", None),
            ("twenty-zero", None),
            ("often", None),
            ("", None),
        ] {
            assert_eq!(number_word(word), value, "{word}");
        }
    }

    #[test]
    fn chinese_numerals() {
        for (numeral, value) in [
            ("零", Some(0.0)),
            ("十", Some(10.0)),
            ("十二", Some(12.0)),
            ("二十五", Some(25.0)),
            ("一百零五", Some(105.0)),
            ("三千零五", Some(3005.0)),
            ("二〇二四", Some(2024.0)),
            ("一万二千", Some(12000.0)),
            ("一亿三千万", Some(1.3e8)),
            ("十万亿", Some(1e13)),
            ("三点二五", Some(3.25)),
            ("两百", Some(200.0)),
            ("七八十", None),
            ("点五", None),
            ("巴黎", None),
            ("", None),
        ] {
            assert_eq!(chinese_number(numeral), value, "{numeral}");
        }
    }
}
