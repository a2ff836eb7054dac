//! Taking the quotes off a value (R3, R4).

use std::borrow::Cow;

/// R3, as DESIGN has it: a value that is a JSON string is decoded as JSON; a Go string
/// literal (double quotes with Go's escapes, backquotes, or one character in single quotes) is
/// decoded as Go does; anything else stays as it is.
pub fn unquote(data: &[u8]) -> Cow<'_, [u8]> {
    if data.len() < 2 || !matches!(data[0], b'"' | b'`' | b'\'') {
        return Cow::Borrowed(data);
    }
    if data[0] == b'"'
        && let Ok(text) = serde_json::from_slice::<Cow<'_, str>>(data)
    {
        return Cow::Owned(text.into_owned().into_bytes());
    }
    match go_unquote(data) {
        Some(text) => Cow::Owned(text),
        None => Cow::Borrowed(data),
    }
}

/// R4: a JSON string, number or boolean as plain text, `null` as nothing; anything else stays
/// as it is.
pub fn loose_unquote(data: &[u8]) -> Cow<'_, [u8]> {
    match serde_json::from_slice::<serde_json::Value>(data) {
        Ok(serde_json::Value::String(text)) => Cow::Owned(text.into_bytes()),
        Ok(serde_json::Value::Null) => Cow::Borrowed(&[]),
        Ok(serde_json::Value::Bool(value)) => Cow::Owned(value.to_string().into_bytes()),
        // The number as it was written: see "`data`, exactly" in DESIGN.
        Ok(serde_json::Value::Number(_)) => Cow::Borrowed(data.trim_ascii()),
        _ => Cow::Borrowed(data),
    }
}

fn go_unquote(data: &[u8]) -> Option<Vec<u8>> {
    let (quote, inner) = (data[0], data[1..].strip_suffix(&data[..1])?);
    match quote {
        b'`' => {
            // A carriage return is dropped from a raw literal.
            let raw = inner
                .iter()
                .copied()
                .filter(|byte| *byte != b'\r')
                .collect();
            (!inner.contains(&b'`')).then_some(raw)
        }
        b'"' | b'\'' => {
            if inner.contains(&b'\n') {
                return None;
            }
            let mut out = Vec::with_capacity(inner.len());
            let (mut rest, mut characters) = (inner, 0);
            while !rest.is_empty() {
                rest = go_character(rest, quote, &mut out)?;
                characters += 1;
            }
            (quote == b'"' || characters == 1).then_some(out)
        }
        _ => None,
    }
}

/// Decodes one character of a Go literal in `quote`s and returns what follows it.
fn go_character<'a>(text: &'a [u8], quote: u8, out: &mut Vec<u8>) -> Option<&'a [u8]> {
    if text[0] == quote {
        return None;
    }
    if text[0] != b'\\' {
        let length = utf8_length(text);
        out.extend_from_slice(&text[..length]);
        return Some(&text[length..]);
    }
    let simple = match *text.get(1)? {
        b'a' => 0x07,
        b'b' => 0x08,
        b'f' => 0x0c,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'v' => 0x0b,
        b'\\' => b'\\',
        c @ (b'"' | b'\'') if c == quote => c,
        b'x' => return go_byte(text, 2, 2, 16, out),
        b'0'..=b'7' => return go_byte(text, 1, 3, 8, out),
        b'u' => return go_rune(text, 4, out),
        b'U' => return go_rune(text, 8, out),
        _ => return None,
    };
    out.push(simple);
    Some(&text[2..])
}

fn go_byte<'a>(
    text: &'a [u8],
    from: usize,
    digits: usize,
    radix: u32,
    out: &mut Vec<u8>,
) -> Option<&'a [u8]> {
    let value = number(text.get(from..from + digits)?, radix)?;
    out.push(u8::try_from(value).ok()?);
    Some(&text[from + digits..])
}

fn go_rune<'a>(text: &'a [u8], digits: usize, out: &mut Vec<u8>) -> Option<&'a [u8]> {
    let rune = char::from_u32(number(text.get(2..2 + digits)?, 16)?)?;
    out.extend_from_slice(rune.encode_utf8(&mut [0; 4]).as_bytes());
    Some(&text[2 + digits..])
}

fn number(digits: &[u8], radix: u32) -> Option<u32> {
    let digits = std::str::from_utf8(digits).ok()?;
    digits
        .bytes()
        .all(|c| c.is_ascii_hexdigit())
        .then(|| u32::from_str_radix(digits, radix).ok())?
}

/// How long the character is that `text` begins with; a byte that begins none counts as one.
fn utf8_length(text: &[u8]) -> usize {
    let length = match text[0] {
        0xC2..=0xDF => 2,
        0xE0..=0xEF => 3,
        0xF0..=0xF4 => 4,
        _ => 1,
    };
    if text
        .get(..length)
        .is_some_and(|bytes| std::str::from_utf8(bytes).is_ok())
    {
        length
    } else {
        1
    }
}

#[cfg(all(test, not(bindery_loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn unquoted(text: &str) -> String {
        String::from_utf8(unquote(text.as_bytes()).into_owned()).unwrap()
    }

    #[test]
    fn a_json_string_is_decoded_as_json() {
        for (quoted, plain) in [
            (r#""hello""#, "hello"),
            (r#""a\/b""#, "a/b"),
            (r#""\ud83d\ude00""#, "😀"),
            (r#""line\nline \u00e9 \"q\"""#, "line\nline é \"q\""),
            (r#""""#, ""),
        ] {
            assert_eq!(unquoted(quoted), plain, "{quoted}");
        }
    }

    #[test]
    fn a_go_literal_is_decoded_as_go_does() {
        for (quoted, plain) in [
            (r#""\a\v\x41\101\U0001F600""#, "\u{7}\u{b}AA😀"),
            ("`raw \\n`", "raw \\n"),
            ("'x'", "x"),
            (r"'\n'", "\n"),
            ("'😀'", "😀"),
        ] {
            assert_eq!(unquoted(quoted), plain, "{quoted}");
        }
    }

    #[test]
    fn anything_else_stays_as_it_is() {
        for text in [
            "",
            "x",
            "\"",
            "'xy'",
            "''",
            "{\"a\":1}",
            "12",
            "\"open",
            r#""\q""#,
            "`a`b`",
            "null",
        ] {
            assert_eq!(unquoted(text), text);
        }
    }

    #[test]
    fn loose_unquoting_takes_any_scalar() {
        for (json, plain) in [
            (r#""a b""#, "a b"),
            ("9007199254740993", "9007199254740993"),
            (" 1.10 ", "1.10"),
            ("true", "true"),
            ("null", ""),
            (r#"{"a":1}"#, r#"{"a":1}"#),
            ("not json", "not json"),
        ] {
            assert_eq!(
                loose_unquote(json.as_bytes()).as_ref(),
                plain.as_bytes(),
                "{json}"
            );
        }
    }

    proptest! {
        #[test]
        fn every_json_string_comes_back(text in ".*") {
            let quoted = serde_json::to_string(&text).unwrap();
            prop_assert_eq!(unquoted(&quoted), text);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..40), quote in prop_oneof![Just(b'"'), Just(b'`'), Just(b'\'')]) {
            let _ = unquote(&bytes);
            let quoted = [&[quote], &bytes[..], &[quote]].concat();
            let _ = (unquote(&quoted), loose_unquote(&quoted));
        }
    }
}
