//! The way of an event out of its binding: permit, pending, acknowledgement.
//!
//! Delivery has two phases. A permit comes *before* reading, so a source is never asked for what
//! nobody can take; sending is synchronous, so the order of sending is the order of delivery;
//! what comes back is a [`Pending`] that resolves once, to the app's acknowledgement or to a
//! refusal. Only then does a binding acknowledge to its source.
//!
//! Bindings hold an [`EventSink`]. The other end is the runtime's: it makes an [`Intake`],
//! implements [`Lanes`], and settles each [`Delivery`].

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::sync::{Notify, oneshot};
use tokio::task::consume_budget;
use tokio_util::sync::CancellationToken;

use crate::credit::{Credit, Credited};
use crate::event::{ByNumber, Event, Key, Order, Source};
use crate::mutation::{Mechanism, is_off};

/// Where a binding's events go. Cheap to clone.
#[derive(Clone)]
pub struct EventSink {
    intake: Arc<Intake>,
}

/// The right to send one event. Dropping it gives the right back.
pub struct Permit {
    intake: Arc<Intake>,
    hold: Hold,
}

/// An event that was sent and not answered yet.
///
/// Resolves exactly once. Whoever drops it stops listening; the event goes on.
pub struct Pending {
    answer: oneshot::Receiver<Ack>,
    intake: Arc<Intake>,
}

/// How an event ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ack {
    /// The app took it; these are the bytes it answered with.
    Acked(Bytes),
    /// It was not taken: do not acknowledge it to the source.
    Nacked(Nack),
}

/// Why an event was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Nack {
    /// The app refused it, and the attempts are used up.
    #[error("{0}")]
    Refused(String),
    /// The input is being stopped. The wording is the reference's (runtime §2.7).
    #[error("input binding is closed")]
    Stopped,
    /// Another generation of this binding has taken over; what this one does counts no more.
    #[error("another instance of this binding has taken over")]
    Fenced,
    /// The delivery was lost inside the runtime. A log that hears this hears it for everything
    /// it sent after the lost event too, or that would overtake it: let the reader return, and
    /// the runtime has it read again from the committed position.
    #[error("the delivery was interrupted")]
    Lost,
    /// The source has taken it back ([`Event::revocable`]).
    #[error("the source has taken the event back")]
    Revoked,
    /// The key holds its share of what may be in flight already.
    #[error("too many events of this key are in flight")]
    KeyBusy,
}

/// The input is being stopped: read no more, wait for what is pending, return.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("input binding is closed")]
pub struct Stopped;

impl EventSink {
    /// Waits until one more event may be read.
    ///
    /// # Errors
    /// [`Stopped`] when the input is being stopped.
    pub async fn ready(&self) -> Result<Permit, Stopped> {
        self.permit(None).await
    }

    /// Waits until one more event of `key` may be read. A key holds at most a quarter of the
    /// credit, so that one that is stuck leaves room for the others.
    ///
    /// # Errors
    /// [`Stopped`] when the input is being stopped.
    pub async fn ready_for(&self, key: &Key) -> Result<Permit, Stopped> {
        self.permit(Some(key)).await
    }

    /// [`ready`](Self::ready) for a thread of the binding's own. Never call it on a thread that
    /// drives tasks.
    ///
    /// # Errors
    /// [`Stopped`] when the input is being stopped.
    #[expect(clippy::disallowed_methods, reason = "blocking is what it is for")]
    pub fn blocking_ready(&self) -> Result<Permit, Stopped> {
        futures_executor::block_on(self.permit(None))
    }

    /// [`ready_for`](Self::ready_for) for a thread of the binding's own.
    ///
    /// # Errors
    /// [`Stopped`] when the input is being stopped.
    #[expect(clippy::disallowed_methods, reason = "blocking is what it is for")]
    pub fn blocking_ready_for(&self, key: &Key) -> Result<Permit, Stopped> {
        futures_executor::block_on(self.permit(Some(key)))
    }

    /// Resolves when the input is being stopped.
    pub async fn stopped(&self) {
        self.intake.stop.cancelled().await;
    }

    /// Whether the input is being stopped.
    pub fn is_stopped(&self) -> bool {
        self.intake.is_stopping()
    }

    /// How many events may be in flight at once: 1…65536, `spec.delivery.maxInFlight`. A source
    /// that prefetches derives its own limits from it.
    pub fn max_in_flight(&self) -> usize {
        self.intake.settings.max_in_flight
    }

