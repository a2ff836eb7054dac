//! From a record to an event.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};

use bindery_contract::{Event, Key, Metadata};
use bytes::Bytes;
use rdkafka::Message;
use rdkafka::message::Headers;
use regex::Regex;

/// How events are made.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    /// Whether keys and values of headers are escaped.
    pub(crate) escape: bool,
    /// Which headers are left out.
    pub(crate) excluded: Option<Regex>,
}

impl Shape {
    /// The event of a record, in the order of its partition.
    pub(crate) fn event(&self, record: &impl Message, partition: &Key) -> Event {
        let value = record.payload();
        let data = value.map_or(Bytes::from_static(b"null"), Bytes::copy_from_slice);
        let event = Event::new(data)
            .with_metadata(self.metadata(record))
            .in_order_of(partition.clone());
        match record.key() {
            // Escaped, so that keys which are no text stay apart.
            Some(key) => event.keyed(Key::new(format!("{}/{}", record.topic(), escape(key)))),
            None => event,
        }
    }

    /// A header may take the place of one of the reserved names, and a later one of an earlier.
    fn metadata(&self, record: &impl Message) -> Metadata {
        let mut pairs: Vec<(Cow<'static, str>, String)> = vec![
            ("__topic".into(), record.topic().to_owned()),
            ("__partition".into(), record.partition().to_string()),
            ("__offset".into(), record.offset().to_string()),
        ];
        if let Some(millis) = record.timestamp().to_millis() {
            pairs.push(("__timestamp".into(), millis.to_string()));
        }
        if let Some(key) = record.key() {
            pairs.push(("__key".into(), self.text(key)));
        }
        if let Some(headers) = record.headers() {
            pairs.extend(self.headers(headers));
        }
        pairs.into_iter().collect()
    }

    fn headers(&self, headers: &impl Headers) -> impl Iterator<Item = (Cow<'static, str>, String)> {
        (0..headers.count()).filter_map(|index| {
            // The library panics over a name that is not UTF-8. Such a record must not end the
            // reader again and again.
            let read = catch_unwind(AssertUnwindSafe(|| headers.try_get(index)));
            let Ok(header) = read else {
                tracing::warn!("a header whose name is not UTF-8 was left out");
                return None;
            };
            let header = header?;
            let excluded = self.excluded.as_ref();
            if excluded.is_some_and(|excluded| excluded.is_match(header.key)) {
                return None;
            }
            let value = self.text(header.value.unwrap_or_default());
            Some((header.key.to_owned().into(), value))
        })
    }

    /// Metadata is text: what is not UTF-8 is replaced, unless it is escaped.
    fn text(&self, bytes: &[u8]) -> String {
        if self.escape {
            escape(bytes)
        } else {
            String::from_utf8_lossy(bytes).into_owned()
        }
    }
}

