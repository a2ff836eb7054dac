//! Reading a request's body: within the limit, and into a call. Public, so that a host with routes
//! of its own reads a body as the API does.

use std::borrow::Cow;
use std::fmt;

use actix_web::dev::Payload;
use bindery_actors::Call;
use bindery_contract::Metadata;
use bindery_contract::request::{canonical_json, null_if_absent};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// Why a body cannot be used; all of it is a 400 (runtime §1.1.2).
#[derive(Debug, PartialEq, Eq)]
pub enum BodyError {
    /// Longer than `--max-body-size`.
    TooLarge(usize),
    /// The client broke off.
    Incomplete(String),
    /// Not the JSON that is expected.
    Malformed(String),
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge(limit) => {
                write!(
                    f,
                    "stream too large (the limit is {limit} bytes, --max-body-size)"
                )
            }
            Self::Incomplete(reason) | Self::Malformed(reason) => f.write_str(reason),
        }
    }
}

/// Reads a body of at most `limit` bytes; no limit is `None`. A body that comes in one piece is
/// not copied.
pub(super) async fn read(mut payload: Payload, limit: Option<usize>) -> Result<Bytes, BodyError> {
    let limit = limit.unwrap_or(usize::MAX);
    let mut first = Bytes::new();
    let mut joined: Option<BytesMut> = None;
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|error| BodyError::Incomplete(error.to_string()))?;
        let so_far = joined.as_ref().map_or(first.len(), BytesMut::len);
        if so_far + chunk.len() > limit {
            return Err(BodyError::TooLarge(limit));
        }
        match &mut joined {
            Some(joined) => joined.extend_from_slice(&chunk),
            None if first.is_empty() => first = chunk,
            None => {
                let mut bytes = BytesMut::with_capacity((so_far + chunk.len()) * 2);
                bytes.extend_from_slice(&first);
                bytes.extend_from_slice(&chunk);
                joined = Some(bytes);
            }
        }
    }
    Ok(joined.map_or(first, BytesMut::freeze))
}

/// Reads a call out of a body: a JSON object with `operation`, `data` and `metadata`. Member
/// names are compared without case, unknown ones ignored, of doubled ones the later wins (the
/// metadata of all of them is merged); what follows the first JSON value is ignored.
///
/// # Errors
/// When it is not that.
pub fn parse(binding: String, body: &Bytes) -> Result<Call, BodyError> {
    let malformed = |error: serde_json::Error| BodyError::Malformed(describe(&error));
    // Text that is not UTF-8 is mended as the reference mends it; only then is it copied.
    let mended;
    let (text, body) = match std::str::from_utf8(body) {
        Ok(text) => (text, body),
        Err(_) => {
            mended = Bytes::from(String::from_utf8_lossy(body).into_owned());
            (std::str::from_utf8(&mended).unwrap_or_default(), &mended)
        }
    };
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let Request {
        operation,
        data,
        metadata,
    } = Members.deserialize(&mut deserializer).map_err(malformed)?;
    let data = data.map(|raw| match canonical_json(raw.get()) {
        Cow::Borrowed(text) => slice(body, text),
        Cow::Owned(text) => Bytes::from(text),
    });
    Ok(Call {
        binding,
        operation,
        data: null_if_absent(data),
        metadata,
        deadline: None,
    })
}

/// A part of the body, without a copy unless a small part would hold on to a large body.
fn slice(body: &Bytes, text: &str) -> Bytes {
    if body.len() > 4096 && text.len() < body.len() / 4 {
        Bytes::copy_from_slice(text.as_bytes())
    } else {
        body.slice_ref(text.as_bytes())
    }
}

fn describe(error: &serde_json::Error) -> String {
    if error.is_eof() && error.column() == 0 && error.line() <= 1 {
        return "EOF".into();
    }
    if error.is_eof() {
        "unexpected EOF".into()
    } else {
        error.to_string()
    }
}

#[derive(Default)]
struct Request<'a> {
    operation: String,
    data: Option<&'a RawValue>,
    metadata: Metadata,
}

struct Members;

