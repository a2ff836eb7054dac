//! A binding that does as a test tells it.
//!
//! The strings are held outside: they outlive every opening, as a broker would. A log keeps its
//! events and a committed position; a queue gives a refused event again; a signal does not.

use std::collections::{HashMap, VecDeque};
use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bindery_contract::acks::{Concurrent, InOrder, Progress};
use bindery_contract::settings::Properties;
use bindery_contract::{
    Ack, Binding, Deadline, Event, EventSink, Input, Invocation, InvokeError, Key, Metadata,
    OpenContext, OpenError, Opened, Operation, Output, ReadError, Registration, Reply, Sent,
    Source,
};
use bytes::Bytes;
use tokio::sync::Notify;

/// What a puppet does when it is opened, read from, or called.
#[derive(Clone, Debug, Default)]
pub enum Act {
    /// What it should.
    #[default]
    Well,
    /// What it should, and says that it does not do so fully.
    Impaired(&'static str),
    /// What it should, and says that it does so fully again.
    Recovered,
    /// It panics.
    Panic,
    /// It panics in a task that it has spawned, and goes on well.
    PanicInTask,
    /// It never gets done.
    Hang,
    /// It blocks its thread until the gate is opened.
    Block(Gate),
    /// It can never work.
    Invalid(&'static str),
    /// The other side says no.
    Refused(&'static str),
    /// Nobody is there; nothing was sent.
    Disconnected(&'static str),
    /// This request is wrong.
    Reject(&'static str),
    /// It fails, and may succeed another time.
    Fail(&'static str),
}

/// A gate that a blocked thread waits at.
#[derive(Clone, Debug, Default)]
pub struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    /// A closed one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets everybody through, from now on.
    pub fn open(&self) {
        *lock(&self.0.0) = true;
        self.0.1.notify_all();
    }

    fn wait(&self) {
        let opened = lock(&self.0.0);
        drop(self.0.1.wait_while(opened, |opened| !*opened));
    }
}

/// What a puppet hangs on.
#[derive(Clone)]
pub struct Strings(Arc<Shared>);

#[derive(Default)]
struct Shared {
    number: u64,
    opening: Mutex<VecDeque<Act>>,
    reading: Mutex<VecDeque<Act>>,
    calling: Mutex<VecDeque<Act>>,
    opened: AtomicUsize,
    readers: AtomicUsize,
    readers_gone: AtomicUsize,
    calls: AtomicUsize,
    called: Mutex<Vec<(Bytes, Metadata)>>,
    closed: AtomicUsize,
    events: Mutex<Events>,
    emitted: Notify,
}

/// What the source holds.
#[derive(Default)]
struct Events {
    /// All of a log; what waits in a queue.
    waiting: VecDeque<Event>,
    /// How far a log is acknowledged.
    committed: usize,
    /// How every event ended, in the order in which it did.
    answered: Vec<(Vec<u8>, Ack)>,
}

static ALL: LazyLock<Mutex<HashMap<u64, Arc<Shared>>>> = LazyLock::new(Mutex::default);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Default for Strings {
    fn default() -> Self {
        Self::new()
    }
}

impl Strings {
    /// Strings for a new puppet.
    pub fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let shared = Arc::new(Shared {
            number,
            ..Shared::default()
        });
        lock(&ALL).insert(number, Arc::clone(&shared));
        Self(shared)
    }

    /// The settings of a puppet on these strings, one replica for each thread.
    pub fn per_thread(&self) -> Properties {
        [("strings", self.0.number.to_string())]
            .into_iter()
            .collect()
    }

    /// The settings of a puppet on these strings that all threads share.
    pub fn shared(&self) -> Properties {
        let mut settings = self.per_thread();
        settings.set("shared", "true");
        settings
    }

    /// What the next openings do.
    pub fn next_open(&self, acts: impl IntoIterator<Item = Act>) {
        lock(&self.0.opening).extend(acts);
    }

    /// How many of those openings are still to come.
    pub fn openings_left(&self) -> usize {
        lock(&self.0.opening).len()
    }

    /// Forgets those openings: it opens well from now on.
    pub fn next_open_well(&self) {
        lock(&self.0.opening).clear();
    }

    /// What the next readings do.
    pub fn next_read(&self, acts: impl IntoIterator<Item = Act>) {
        lock(&self.0.reading).extend(acts);
    }

    /// What the next calls do.
    pub fn next_call(&self, acts: impl IntoIterator<Item = Act>) {
        lock(&self.0.calling).extend(acts);
    }

    /// The source has one more event.
    pub fn emit(&self, event: Event) {
        lock(&self.0.events).waiting.push_back(event);
        self.0.emitted.notify_waiters();
    }

    /// The source has one more event with this body, in order within `key`.
    pub fn emit_in_order(&self, key: &str, body: &str) {
        self.emit(Event::new(body.to_owned()).in_order_of(Key::new(key)));
    }

    /// How often it was opened well.
    pub fn opened(&self) -> usize {
        self.0.opened.load(Ordering::SeqCst)
    }

    /// How often a reading has begun.
    pub fn readers(&self) -> usize {
        self.0.readers.load(Ordering::SeqCst)
    }

    /// How many inputs were dropped, in whatever way they ended.
    pub fn readers_gone(&self) -> usize {
        self.0.readers_gone.load(Ordering::SeqCst)
    }

    /// How many calls have reached it.
    pub fn calls(&self) -> usize {
        self.0.calls.load(Ordering::SeqCst)
    }

    /// Every call's data and metadata, in the order in which they came.
    pub fn called(&self) -> Vec<(Bytes, Metadata)> {
        lock(&self.0.called).clone()
    }

    /// How often a side of it was closed.
    pub fn closed(&self) -> usize {
        self.0.closed.load(Ordering::SeqCst)
    }

    /// How far a log is acknowledged.
    pub fn committed(&self) -> usize {
        lock(&self.0.events).committed
    }

    /// How events have ended so far: the body, and how.
    pub fn answered(&self) -> Vec<(String, Ack)> {
        let events = lock(&self.0.events);
        let text = |body: &[u8]| String::from_utf8_lossy(body).into_owned();
        events
            .answered
            .iter()
            .map(|(body, ack)| (text(body), ack.clone()))
            .collect()
    }
}

/// What a puppet's source promises.
pub trait Kind: Send + Sync + 'static {
    /// The promise.
    const SOURCE: Source;
    /// The name of the type.
    const TYPE: &'static str;
}

/// A log: it has a position.
pub struct Log;
/// A queue: it delivers again.
pub struct Queue;
/// A signal: it passes.
pub struct Signal;

impl Kind for Log {
    const SOURCE: Source = Source::Log;
    const TYPE: &'static str = "bindings.puppet.log";
}
impl Kind for Queue {
    const SOURCE: Source = Source::Queue;
    const TYPE: &'static str = "bindings.puppet.queue";
}
impl Kind for Signal {
    const SOURCE: Source = Source::Signal;
    const TYPE: &'static str = "bindings.puppet.signal";
}

/// The binding, with a source of this kind.
pub struct Puppet<K>(PhantomData<K>);

impl<K: Kind> Puppet<K> {
    /// Its row in a catalogue.
    pub fn registration() -> Registration {
        Registration::of::<Self>()
    }
}

/// The settings of a puppet.
#[derive(serde::Deserialize, schemars::JsonSchema)]
pub struct PuppetSettings {
    /// The number of its strings.
    strings: u64,
    /// Whether all threads share one output.
    #[serde(default)]
    shared: bool,
}

impl<K: Kind> Binding for Puppet<K> {
    const TYPE: &'static str = K::TYPE;
    const SUMMARY: &'static str = "Does as a test tells it.";
    const INPUT: Option<Source> = Some(K::SOURCE);
    const OPERATIONS: &'static [Operation] = &[Operation {
        name: "create",
        summary: "Answers with the request's data.",
    }];
    type Settings = PuppetSettings;

    async fn open(settings: PuppetSettings, cx: OpenContext) -> Result<Opened, OpenError> {
        let known = lock(&ALL).get(&settings.strings).cloned();
        let shared = known.ok_or_else(|| OpenError::invalid("nobody holds these strings"))?;
        let act = next(&shared.opening);
        match act {
            Act::Invalid(why) => return Err(OpenError::invalid(why)),
            Act::Refused(why) => return Err(OpenError::refused(why)),
            Act::Disconnected(why) => return Err(OpenError::disconnected(why)),
            act => perform(act, &cx).await,
        }
        shared.opened.fetch_add(1, Ordering::SeqCst);
        Ok(match cx.role() {
            bindery_contract::Role::Input => Opened::input(Reader {
                shared,
                source: K::SOURCE,
                cx,
            }),
            bindery_contract::Role::Output if settings.shared => {
                Opened::shared(Caller { shared, cx })
            }
            bindery_contract::Role::Output => Opened::per_thread(move |_| {
                let (shared, cx) = (Arc::clone(&shared), cx.clone());
                async move { Ok(Caller { shared, cx }) }
            }),
        })
    }
}

fn next(acts: &Mutex<VecDeque<Act>>) -> Act {
    lock(acts).pop_front().unwrap_or_default()
}

async fn perform(act: Act, cx: &OpenContext) {
    match act {
        Act::Impaired(why) => cx.report_degraded(why),
        Act::Recovered => cx.report_recovered(),
        Act::Panic => panic!("the puppet panics"),
        Act::PanicInTask => cx.spawn(async { panic!("the puppet's task panics") }),
        Act::Hang => std::future::pending().await,
        Act::Block(gate) => gate.wait(),
        _ => {}
    }
}

struct Caller {
    shared: Arc<Shared>,
    cx: OpenContext,
}

impl Output for Caller {
    async fn invoke(&self, call: Invocation) -> Result<Option<Reply>, InvokeError> {
        self.shared.calls.fetch_add(1, Ordering::SeqCst);
        let heard = (call.data.clone(), call.metadata.clone());
        lock(&self.shared.called).push(heard);
        match next(&self.shared.calling) {
            Act::Reject(why) => return Err(InvokeError::bad_request(why)),
            Act::Fail(why) => return Err(InvokeError::failed(why)),
            Act::Disconnected(why) => return Err(InvokeError::disconnected(why, Sent::No)),
            act => perform(act, &self.cx).await,
        }
        Ok(Some(Reply::new(call.data)))
    }

