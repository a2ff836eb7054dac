//! The arguments of a statement, as the request has them, and as they are sent.
//!
//! Which argument fits which type is [`encode`](crate::encode)'s business.

use std::error::Error;
use std::fmt;

use bytes::BytesMut;
use serde_json::value::RawValue;
use tokio_postgres::types::{Format, IsNull, ToSql, Type, to_sql_checked};

use crate::encode::EncodeError;

/// An argument, as the request has it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Param {
    Null,
    Bool(bool),
    /// A number, as it was written.
    Number(String),
    Text(String),
    /// An array or an object, as it was written.
    Json(String),
}

/// Reads `params`: a JSON array of arguments; `null` is none.
pub(crate) fn parse(json: &str) -> serde_json::Result<Vec<Param>> {
    let values: Option<Vec<&RawValue>> = serde_json::from_str(json)?;
    values
        .unwrap_or_default()
        .into_iter()
        .map(Param::of)
        .collect()
}

impl Param {
    fn of(value: &RawValue) -> serde_json::Result<Self> {
        let text = value.get();
        Ok(match text.as_bytes().first() {
            Some(b'n') => Self::Null,
            Some(b't') => Self::Bool(true),
            Some(b'f') => Self::Bool(false),
            Some(b'"') => Self::Text(serde_json::from_str(text)?),
            Some(b'[' | b'{') => Self::Json(text.to_owned()),
            _ => Self::Number(text.to_owned()),
        })
    }

    /// The argument for a placeholder whose type the server is left to infer.
    pub(crate) fn untyped(&self) -> Encoded {
        Encoded(match self {
            Self::Null => None,
            Self::Bool(value) => Some(value.to_string()),
            Self::Number(text) | Self::Text(text) | Self::Json(text) => Some(text.clone()),
        })
    }

    /// The argument as a literal, safe to stand in a statement.
    pub(crate) fn literal(&self) -> Result<String, EncodeError> {
        Ok(match self {
            Self::Null => "null".into(),
            Self::Bool(value) => value.to_string(),
            // In parentheses, because of a sign, and of a cast that may follow.
            Self::Number(number) if is_whole(number) => format!("({number})"),
            // Bare, it would be rounded without a word where an integer is wanted.
            Self::Number(number) => format!("'{number}'"),
            Self::Text(text) | Self::Json(text) => quote(text)?,
        })
    }
}

impl fmt::Debug for Param {
    /// The kind only: an argument may be what a caller would not want in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Null => "null",
            Self::Bool(_) => "boolean",
            Self::Number(_) => "number",
            Self::Text(_) => "string",
            Self::Json(_) => "json",
        })
    }
}

fn is_whole(number: &str) -> bool {
    number
        .parse()
        .is_ok_and(|number: f64| number.fract() == 0.0)
}

/// A string literal that means the same whatever the server's settings are.
fn quote(text: &str) -> Result<String, EncodeError> {
    if text.contains('\0') {
        return Err(EncodeError::ZeroByte);
    }
    let text = text.replace('\'', "''");
    Ok(if text.contains('\\') {
        format!("E'{}'", text.replace('\\', r"\\"))
    } else {
        format!("'{text}'")
    })
}

/// An argument as it is sent: text, or nothing for null.
#[derive(PartialEq, Eq)]
pub(crate) struct Encoded(pub(crate) Option<String>);

impl ToSql for Encoded {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        match &self.0 {
            None => Ok(IsNull::Yes),
            Some(text) => {
                out.extend_from_slice(text.as_bytes());
                Ok(IsNull::No)
            }
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        Format::Text
    }

    to_sql_checked!();
}

impl fmt::Debug for Encoded {
    /// The client library logs arguments by this.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn arguments_are_an_array_and_null_is_none() {
        assert_eq!(parse("null").unwrap(), []);
        assert_eq!(parse(" [ ] ").unwrap(), []);
        let all = parse(r#"[null, true, 1.10, "a\u00e9\n", {"a": 1}, [1]]"#).unwrap();
        assert_eq!(
            all,
            [
                Param::Null,
                Param::Bool(true),
                Param::Number("1.10".into()),
                Param::Text("aé\n".into()),
                Param::Json(r#"{"a": 1}"#.into()),
                Param::Json("[1]".into()),
            ]
        );
        for json in ["{}", "1", "[", "[1,]", "\"x\""] {
            assert!(parse(json).is_err(), "{json}");
        }
    }

    #[test]
    fn a_literal_is_safe() {
        for (json, literal) in [
            ("null", "null"),
            ("false", "false"),
            ("-1", "(-1)"),
            ("1.5e3", "(1.5e3)"),
            ("-1.5", "'-1.5'"),
            (r#""it's""#, "'it''s'"),
            (r#""a\\' or 1=1 --""#, r"E'a\\'' or 1=1 --'"),
            (r#"{"a":"b'c"}"#, r#"'{"a":"b''c"}'"#),
        ] {
            let param = &parse(&format!("[{json}]")).unwrap()[0];
            assert_eq!(param.literal().unwrap(), literal, "{json}");
        }
        let zero = Param::Text("a\0b".into());
        assert_eq!(zero.literal(), Err(EncodeError::ZeroByte));
    }

    proptest! {
        #[test]
        fn a_quoted_text_ends_where_it_ends(text in "[^\0]*") {
            let sql = format!("{};", quote(&text).unwrap());
            // The scanner, which follows the server's rules, sees one string and nothing else.
            prop_assert_eq!(crate::sql::statements(&sql), [&sql[..sql.len() - 1]]);
            prop_assert_eq!(crate::sql::placeholders(&sql), 0);
        }
    }
}