    async fn permit(&self, key: Option<&Key>) -> Result<Permit, Stopped> {
        let intake = &self.intake;
        if intake.is_stopping() {
            return Err(Stopped);
        }
        // A reader that always finds room lets others on its thread have their turn.
        consume_budget().await;
        tokio::select! {
            biased;
            // First, because it seldom waits, and to listen for the stop costs something.
            hold = intake.hold(key) => Ok(Permit { intake: Arc::clone(intake), hold }),
            () = intake.stop.cancelled() => Err(Stopped),
        }
    }
}

impl Permit {
    /// Sends the event. Never waits and never fails for lack of room; the order of calls is the
    /// order of delivery within a key.
    ///
    /// An event that names a key it asked no permit for takes its place in that key's share now;
    /// where the share is used up, a source that delivers again is told so at once
    /// ([`Nack::KeyBusy`]).
    pub fn send(self, event: Event) -> Pending {
        let Self { intake, mut hold } = self;
        let (answer, pending) = oneshot::channel();
        let pending = Pending {
            answer: pending,
            intake: Arc::clone(&intake),
        };
        let key = intake.settings.order.key_of(&event).cloned();
        if let (Some(key), None) = (&key, &hold.share) {
            hold.share = intake.shares.try_take(key);
        }
        let refusal = if let Some(nack) = intake.refuses() {
            Some(nack)
        } else if key.is_some() && hold.share.is_none() && intake.settings.source != Source::Log {
            Some(Nack::KeyBusy)
        } else {
            None
        };
        let mut delivery = Delivery {
            event,
            key,
            answer: Some(answer),
            flight: intake.take_off(hold),
        };
        if is_off(Mechanism::AckAfterApp) {
            delivery.settle(Ack::Acked(Bytes::new()));
        }
        match refusal {
            Some(nack) => delivery.nack(nack),
            None => Arc::clone(&intake.lanes).push(delivery),
        }
        pending
    }
}

impl Future for Pending {
    type Output = Ack;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Ack> {
        let ack = ready!(Pin::new(&mut self.answer).poll(cx)).unwrap_or(Ack::Nacked(Nack::Lost));
        // A reader that was given up on may still be running; it must not acknowledge anything.
        Poll::Ready(
            if self.intake.standing() == FENCED && !is_off(Mechanism::Fencing) {
                Ack::Nacked(Nack::Fenced)
            } else {
                ack
            },
        )
    }
}

/// How one input delivers.
#[derive(Clone, Debug)]
pub struct IntakeSettings {
    /// What the source does with an event that was not acknowledged.
    pub source: Source,
    /// Within what order is kept.
    pub order: Order,
    /// How many events may be in flight: 1…65536.
    pub max_in_flight: usize,
}

/// The runtime's end of an [`EventSink`]: one for each time a reader is started.
pub struct Intake {
    settings: IntakeSettings,
    lanes: Arc<dyn Lanes>,
    credit: Arc<Credit>,
    shares: Arc<Shares>,
    in_flight: AtomicUsize,
    landed: Notify,
    /// How it stands: only ever becomes more. Asked several times for each event, by all threads.
    standing: AtomicU8,
    /// Wakes who waits for the stop.
    stop: CancellationToken,
}

/// Events are delivered.
const OPEN: u8 = 0;
/// An event of a log was lost: nothing may overtake it.
const BROKEN: u8 = 1;
/// No new events.
const STOPPED: u8 = 2;
/// Another generation has taken over.
const FENCED: u8 = 3;

/// The lanes to the delivery threads, as an input sees them.
pub trait Lanes: Send + Sync {
    /// Room in the lanes. A permit holds one slot, so [`push`](Self::push) always finds room.
    fn slots(&self) -> &Arc<Credit>;

    /// Puts a delivery into its lane. Must not wait and must not fail.
    fn push(self: Arc<Self>, delivery: Delivery);
}

impl Intake {
    /// A new intake whose events go to `lanes`.
    pub fn new(settings: IntakeSettings, lanes: Arc<dyn Lanes>) -> Arc<Self> {
        let max = settings.max_in_flight.clamp(1, 65_536);
        Arc::new(Self {
            settings: IntakeSettings {
                max_in_flight: max,
                ..settings
            },
            lanes,
            credit: Credit::new(max),
            // The rule of a quarter, but never nothing.
            shares: Shares::new((max / 4).max(1)),
            in_flight: AtomicUsize::new(0),
            landed: Notify::new(),
            standing: AtomicU8::new(OPEN),
            stop: CancellationToken::new(),
        })
    }

