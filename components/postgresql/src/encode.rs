//! Whether an argument fits the type that its placeholder has, and the text it is sent as.
//!
//! The text format fits every type, so strings are sent as they are and the server reads them.
//! Numbers keep every digit they were written with, and go to numeric types only: a number for a
//! text column is more often a mistake than not, and an error in the reference, too.

use tokio_postgres::types::{Kind, Type};

use crate::params::{Encoded, Param, parse};

/// How many dimensions an array of the database can have.
const DIMENSIONS: usize = 6;

/// Why an argument cannot be what its placeholder wants. Never shows the argument.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EncodeError {
    #[error("unable to encode {what} into {} (OID {}); {advice}", .target.name(), .target.oid())]
    Unfit {
        what: &'static str,
        target: Type,
        advice: &'static str,
    },
    #[error("a number is out of range for {}", .target.name())]
    OutOfRange { target: Type },
    #[error("an array has more than {DIMENSIONS} dimensions")]
    TooDeep,
    #[error("a text holds a zero byte, which the database cannot store")]
    ZeroByte,
}

impl Param {
    /// The argument for a placeholder of this type.
    pub(crate) fn encode(&self, target: &Type) -> Result<Encoded, EncodeError> {
        let text = match (self, Family::of(target)) {
            (Self::Null, _) => return Ok(Encoded(None)),
            (Self::Text(text), _) => text.clone(),
            (Self::Bool(value), Family::Bool | Family::Json) => value.to_string(),
            (Self::Number(number), Family::Integer { min, max }) => {
                integer(number, target).and_then(|number| in_range(number, min, max, target))?
            }
            (Self::Number(number), Family::Decimal | Family::Json) => number.clone(),
            (Self::Json(json), Family::Json) => json.clone(),
            (Self::Json(json), Family::Array(item)) if json.starts_with('[') => {
                array(json, item, DIMENSIONS)?
            }
            _ => return Err(self.unfit(target)),
        };
        Ok(Encoded(Some(text)))
    }

    fn unfit(&self, target: &Type) -> EncodeError {
        let what = match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Number(_) => "a number",
            Self::Text(_) => "a string",
            Self::Json(json) if json.starts_with('[') => "an array",
            Self::Json(_) => "an object",
        };
        EncodeError::Unfit {
            what,
            target: target.clone(),
            advice: "send it as a string",
        }
    }
}

/// What kind of JSON a type takes.
enum Family<'a> {
    Bool,
    Integer {
        min: i128,
        max: i128,
    },
    Decimal,
    Json,
    Array(&'a Type),
    /// Everything else is written as a string.
    Text,
}

impl<'a> Family<'a> {
    fn of(target: &'a Type) -> Self {
        let integer = |min: i64, max: u64| Self::Integer {
            min: min.into(),
            max: max.into(),
        };
        match *target {
            Type::BOOL => Self::Bool,
            Type::INT2 => integer(i16::MIN.into(), i16::MAX as u64),
            Type::INT4 => integer(i32::MIN.into(), i32::MAX as u64),
            Type::INT8 => integer(i64::MIN, i64::MAX as u64),
            Type::OID | Type::XID | Type::CID => integer(0, u32::MAX.into()),
            Type::XID8 => integer(0, u64::MAX),
            Type::FLOAT4 | Type::FLOAT8 | Type::NUMERIC | Type::MONEY => Self::Decimal,
            Type::JSON | Type::JSONB => Self::Json,
            _ => match target.kind() {
                Kind::Array(item) => Self::Array(item),
                Kind::Domain(base) => Self::of(base),
                _ => Self::Text,
            },
        }
    }
}

/// A whole number, however it was written: `42`, `42.0` and `4.2e1` are one.
fn integer(text: &str, target: &Type) -> Result<i128, EncodeError> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if let Ok(number) = text.parse() {
        return Ok(number);
    }
    match text.parse::<f64>() {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "it is whole and far from the limits"
        )]
        Ok(number) if number.fract() == 0.0 && number.abs() < EXACT => Ok(number as i128),
        Ok(number) if number.fract() == 0.0 => Err(EncodeError::OutOfRange {
            target: target.clone(),
        }),
        _ => Err(EncodeError::Unfit {
            what: "a fraction",
            target: target.clone(),
            advice: "send a whole number",
        }),
    }
}

fn in_range(number: i128, min: i128, max: i128, target: &Type) -> Result<String, EncodeError> {
    if (min..=max).contains(&number) {
        Ok(number.to_string())
    } else {
        Err(EncodeError::OutOfRange {
            target: target.clone(),
        })
    }
}

/// A JSON array as an array of the database: `{1,NULL,"a b"}`. An array in it is a further
/// dimension, unless the items are JSON themselves; there are at most `dimensions` of them.
fn array(json: &str, item: &Type, dimensions: usize) -> Result<String, EncodeError> {
    let deeper = dimensions.checked_sub(1).ok_or(EncodeError::TooDeep)?;
    let is_nested = !matches!(Family::of(item), Family::Json);
    let mut out = String::from("{");
    // What was read as a JSON value before can be read again.
    for param in parse(json).unwrap_or_default() {
        if out.len() > 1 {
            out.push(',');
        }
        match &param {
            Param::Json(inner) if is_nested && inner.starts_with('[') => {
                out.push_str(&array(inner, item, deeper)?);
            }
            param => push_item(param.encode(item)?, &mut out),
        }
    }
    out.push('}');
    Ok(out)
}