    async fn close(&self, _: Deadline) {
        // As one that says goodbye to a server.
        self.cx.clock().sleep(Duration::from_millis(20)).await;
        self.shared.closed.fetch_add(1, Ordering::SeqCst);
    }
}

struct Reader {
    shared: Arc<Shared>,
    source: Source,
    cx: OpenContext,
}

impl Input for Reader {
    async fn read(&mut self, events: EventSink) -> Result<(), ReadError> {
        self.shared.readers.fetch_add(1, Ordering::SeqCst);
        match next(&self.shared.reading) {
            Act::Refused(why) => return Err(ReadError::refused(why)),
            Act::Disconnected(why) => return Err(ReadError::disconnected(why)),
            act => perform(act, &self.cx).await,
        }
        match self.source {
            Source::Log => self.read_log(&events).await,
            Source::Queue | Source::Signal => {
                self.read_queue(&events).await;
                Ok(())
            }
        }
    }

    async fn close(&mut self, _: Deadline) {
        self.shared.closed.fetch_add(1, Ordering::SeqCst);
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.shared.readers_gone.fetch_add(1, Ordering::SeqCst);
    }
}

impl Reader {
    /// From the committed position on; each key has its place in one common position.
    async fn read_log(&self, events: &EventSink) -> Result<(), ReadError> {
        let mut position = lock(&self.shared.events).committed;
        let mut acks = InOrder::new();
        loop {
            let next = async {
                let event = self.at(position).await;
                let permit = match event.source_key() {
                    Some(key) => events.ready_for(key).await,
                    None => events.ready().await,
                };
                permit.map(|permit| (event, permit))
            };
            tokio::select! {
                biased;
                progress = acks.next() => self.progress(progress)?,
                next = next => match next {
                    Ok((event, permit)) => {
                        acks.track((), position, permit.send(event));
                        position += 1;
                    }
                    Err(_) => break,
                },
                () = events.stopped() => break,
            }
        }
        while !acks.is_empty() {
            let progress = acks.next().await;
            self.progress(progress)?;
        }
        Ok(())
    }