    /// The binding's end.
    pub fn sink(self: &Arc<Self>) -> EventSink {
        EventSink {
            intake: Arc::clone(self),
        }
    }

    /// Refuses new events from now on; what is running goes on.
    pub fn stop(&self) {
        self.becomes(STOPPED);
        self.stop.cancel();
    }

    /// Stops, and refuses every acknowledgement that comes late: another generation takes over.
    pub fn fence(&self) {
        self.becomes(FENCED);
        self.stop.cancel();
    }

    /// How many events were sent and not settled.
    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Acquire)
    }

    /// Resolves when nothing is in flight.
    pub async fn idle(&self) {
        loop {
            // Registered before the count is read, so a landing in between is not missed.
            let landed = self.landed.notified();
            if self.in_flight() == 0 {
                return;
            }
            landed.await;
        }
    }

    /// Whether new events are refused.
    pub fn is_stopping(&self) -> bool {
        self.standing() >= STOPPED
    }

    fn standing(&self) -> u8 {
        self.standing.load(Ordering::Acquire)
    }

    fn becomes(&self, standing: u8) {
        self.standing.fetch_max(standing, Ordering::AcqRel);
    }

    /// Why no event may be delivered any more, if none may.
    fn refuses(&self) -> Option<Nack> {
        match self.standing() {
            OPEN => None,
            BROKEN => Some(Nack::Lost),
            STOPPED => Some(Nack::Stopped),
            _ => Some(Nack::Fenced),
        }
    }

    async fn hold(&self, key: Option<&Key>) -> Hold {
        let share = match key.filter(|_| self.settings.order != Order::None) {
            Some(key) => Some(self.shares.take(key).await),
            None => None,
        };
        let credit = take(&self.credit).await;
        let slot = take(self.lanes.slots()).await;
        Hold {
            share,
            _credit: credit,
            slot: Some(slot),
        }
    }

    fn take_off(self: &Arc<Self>, hold: Hold) -> Flight {
        self.in_flight.fetch_add(1, Ordering::AcqRel);
        Flight {
            intake: Arc::clone(self),
            hold,
        }
    }
}

async fn take(credit: &Arc<Credit>) -> Credited {
    match credit.try_take() {
        Some(credited) => credited,
        None => credit.take().await,
    }
}

/// What an event holds while it is under way.
struct Hold {
    share: Option<Share>,
    _credit: Credited,
    /// Given back as soon as the event has left its lane.
    slot: Option<Credited>,
}

/// An event under way: gives everything back when it lands, however it lands.
struct Flight {
    intake: Arc<Intake>,
    hold: Hold,
}

impl Drop for Flight {
    fn drop(&mut self) {
        if self.intake.in_flight.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.intake.landed.notify_waiters();
        }
    }
}

/// An event on the runtime's side. It is settled once: by [`ack`](Self::ack), by
/// [`nack`](Self::nack), or by being dropped, which is a nack.
pub struct Delivery {
    event: Event,
    key: Option<Key>,
    answer: Option<oneshot::Sender<Ack>>,
    flight: Flight,
}

impl Delivery {
    /// The event.
    pub fn event(&self) -> &Event {
        &self.event
    }

    /// The key that it keeps its place in, if order matters to it.
    pub fn key(&self) -> Option<&Key> {
        self.key.as_ref()
    }

    /// How many events of its input are under way, itself included.
    pub fn in_flight(&self) -> usize {
        self.flight.intake.in_flight()
    }

    /// Gives back the room in the lane: call it when the event has been taken out.
    pub fn left_lane(&mut self) {
        self.flight.hold.slot = None;
    }

    /// Why the event must not be delivered any more, if it must not.
    pub fn refused(&self) -> Option<Nack> {
        let revoked = || self.event.is_revoked().then_some(Nack::Revoked);
        self.flight.intake.refuses().or_else(revoked)
    }

    /// Resolves when the input is being stopped, or the source takes the event back.
    pub async fn stopped(&self) {
        let stopped = self.flight.intake.stop.cancelled();
        match &self.event.revoked {
            None => stopped.await,
            Some(revoked) => tokio::select! {
                () = stopped => {}
                () = revoked.cancelled() => {}
            },
        }
    }

