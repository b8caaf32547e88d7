//! Names that Python has: they tell what an answer invented from what the embedded interpreter
//! lacks, which a `NameError` or an `AttributeError` alone does not.

use std::sync::LazyLock;

use regex::Regex;

/// Public names of `builtins` that are functions or types, exceptions aside:
/// `python3.11 -c "import builtins; print(*dir(builtins))"`.
const BUILTINS: &str = "Ellipsis NotImplemented abs aiter all anext any ascii bin bool breakpoint \
    bytearray bytes callable chr classmethod compile complex delattr dict dir divmod enumerate \
    eval exec exit filter float format frozenset getattr globals hasattr hash help hex id input \
    int isinstance issubclass iter len list locals map max memoryview min next object oct open \
    ord pow print property quit range repr reversed round set setattr slice sorted staticmethod \
    str sum super tuple type vars zip";

/// Public attributes of the built-in types, of `dir(T)` in Python 3.11.
const ATTRIBUTES: [(&[&str], &str); 8] = [
    (
        &["str"],
        "capitalize casefold center count encode endswith expandtabs find format format_map index \
         isalnum isalpha isascii isdecimal isdigit isidentifier islower isnumeric isprintable \
         isspace istitle isupper join ljust lower lstrip maketrans partition removeprefix \
         removesuffix replace rfind rindex rjust rpartition rsplit rstrip split splitlines \
         startswith strip swapcase title translate upper zfill",
    ),
    (
        &["list"],
        "append clear copy count extend index insert pop remove reverse sort",
    ),
    (
        &["dict"],
        "clear copy fromkeys get items keys pop popitem setdefault update values",
    ),
    (
        &["set", "frozenset"],
        "add clear copy difference difference_update discard intersection intersection_update \
         isdisjoint issubset issuperset pop remove symmetric_difference \
         symmetric_difference_update union update",
    ),
    (&["tuple", "range"], "count index start stop step"),
    (
        &["int", "bool"],
        "as_integer_ratio bit_count bit_length conjugate denominator from_bytes imag numerator \
         real to_bytes",
    ),
    (
        &["float"],
        "as_integer_ratio conjugate fromhex hex imag is_integer real",
    ),
    (
        &["bytes"],
        "capitalize center count decode endswith expandtabs find fromhex hex index isalnum \
         isalpha isascii isdigit islower isspace istitle isupper join ljust lower lstrip \
         maketrans partition removeprefix removesuffix replace rfind rindex rjust rpartition \
         rsplit rstrip split splitlines startswith strip swapcase title translate upper zfill",
    ),
];

/// Words that cannot name a function.
const KEYWORDS: &str = "False None True and as assert async await break class continue def del \
    elif else except finally for from global if import in is lambda nonlocal not or pass raise \
    return try while with yield";

/// Whether Python has this built-in function or type.
pub fn is_builtin(name: &str) -> bool {
    listed(BUILTINS, name)
}

/// Whether Python's built-in type of this name has this attribute. Every object has `__dunder__`
/// attributes; which ones is not told apart.
pub fn has_attribute(type_name: &str, attribute: &str) -> bool {
    (attribute.starts_with("__") && attribute.ends_with("__"))
        || ATTRIBUTES
            .iter()
            .any(|(types, names)| types.contains(&type_name) && listed(names, attribute))
}

/// Whether a text can name a Python function.
pub fn is_name(text: &str) -> bool {
    static NAME: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"^[^\W\d]\w*$").expect("the pattern is fixed and valid"));
    NAME.is_match(text) && !listed(KEYWORDS, text)
}

fn listed(list: &str, name: &str) -> bool {
    list.split_whitespace().any(|n| n == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inventions_are_told_from_what_python_has() {
        assert!(is_builtin("input") && !is_builtin("swap"));
        assert!(has_attribute("str", "maketrans") && !has_attribute("str", "push"));
        assert!(!has_attribute("list", "push") && !has_attribute("Tree", "insert"));
        assert!(has_attribute("function", "__name__"));
    }

    #[test]
    fn names_are_python_identifiers() {
        for good in ["quicksort", "_f2", "排序"] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", "2f", "f()", "a.b", "def", "f g"] {
            assert!(!is_name(bad), "{bad}");
        }
    }
}
