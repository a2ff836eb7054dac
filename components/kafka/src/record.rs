//! From a call of `create` to a record.

use bindery_contract::{Invocation, InvokeError};
use bytes::Bytes;
use rdkafka::message::{Header, OwnedHeaders};
use regex::Regex;

/// What a record is made of.
pub(crate) struct Record {
    /// `None` is a tombstone.
    pub(crate) value: Option<Bytes>,
    pub(crate) key: Option<String>,
    pub(crate) partition: Option<i32>,
    pub(crate) headers: Vec<(String, String)>,
}

impl Record {
    /// The record that `call` asks for.
    ///
    /// # Errors
    /// When its metadata makes no sense, or asks for what this build does not do.
    pub(crate) fn of(call: Invocation, excluded: Option<&Regex>) -> Result<Self, InvokeError> {
        let Invocation { data, metadata, .. } = call;
        // Over gRPC absent data is empty, over HTTP it is `null`.
        let value = Some(data).filter(|data| !matches!(&data[..], b"" | b"null"));
        if value.is_some() {
            refuse_schemas(metadata.get_any_case("valueSchemaType").unwrap_or_default())?;
        }
        let key = metadata.get("partitionKey").or(metadata.get("__key"));
        let key = key.map(str::to_owned);
        let partition = metadata
            .get("partitionNumber")
            .map(partition_number)
            .transpose()?;
        let headers = metadata
            .into_iter()
            .map(|(name, value)| (name.into_owned(), value))
            .filter(|(name, _)| !excluded.is_some_and(|excluded| excluded.is_match(name)))
            .collect();
        Ok(Self {
            value,
            key,
            partition,
            headers,
        })
    }

    /// How many bytes it has.
    pub(crate) fn size(&self) -> usize {
        let headers = self
            .headers
            .iter()
            .map(|(name, value)| name.len() + value.len());
        self.value.as_ref().map_or(0, Bytes::len)
            + self.key.as_ref().map_or(0, String::len)
            + headers.sum::<usize>()
    }

    /// The headers as librdkafka wants them.
    pub(crate) fn native_headers(&self) -> OwnedHeaders {
        let all = OwnedHeaders::new_with_capacity(self.headers.len());
        self.headers.iter().fold(all, |all, (key, value)| {
            all.insert(Header {
                key,
                value: Some(value),
            })
        })
    }
}

fn refuse_schemas(kind: &str) -> Result<(), InvokeError> {
    match kind.to_lowercase().as_str() {
        "" | "none" => Ok(()),
        "avro" => Err(InvokeError::bad_request(
            "this build does not support valueSchemaType Avro; encode the data before",
        )),
        _ => Err(InvokeError::bad_request(format!(
            "error parsing schema type. '{kind}' is not a supported value"
        ))),
    }
}

fn partition_number(text: &str) -> Result<i32, InvokeError> {
    let number = text.parse().ok().filter(|number| *number >= 0);
    number.ok_or_else(|| {
        InvokeError::bad_request(format!(
            "invalid partitionNumber metadata value '{text}': it has to be a whole number from 0"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(call: Invocation) -> Result<Record, String> {
        Record::of(call, None).map_err(|error| error.to_string())
    }

    fn call(data: &'static str) -> Invocation {
        Invocation::new("create").with_data(data)
    }

    #[test]
    fn null_and_nothing_are_tombstones() {
        assert_eq!(of(call("null")).unwrap().value, None);
        assert_eq!(of(call("")).unwrap().value, None);
        assert_eq!(of(call("\"\"")).unwrap().value.unwrap(), "\"\"");
        assert_eq!(of(call(" null")).unwrap().value.unwrap(), " null");
    }

    #[test]
    fn the_key_has_two_names() {
        let key = |call| of(call).unwrap().key;
        assert_eq!(key(call("1")), None);
        assert_eq!(key(call("1").with("__key", "a")).as_deref(), Some("a"));
        assert_eq!(key(call("1").with("partitionKey", "")).as_deref(), Some(""));
        let both = call("1").with("__key", "a").with("partitionKey", "b");
        assert_eq!(key(both).as_deref(), Some("b"));
        assert_eq!(
            key(call("1").with("partitionkey", "a")),
            None,
            "names are exact"
        );
    }

    #[test]
    fn every_entry_is_a_header_unless_it_is_excluded() {
        let call = call("1")
            .with("partitionKey", "k")
            .with("traceparent", "t")
            .with("x-a", "1");
        let excluded = Regex::new("^trace|^partition").unwrap();
        let all = Record::of(call.clone(), None).unwrap();
        assert_eq!(all.headers.len(), 3);
        assert_eq!(
            all.size(),
            "1".len() + "k".len() + "partitionKeyktraceparenttx-a1".len()
        );
        let some = Record::of(call, Some(&excluded)).unwrap();
        assert_eq!(some.headers, [("x-a".to_owned(), "1".to_owned())]);
        assert_eq!(some.key.as_deref(), Some("k"));
    }

    #[test]
    fn a_partition_is_a_number_from_zero() {
        let partition =
            |text: &str| of(call("1").with("partitionNumber", text)).map(|r| r.partition);
        assert_eq!(partition("7"), Ok(Some(7)));
        assert_eq!(partition("2147483647"), Ok(Some(i32::MAX)));
        for text in ["-1", "x", "", "2147483648", "1.0"] {
            let error = partition(text).unwrap_err();
            assert!(
                error.contains("invalid partitionNumber metadata value"),
                "{error}"
            );
        }
    }

    #[test]
    fn avro_is_refused_and_other_kinds_do_not_exist() {
        let error = |kind: &str| {
            of(call("1").with("valueSchemaType", kind))
                .err()
                .unwrap_or_default()
        };
        assert!(error("AVRO").contains("does not support valueSchemaType Avro"));
        assert!(error("json").contains("'json' is not a supported value"));
        assert_eq!(error("None"), "");
        assert!(
            of(call("null").with("valueSchemaType", "avro")).is_ok(),
            "a tombstone has no schema"
        );
    }
}
