//! Durations as Go writes them (M6).

use std::fmt;
use std::time::Duration;

use serde::de::{self, Deserialize, Deserializer, Visitor};

/// A signed duration with nanosecond resolution: `300ms`, `1.5h`, `2h45m`.
///
/// Range ±292 years. As a setting it may also be a plain integer, whose unit is that of the
/// decoder in use: seconds by M6, milliseconds by M10.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GoDuration {
    nanos: i64,
}

/// What serde calls the type, so that the settings decoder knows it when it sees it.
pub(super) const NAME: &str = "$bindery::GoDuration";

const UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000), // U+00B5
    ("μs", 1_000), // U+03BC
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

impl GoDuration {
    /// No time at all.
    pub const ZERO: Self = Self { nanos: 0 };
    /// The strict decoder's word for "switched off" (M10): what a negative integer becomes.
    pub const OFF: Self = Self { nanos: -1 };

    /// From nanoseconds.
    pub const fn from_nanos(nanos: i64) -> Self {
        Self { nanos }
    }

    /// From milliseconds; saturates.
    pub const fn from_millis(millis: i64) -> Self {
        Self {
            nanos: millis.saturating_mul(1_000_000),
        }
    }

    /// From seconds; saturates.
    pub const fn from_secs(secs: i64) -> Self {
        Self {
            nanos: secs.saturating_mul(1_000_000_000),
        }
    }

    /// In nanoseconds.
    pub const fn nanos(self) -> i64 {
        self.nanos
    }

    /// As a `std` duration, if it is positive.
    pub fn positive(self) -> Option<Duration> {
        u64::try_from(self.nanos)
            .ok()
            .filter(|nanos| *nanos > 0)
            .map(Duration::from_nanos)
    }

    /// Parses Go's syntax, and nothing else.
    ///
    /// # Errors
    /// A sentence that says what a duration looks like.
    pub fn parse(text: &str) -> Result<Self, String> {
        parse_nanos(text)
            .map(|nanos| Self { nanos })
            .ok_or_else(|| {
                format!(
                    "{text:?} is not a duration: write a number and a unit, such as 300ms, 30s, 5m \
                 or 1h30m (units ns, us, ms, s, m, h)"
                )
            })
    }

    /// Parses Go's syntax or a plain integer of `unit` nanoseconds; empty is zero (M6).
    pub(super) fn parse_setting(text: &str, unit: i64) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(Self::ZERO);
        }
        Self::parse(text).or_else(|error| match text.parse::<i64>() {
            Ok(number) => number
                .checked_mul(unit)
                .map(Self::from_nanos)
                .ok_or_else(|| format!("{text} is out of range for a duration")),
            Err(_) => Err(error),
        })
    }
}

fn parse_nanos(text: &str) -> Option<i64> {
    let (negative, mut rest) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Some(0);
    }
    let mut total: u64 = 0;
    loop {
        let (number, after) = split_number(rest)?;
        let (unit, after) = split_unit(after)?;
        let nanos = number.in_nanos(unit)?;
        total = total.checked_add(nanos).filter(|total| *total <= 1 << 63)?;
        rest = after;
        if rest.is_empty() {
            break;
        }
    }
    if negative {
        // The magnitude of the smallest duration is one more than that of the largest.
        0i64.checked_sub_unsigned(total)
    } else {
        i64::try_from(total).ok()
    }
}

struct Number<'a> {
    whole: &'a str,
    fraction: &'a str,
}

impl Number<'_> {
    fn in_nanos(&self, unit: u64) -> Option<u64> {
        let whole: u64 = if self.whole.is_empty() {
            0
        } else {
            self.whole.parse().ok()?
        };
        let mut nanos = whole.checked_mul(unit)?;
        // Digits beyond the resolution of a nanosecond in the largest unit change nothing.
        let mut scale = u128::from(unit);
        let mut fraction: u128 = 0;
        for digit in self.fraction.bytes().take(18) {
            fraction = fraction * 10 + u128::from(digit - b'0');
            scale *= 10;
        }
        let divisor = scale / u128::from(unit);
        let part = fraction * u128::from(unit) / divisor;
        nanos = nanos.checked_add(u64::try_from(part).ok()?)?;
        Some(nanos)
    }
}

fn split_number(text: &str) -> Option<(Number<'_>, &str)> {
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let (whole, rest) = text.split_at(digits(text));
    let (fraction, rest) = match rest.strip_prefix('.') {
        Some(after) => after.split_at(digits(after)),
        None => ("", rest),
    };
    (!whole.is_empty() || !fraction.is_empty()).then_some((Number { whole, fraction }, rest))
}

fn split_unit(text: &str) -> Option<(u64, &str)> {
    let end = text
        .find(|c: char| c == '.' || c.is_ascii_digit())
        .unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    UNITS
        .iter()
        .find(|(unit, _)| *unit == name)
        .map(|(_, nanos)| (*nanos, rest))
}

impl From<Duration> for GoDuration {
    fn from(duration: Duration) -> Self {
        Self {
            nanos: i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX),
        }
    }
}

