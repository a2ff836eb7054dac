//! `data` of the HTTP API, exactly: the value as the caller wrote it (R2, as DESIGN has it).

use std::borrow::Cow;

use bytes::Bytes;
use memchr::memchr3;

/// The four bytes that stand for absent data.
const NULL: &[u8] = b"null";

/// Absent data is `null` (runtime §1.1.1).
pub fn null_if_absent(data: Option<Bytes>) -> Bytes {
    data.unwrap_or(Bytes::from_static(NULL))
}

/// A JSON value without the white space between its tokens, its numbers and the order of its
/// keys untouched, and its strings escaped the way the reference escapes them, with two
/// exceptions: `<`, `>` and `&` stay plain.
///
/// Copies only when something changes. `json` must be one valid JSON value; anything else is
/// passed on as well as it can be and never panics.
pub fn canonical_json(json: &str) -> Cow<'_, str> {
    let mut scan = Scan {
        bytes: json.as_bytes(),
        at: 0,
        in_string: false,
    };
    let mut changed: Option<String> = None;
    let mut done = 0;
    while let Some(change) = scan.next_change() {
        let out = changed.get_or_insert_with(|| String::with_capacity(json.len()));
        out.push_str(&json[done..change]);
        let rest = &json[change..];
        let after = match rest.chars().next() {
            Some('\\') => unescape(rest, out),
            Some(separator @ ('\u{2028}' | '\u{2029}')) => {
                push_escaped(separator, out);
                &rest[separator.len_utf8()..]
            }
            _ => rest.trim_start_matches([' ', '\t', '\n', '\r']),
        };
        done = json.len() - after.len();
        scan.at = done;
    }
    match changed {
        None => Cow::Borrowed(json),
        Some(mut out) => {
            out.push_str(&json[done..]);
            Cow::Owned(out)
        }
    }
}

/// Looks for what has to change: white space outside of strings; in them, escapes that the
/// reference writes another way, and two separators that it escapes.
struct Scan<'a> {
    bytes: &'a [u8],
    at: usize,
    in_string: bool,
}

impl Scan<'_> {
    /// Where the next thing is that has to change. Data are mostly strings, so it goes through
    /// those with wide steps.
    fn next_change(&mut self) -> Option<usize> {
        loop {
            let rest = &self.bytes[self.at..];
            if self.in_string {
                self.at += memchr3(b'"', b'\\', 0xE2, rest)?;
                match &self.bytes[self.at..] {
                    [b'"', ..] => self.in_string = false,
                    // Of all escapes only these five are written the same by everybody.
                    [b'\\', b'"' | b'\\' | b'n' | b'r' | b't', ..] => self.at += 1,
                    [b'\\', ..] | [0xE2, 0x80, 0xA8 | 0xA9, ..] => return Some(self.at),
                    _ => {}
                }
            } else {
                let is_news = |c: &u8| matches!(c, b'"' | b' ' | b'\t' | b'\n' | b'\r');
                self.at += rest.iter().position(is_news)?;
                if self.bytes[self.at] != b'"' {
                    return Some(self.at);
                }
                self.in_string = true;
            }
            self.at += 1;
        }
    }
}

/// Reads the escape that `text` begins with, writes what it stands for, returns the rest.
fn unescape<'a>(text: &'a str, out: &mut String) -> &'a str {
    let Some(kind) = text[1..].chars().next() else {
        return "";
    };
    let after = &text[1 + kind.len_utf8()..];
    match kind {
        'n' => push_escaped('\n', out),
        'r' => push_escaped('\r', out),
        't' => push_escaped('\t', out),
        'b' => push_escaped('\u{8}', out),
        'f' => push_escaped('\u{c}', out),
        'u' => return unescape_unicode(after, out),
        other => push_escaped(other, out),
    }
    after
}

