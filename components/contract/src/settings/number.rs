//! Booleans and integers (M5, M7, M10).

/// M5: any case of `y`, `yes`, `true`, `t`, `on`, `1`, blanks around it ignored, is true;
/// everything else is false.
pub fn truthy(text: &str) -> bool {
    let text = text.trim();
    ["y", "yes", "true", "t", "on", "1"]
        .iter()
        .any(|word| text.eq_ignore_ascii_case(word))
}

/// M10 and R7: Go's `ParseBool`.
pub fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

/// M7: an integer with an optional base prefix (`0x`, `0o`, `0b`, or a bare leading `0` for
/// octal, as Go has it) and single underscores between digits; empty is zero.
pub(super) fn integer(text: &str) -> Option<i128> {
    if text.is_empty() {
        return Some(0);
    }
    let (negative, digits) = match text.as_bytes()[0] {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let lower = digits.to_ascii_lowercase();
    let (radix, digits) = match lower.as_bytes() {
        [b'0', b'x', ..] => (16, &lower[2..]),
        [b'0', b'o', ..] => (8, &lower[2..]),
        [b'0', b'b', ..] => (2, &lower[2..]),
        [b'0', _, ..] => (8, &lower[1..]),
        _ => (10, &lower[..]),
    };
    let digits = match digits.strip_prefix('_') {
        Some(rest) if radix != 10 => rest,
        _ => digits,
    };
    if digits.starts_with('_') || digits.ends_with('_') || digits.contains("__") {
        return None;
    }
    plain(&digits.replace('_', ""), radix, negative)
}

/// M10: a decimal integer and nothing else.
pub(super) fn decimal(text: &str) -> Option<i128> {
    match text.as_bytes().first()? {
        b'-' => plain(&text[1..], 10, true),
        b'+' => plain(&text[1..], 10, false),
        _ => plain(text, 10, false),
    }
}

fn plain(digits: &str, radix: u32, negative: bool) -> Option<i128> {
    // `from_str_radix` would take a second sign.
    if !digits.starts_with(|c: char| c.is_digit(radix)) {
        return None;
    }
    let magnitude = i128::from_str_radix(digits, radix).ok()?;
    Some(if negative { -magnitude } else { magnitude })
}

#[cfg(all(test, not(bindery_loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn truthy_words_are_true_and_everything_else_is_false() {
        for text in ["y", "YES", "true", "True", "t", "on", "1", "  yes\n"] {
            assert!(truthy(text), "{text}");
        }
        for text in ["", "n", "no", "false", "0", "2", "enabled", "yes please"] {
            assert!(!truthy(text), "{text}");
        }
    }

    #[test]
    fn go_parse_bool_knows_twelve_words() {
        assert_eq!(parse_bool("True"), Some(true));
        assert_eq!(parse_bool("F"), Some(false));
        for text in ["yes", "on", "tRUE", "", " true"] {
            assert_eq!(parse_bool(text), None, "{text}");
        }
    }

    #[test]
    fn integers_have_bases() {
        for (text, number) in [
            ("", 0),
            ("42", 42),
            ("-7", -7),
            ("+7", 7),
            ("0x1F", 31),
            ("-0x1f", -31),
            ("0o17", 15),
            ("017", 15),
            ("0b101", 5),
            ("0", 0),
            ("1_000", 1_000),
            ("0x_ff", 255),
        ] {
            assert_eq!(integer(text), Some(number), "{text}");
        }
        for text in [
            "x", "1.5", "0x", "08", "--1", "0x-1", "1__0", "_1", "1_", " 1", "1e3", "+", "0b2",
        ] {
            assert_eq!(integer(text), None, "{text}");
        }
    }

    #[test]
    fn strict_integers_are_decimal() {
        assert_eq!(decimal("010"), Some(10));
        assert_eq!(decimal("-1"), Some(-1));
        for text in ["", "0x10", "1_0", "-", "+-1"] {
            assert_eq!(decimal(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "\\PC*") {
            let _ = (integer(&text), decimal(&text), truthy(&text));
        }
    }
}
