//! What must be true of readers, whatever happens to them.

use std::pin::Pin;
use std::sync::{Arc, Mutex};

use bindery_contract::acks::{Concurrent, InOrder, Progress};
use bindery_contract::credit::Credit;
use bindery_contract::sink::{Delivery, Intake, IntakeSettings, Lanes};
use bindery_contract::{Ack, Event, EventSink, Key, Nack, Order, Permit, Source, Stopped};
use futures_util::FutureExt;

const KEYS: usize = 3;

/// Two readers whose events go to the same lanes.
pub struct World {
    pub readers: [Reader; 2],
    pub lanes: Arc<Kept>,
    slots: usize,
}

/// How a delivery ends.
#[derive(Clone, Copy)]
pub enum Answer {
    Take,
    Refuse,
    Lose,
}

/// Lanes that keep what they are given.
pub struct Kept {
    credit: Arc<Credit>,
    held: Mutex<Vec<Held>>,
}

/// A delivery, and whether it has left its lane.
struct Held {
    delivery: Delivery,
    left: bool,
}

impl Lanes for Kept {
    fn slots(&self) -> &Arc<Credit> {
        &self.credit
    }

    fn push(self: Arc<Self>, delivery: Delivery) {
        let left = false;
        self.held
            .lock()
            .expect("one thread")
            .push(Held { delivery, left });
    }
}

impl Kept {
    fn len(&self) -> usize {
        self.held.lock().expect("one thread").len()
    }

    fn in_lane(&self) -> usize {
        let held = self.held.lock().expect("one thread");
        held.iter().filter(|held| !held.left).count()
    }

    pub fn leave(&self, at: usize) {
        let mut held = self.held.lock().expect("one thread");
        let length = held.len().max(1);
        if let Some(held) = held.get_mut(at % length) {
            held.delivery.left_lane();
            held.left = true;
        }
    }

    fn take(&self, at: usize) -> Option<Delivery> {
        let mut held = self.held.lock().expect("one thread");
        let at = at % held.len().max(1);
        (at < held.len()).then(|| held.remove(at).delivery)
    }
}

type Waiting = Pin<Box<dyn Future<Output = Result<Permit, Stopped>>>>;

/// A reader, and what is known of everything it sent.
pub struct Reader {
    number: u8,
    settings: IntakeSettings,
    intake: Arc<Intake>,
    sink: EventSink,
    lanes: Arc<Kept>,
    /// With the key that each was asked for.
    permits: Vec<(Permit, Option<usize>)>,
    waiting: Vec<(Waiting, Option<usize>)>,
    concurrent: Concurrent<usize>,
    in_order: InOrder<usize, usize>,
    lines: [Line; KEYS],
    fates: Vec<Fate>,
    stopped: bool,
    fenced: bool,
    /// It is a log, and lost an event.
    broken: bool,
}

/// An event that was sent.
struct Fate {
    key: Option<usize>,
    /// How it ended, once it has.
    end: Option<Ack>,
    told: bool,
}

/// What is tracked in order of one key: the fate at each position, and how far it has got.
#[derive(Default)]
struct Line {
    sent: Vec<usize>,
    done: usize,
}

fn key(number: usize) -> Key {
    Key::new(format!("key {number}"))
}

fn refusal() -> Nack {
    Nack::Refused("no".into())
}

impl World {
    pub fn new([kind, max, slots]: [u8; 3]) -> Self {
        let slots = usize::from(slots % 8) + 1;
        let lanes = Arc::new(Kept {
            credit: Credit::new(slots),
            held: Mutex::default(),
        });
        let settings = IntakeSettings {
            source: [Source::Log, Source::Queue, Source::Signal][usize::from(kind % 3)],
            order: [Order::Source, Order::None][usize::from(kind / 3 % 2)],
            max_in_flight: usize::from(max % 9) + 1,
        };
        let readers = [0, 1].map(|number| Reader::new(number, settings.clone(), &lanes));
        Self {
            readers,
            lanes,
            slots,
        }
    }

    pub fn answer(&mut self, at: usize, answer: Answer) {
        let Some(delivery) = self.lanes.take(at) else {
            return;
        };
        let data = &delivery.event().data;
        let reader = &mut self.readers[usize::from(data[0])];
        let fate = usize::from_le_bytes(data[1..].try_into().expect("its number"));
        assert_eq!(delivery.refused(), reader.refuses());
        let end = match answer {
            Answer::Take => {
                delivery.ack("thanks".into());
                Ack::Acked("thanks".into())
            }
            Answer::Refuse => {
                delivery.nack(refusal());
                Ack::Nacked(refusal())
            }
            Answer::Lose => {
                drop(delivery);
                reader.broken |= reader.settings.source == Source::Log;
                Ack::Nacked(reader.refuses().unwrap_or(Nack::Lost))
            }
        };
        assert_eq!(reader.fates[fate].end.replace(end), None, "it ends once");
    }

