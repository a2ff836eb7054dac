//! An event on its whole way: permit, lane, delivery actor, a handler in this process, and the
//! acknowledgement back at the reader.

use std::sync::Mutex;

use bindery::app::{Handlers, InProcessApp};
use bindery_actors::Threads;
use bindery_contract::acks::{InOrder, Progress};
use bindery_contract::{
    Binding, Event, EventSink, Input, Key, Metadata, OpenContext, OpenError, Opened, ReadError,
    Role, Source,
};
use criterion::{Criterion, Throughput};
use tokio::sync::{mpsc, oneshot};

use crate::bed::Bed;

const KEYS: u64 = 8;

/// How many events are wanted, and whom to tell when all are acknowledged.
type Order = (u64, oneshot::Sender<()>);

/// Where the next log that is opened gets its orders.
static ORDERS: Mutex<Option<mpsc::UnboundedReceiver<Order>>> = Mutex::new(None);

/// Sends as many events as are ordered, as fast as it gets permits.
struct Log {
    keys: Vec<Key>,
    orders: mpsc::UnboundedReceiver<Order>,
}

#[derive(serde::Deserialize, schemars::JsonSchema)]
struct LogSettings {}

impl Binding for Log {
    const TYPE: &'static str = "bindings.bench.log";
    const SUMMARY: &'static str = "Sends events of its own.";
    const INPUT: Option<Source> = Some(Source::Log);
    type Settings = LogSettings;

    async fn open(_: LogSettings, _: OpenContext) -> Result<Opened, OpenError> {
        let orders = ORDERS.lock().unwrap().take();
        Ok(Opened::input(Self {
            keys: (0..KEYS).map(|key| Key::new(key.to_string())).collect(),
            orders: orders.ok_or_else(|| OpenError::refused("nobody orders anything"))?,
        }))
    }
}

impl Input for Log {
    async fn read(&mut self, events: EventSink) -> Result<(), ReadError> {
        while let Some((count, done)) = self.orders.recv().await {
            let mut keys = (0..).zip(self.keys.iter().cycle());
            let mut acks = InOrder::new();
            let mut sent = 0;
            while sent < count || !acks.is_empty() {
                tokio::select! {
                    permit = events.ready(), if sent < count => {
                        let Ok(permit) = permit else { return Ok(()) };
                        let (offset, key) = keys.next().unwrap();
                        let event = Event::new("\"hello\"")
                            .with_metadata(Metadata::new().with("offset", "1"))
                            .in_order_of(key.clone());
                        acks.track(key.clone(), offset, permit.send(event));
                        sent += 1;
                    }
                    progress = acks.next() => {
                        assert!(matches!(progress, Progress::Upto { .. }), "{progress:?}");
                    }
                }
            }
            let _ = done.send(());
        }
        Ok(())
    }
}

pub fn deliver(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("delivery");
    group.throughput(Throughput::Elements(1));
    for (name, threads) in [
        ("one thread", Threads::Current),
        ("two threads", Threads::Own),
    ] {
        let (orders, wanted) = mpsc::unbounded_channel();
        *ORDERS.lock().unwrap() = Some(wanted);
        let handlers = Handlers::default();
        handlers.set("it", |_| async { Ok::<(), String>(()) });
        let app = InProcessApp {
            handlers,
            routes: None,
        };
        let bed = Bed::new::<Log>(Role::Input, threads, app);
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|count| {
                bed.time(async |_| {
                    let (done, all) = oneshot::channel();
                    orders.send((count, done)).unwrap();
                    all.await.unwrap();
                })
            });
        });
    }
    group.finish();
}