impl fmt::Display for GoDuration {
    /// As Go prints it: `3m0s`, `1.5s`, `294.1µs`, `0s`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.nanos.unsigned_abs();
        if self.nanos < 0 {
            f.write_str("-")?;
        }
        match nanos {
            0 => f.write_str("0s"),
            1..1_000 => write!(f, "{nanos}ns"),
            1_000..1_000_000 => write_fraction(f, nanos, 1_000).and_then(|()| f.write_str("µs")),
            1_000_000..1_000_000_000 => {
                write_fraction(f, nanos, 1_000_000).and_then(|()| f.write_str("ms"))
            }
            _ => {
                let minutes = nanos / 60_000_000_000;
                if minutes >= 60 {
                    write!(f, "{}h", minutes / 60)?;
                }
                if minutes > 0 {
                    write!(f, "{}m", minutes % 60)?;
                }
                write_fraction(f, nanos % 60_000_000_000, 1_000_000_000)?;
                f.write_str("s")
            }
        }
    }
}

fn write_fraction(f: &mut fmt::Formatter<'_>, nanos: u64, unit: u64) -> fmt::Result {
    write!(f, "{}", nanos / unit)?;
    let rest = nanos % unit;
    if rest > 0 {
        let width = unit.ilog10() as usize;
        let digits = format!("{rest:0width$}");
        write!(f, ".{}", digits.trim_end_matches('0'))?;
    }
    Ok(())
}

impl fmt::Debug for GoDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<'de> Deserialize<'de> for GoDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = GoDuration;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration such as 300ms, 30s or 1h30m")
            }

            /// The settings decoder has parsed it already, by its own unit.
            fn visit_i64<E: de::Error>(self, nanos: i64) -> Result<GoDuration, E> {
                Ok(GoDuration::from_nanos(nanos))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<GoDuration, E> {
                GoDuration::parse(text).map_err(E::custom)
            }

            fn visit_newtype_struct<D: Deserializer<'de>>(
                self,
                deserializer: D,
            ) -> Result<GoDuration, D::Error> {
                deserializer.deserialize_str(self)
            }
        }
        deserializer.deserialize_newtype_struct(NAME, Text)
    }
}

impl serde::Serialize for GoDuration {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl schemars::JsonSchema for GoDuration {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "format": "duration" })
    }
}

#[cfg(all(test, not(bindery_loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn go_syntax_is_read_as_go_reads_it() {
        for (text, nanos) in [
            ("0", 0),
            ("+0", 0),
            ("5s", 5_000_000_000),
            ("-5s", -5_000_000_000),
            ("1.5h", 5_400_000_000_000),
            ("2h45m", 9_900_000_000_000),
            ("1h30m10s", 5_410_000_000_000),
            (".5s", 500_000_000),
            ("1.s", 1_000_000_000),
            ("250ms", 250_000_000),
            ("3us", 3_000),
            ("3µs", 3_000),
            ("3μs", 3_000),
            ("1.000000001s", 1_000_000_001),
            ("9223372036854775807ns", i64::MAX),
            ("-9223372036854775808ns", i64::MIN),
        ] {
            assert_eq!(
                GoDuration::parse(text).map(GoDuration::nanos),
                Ok(nanos),
                "{text}"
            );
        }
    }

    #[test]
    fn what_go_refuses_is_refused() {
        for text in [
            "",
            " ",
            "3",
            "-",
            "s",
            ".",
            "1.2.3s",
            "1 s",
            "5 m",
            "1d",
            "1S",
            "PT5S",
            "1e3s",
            "9223372036854775808ns",
            "3000000h",
            "99999999999999999999s",
        ] {
            assert!(GoDuration::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_plain_number_is_a_setting_but_not_go_syntax() {
        let seconds = |text| GoDuration::parse_setting(text, 1_000_000_000);
        assert_eq!(seconds("30"), Ok(GoDuration::from_secs(30)));
        assert_eq!(seconds(""), Ok(GoDuration::ZERO));
        assert!(
            seconds("9223372036854775807")
                .unwrap_err()
                .contains("out of range")
        );
        assert!(seconds("soon").unwrap_err().contains("1h30m"));
    }

    #[test]
    fn durations_print_as_go_prints_them() {
        for (nanos, text) in [
            (0, "0s"),
            (1, "1ns"),
            (1_100, "1.1µs"),
            (294_100, "294.1µs"),
            (2_200_000, "2.2ms"),
            (3_300_000_000, "3.3s"),
            (180_000_000_000, "3m0s"),
            (245_000_000_000, "4m5s"),
            (245_001_000_000, "4m5.001s"),
            (18_367_001_000_000, "5h6m7.001s"),
            (480_000_000_001, "8m0.000000001s"),
            (i64::MAX, "2562047h47m16.854775807s"),
            (i64::MIN, "-2562047h47m16.854775808s"),
        ] {
            assert_eq!(GoDuration::from_nanos(nanos).to_string(), text);
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_the_same(nanos in any::<i64>()) {
            let duration = GoDuration::from_nanos(nanos);
            prop_assert_eq!(GoDuration::parse(&duration.to_string()), Ok(duration));
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in "\\PC*") {
            let _ = GoDuration::parse_setting(&text, 1_000_000_000);
        }
    }
}