impl<'de> DeserializeSeed<'de> for Members {
    type Value = Request<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Request<'de>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Members {
    type Value = Request<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object with operation, data and metadata")
    }

    /// `null` is an empty request (runtime §1.1.1).
    fn visit_unit<E: de::Error>(self) -> Result<Request<'de>, E> {
        Ok(Request::default())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Request<'de>, A::Error> {
        let mut request = Request::default();
        while let Some(name) = members.next_key::<Cow<'de, str>>()? {
            let is = |member: &str| name.eq_ignore_ascii_case(member);
            if is("data") {
                request.data = Some(members.next_value()?);
            } else if is("operation") {
                request.operation = members.next_value::<Option<String>>()?.unwrap_or_default();
            } else if is("metadata") {
                let pairs = members.next_value::<Option<Pairs>>()?;
                let pairs = pairs.map(|pairs| pairs.0).unwrap_or_default();
                if request.metadata.is_empty() {
                    request.metadata = pairs.into_iter().collect();
                } else {
                    request
                        .metadata
                        .extend(pairs.into_iter().map(|(k, v)| (k.into(), v)));
                }
            } else {
                members.next_value::<de::IgnoredAny>()?;
            }
        }
        Ok(request)
    }
}

/// A map of text to text; a value of `null` is an empty text, as Go decodes it.
struct Pairs(Vec<(String, String)>);

impl<'de> de::Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = Pairs;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("metadata as an object of text values")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Pairs, A::Error> {
                let mut pairs = Vec::new();
                while let Some((key, value)) = entries.next_entry::<String, Option<String>>()? {
                    pairs.push((key, value.unwrap_or_default()));
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(Text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(body: &str) -> Result<Call, BodyError> {
        parse("b".into(), &Bytes::copy_from_slice(body.as_bytes()))
    }

    #[test]
    fn members_are_found_without_case_and_later_ones_win() {
        let call = parsed(
            r#"{"OPERATION":"x","operation":"create","Data":1,"DATA":{"a": 2},"other":[],
                "metadata":{"k":"1","l":"2"},"METADATA":{"k":"3"}} trailing"#,
        )
        .unwrap();
        assert_eq!(
            (call.operation.as_str(), call.data),
            ("create", Bytes::from(r#"{"a":2}"#))
        );
        assert_eq!(
            call.metadata.iter().collect::<Vec<_>>(),
            [("k", "3"), ("l", "2")]
        );
    }

    #[test]
    fn absent_data_is_null_and_a_string_keeps_its_quotes() {
        assert_eq!(parsed(r#"{"operation":"x"}"#).unwrap().data, "null");
        assert_eq!(parsed(r#"{"data":null}"#).unwrap().data, "null");
        assert_eq!(parsed(r#"{"data":"a\u0020b"}"#).unwrap().data, r#""a b""#);
        assert_eq!(parsed("null").unwrap().operation, "");
        assert_eq!(
            parsed(r#"{"operation":null,"metadata":null}"#)
                .unwrap()
                .operation,
            ""
        );
        assert_eq!(
            parsed(r#"{"metadata":{"a":null}}"#)
                .unwrap()
                .metadata
                .get("a"),
            Some("")
        );
    }

    #[test]
    fn anything_else_is_malformed() {
        for body in [
            "",
            " ",
            "[]",
            "1",
            "\"x\"",
            "{",
            r#"{"operation":1}"#,
            r#"{"metadata":{"a":1}}"#,
            r#"{"metadata":[]}"#,
            "{\"data\":}",
            r#"{"data":01}"#,
            "nope",
        ] {
            assert!(
                matches!(parsed(body), Err(BodyError::Malformed(_))),
                "{body}"
            );
        }
        assert_eq!(parsed("").unwrap_err().to_string(), "EOF");
        assert_eq!(
            parsed(r#"{"data""#).unwrap_err().to_string(),
            "unexpected EOF"
        );
    }

    #[test]
    fn invalid_utf_8_is_mended() {
        let body = Bytes::from_static(b"{\"data\":\"a\xffb\"}");
        assert_eq!(parse("b".into(), &body).unwrap().data, "\"a\u{fffd}b\"");
    }

    #[test]
    fn a_small_value_does_not_hold_on_to_a_large_body() {
        let body = Bytes::from(format!(r#"{{"data":"x","pad":"{}"}}"#, "y".repeat(8192)));
        let call = parse("b".into(), &body).unwrap();
        let range = body.as_ptr_range();
        assert!(!range.contains(&call.data.as_ptr()));
        let body = Bytes::from(format!(r#"{{"data":"{}"}}"#, "y".repeat(8192)));
        let call = parse("b".into(), &body).unwrap();
        assert!(
            body.as_ptr_range().contains(&call.data.as_ptr()),
            "a large one is not copied"
        );
    }

    proptest! {
        #[test]
        fn no_body_makes_the_parser_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse("b".into(), &body.into());
        }

        #[test]
        fn no_json_like_body_makes_the_parser_panic(body in r#"[{}\[\]":, a-eu0-9\\]{0,60}"#) {
            let _ = parsed(&body);
        }
    }
}