/// `text` follows a `\u`. Surrogates that have no partner become U+FFFD, as in the reference.
fn unescape_unicode<'a>(text: &'a str, out: &mut String) -> &'a str {
    let Some((unit, rest)) = hex4(text) else {
        push_escaped(char::REPLACEMENT_CHARACTER, out);
        return text;
    };
    if (0xD800..0xDC00).contains(&unit) {
        let low = rest.strip_prefix("\\u").and_then(hex4);
        if let Some((low, rest)) = low.filter(|(low, _)| (0xDC00..0xE000).contains(low)) {
            let scalar = 0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00);
            push_escaped(
                char::from_u32(scalar).unwrap_or(char::REPLACEMENT_CHARACTER),
                out,
            );
            return rest;
        }
    }
    push_escaped(
        char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER),
        out,
    );
    rest
}

fn hex4(text: &str) -> Option<(u32, &str)> {
    let digits = text
        .get(..4)
        .filter(|digits| digits.bytes().all(|c| c.is_ascii_hexdigit()))?;
    Some((u32::from_str_radix(digits, 16).ok()?, &text[4..]))
}

/// Writes one character of a string as Go's encoder does.
fn push_escaped(c: char, out: &mut String) {
    match c {
        '"' => out.push_str("\\\""),
        '\\' => out.push_str("\\\\"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        '\u{8}' => out.push_str("\\b"),
        '\u{c}' => out.push_str("\\f"),
        '\0'..='\u{1f}' | '\u{2028}' | '\u{2029}' => {
            out.push_str("\\u");
            for shift in [12, 8, 4, 0] {
                let digit = (u32::from(c) >> shift) & 0xf;
                out.push(char::from_digit(digit, 16).unwrap_or('0'));
            }
        }
        _ => out.push(c),
    }
}

#[cfg(all(test, not(bindery_loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_value_stays_as_the_caller_wrote_it() {
        for (written, passed_on) in [
            ("null", "null"),
            (r#""abc""#, r#""abc""#),
            ("[ 1 , 2 ]", "[1,2]"),
            ("{ \"b\" : 1,\n\t\"a\" : 2 }", r#"{"b":1,"a":2}"#),
            (r#""a b  c""#, r#""a b  c""#),
            ("9007199254740993", "9007199254740993"),
            ("1.10", "1.10"),
            ("1e2", "1e2"),
            (r#""\u00e9""#, "\"é\""),
            (r#""\/""#, r#""/""#),
            (r#""\u003c<>&""#, r#""<<>&""#),
            (r#""\ud83d\ude00""#, "\"😀\""),
            (r#""😀""#, "\"😀\""),
            (r#""\ud83d""#, "\"\u{fffd}\""),
            (r#""\ud83dx""#, "\"\u{fffd}x\""),
            (r#""\ude00\ud83d\ude00""#, "\"\u{fffd}😀\""),
            (r#""\u2028""#, r#""\u2028""#),
            ("\"\u{2029}\"", r#""\u2029""#),
            (r#""\u0000\u001F""#, r#""\u0000\u001f""#),
            (r#""\u0008\f\u000A""#, r#""\b\f\n""#),
            (r#""\u0022\u005c""#, r#""\"\\""#),
            (r#" "a\\" "#, r#""a\\""#),
            (r#"{"\u0061 b" : "\"" }"#, r#"{"a b":"\""}"#),
            ("\"\u{7f}\"", "\"\u{7f}\""),
        ] {
            assert_eq!(canonical_json(written), passed_on, "{written}");
        }
    }

    #[test]
    fn nothing_is_copied_when_nothing_changes() {
        let written = r#"{"a":[1,"two\n",3.0,null],"b":"ü \"<"}"#;
        assert!(matches!(canonical_json(written), Cow::Borrowed(_)));
    }

    fn json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            ".*".prop_map(Into::into),
        ];
        leaf.prop_recursive(4, 32, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Into::into),
                prop::collection::vec((".*", inner), 0..5)
                    .prop_map(|pairs| serde_json::Value::Object(pairs.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn it_means_the_same_and_is_stable(value in json()) {
            let pretty = serde_json::to_string_pretty(&value).unwrap();
            let canonical = canonical_json(&pretty);
            prop_assert_eq!(&serde_json::from_str::<serde_json::Value>(&canonical).unwrap(), &value);
            prop_assert_eq!(canonical_json(&canonical), &*canonical);
        }

        #[test]
        fn no_text_makes_it_panic(text in "[\"\\\\u0-9dD{}:, é]{0,40}") {
            let _ = canonical_json(&text);
        }
    }
}