    /// The app took it.
    pub fn ack(mut self, reply: Bytes) {
        self.settle(Ack::Acked(reply));
    }

    /// It was not taken.
    pub fn nack(mut self, reason: Nack) {
        self.settle(Ack::Nacked(reason));
    }

    fn settle(&mut self, ack: Ack) {
        if let Some(answer) = self.answer.take() {
            // A reader that stopped listening does not want to know.
            let _ = answer.send(ack);
        }
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        if self.answer.is_none() {
            return;
        }
        if is_off(Mechanism::DropGuard) {
            return std::mem::forget(self.answer.take());
        }
        let intake = &self.flight.intake;
        // Before the loss is told, so that nothing can be sent in between.
        if intake.settings.source == Source::Log {
            intake.becomes(BROKEN);
        }
        let nack = intake.refuses().unwrap_or(Nack::Lost);
        self.settle(Ack::Nacked(nack));
    }
}

/// How much of the credit each key holds. A key has an entry only while something holds it.
struct Shares {
    limit: usize,
    keys: std::sync::Mutex<Credits>,
}

type Credits = HashMap<Key, Arc<Credit>, ByNumber>;

struct Share {
    shares: Arc<Shares>,
    key: Key,
    credited: Option<Credited>,
}

impl Shares {
    fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            limit,
            keys: std::sync::Mutex::default(),
        })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Credits> {
        self.keys
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn credit(&self, key: &Key) -> Arc<Credit> {
        let mut keys = self.lock();
        match keys.get(key) {
            Some(credit) => Arc::clone(credit),
            None => Arc::clone(
                keys.entry(key.clone())
                    .or_insert_with(|| Credit::new(self.limit)),
            ),
        }
    }

    async fn take(self: &Arc<Self>, key: &Key) -> Share {
        // Made first, so that its drop forgets the key when waiting is given up.
        let mut share = Share {
            shares: Arc::clone(self),
            key: key.clone(),
            credited: None,
        };
        let credit = self.credit(key);
        share.credited = Some(take(&credit).await);
        share
    }

    fn try_take(self: &Arc<Self>, key: &Key) -> Option<Share> {
        let credited = self.credit(key).try_take()?;
        Some(Share {
            shares: Arc::clone(self),
            key: key.clone(),
            credited: Some(credited),
        })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.credited = None;
        let mut keys = self.shares.lock();
        if keys
            .get(&self.key)
            .is_some_and(|credit| Arc::strong_count(credit) == 1)
        {
            keys.remove(&self.key);
        }
    }
}

#[cfg(all(test, not(bindery_loom)))]
pub(crate) mod tests {
    use std::sync::Mutex;

    use futures_util::FutureExt;
    use proptest::prelude::*;

    use super::*;

    /// Lanes that keep what they are given.
    pub(crate) struct Kept {
        slots: Arc<Credit>,
        deliveries: Mutex<Vec<Delivery>>,
    }

    impl Kept {
        pub(crate) fn with_slots(slots: usize) -> Arc<Self> {
            Arc::new(Self {
                slots: Credit::new(slots),
                deliveries: Mutex::default(),
            })
        }

        pub(crate) fn take(&self) -> Delivery {
            self.deliveries.lock().unwrap().remove(0)
        }

        fn len(&self) -> usize {
            self.deliveries.lock().unwrap().len()
        }
    }

    impl Lanes for Kept {
        fn slots(&self) -> &Arc<Credit> {
            &self.slots
        }

        fn push(self: Arc<Self>, delivery: Delivery) {
            self.deliveries.lock().unwrap().push(delivery);
        }
    }

    pub(crate) fn intake(source: Source, max_in_flight: usize, lanes: &Arc<Kept>) -> Arc<Intake> {
        let settings = IntakeSettings {
            source,
            order: Order::Source,
            max_in_flight,
        };
        Intake::new(settings, Arc::clone(lanes) as Arc<dyn Lanes>)
    }

    pub(crate) fn permit(sink: &EventSink) -> Option<Permit> {
        sink.ready().now_or_never().map(Result::unwrap)
    }

    #[tokio::test]
    async fn an_acknowledgement_reaches_the_reader_with_the_apps_answer() {
        let lanes = Kept::with_slots(9);
        let sink = intake(Source::Queue, 9, &lanes).sink();
        let pending = permit(&sink).unwrap().send(Event::new("x"));
        lanes.take().ack("thanks".into());
        assert_eq!(pending.await, Ack::Acked("thanks".into()));
    }

