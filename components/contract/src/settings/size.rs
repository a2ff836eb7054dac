//! Byte sizes as Kubernetes quantities (M8).

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, Visitor};

/// A number of bytes: `100`, `10Ki`, `1M`, `1.5Gi`, `1e3`. It may be negative where a setting
/// says so ("≤ 0 means unlimited").
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(pub i64);

const SUFFIXES: [(&str, i128); 12] = [
    ("Ki", 1 << 10),
    ("Mi", 1 << 20),
    ("Gi", 1 << 30),
    ("Ti", 1 << 40),
    ("Pi", 1 << 50),
    ("Ei", 1 << 60),
    ("k", 1_000),
    ("M", 1_000_000),
    ("G", 1_000_000_000),
    ("T", 1_000_000_000_000),
    ("P", 1_000_000_000_000_000),
    ("E", 1_000_000_000_000_000_000),
];

impl ByteSize {
    /// Parses a quantity that is a whole number of bytes.
    ///
    /// # Errors
    /// A sentence that says what a size looks like.
    pub fn parse(text: &str) -> Result<Self, String> {
        quantity(text).map(Self).ok_or_else(|| {
            format!(
                "{text:?} is not a size in whole bytes: write a number, such as 4194304, 500k, \
                 10M or 4Mi (k = 1000, Ki = 1024)"
            )
        })
    }

    /// As a limit: `None` when it is zero or negative.
    pub fn positive(self) -> Option<u64> {
        u64::try_from(self.0).ok().filter(|bytes| *bytes > 0)
    }
}

fn quantity(text: &str) -> Option<i64> {
    let number_end = text
        .find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '+' | '-')))
        .unwrap_or(text.len());
    let (number, suffix) = text.split_at(number_end);
    let (multiplier, divisor) = scale(suffix)?;
    let (negative, digits) = match number.as_bytes().first()? {
        b'-' => (true, &number[1..]),
        b'+' => (false, &number[1..]),
        _ => (false, number),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let numeric = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !numeric(whole) || !numeric(fraction) || whole.len() + fraction.len() == 0 {
        return None;
    }
    let fraction = fraction.trim_end_matches('0');
    let digits: i128 = format!("0{whole}{fraction}").parse().ok()?;
    let divisor = 10i128
        .checked_pow(u32::try_from(fraction.len()).ok()?)?
        .checked_mul(divisor)?;
    let scaled = digits.checked_mul(multiplier)?;
    if scaled % divisor != 0 {
        return None;
    }
    let bytes = i64::try_from(scaled / divisor).ok()?;
    Some(if negative { -bytes } else { bytes })
}

/// What a suffix multiplies by, as a fraction.
fn scale(suffix: &str) -> Option<(i128, i128)> {
    if suffix.is_empty() {
        return Some((1, 1));
    }
    if let Some((_, multiplier)) = SUFFIXES.iter().find(|(name, _)| *name == suffix) {
        return Some((*multiplier, 1));
    }
    match suffix {
        "m" => return Some((1, 1_000)),
        "u" => return Some((1, 1_000_000)),
        "n" => return Some((1, 1_000_000_000)),
        _ => {}
    }
    let exponent: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
    let power = 10i128.checked_pow(exponent.unsigned_abs())?;
    Some(if exponent < 0 { (1, power) } else { (power, 1) })
}

impl fmt::Display for ByteSize {
    /// The shortest exact form: `4Mi`, `100`, `1536Ki`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let binary = SUFFIXES[..6].iter().rev();
        match binary
            .map(|(name, unit)| (name, *unit))
            .find(|(_, unit)| self.0 != 0 && i128::from(self.0) % unit == 0)
        {
            Some((name, unit)) => write!(f, "{}{name}", i128::from(self.0) / unit),
            None => write!(f, "{}", self.0),
        }
    }
}

impl fmt::Debug for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = ByteSize;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a size such as 100, 10Ki or 4Mi")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<ByteSize, E> {
                ByteSize::parse(text).map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Text)
    }
}

impl serde::Serialize for ByteSize {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl schemars::JsonSchema for ByteSize {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ByteSize".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "format": "bytesize" })
    }
}

#[cfg(all(test, not(bindery_loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn quantities_are_read_as_kubernetes_reads_them() {
        for (text, bytes) in [
            ("0", 0),
            ("-1", -1),
            ("100", 100),
            ("10Ki", 10_240),
            ("500k", 500_000),
            ("1M", 1_000_000),
            ("4Mi", 4_194_304),
            ("1.5Gi", 1_610_612_736),
            ("1e3", 1_000),
            ("1E3", 1_000),
            ("1.5e1", 15),
            ("2000m", 2),
            (".5Ki", 512),
            ("1.", 1),
        ] {
            assert_eq!(ByteSize::parse(text), Ok(ByteSize(bytes)), "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "", "x", "Ki", "1.3", "1m", "10kb", "10KB", "1 Mi", "0x10", "1e", "99Ei", "--1",
        ] {
            assert!(ByteSize::parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_the_same(bytes in any::<i64>()) {
            let size = ByteSize(bytes);
            prop_assume!(bytes != i64::MIN);
            prop_assert_eq!(ByteSize::parse(&size.to_string()), Ok(size));
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in "\\PC*") {
            let _ = ByteSize::parse(&text);
        }
    }
}
