//! What a dead letter is told of the event that it gets (DESIGN "Delivery").

use std::collections::BTreeMap;
use std::time::SystemTime;

use bindery_contract::{Event, Metadata};

/// The longest reason: some outputs make a header of it.
const LONGEST_REASON: usize = 1024;

/// An event whose attempts are used up.
pub(crate) struct Death<'a> {
    /// The component that it came from.
    pub(crate) source: &'a str,
    pub(crate) event: &'a Event,
    /// The app's last answer.
    pub(crate) reason: &'a str,
    pub(crate) attempts: u32,
    /// When it was tried first, and last.
    pub(crate) first: SystemTime,
    pub(crate) last: SystemTime,
}

/// The metadata of the call. The event's own comes as one JSON text: its keys were chosen
/// outside, and could otherwise change what the output does.
pub(crate) fn metadata(death: &Death<'_>) -> Metadata {
    let own: BTreeMap<&str, &str> = death.event.metadata.iter().collect();
    let pairs = [
        // What stores file it under.
        (
            "key",
            format!("{}-{:016x}", death.source, fastrand::u64(..)),
        ),
        ("deadLetterSource", death.source.to_owned()),
        ("deadLetterReason", one_line(death.reason)),
        ("deadLetterAttempts", death.attempts.to_string()),
        ("deadLetterFirstTime", timestamp(death.first)),
        ("deadLetterLastTime", timestamp(death.last)),
        (
            "deadLetterMetadata",
            serde_json::to_string(&own).unwrap_or_default(),
        ),
    ];
    pairs.into_iter().collect()
}

/// Without what no header may hold.
fn one_line(text: &str) -> String {
    let visible = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    visible.take(LONGEST_REASON).collect()
}

/// RFC 3339, in milliseconds.
fn timestamp(time: SystemTime) -> String {
    let timestamp = jiff::Timestamp::try_from(time).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    format!("{timestamp:.3}")
}

#[cfg(all(test, not(bindery_loom)))]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn it_says_where_the_event_came_from_and_why() {
        let mut event = Event::new("{}");
        event.metadata.insert("fileName", "../../\u{e9}\"x");
        let first = SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_123);
        let metadata = metadata(&Death {
            source: "orders",
            event: &event,
            reason: "no\r\nsuch thing",
            attempts: 3,
            first,
            last: first + Duration::from_secs(61),
        });
        let get = |key| metadata.get(key).unwrap_or_default();
        assert_eq!(get("deadLetterSource"), "orders");
        assert_eq!(get("deadLetterReason"), "no  such thing");
        assert_eq!(get("deadLetterAttempts"), "3");
        assert_eq!(get("deadLetterFirstTime"), "2023-11-14T22:13:20.123Z");
        assert_eq!(get("deadLetterLastTime"), "2023-11-14T22:14:21.123Z");
        assert_eq!(get("deadLetterMetadata"), r#"{"fileName":"../../é\"x"}"#);
        assert_eq!(
            metadata.get("fileName"),
            None,
            "the output is not told where to write"
        );
        assert!(get("key").starts_with("orders-"));
    }
}
