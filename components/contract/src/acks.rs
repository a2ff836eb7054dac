//! The two acknowledgement trackers. No binding writes its own.
//!
//! [`Concurrent`] is for sources that acknowledge each message on its own: queues.
//! [`InOrder`] is for sources that acknowledge a position, and with it everything before it:
//! logs. Its position never passes an event that was not acknowledged.

use std::collections::{HashMap, VecDeque};
use std::future::{self, Future};
use std::hash::Hash;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use foldhash::fast::RandomState;
use futures_util::stream::{FuturesUnordered, StreamExt};

use crate::sink::{Ack, Nack, Pending};

struct Tagged<T> {
    tag: Option<T>,
    pending: Pending,
}

impl<T: Unpin> Future for Tagged<T> {
    type Output = (T, Ack);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let ack = ready!(Pin::new(&mut self.pending).poll(cx));
        let tag = self
            .tag
            .take()
            .expect("a future is not polled after it resolved");
        Poll::Ready((tag, ack))
    }
}

/// Waits for many events at once and names each as it is answered.
pub struct Concurrent<T> {
    pending: FuturesUnordered<Tagged<T>>,
}

impl<T: Unpin> Concurrent<T> {
    /// Nothing pending.
    pub fn new() -> Self {
        Self {
            pending: FuturesUnordered::new(),
        }
    }

    /// Waits for `pending` too; `tag` is what the source calls the message.
    pub fn track(&mut self, tag: T, pending: Pending) {
        self.pending.push(Tagged {
            tag: Some(tag),
            pending,
        });
    }

    /// The next answer. Waits for ever while nothing is pending, so it can stand in a
    /// `select!`. Safe to cancel.
    pub async fn next(&mut self) -> (T, Ack) {
        future::poll_fn(|cx| self.poll_next(cx)).await
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<(T, Ack)> {
        match ready!(self.pending.poll_next_unpin(cx)) {
            Some(answered) => Poll::Ready(answered),
            None => Poll::Pending,
        }
    }

    /// How many events are pending.
    pub fn len(&self) -> usize {
        self.pending.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }
}

impl<T: Unpin> Default for Concurrent<T> {
    fn default() -> Self {
        Self::new()
    }
}

/// Waits for many events at once and says how far each key's position may move.
pub struct InOrder<K, P> {
    pending: Concurrent<(K, u64, P)>,
    /// By a quick hash: the keys are the source's own.
    keys: HashMap<K, Line<P>, RandomState>,
    next_line: u64,
    /// What nobody was told yet; of a key, one step at most before it is stuck.
    learned: VecDeque<Progress<K, P>>,
}

/// What is under way of one key, from its first event until all are settled or it is forgotten.
struct Line<P> {
    /// Tells it from those that were forgotten under the same key.
    number: u64,
    settled: Contiguous<P>,
}

/// What [`InOrder`] learned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress<K, P> {
    /// Every event of `key` up to and with `position` is acknowledged: commit it.
    Upto {
        /// Whose position moved.
        key: K,
        /// How far.
        position: P,
    },
    /// The event at `position` was not taken. The key's position stays before it for good; read
    /// again from there, or stop.
    Stuck {
        /// Whose position is stuck.
        key: K,
        /// The event that was not taken.
        position: P,
        /// Why.
        reason: Nack,
    },
}

impl<K, P> Progress<K, P> {
    fn key(&self) -> &K {
        match self {
            Self::Upto { key, .. } | Self::Stuck { key, .. } => key,
        }
    }
}