    #[tokio::test]
    async fn a_dropped_delivery_is_a_nack() {
        let lanes = Kept::with_slots(9);
        let sink = intake(Source::Queue, 9, &lanes).sink();
        let pending = permit(&sink).unwrap().send(Event::new("x"));
        drop(lanes.take());
        assert_eq!(pending.await, Ack::Nacked(Nack::Lost));
    }

    #[tokio::test]
    async fn nothing_of_a_log_overtakes_an_event_that_was_lost() {
        let lanes = Kept::with_slots(9);
        let sink = intake(Source::Log, 9, &lanes).sink();
        let first = permit(&sink).unwrap().send(Event::new("1"));
        let second = permit(&sink).unwrap().send(Event::new("2"));
        let late = permit(&sink).unwrap();
        drop(lanes.take());
        assert_eq!(
            lanes.take().refused(),
            Some(Nack::Lost),
            "in the lane already"
        );
        let third = late.send(Event::new("3"));
        for pending in [first, second, third] {
            assert_eq!(pending.await, Ack::Nacked(Nack::Lost));
        }
    }

    #[tokio::test]
    async fn what_the_source_takes_back_is_not_delivered() {
        let lanes = Kept::with_slots(9);
        let sink = intake(Source::Log, 9, &lanes).sink();
        let revoked = CancellationToken::new();
        let event = Event::new("1").revocable(revoked.clone());
        let pending = permit(&sink).unwrap().send(event);
        let other = permit(&sink).unwrap().send(Event::new("2"));
        let delivery = lanes.take();
        assert_eq!(delivery.refused(), None);
        assert!(delivery.stopped().now_or_never().is_none());
        revoked.cancel();
        assert_eq!(delivery.refused(), Some(Nack::Revoked));
        assert!(delivery.stopped().now_or_never().is_some());
        delivery.nack(Nack::Revoked);
        assert_eq!(pending.await, Ack::Nacked(Nack::Revoked));
        let delivery = lanes.take();
        assert_eq!(delivery.refused(), None, "the others go on");
        delivery.ack(Bytes::new());
        assert_eq!(other.await, Ack::Acked(Bytes::new()));
    }

    #[test]
    fn no_permit_beyond_max_in_flight_until_one_lands() {
        let lanes = Kept::with_slots(9);
        let sink = intake(Source::Queue, 2, &lanes).sink();
        let _a = permit(&sink).unwrap().send(Event::new("a"));
        let _b = permit(&sink).unwrap().send(Event::new("b"));
        assert!(permit(&sink).is_none());
        lanes.take().ack(Bytes::new());
        assert!(permit(&sink).is_some());
    }

    #[test]
    fn a_full_lane_stops_the_source_and_an_event_that_leaves_it_wakes_it() {
        let lanes = Kept::with_slots(1);
        let sink = intake(Source::Queue, 9, &lanes).sink();
        let _a = permit(&sink).unwrap().send(Event::new("a"));
        let mut waiting = Box::pin(sink.ready());
        assert!(waiting.as_mut().now_or_never().is_none());
        lanes.deliveries.lock().unwrap()[0].left_lane();
        assert!(waiting.now_or_never().is_some());
    }

    #[test]
    fn one_key_holds_at_most_a_quarter() {
        let lanes = Kept::with_slots(99);
        let intake = intake(Source::Log, 8, &lanes);
        let sink = intake.sink();
        let (stuck, other) = (Key::new("stuck"), Key::new("other"));
        for _ in 0..2 {
            let permit = sink.ready_for(&stuck).now_or_never().unwrap().unwrap();
            drop(permit.send(Event::new("x").in_order_of(stuck.clone())));
        }
        assert!(sink.ready_for(&stuck).now_or_never().is_none());
        assert!(sink.ready_for(&other).now_or_never().is_some());
        lanes.take().ack(Bytes::new());
        assert!(sink.ready_for(&stuck).now_or_never().is_some());
        lanes.take().ack(Bytes::new());
        assert!(
            intake.shares.lock().is_empty(),
            "a key that holds nothing is forgotten"
        );
    }

