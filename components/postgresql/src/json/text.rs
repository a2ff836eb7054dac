//! Strings, bytes and JSON in JSON.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bindery_contract::request::canonical_json;

/// Writes a string as Go's encoder does, which also hides what HTML would take for its own.
pub(super) fn string(text: &str, out: &mut String) {
    out.push('"');
    let mut plain = 0;
    for (at, c) in text.char_indices() {
        let Some(escape) = escape(c) else { continue };
        out.push_str(&text[plain..at]);
        match escape {
            Escape::Short(letter) => out.extend(['\\', letter]),
            Escape::Code => out.push_str(&format!("\\u{:04x}", u32::from(c))),
        }
        plain = at + c.len_utf8();
    }
    out.push_str(&text[plain..]);
    out.push('"');
}

enum Escape {
    Short(char),
    Code,
}

fn escape(c: char) -> Option<Escape> {
    Some(match c {
        '"' | '\\' => Escape::Short(c),
        '\n' => Escape::Short('n'),
        '\r' => Escape::Short('r'),
        '\t' => Escape::Short('t'),
        '\u{8}' => Escape::Short('b'),
        '\u{c}' => Escape::Short('f'),
        '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\0'..='\u{1f}' => Escape::Code,
        _ => return None,
    })
}

/// Writes JSON into JSON: the same value without the white space between its tokens.
pub(super) fn embedded(json: &str, out: &mut String) {
    for c in canonical_json(json).chars() {
        match c {
            // In JSON these stand in strings only.
            '<' => out.push_str("\\u003c"),
            '>' => out.push_str("\\u003e"),
            '&' => out.push_str("\\u0026"),
            c => out.push(c),
        }
    }
}

/// Writes bytes as base64.
pub(super) fn base64(bytes: &[u8], out: &mut String) {
    out.push('"');
    BASE64_STANDARD.encode_string(bytes, out);
    out.push('"');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(write: impl Fn(&mut String)) -> String {
        let mut out = String::new();
        write(&mut out);
        out
    }

    #[test]
    fn html_characters_and_controls_are_escaped() {
        let text = "<a href=\"x\">&\u{2028}é\\ \u{1}\u{7f}\n\t\r\u{8}\u{c}";
        let json = r#""\u003ca href=\"x\"\u003e\u0026\u2028é\\ \u0001"#.to_owned()
            + "\u{7f}"
            + r#"\n\t\r\b\f""#;
        assert_eq!(written(|out| string(text, out)), json);
    }

    #[test]
    fn embedded_json_keeps_its_digits_and_its_keys() {
        let json = r#"{"b": 1.10, "a": ["<&é", 12345678901234567890, null ]}"#;
        assert_eq!(
            written(|out| embedded(json, out)),
            r#"{"b":1.10,"a":["\u003c\u0026é",12345678901234567890,null]}"#
        );
    }

    proptest! {
        #[test]
        fn any_string_comes_back(text in ".*") {
            let json = written(|out| string(&text, out));
            prop_assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
        }
    }
}
