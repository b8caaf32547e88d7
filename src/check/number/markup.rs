//! What a model writes around a number, taken off: LaTeX (`\(x = \frac{3}{4}\)`, `\boxed{42}`,
//! `1{,}000`, `5\text{ km}`) and Markdown (`**42**`, `` `42` ``).
//!
//! Only what stands around numbers is known here. Other commands stay as they are, and so does
//! markup that has not ended.

use std::sync::LazyLock;

use regex::{Captures, Regex};

/// What a boxed number stands behind, once its box is closed.
pub(super) const BOXED: &str = "boxed: ";

/// What is written for what an expression matches.
type Written = fn(&Captures<'_>) -> String;

/// An expression and what is written for what it matches.
type Rule = (&'static str, Written);

/// In this order: a box may hold a fraction, and a fraction a text.
const RULES: [Rule; 9] = [
    // Thousands, before the spaces and braces that mark them go.
    (r"(\d{1,3})((?:(?:\{,\}|\\[,!])\d{3})+)\b", |c| {
        let groups = c[2].split(|mark: char| !mark.is_ascii_digit());
        let groups = groups.filter(|group| !group.is_empty());
        groups.fold(c[1].to_owned(), |all, group| format!("{all},{group}"))
    }),
    (
        r"\\(?:text|textbf|textit|mathrm|mathbf|mathit|operatorname)\*?\{([^{}]*)\}",
        |c| c[1].to_owned(),
    ),
    (
        r"\\[dt]?frac\s*\{\s*(-?[\d.]+)\s*\}\s*\{\s*([\d.]+)\s*\}",
        |c| format!(" {}/{}", &c[1], &c[2]),
    ),
    (r"\^\s*\{?\s*\\circ\s*\}?", |_| "°".into()),
    (r"\^\{\s*(-?\d+)\s*\}", |c| format!("^{}", &c[1])),
    (
        r"\\(times|cdot|div|approx|quad|qquad|left|right|displaystyle)\b",
        |c| {
            let sign = match &c[1] {
                "times" => "×",
                "cdot" => "·",
                "div" => "÷",
                "approx" => "≈",
                _ => " ",
            };
            sign.into()
        },
    ),
    (r"\\boxed\s*\{([^{}]*)\}", |c| {
        format!("{BOXED}{} ", c[1].trim())
    }),
    // Delimiters and spaces of formulas; what is escaped.
    (r"\\([()\[\],;:! %$#&_])", |c| match &c[1] {
        sign @ ("%" | "$" | "#" | "&" | "_") => sign.into(),
        _ => " ".into(),
    }),
    // `$x$` as in Pandoc: no space inside, no digit behind, so that `$5 and $6` is money.
    (r"\$\$?([^\s$](?:[^$\n]*[^\s$])?)\$\$?(\D|$)", |c| {
        // An amount of money in a formula has its sign escaped, which the rule above took off.
        format!("{}{}", &c[1], &c[2])
    }),
];

/// A text without the markup around its numbers. Lines stay lines.
pub(super) fn plain(text: &str) -> String {
    static COMPILED: LazyLock<Vec<(Option<Regex>, Written)>> = LazyLock::new(|| {
        RULES
            .map(|(rule, with)| (Regex::new(rule).ok(), with))
            .into()
    });
    static MARKS: LazyLock<Option<Regex>> =
        LazyLock::new(|| Regex::new(r"(\d)\*\*(\d)|\*\*|`").ok());
    let mut plain = text.to_owned();
    if plain.contains(['\\', '{', '$', '^']) {
        for (rule, with) in COMPILED.iter() {
            if let Some(rule) = rule {
                plain = rule.replace_all(&plain, with).into_owned();
            }
        }
    }
    if let Some(marks) = MARKS.as_ref().filter(|_| plain.contains(['*', '`'])) {
        let kept = |c: &Captures<'_>| match (c.get(1), c.get(2)) {
            // A power.
            (Some(base), Some(exponent)) => format!("{}**{}", base.as_str(), exponent.as_str()),
            _ => String::new(),
        };
        plain = marks.replace_all(&plain, kept).into_owned();
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_around_numbers_is_taken_off() {
        for (text, expected) in [
            (r"\(\boxed{5}\) apples", " boxed: 5   apples"),
            (r"\boxed{\frac{3}{4}}", "boxed: 3/4 "),
            (r"$x=42$", "x=42"),
            (r"$$x = \dfrac{-1}{2}$$", "x =  -1/2"),
            ("1{,}000 and 1\\,000\\,000", "1,000 and 1,000,000"),
            (r"5 \text{ km}", "5  km"),
            (r"50\% of \$20", "50% of $20"),
            (r"3 \times 10^{8}", "3 × 10^8"),
            (r"30^\circ", "30°"),
            (
                r"\left( \frac{50}{100} \right) \cdot 20",
                " (  50/100  ) · 20",
            ),
            ("**5** apples, `6` pears", "5 apples, 6 pears"),
            ("2*10**3", "2*10**3"),
        ] {
            assert_eq!(plain(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_markup_or_has_not_ended_stays() {
        for text in [
            "$5 and $6",
            "It costs $5.",
            "between $5-$6",
            r"\boxed{5",
            r"\frac{a}{b}",
            r"\alpha + 3",
            "a {b} c",
            "x^2",
        ] {
            assert_eq!(plain(text), text);
        }
    }

    #[test]
    fn no_text_panics_wherever_it_is_cut() {
        let text = r"\(\boxed{\frac{3}{4}}\) 和 $x=1{,}000$，**五** \text{公里}^{\circ}";
        for (at, _) in text.char_indices() {
            let _ = (plain(&text[..at]), plain(&text[at..]));
        }
    }
}
