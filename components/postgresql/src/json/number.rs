//! Numbers in JSON, with every digit they have.

use std::fmt::{Display, Write};

use bytes::Buf;

use super::{Outcome, ValueError};

/// Writes what is in JSON what it is in Rust: integers, booleans, and text that is JSON already.
pub(super) fn display(value: impl Display, out: &mut String) -> Outcome {
    write!(out, "{value}").map_err(ValueError::from)
}

/// Writes a float of single precision, in the fewest digits that mean the same.
pub(super) fn float4(value: f32, out: &mut String) -> Outcome {
    finite(value.into())?;
    let size = value.abs();
    let plain = size == 0.0 || (1e-6..1e21).contains(&size);
    display(
        if plain {
            value.to_string()
        } else {
            exponent(format!("{value:e}"))
        },
        out,
    )
}

/// Writes a float of double precision, in the fewest digits that mean the same.
pub(super) fn float8(value: f64, out: &mut String) -> Outcome {
    finite(value)?;
    let size = value.abs();
    let plain = size == 0.0 || (1e-6..1e21).contains(&size);
    display(
        if plain {
            value.to_string()
        } else {
            exponent(format!("{value:e}"))
        },
        out,
    )
}

fn finite(value: f64) -> Outcome {
    if value.is_finite() {
        return Ok(());
    }
    Err(ValueError::NoWord(match value {
        f64::INFINITY => "+Inf".into(),
        f64::NEG_INFINITY => "-Inf".into(),
        _ => "NaN".into(),
    }))
}

/// `1e21` as `1e+21`.
fn exponent(text: String) -> String {
    match text.split_once('e') {
        Some((digits, power)) if !power.starts_with('-') => format!("{digits}e+{power}"),
        _ => text,
    }
}

const NEGATIVE: u16 = 0x4000;
const NAN: u16 = 0xC000;
const INFINITE: u16 = 0xD000;
const MINUS_INFINITE: u16 = 0xF000;

/// Writes a `numeric`: groups of four digits, of which the first counts 10000 to the power of
/// `weight`, and `scale` digits after the point.
pub(super) fn numeric(raw: &mut &[u8], out: &mut String) -> Outcome {
    let (groups, weight) = (raw.try_get_u16()?, i32::from(raw.try_get_i16()?));
    let (sign, scale) = (raw.try_get_u16()?, usize::from(raw.try_get_u16()?));
    match sign {
        NAN => return display("\"NaN\"", out),
        INFINITE => return Err(ValueError::NoWord("Infinity".into())),
        MINUS_INFINITE => return Err(ValueError::NoWord("-Infinity".into())),
        NEGATIVE => out.push('-'),
        _ => {}
    }
    if groups == 0 {
        return display(0, out);
    }
    let mut digits = Vec::with_capacity(groups.into());
    for _ in 0..groups {
        digits.push(raw.try_get_u16()?);
    }
    // Groups that are zero at either end are not sent.
    let group = |power: i32| {
        let index = usize::try_from(weight - power).ok();
        index
            .and_then(|index| digits.get(index))
            .copied()
            .unwrap_or(0)
    };
    display(group(weight.max(0)), out)?;
    for power in (0..weight).rev() {
        display(format_args!("{:04}", group(power)), out)?;
    }
    if scale > 0 {
        out.push('.');
        let end = out.len() + scale;
        for power in (1..).map(|n: i32| -n) {
            display(format_args!("{:04}", group(power)), out)?;
            if out.len() >= end {
                break;
            }
        }
        out.truncate(end);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn floats_are_as_short_as_they_can_be() {
        for (value, text) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (5.0, "5"),
            (0.1, "0.1"),
            (123_456_789.123, "123456789.123"),
            (1e-6, "0.000001"),
            (1e-7, "1e-7"),
            (-2.5e-10, "-2.5e-10"),
            (1e20, "100000000000000000000"),
            (1e21, "1e+21"),
            (1.5e300, "1.5e+300"),
        ] {
            let mut out = String::new();
            float8(value, &mut out).unwrap();
            assert_eq!(out, text);
        }
        for (value, text) in [
            (0.1f32, "0.1"),
            (3.4e38, "3.4e+38"),
            (1e-10, "1e-10"),
            (1.5, "1.5"),
        ] {
            let mut out = String::new();
            float4(value, &mut out).unwrap();
            assert_eq!(out, text);
        }
    }

    #[test]
    fn what_json_has_no_word_for_is_an_error() {
        for (value, says) in [
            (f64::NAN, "NaN"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
        ] {
            let error = float8(value, &mut String::new()).unwrap_err().to_string();
            assert_eq!(error, format!("json: unsupported value: {says}"));
        }
        assert!(float4(f32::NAN, &mut String::new()).is_err());
    }

    proptest! {
        #[test]
        fn any_float_comes_back(bits in any::<u64>()) {
            let value = f64::from_bits(bits);
            prop_assume!(value.is_finite());
            let mut out = String::new();
            float8(value, &mut out).unwrap();
            prop_assert_eq!(out.parse::<f64>().unwrap().to_bits(), bits);
        }

        /// Against the plainest reading of the format: all groups as one integer, and a point.
        #[test]
        fn any_numeric_is_written_in_full(
            groups in prop::collection::vec(0u16..10_000, 1..6),
            weight in -6i16..8,
            scale in 0u16..24,
            negative in any::<bool>(),
        ) {
            let mut raw = Vec::new();
            raw.extend(u16::try_from(groups.len()).unwrap().to_be_bytes());
            raw.extend(weight.to_be_bytes());
            raw.extend((if negative { NEGATIVE } else { 0 }).to_be_bytes());
            raw.extend(scale.to_be_bytes());
            raw.extend(groups.iter().flat_map(|group| group.to_be_bytes()));
            let mut out = String::new();
            numeric(&mut &raw[..], &mut out).unwrap();

            let all: Vec<String> = groups.iter().map(|group| format!("{group:04}")).collect();
            let all = all.concat();
            let before = usize::try_from(i32::from(weight) + 1).map_or(0, |groups| groups * 4);
            let leading = usize::try_from(-1 - i32::from(weight)).map_or(0, |groups| groups * 4);
            let padded = format!("{}{all}{}", "0".repeat(leading), "0".repeat(60));
            let (whole, fraction) = padded.split_at(before);
            let whole = whole.trim_start_matches('0');
            let mut expected = String::from(if negative { "-" } else { "" });
            expected += if whole.is_empty() { "0" } else { whole };
            if scale > 0 {
                expected += &format!(".{}", &fraction[..usize::from(scale)]);
            }
            // The first group sent is not zero; when it is, ours may show a zero in front.
            prop_assume!(groups[0] > 0);
            prop_assert_eq!(out, expected);
        }
    }
}