impl<K, P> InOrder<K, P>
where
    K: Clone + Eq + Hash + Unpin,
    P: Copy + Ord + Unpin,
{
    /// Nothing pending.
    pub fn new() -> Self {
        Self {
            pending: Concurrent::new(),
            keys: HashMap::default(),
            next_line: 0,
            learned: VecDeque::new(),
        }
    }

    /// Waits for `pending` too. Positions of one key must grow, until it is forgotten.
    pub fn track(&mut self, key: K, position: P, pending: Pending) {
        let next_line = &mut self.next_line;
        let line = self.keys.entry(key.clone()).or_insert_with(|| {
            *next_line += 1;
            Line {
                number: *next_line,
                settled: Contiguous::default(),
            }
        });
        line.settled.sent(position);
        self.pending.track((key, line.number, position), pending);
    }

    /// The next step forward, as far as is known by now, or the next event that blocks its key.
    /// Waits for ever while nothing is pending. Safe to cancel.
    pub async fn next(&mut self) -> Progress<K, P> {
        future::poll_fn(|cx| {
            if self.learned.is_empty() {
                // All answers at once: many of them are one step of their key.
                while let Poll::Ready((of, ack)) = self.pending.poll_next(cx) {
                    self.learn(of, ack);
                }
            }
            let next = self.learned.pop_front();
            next.map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }

    fn learn(&mut self, (key, number, position): (K, u64, P), ack: Ack) {
        // Another line or none: the key was forgotten while this was under way.
        let line = self.keys.get_mut(&key);
        let Some(line) = line.filter(|line| line.number == number) else {
            return;
        };
        if let Ack::Nacked(reason) = ack {
            self.learned.push_back(Progress::Stuck {
                key,
                position,
                reason,
            });
            return;
        }
        let moved = line.settled.settled(position);
        if line.settled.is_empty() {
            self.keys.remove(&key);
        }
        let Some(position) = moved else {
            return;
        };
        let mut last = self.learned.iter_mut().rev();
        match last.find(|progress| *progress.key() == key) {
            Some(Progress::Upto { position: upto, .. }) => *upto = position,
            _ => self.learned.push_back(Progress::Upto { key, position }),
        }
    }

    /// Forgets a key: answers that still come for it say nothing, also when it is tracked again.
    /// For a partition that was taken away.
    pub fn forget(&mut self, key: &K) {
        self.keys.remove(key);
        self.learned.retain(|progress| progress.key() != key);
    }

    /// How many events are pending.
    pub fn len(&self) -> usize {
        self.pending.len()
    }

    /// Whether none is, and [`next`](Self::next) has nothing to say any more.
    pub fn is_empty(&self) -> bool {
        self.pending.is_empty() && self.learned.is_empty()
    }

    /// How many events of `key` are held back behind one that is not acknowledged yet, itself
    /// included.
    pub fn held_back(&self, key: &K) -> usize {
        self.keys.get(key).map_or(0, |line| line.settled.len())
    }
}

impl<K, P> Default for InOrder<K, P>
where
    K: Clone + Eq + Hash + Unpin,
    P: Copy + Ord + Unpin,
{
    fn default() -> Self {
        Self::new()
    }
}

/// Which positions of one key are settled; the pure heart of [`InOrder`].
#[derive(Clone, Debug)]
pub struct Contiguous<P> {
    /// In order of sending, and so of position; the first is never settled.
    sent: VecDeque<(P, bool)>,
}

impl<P> Default for Contiguous<P> {
    fn default() -> Self {
        Self {
            sent: VecDeque::new(),
        }
    }
}

impl<P: Copy + Ord> Contiguous<P> {
    /// An event at `position` is under way.
    pub fn sent(&mut self, position: P) {
        debug_assert!(
            self.sent.back().is_none_or(|(last, _)| *last < position),
            "positions of one key must grow"
        );
        self.sent.push_back((position, false));
    }

    /// The event at `position` is settled. Returns the position up to which everything is, when
    /// that moved. A position that was never sent, or is settled already, changes nothing.
    pub fn settled(&mut self, position: P) -> Option<P> {
        let at = self
            .sent
            .binary_search_by_key(&position, |(sent, _)| *sent)
            .ok()?;
        self.sent[at].1 = true;
        let mut moved = None;
        while let Some((position, true)) = self.sent.front() {
            moved = Some(*position);
            self.sent.pop_front();
        }
        moved
    }
}

impl<P> Contiguous<P> {
    /// How many are not settled, or settled and held back.
    pub fn len(&self) -> usize {
        self.sent.len()
    }

    /// Whether everything that was sent is settled.
    pub fn is_empty(&self) -> bool {
        self.sent.is_empty()
    }
}

#[cfg(all(test, not(bindery_loom)))]
mod tests {
    use std::collections::BTreeSet;

    use futures_util::FutureExt;
    use proptest::prelude::*;

    use super::*;
    use crate::event::{Event, Source};
    use crate::sink::tests::{Kept, intake, permit};

    #[test]
    fn what_is_answered_late_says_nothing_about_a_key_that_was_forgotten() {
        let lanes = Kept::with_slots(9);
        let sink = intake(Source::Queue, 9, &lanes).sink();
        let send = || permit(&sink).unwrap().send(Event::new("x"));
        let mut acks = InOrder::new();
        (1..=2).for_each(|position| acks.track("key", position, send()));
        acks.forget(&"key");
        // It is given back, and read again.
        acks.track("key", 1, send());
        lanes.take().ack("late".into());
        lanes.take().nack(Nack::Revoked);
        assert_eq!(acks.next().now_or_never(), None);
        assert_eq!((acks.len(), acks.held_back(&"key")), (1, 1));
        lanes.take().ack("in time".into());
        let (key, position) = ("key", 1);
        let moved = acks.next().now_or_never();
        assert_eq!(moved, Some(Progress::Upto { key, position }));
    }

    #[test]
    fn what_is_known_at_once_is_one_step_for_each_key() {
        let lanes = Kept::with_slots(9);
        let sink = intake(Source::Queue, 9, &lanes).sink();
        let send = || permit(&sink).unwrap().send(Event::new("x"));
        let mut acks = InOrder::new();
        for (key, position) in [("a", 1), ("a", 2), ("b", 1), ("a", 3), ("b", 2), ("a", 4)] {
            acks.track(key, position, send());
        }
        // In the order in which they were sent; the last one is not answered.
        (0..4).for_each(|_| lanes.take().ack("taken".into()));
        lanes.take().nack(Nack::Stopped);
        let mut next = || acks.next().now_or_never();
        let upto = |key, position| Some(Progress::Upto { key, position });
        let stuck = Progress::Stuck {
            key: "b",
            position: 2,
            reason: Nack::Stopped,
        };
        let steps = [next(), next(), next(), next()];
        assert_eq!(steps, [upto("a", 3), upto("b", 1), Some(stuck), None]);
        lanes.take().ack("at last".into());
        acks.forget(&"b");
        assert_eq!(acks.next().now_or_never(), upto("a", 4));
        assert!(acks.is_empty());
    }

    #[test]
    fn the_position_waits_for_the_slowest() {
        let mut line = Contiguous::default();
        for position in 1..=4 {
            line.sent(position);
        }
        assert_eq!(line.settled(2), None);
        assert_eq!(line.settled(1), Some(2));
        assert_eq!(line.settled(4), None);
        assert_eq!(line.settled(3), Some(4));
        assert!(line.is_empty());
    }

    proptest! {
        /// In whatever order positions are settled, once or twice, never sent or sent: the
        /// position never passes one that is not settled, and reaches the end when all are.
        #[test]
        fn the_position_never_passes_an_unsettled_one(
            gaps in prop::collection::vec(1i64..5, 1..40),
            order in prop::collection::vec(any::<prop::sample::Index>(), 0..200),
        ) {
            let sent: Vec<i64> = gaps.iter().scan(0, |at, gap| { *at += gap; Some(*at) }).collect();
            let mut line = Contiguous::default();
            for position in &sent {
                line.sent(*position);
            }
            let mut open: BTreeSet<i64> = sent.iter().copied().collect();
            let mut reached = 0;
            let all = sent.iter().copied();
            for position in order.iter().map(|index| *index.get(&sent)).chain([-1, 1_000]).chain(all) {
                open.remove(&position);
                if let Some(upto) = line.settled(position) {
                    prop_assert!(upto > reached, "it only moves forward");
                    prop_assert!(open.first().is_none_or(|first| upto < *first), "it passed an open one");
                    reached = upto;
                }
            }
            prop_assert_eq!(reached, *sent.last().unwrap());
            prop_assert!(line.is_empty());
        }
    }
}
