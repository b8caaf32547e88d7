//! Numbers and lists as the gate's sentences write them.

/// A score, a loss, or a margin: two decimals, below a tenth a third one when it says something.
pub(super) fn score(value: f64) -> String {
    let two = format!("{value:.2}");
    let rounded: f64 = two.parse().unwrap_or(value);
    if value.abs() < 0.1 && (value - rounded).abs() >= 5e-4 {
        format!("{value:.3}")
    } else if rounded == 0.0 {
        "0.00".into()
    } else {
        two
    }
}

/// `p = 0.031`, `p < 0.0001`.
pub(super) fn p_value(p: f64) -> String {
    if p < 1e-4 {
        "p < 0.0001".into()
    } else if p < 1e-3 {
        format!("p = {p:.4}")
    } else {
        format!("p = {p:.3}")
    }
}

/// The first `most` of a list and how many more there are.
pub(super) fn some_of(items: &[String], most: usize, separator: &str) -> String {
    let shown = items[..items.len().min(most)].join(separator);
    match items.len().saturating_sub(most) {
        0 => shown,
        rest => format!("{shown}{separator}and {rest} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_numbers_keep_a_third_decimal() {
        for (value, text) in [
            (0.1, "0.10"),
            (0.0123, "0.012"),
            (-0.0004, "0.00"),
            (0.8, "0.80"),
            (1.0 / 3.0, "0.33"),
        ] {
            assert_eq!(score(value), text);
        }
    }

    #[test]
    fn p_values_never_read_zero() {
        for (p, text) in [
            (1e-30, "p < 0.0001"),
            (0.00041, "p = 0.0004"),
            (0.0312, "p = 0.031"),
        ] {
            assert_eq!(p_value(p), text);
        }
    }

    #[test]
    fn long_lists_say_how_much_is_left_out() {
        let items: Vec<String> = ["a", "b", "c"].map(String::from).to_vec();
        assert_eq!(some_of(&items, 2, ", "), "a, b, and 1 more");
        assert_eq!(some_of(&items, 3, ", "), "a, b, c");
        assert_eq!(some_of(&[], 3, ", "), "");
    }
}