    pub fn is_within_limits(&self) {
        let permits: usize = self.readers.iter().map(|reader| reader.permits.len()).sum();
        assert!(
            permits + self.lanes.in_lane() <= self.slots,
            "more than the lanes hold"
        );
        self.readers.iter().for_each(Reader::is_within_limits);
    }

    /// Lets everything go: nobody waits for ever, everything is told, everything is free.
    pub fn end(mut self) {
        while self.lanes.len() > 0 {
            self.answer(0, Answer::Lose);
        }
        self.readers
            .iter_mut()
            .for_each(|reader| reader.permits.clear());
        let mut waiting = usize::MAX;
        while waiting > 0 {
            for reader in &mut self.readers {
                reader.poll_waiting();
                reader.permits.clear();
            }
            let left = self.readers.iter().map(|reader| reader.waiting.len()).sum();
            assert!(left < waiting, "{left} wait for a permit that is free");
            waiting = left;
        }
        for reader in &mut self.readers {
            reader.end();
        }
        assert_eq!(self.lanes.credit.free(), self.slots);
        for reader in self.readers.iter_mut().filter(|reader| !reader.stopped) {
            let most = reader.settings.max_in_flight.min(self.slots);
            (0..=most).for_each(|_| reader.ask(None));
            assert_eq!(reader.permits.len(), most, "a permit was lost");
            reader.permits.clear();
        }
    }
}

impl Reader {
    fn new(number: u8, settings: IntakeSettings, lanes: &Arc<Kept>) -> Self {
        let intake = Intake::new(settings.clone(), Arc::clone(lanes) as Arc<dyn Lanes>);
        Self {
            number,
            settings,
            sink: intake.sink(),
            intake,
            lanes: Arc::clone(lanes),
            permits: Vec::new(),
            waiting: Vec::new(),
            concurrent: Concurrent::new(),
            in_order: InOrder::new(),
            lines: Default::default(),
            fates: Vec::new(),
            stopped: false,
            fenced: false,
            broken: false,
        }
    }

    fn refuses(&self) -> Option<Nack> {
        match (self.fenced, self.stopped, self.broken) {
            (true, ..) => Some(Nack::Fenced),
            (_, true, _) => Some(Nack::Stopped),
            (.., true) => Some(Nack::Lost),
            _ => None,
        }
    }

    fn asks(&self, key_number: Option<usize>) -> Waiting {
        let sink = self.sink.clone();
        Box::pin(async move {
            match key_number {
                Some(number) => sink.ready_for(&key(number)).await,
                None => sink.ready().await,
            }
        })
    }

    pub fn ask(&mut self, key: Option<usize>) {
        let key = key.map(|key| key % KEYS);
        match self.asks(key).now_or_never() {
            Some(Ok(permit)) => self.permits.push((permit, key)),
            Some(Err(Stopped)) => assert!(self.stopped),
            None => assert!(!self.stopped),
        }
    }

    pub fn wait(&mut self, at: usize) {
        let key = Some(at % (KEYS + 1)).filter(|key| *key < KEYS);
        self.waiting.push((self.asks(key), key));
    }

    pub fn poll_waiting(&mut self) {
        let (permits, stopped) = (&mut self.permits, self.stopped);
        self.waiting
            .retain_mut(|(waiting, key)| match waiting.as_mut().now_or_never() {
                Some(Ok(permit)) => {
                    permits.push((permit, *key));
                    false
                }
                Some(Err(Stopped)) => {
                    assert!(stopped);
                    false
                }
                None => {
                    assert!(!stopped);
                    true
                }
            });
    }

    pub fn give_up_waiting(&mut self, at: usize) {
        if !self.waiting.is_empty() {
            drop(self.waiting.swap_remove(at % self.waiting.len()));
        }
    }

    pub fn give_back_permit(&mut self, at: usize) {
        if !self.permits.is_empty() {
            self.permits.swap_remove(at % self.permits.len());
        }
    }

    /// Sends an event that is answered on its own.
    pub fn send(&mut self, at: usize) {
        let key = Some(at % (KEYS + 1)).filter(|key| *key < KEYS);
        if let Some((fate, pending)) = self.send_of(at, key) {
            self.concurrent.track(fate, pending);
        }
    }

    /// Sends an event whose key has a position.
    pub fn send_in_order(&mut self, at: usize) {
        if let Some((fate, pending)) = self.send_of(at, Some(at % KEYS)) {
            let key = self.fates[fate].key.unwrap_or(at % KEYS);
            let line = &mut self.lines[key];
            self.in_order.track(key, line.sent.len(), pending);
            line.sent.push(fate);
        }
    }