/// As Go's `url.QueryEscape`.
fn escape(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for byte in bytes {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                text.push(char::from(*byte));
            }
            b' ' => text.push('+'),
            // Writing to a string cannot fail.
            _ => drop(write!(text, "%{byte:02X}")),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use bindery_contract::Order;
    use proptest::prelude::*;
    use rdkafka::Timestamp;
    use rdkafka::message::{Header, OwnedHeaders, OwnedMessage};

    use super::*;

    const PLAIN: Shape = Shape {
        escape: false,
        excluded: None,
    };

    fn record(
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(&str, Option<&[u8]>)],
    ) -> OwnedMessage {
        let headers = headers
            .iter()
            .fold(OwnedHeaders::new(), |all, (key, value)| {
                all.insert(Header { key, value: *value })
            });
        OwnedMessage::new(
            value.map(Into::into),
            key.map(Into::into),
            "orders".into(),
            Timestamp::CreateTime(1_700_000_000_123),
            3,
            42,
            Some(headers),
        )
    }

    fn metadata(shape: &Shape, record: &OwnedMessage) -> Vec<(String, String)> {
        let event = shape.event(record, &Key::new("orders/3"));
        event
            .metadata
            .iter()
            .map(|(key, value)| (key.into(), value.into()))
            .collect()
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs
            .iter()
            .map(|(key, value)| ((*key).into(), (*value).into()))
            .collect()
    }

    #[test]
    fn an_event_says_where_it_comes_from() {
        let record = record(
            Some(b"k"),
            Some(b"{}"),
            &[("h", Some(b"v")), ("none", None)],
        );
        assert_eq!(
            metadata(&PLAIN, &record),
            pairs(&[
                ("__key", "k"),
                ("__offset", "42"),
                ("__partition", "3"),
                ("__timestamp", "1700000000123"),
                ("__topic", "orders"),
                ("h", "v"),
                ("none", ""),
            ])
        );
        let event = PLAIN.event(&record, &Key::new("orders/3"));
        assert_eq!(event.data, "{}");
        assert_eq!(Order::Source.key_of(&event), Some(&Key::new("orders/3")));
        assert_eq!(Order::Key.key_of(&event), Some(&Key::new("orders/k")));
    }

    #[test]
    fn a_tombstone_without_a_key_is_null() {
        let event = PLAIN.event(&record(None, None, &[]), &Key::new("orders/3"));
        assert_eq!(event.data, "null");
        assert_eq!(event.metadata.get("__key"), None);
        assert_eq!(Order::Key.key_of(&event), Some(&Key::new("orders/3")));
    }

    #[test]
    fn headers_take_the_place_of_reserved_names() {
        let record = record(
            Some(b"k"),
            Some(b"1"),
            &[("__key", Some(b"a")), ("__key", Some(b"b"))],
        );
        let metadata = metadata(&PLAIN, &record);
        assert!(
            metadata.contains(&("__key".into(), "b".into())),
            "{metadata:?}"
        );
    }

    #[test]
    fn keys_and_values_are_escaped_and_names_are_not() {
        let shape = Shape {
            escape: true,
            excluded: None,
        };
        let record = record(
            Some(b"a/b c"),
            Some(b"1"),
            &[("x y", Some(b"\xff&=+~")), ("n", None)],
        );
        let metadata = metadata(&shape, &record);
        for pair in pairs(&[("__key", "a%2Fb+c"), ("x y", "%FF%26%3D%2B~"), ("n", "")]) {
            assert!(metadata.contains(&pair), "{metadata:?}");
        }
    }

    /// Headers as a client could write them that knows no UTF-8.
    struct Foreign;

    impl Headers for Foreign {
        fn count(&self) -> usize {
            2
        }

        fn try_get(&self, at: usize) -> Option<Header<'_, &[u8]>> {
            assert_eq!(at, 1, "what the library does over such a name");
            let value = Some(b"v".as_slice());
            Some(Header { key: "h", value })
        }
    }

    #[test]
    fn a_header_that_cannot_be_read_does_not_stop_the_record() {
        let read: Vec<_> = PLAIN.headers(&Foreign).collect();
        assert_eq!(read, [("h".into(), "v".to_owned())]);
    }

    #[test]
    fn excluded_headers_are_left_out() {
        let excluded = Some(Regex::new("^secret").unwrap());
        let shape = Shape {
            escape: false,
            excluded,
        };
        let record = record(
            Some(b"k"),
            None,
            &[("secret-a", Some(b"1")), ("a-secret", Some(b"2"))],
        );
        let metadata = metadata(&shape, &record);
        assert!(
            metadata.contains(&("a-secret".into(), "2".into())),
            "{metadata:?}"
        );
        assert!(
            !metadata.iter().any(|(name, _)| name == "secret-a"),
            "{metadata:?}"
        );
    }

    proptest! {
        /// A client that decodes what was escaped has the bytes again.
        #[test]
        fn what_is_escaped_can_be_decoded(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let escaped = escape(&bytes);
            prop_assert!(escaped.is_ascii() && !escaped.contains([' ', '&', '=', '/']));
            let mut decoded = Vec::new();
            let mut rest = escaped.as_bytes();
            while let [first, after @ ..] = rest {
                rest = after;
                decoded.push(match first {
                    b'+' => b' ',
                    b'%' => {
                        let hex = std::str::from_utf8(&after[..2]).unwrap();
                        rest = &after[2..];
                        u8::from_str_radix(hex, 16).unwrap()
                    }
                    plain => *plain,
                });
            }
            prop_assert_eq!(decoded, bytes);
        }
    }
}