    async fn at(&self, position: usize) -> Event {
        loop {
            let emitted = self.shared.emitted.notified();
            tokio::pin!(emitted);
            emitted.as_mut().enable();
            if let Some(event) = lock(&self.shared.events).waiting.get(position) {
                return event.clone();
            }
            emitted.await;
        }
    }

    fn progress(&self, progress: Progress<(), usize>) -> Result<(), ReadError> {
        let mut events = lock(&self.shared.events);
        match progress {
            Progress::Upto { position, .. } => {
                for at in events.committed..=position {
                    let body = events.waiting[at].data.to_vec();
                    events
                        .answered
                        .push((body, Ack::Acked(bytes::Bytes::new())));
                }
                events.committed = position + 1;
                Ok(())
            }
            Progress::Stuck {
                position, reason, ..
            } => {
                let body = events.waiting[position].data.to_vec();
                events.answered.push((body, Ack::Nacked(reason.clone())));
                match reason {
                    bindery_contract::Nack::Stopped | bindery_contract::Nack::Fenced => Ok(()),
                    reason => Err(ReadError::disconnected(reason.to_string())),
                }
            }
        }
    }

    async fn read_queue(&self, events: &EventSink) {
        let mut acks: Concurrent<Event> = Concurrent::new();
        loop {
            let next = async {
                let event = self.at(0).await;
                match event.source_key() {
                    Some(key) => events.ready_for(key).await.ok(),
                    None => events.ready().await.ok(),
                }
            };
            tokio::select! {
                biased;
                (event, ack) = acks.next() => self.answered(event, ack),
                permit = next => match permit {
                    Some(permit) => {
                        let front = lock(&self.shared.events).waiting.pop_front();
                        if let Some(event) = front {
                            acks.track(event.clone(), permit.send(event));
                        }
                    }
                    None => break,
                },
                () = events.stopped() => break,
            }
        }
        while !acks.is_empty() {
            let (event, ack) = acks.next().await;
            self.answered(event, ack);
        }
    }

    fn answered(&self, event: Event, ack: Ack) {
        let mut events = lock(&self.shared.events);
        events.answered.push((event.data.to_vec(), ack.clone()));
        if matches!(ack, Ack::Nacked(_)) && self.source == Source::Queue {
            events.waiting.push_back(event);
            drop(events);
            self.shared.emitted.notify_waiters();
        }
    }
}