    fn send_of(
        &mut self,
        at: usize,
        wanted: Option<usize>,
    ) -> Option<(usize, bindery_contract::Pending)> {
        if self.permits.is_empty() {
            return None;
        }
        let (permit, asked) = self.permits.swap_remove(at % self.permits.len());
        let key_number = asked.or(wanted);
        let fate = self.fates.len();
        let mut data = vec![self.number];
        data.extend_from_slice(&fate.to_le_bytes());
        let mut event = Event::new(data);
        if let Some(number) = key_number {
            event = event.in_order_of(key(number));
        }
        let before = self.lanes.len();
        let busy = key_number.is_some_and(|key| self.holders(key) >= self.share());
        let pending = permit.send(event);
        let was_pushed = self.lanes.len() > before;
        let end = match self.refuses() {
            _ if was_pushed => None,
            Some(nack) => Some(nack),
            None => {
                assert!(busy && asked.is_none() && self.settings.source != Source::Log);
                Some(Nack::KeyBusy)
            }
        };
        assert!(
            !was_pushed || self.refuses().is_none(),
            "it must not be delivered"
        );
        self.fates.push(Fate {
            key: key_number,
            end: end.map(Ack::Nacked),
            told: false,
        });
        Some((fate, pending))
    }

    /// How many may hold a part of a key's share at the most.
    fn holders(&self, key: usize) -> usize {
        let permits = self.permits.iter().filter(|(_, asked)| *asked == Some(key));
        let waiting = self.waiting.iter().filter(|(_, asked)| *asked == Some(key));
        permits.count() + waiting.count() + self.in_flight_of(key)
    }

    fn share(&self) -> usize {
        (self.settings.max_in_flight / 4).max(1)
    }

    fn in_flight_of(&self, key: usize) -> usize {
        let in_flight = self.fates.iter().filter(|fate| fate.end.is_none());
        in_flight.filter(|fate| fate.key == Some(key)).count()
    }

    fn is_within_limits(&self) {
        let in_flight = self.fates.iter().filter(|fate| fate.end.is_none()).count();
        assert_eq!(self.intake.in_flight(), in_flight);
        let most = self.settings.max_in_flight;
        assert!(
            self.permits.len() + in_flight <= most,
            "more than may be in flight"
        );
        // A log's event without a permit for its key goes on without a part of the share.
        if self.settings.order != Order::None && self.settings.source != Source::Log {
            let in_flight = (0..KEYS).map(|key| self.in_flight_of(key)).max();
            assert!(in_flight <= Some(self.share()), "more than a key's share");
        }
    }

    pub fn stop(&mut self) {
        self.intake.stop();
        self.stopped = true;
    }

    pub fn fence(&mut self) {
        self.intake.fence();
        (self.stopped, self.fenced) = (true, true);
    }

    /// Forgets a key, as if it was taken away and given back: it is read again from its position.
    pub fn forget(&mut self, at: usize) {
        // What is answered already was heard before.
        self.hear();
        let key = at % KEYS;
        self.in_order.forget(&key);
        let line = &mut self.lines[key];
        line.sent.truncate(line.done);
    }

    /// Hears all that can be heard, and compares it with what must be.
    pub fn hear(&mut self) {
        while let Some((fate, ack)) = self.concurrent.next().now_or_never() {
            self.hear_of(fate, &ack);
        }
        while let Some(progress) = self.in_order.next().now_or_never() {
            match progress {
                Progress::Upto { key, position } => {
                    let line = &mut self.lines[key];
                    assert!(position >= line.done, "it only moves forward");
                    line.done = position + 1;
                    let done = &line.sent[..line.done];
                    let taken = |fate: &usize| matches!(self.fates[*fate].end, Some(Ack::Acked(_)));
                    assert!(
                        !self.fenced && done.iter().all(taken),
                        "it passed an open one"
                    );
                }
                Progress::Stuck {
                    key,
                    position,
                    reason,
                } => {
                    let fate = self.lines[key].sent[position];
                    self.hear_of(fate, &Ack::Nacked(reason));
                }
            }
        }
        for (key, line) in self.lines.iter().enumerate() {
            assert_eq!(self.in_order.held_back(&key), line.sent.len() - line.done);
            let open = line.sent.get(line.done).map(|fate| &self.fates[*fate].end);
            assert!(
                self.fenced || !matches!(open, Some(Some(Ack::Acked(_)))),
                "it lags behind"
            );
        }
    }

    fn hear_of(&mut self, fate: usize, ack: &Ack) {
        let fate = &mut self.fates[fate];
        assert!(!std::mem::replace(&mut fate.told, true), "it resolves once");
        let end = fate.end.as_ref().expect("it has ended");
        if self.fenced {
            assert_eq!(*ack, Ack::Nacked(Nack::Fenced));
        } else {
            assert_eq!(ack, end);
        }
    }

    fn end(&mut self) {
        self.hear();
        assert!(
            self.concurrent.is_empty() && self.in_order.is_empty(),
            "something is untold"
        );
        assert!(self.intake.idle().now_or_never().is_some());
    }
}