fn push_item(item: Encoded, out: &mut String) {
    let Some(text) = item.0 else {
        return out.push_str("NULL");
    };
    out.push('"');
    for c in text.chars() {
        if matches!(c, '"' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoded(json: &str, target: &Type) -> Result<Option<String>, String> {
        parse(&format!("[{json}]")).unwrap()[0]
            .encode(target)
            .map(|encoded| encoded.0)
            .map_err(|error| error.to_string())
    }

    #[track_caller]
    fn is(json: &str, target: &Type, text: &str) {
        assert_eq!(
            encoded(json, target),
            Ok(Some(text.to_owned())),
            "{json} as {target}"
        );
    }

    #[track_caller]
    fn fails(json: &str, target: &Type, says: &str) {
        let error = encoded(json, target).unwrap_err();
        assert!(error.contains(says), "{json} as {target}: {error}");
    }

    #[test]
    fn a_number_keeps_its_digits() {
        is("9007199254740993", &Type::INT8, "9007199254740993");
        is("18446744073709551615", &Type::XID8, "18446744073709551615");
        is(
            "12345678901234567890.123456789012345678901",
            &Type::NUMERIC,
            "12345678901234567890.123456789012345678901",
        );
        is("1.10", &Type::JSONB, "1.10");
        is("0.1", &Type::FLOAT8, "0.1");
    }

    #[test]
    fn an_integer_is_whole_and_in_range() {
        for json in ["42", "42.0", "4.2e1"] {
            is(json, &Type::INT4, "42");
        }
        is("-2147483648", &Type::INT4, "-2147483648");
        fails(
            "1.5",
            &Type::INT4,
            "unable to encode a fraction into int4 (OID 23)",
        );
        fails("2147483648", &Type::INT4, "out of range for int4");
        fails("1e300", &Type::INT8, "out of range for int8");
        fails("-1", &Type::OID, "out of range for oid");
        fails("1e999", &Type::INT8, "fraction");
    }

    #[test]
    fn what_does_not_fit_is_named_and_what_to_do() {
        fails(
            "1",
            &Type::TEXT,
            "unable to encode a number into text (OID 25); send it as a string",
        );
        fails("true", &Type::TEXT, "a boolean");
        fails("1", &Type::BOOL, "a number");
        fails("true", &Type::INT4, "a boolean");
        fails("1", &Type::TIMESTAMPTZ, "a number");
        fails("[1]", &Type::TEXT, "an array");
        fails("{}", &Type::INT4_ARRAY, "an object");
        fails("[1.5]", &Type::INT4_ARRAY, "a fraction");
        fails("[1]", &Type::TEXT_ARRAY, "a number into text");
    }

    #[test]
    fn a_string_and_null_fit_everything() {
        for target in [
            Type::INT4,
            Type::UUID,
            Type::TIMESTAMPTZ,
            Type::BYTEA,
            Type::JSONB,
            Type::INT4_ARRAY,
        ] {
            is("\"x\"", &target, "x");
            assert_eq!(encoded("null", &target), Ok(None));
        }
    }

    #[test]
    fn arrays_are_written_as_the_database_writes_them() {
        is("[1,null,-2]", &Type::INT4_ARRAY, r#"{"1",NULL,"-2"}"#);
        is("[]", &Type::INT4_ARRAY, "{}");
        is(
            "[[1,2],[3,4]]",
            &Type::INT4_ARRAY,
            r#"{{"1","2"},{"3","4"}}"#,
        );
        is(
            r#"["a\"b","c\\d","","NULL"]"#,
            &Type::TEXT_ARRAY,
            r#"{"a\"b","c\\d","","NULL"}"#,
        );
        is(
            r#"[{"a":[1]},[2]]"#,
            &Type::JSONB_ARRAY,
            r#"{"{\"a\":[1]}","[2]"}"#,
        );
        is("[true]", &Type::BOOL_ARRAY, r#"{"true"}"#);
        let nested = |depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        is(&nested(6), &Type::INT4_ARRAY, "{{{{{{}}}}}}");
        fails(
            &nested(100_000),
            &Type::INT4_ARRAY,
            "more than 6 dimensions",
        );
    }

    proptest! {
        #[test]
        fn no_params_make_it_panic(json in "[\\[\\]{}\",:0-9.eE+\\-a-z \\\\]{0,40}") {
            for param in parse(&json).unwrap_or_default() {
                for target in [Type::INT4, Type::TEXT, Type::JSONB, Type::INT4_ARRAY, Type::NUMERIC] {
                    let _ = param.encode(&target);
                }
                let _ = (param.untyped(), param.literal());
            }
        }
    }
}