    #[tokio::test]
    async fn a_queue_hears_at_once_that_a_key_is_busy() {
        let lanes = Kept::with_slots(99);
        let sink = intake(Source::Queue, 4, &lanes).sink();
        let key = Key::new("group");
        let _first = permit(&sink)
            .unwrap()
            .send(Event::new("1").in_order_of(key.clone()));
        let second = permit(&sink)
            .unwrap()
            .send(Event::new("2").in_order_of(key));
        assert_eq!(second.await, Ack::Nacked(Nack::KeyBusy));
        assert_eq!(lanes.len(), 1);
    }

    #[tokio::test]
    async fn stopping_refuses_new_events_and_lets_running_ones_finish() {
        let lanes = Kept::with_slots(9);
        let intake = intake(Source::Queue, 9, &lanes);
        let sink = intake.sink();
        let running = permit(&sink).unwrap().send(Event::new("running"));
        let held = permit(&sink).unwrap();
        intake.stop();
        assert_eq!(
            held.send(Event::new("late")).await,
            Ack::Nacked(Nack::Stopped)
        );
        assert_eq!(sink.ready().await.err(), Some(Stopped));
        assert!(intake.idle().now_or_never().is_none());
        lanes.take().ack(Bytes::new());
        assert_eq!(running.await, Ack::Acked(Bytes::new()));
        assert!(intake.idle().now_or_never().is_some());
    }

    #[tokio::test]
    async fn a_fenced_reader_hears_no_late_acknowledgement() {
        let lanes = Kept::with_slots(9);
        let intake = intake(Source::Queue, 9, &lanes);
        let pending = permit(&intake.sink()).unwrap().send(Event::new("x"));
        intake.fence();
        lanes.take().ack(Bytes::new());
        assert_eq!(pending.await, Ack::Nacked(Nack::Fenced));
    }

    #[test]
    fn a_thread_of_its_own_can_wait_for_a_permit() {
        let lanes = Kept::with_slots(9);
        let sink = intake(Source::Queue, 1, &lanes).sink();
        let _first = permit(&sink).unwrap().send(Event::new("x"));
        let thread = std::thread::spawn(move || sink.blocking_ready().is_ok());
        lanes.take().ack(Bytes::new());
        assert!(thread.join().unwrap());
    }

    proptest! {
        /// Whatever happens to permits and deliveries, everything is free again at the end.
        #[test]
        fn no_permit_is_ever_lost(max in 1usize..9, slots in 1usize..5, steps in prop::collection::vec((0u8..8, 0usize..8), 0..120)) {
            let lanes = Kept::with_slots(slots);
            let intake = intake(Source::Queue, max, &lanes);
            let sink = intake.sink();
            let keys = [Key::new("a"), Key::new("b")];
            let mut permits = Vec::new();
            let mut waiting = Vec::new();
            for (step, at) in steps {
                let key = &keys[at % 2];
                match step {
                    0 => permits.extend(sink.ready().now_or_never().and_then(Result::ok)),
                    1 => permits.extend(sink.ready_for(key).now_or_never().and_then(Result::ok)),
                    2 => waiting.push(Box::pin({
                        let (sink, key) = (sink.clone(), key.clone());
                        async move { sink.ready_for(&key).await }
                    })),
                    3 if !waiting.is_empty() => drop(waiting.swap_remove(at % waiting.len())),
                    4 if !permits.is_empty() => drop(permits.swap_remove(at % permits.len())),
                    5 if !permits.is_empty() => {
                        let permit: Permit = permits.swap_remove(at % permits.len());
                        drop(permit.send(Event::new("x").in_order_of(key.clone())));
                    }
                    6 if lanes.len() > 0 => {
                        let mut delivery = lanes.take();
                        delivery.left_lane();
                        match at % 3 {
                            0 => delivery.ack(Bytes::new()),
                            1 => delivery.nack(Nack::Refused("no".into())),
                            _ => drop(delivery),
                        }
                    }
                    _ => waiting.retain_mut(|ready| match ready.as_mut().now_or_never() {
                        Some(permit) => { permits.extend(permit.ok()); false }
                        None => true,
                    }),
                }
            }
            drop((waiting, permits));
            lanes.deliveries.lock().unwrap().clear();
            prop_assert_eq!(intake.in_flight(), 0);
            prop_assert_eq!(intake.credit.free(), max);
            prop_assert_eq!(lanes.slots.free(), slots);
            prop_assert!(intake.shares.lock().is_empty());
        }
    }
}
