//! Lanes: the way of an event from its binding's thread to a delivery thread.
//!
//! One lane for each delivery thread: a bounded channel, used only through `try_send` and
//! `try_recv`, with one waker for its consumer. Producers never wait at a lane: they hold a slot
//! (see [`bindery_contract::credit`]), and there are no more slots than a lane has room.
//!
//! The protocol. Producer: push, *then* wake (at the end of its burst, see `burst.rs`). Consumer:
//! take; nothing there: register the waker, *then* take again, and only then sleep. So either the
//! consumer's second look finds what was pushed, or the producer finds the waker. `tests/loom.rs`
//! checks it on this very source.

use std::task::{Context, Poll};

use self::queue::Queue;
use crate::burst;

#[cfg(bindery_loom)]
use self::queue::AtomicWaker;
#[cfg(not(bindery_loom))]
use futures_util::task::AtomicWaker;

/// How many events a consumer takes at one waking: enough to spare wake-ups, few enough to let
/// the thread do other work in between.
pub const BATCH: usize = 32;

/// One lane.
pub struct Lane<T> {
    queue: Queue<T>,
    consumer: AtomicWaker,
}

impl<T> Lane<T> {
    /// A lane with room for `capacity` events.
    pub fn new(capacity: usize) -> Self {
        Self {
            queue: Queue::new(capacity),
            consumer: AtomicWaker::new(),
        }
    }

    /// Puts an event in. The caller holds one of at most `capacity` slots.
    pub fn push(&self, event: T) {
        assert!(
            self.queue.try_push(event),
            "there are no more slots than a lane has room"
        );
        if let Some(waker) = self.consumer.take() {
            burst::wake(&waker);
        }
    }

    /// Takes up to [`BATCH`] events out, or waits for the first. One consumer at a time.
    pub fn poll_take(&self, cx: &mut Context<'_>, taken: &mut Vec<T>) -> Poll<()> {
        if self.take(taken) {
            return Poll::Ready(());
        }
        self.consumer.register(cx.waker());
        if self.take(taken) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    /// How many events are in it now.
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether it is empty now.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn take(&self, taken: &mut Vec<T>) -> bool {
        let before = taken.len();
        taken.extend(std::iter::from_fn(|| self.queue.try_pop()).take(BATCH));
        taken.len() > before
    }
}

#[cfg(not(bindery_loom))]
mod queue {
    use crossbeam_channel::{Receiver, Sender, bounded};

    pub(super) struct Queue<T> {
        sender: Sender<T>,
        receiver: Receiver<T>,
    }

    impl<T> Queue<T> {
        pub(super) fn new(capacity: usize) -> Self {
            let (sender, receiver) = bounded(capacity);
            Self { sender, receiver }
        }

        pub(super) fn try_push(&self, item: T) -> bool {
            self.sender.try_send(item).is_ok()
        }

        pub(super) fn try_pop(&self) -> Option<T> {
            self.receiver.try_recv().ok()
        }

        pub(super) fn len(&self) -> usize {
            self.receiver.len()
        }
    }
}

/// What loom runs instead of crossbeam's channel, which cannot be model-checked itself: the same
/// promises, made of loom's parts.
#[cfg(bindery_loom)]
mod queue {
    use std::collections::VecDeque;
    use std::task::Waker;

    use bindery_contract::sync::{Mutex, lock};

    pub(super) struct Queue<T> {
        items: Mutex<VecDeque<T>>,
        capacity: usize,
    }

    impl<T> Queue<T> {
        pub(super) fn new(capacity: usize) -> Self {
            Self {
                items: Mutex::new(VecDeque::new()),
                capacity,
            }
        }

        pub(super) fn try_push(&self, item: T) -> bool {
            let mut items = lock(&self.items);
            let room = items.len() < self.capacity;
            if room {
                items.push_back(item);
            }
            room
        }

        pub(super) fn try_pop(&self) -> Option<T> {
            lock(&self.items).pop_front()
        }

        pub(super) fn len(&self) -> usize {
            lock(&self.items).len()
        }
    }

    /// Loom's model, with the signature of the real one.
    pub(super) struct AtomicWaker(loom::future::AtomicWaker);

    impl AtomicWaker {
        pub(super) fn new() -> Self {
            Self(loom::future::AtomicWaker::new())
        }

        pub(super) fn register(&self, waker: &Waker) {
            self.0.register_by_ref(waker);
        }

        pub(super) fn take(&self) -> Option<Waker> {
            self.0.take_waker()
        }
    }
}

#[cfg(all(test, not(bindery_loom)))]
mod tests {
    use std::future::poll_fn;
    use std::sync::Arc;

    use bindery_contract::credit::Credit;

    use super::*;

    #[test]
    fn a_consumer_takes_a_batch_at_a_time() {
        let lane = Lane::new(100);
        (0..40).for_each(|event| lane.push(event));
        let mut taken = Vec::new();
        let mut cx = Context::from_waker(std::task::Waker::noop());
        assert!(lane.poll_take(&mut cx, &mut taken).is_ready());
        assert_eq!(taken, (0..32).collect::<Vec<_>>());
        assert!(lane.poll_take(&mut cx, &mut taken).is_ready());
        assert_eq!(taken.len(), 40);
        assert!(lane.poll_take(&mut cx, &mut taken).is_pending());
    }

    /// Crossbeam's channel under real threads: every event arrives once, in order, and nobody
    /// sleeps for ever.
    #[test]
    fn many_producers_and_one_consumer_under_stress() {
        const PRODUCERS: usize = 4;
        const EACH: usize = 20_000;
        const SLOTS: usize = 8;
        let lane = Arc::new(Lane::new(SLOTS));
        let slots = Credit::new(SLOTS);
        let producers: Vec<_> = (0..PRODUCERS)
            .map(|producer| {
                let (lane, slots) = (Arc::clone(&lane), Arc::clone(&slots));
                std::thread::spawn(move || {
                    let runtime = tokio::runtime::Builder::new_current_thread()
                        .build()
                        .unwrap();
                    runtime.block_on(async {
                        for event in 0..EACH {
                            let slot = slots.take().await;
                            lane.push((producer, event, slot));
                        }
                    });
                })
            })
            .collect();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let mut next = [0; PRODUCERS];
        runtime.block_on(async {
            let mut taken = Vec::new();
            while next.iter().sum::<usize>() < PRODUCERS * EACH {
                poll_fn(|cx| lane.poll_take(cx, &mut taken)).await;
                for (producer, event, _slot) in taken.drain(..) {
                    assert_eq!(event, next[producer]);
                    next[producer] += 1;
                }
            }
        });
        for producer in producers {
            producer.join().unwrap();
        }
        assert_eq!(slots.free(), SLOTS);
    }
}
