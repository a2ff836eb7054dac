//! An event: what an input binding read and the app is given.

use std::hash::{BuildHasher, DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use crate::metadata::Metadata;

/// One message from outside.
#[derive(Clone, Debug, Default)]
pub struct Event {
    /// The body, as the source gave it.
    pub data: Bytes,
    /// What the app gets as headers (HTTP) or metadata (gRPC).
    pub metadata: Metadata,
    pub(crate) source_key: Option<Key>,
    pub(crate) key: Option<Key>,
    pub(crate) revoked: Option<CancellationToken>,
}

impl Event {
    /// An event with a body and nothing else.
    pub fn new(data: impl Into<Bytes>) -> Self {
        Self {
            data: data.into(),
            ..Self::default()
        }
    }

    /// Adds metadata.
    pub fn with_metadata(mut self, metadata: Metadata) -> Self {
        self.metadata = metadata;
        self
    }

    /// Says within what the source promises order: Kafka's topic and partition, a queue's
    /// message group. Events of one source key reach the app one after another, in the order
    /// they were sent (`spec.delivery.order: source`).
    pub fn in_order_of(mut self, source_key: Key) -> Self {
        self.source_key = Some(source_key);
        self
    }

    /// Within what the source promises order, if it said so.
    pub fn source_key(&self) -> Option<&Key> {
        self.source_key.as_ref()
    }

    /// Names the message's own key, for `spec.delivery.order: key`.
    pub fn keyed(mut self, key: Key) -> Self {
        self.key = Some(key);
        self
    }

    /// Says how the source takes the event back: a partition that another reader gets. From
    /// then on it is not tried any more and answered with [`Nack::Revoked`](crate::Nack); an
    /// attempt that is running is finished, and counts.
    pub fn revocable(mut self, revoked: CancellationToken) -> Self {
        self.revoked = Some(revoked);
        self
    }

    /// Whether its source has taken it back.
    pub(crate) fn is_revoked(&self) -> bool {
        self.revoked
            .as_ref()
            .is_some_and(CancellationToken::is_cancelled)
    }
}

/// What order is kept by. Cheap to clone: a reader makes it once for each partition.
#[derive(Clone)]
pub struct Key(Arc<Named>);

struct Named {
    hash: u64,
    name: Box<str>,
}

impl Key {
    /// The key with this name.
    pub fn new(name: impl Into<Box<str>>) -> Self {
        let name = name.into();
        // The default hasher has fixed keys, so a key stays with its thread across restarts.
        let mut hasher = DefaultHasher::new();
        name.hash(&mut hasher);
        Self(Arc::new(Named {
            hash: hasher.finish(),
            name,
        }))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0.name
    }

    /// A number that is the same for the same name, in every process of this build.
    pub fn stable_hash(&self) -> u64 {
        self.0.hash
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
            || (self.0.hash == other.0.hash && self.0.name == other.0.name)
    }
}

impl Eq for Key {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0.hash);
    }
}

/// Finds keys by the number that each has already, which is cheaper than to hash it. For maps that
/// hold no more keys than may be in flight: whoever chooses names can choose their numbers.
#[derive(Clone, Copy, Debug, Default)]
pub struct ByNumber(u64);

impl BuildHasher for ByNumber {
    type Hasher = Self;

    fn build_hasher(&self) -> Self {
        *self
    }
}

impl Hasher for ByNumber {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, number: u64) {
        // Odd, and without a pattern in its bits.
        const MIX: u64 = 0x9e37_79b9_7f4a_7c15;
        self.0 = (self.0.rotate_left(26) ^ number).wrapping_mul(MIX);
    }

    fn write_usize(&mut self, number: usize) {
        self.write_u64(number as u64);
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Debug::fmt(&*self.0.name, f)
    }
}

/// Within what order is kept: `spec.delivery.order`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// As the source promises it: one after another within the event's source key.
    #[default]
    Source,
    /// Within the message's own key, else within its source key.
    Key,
    /// Not at all.
    None,
}

impl Order {
    /// The key that `event` has to keep its place in, if any.
    pub fn key_of(self, event: &Event) -> Option<&Key> {
        match self {
            Self::Source => event.source_key.as_ref(),
            Self::Key => event.key.as_ref().or(event.source_key.as_ref()),
            Self::None => None,
        }
    }
}

/// What a source does with an event that was not acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Nothing: a moment that passed, such as a cron tick. It is delivered once.
    Signal,
    /// It delivers the event again: queues. One attempt, then a refusal.
    Queue,
    /// It has a position that moves on: Kafka, Kinesis. Delivery is tried in place, without end,
    /// and the position never passes an event that was not acknowledged.
    Log,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_chooses_the_key() {
        let event = Event::new("x")
            .in_order_of(Key::new("orders/3"))
            .keyed(Key::new("customer 7"));
        let chosen = |order: Order| order.key_of(&event).map(Key::as_str);
        assert_eq!(chosen(Order::Source), Some("orders/3"));
        assert_eq!(chosen(Order::Key), Some("customer 7"));
        assert_eq!(chosen(Order::None), None);
    }

    #[test]
    fn keys_are_equal_by_name() {
        assert_eq!(Key::new("a"), Key::new("a"));
        assert_ne!(Key::new("a"), Key::new("b"));
        assert_eq!(Key::new("a").stable_hash(), Key::new("a").stable_hash());
    }
}
