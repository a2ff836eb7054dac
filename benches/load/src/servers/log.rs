//! An input that sends as many events as it is ordered to, as fast as it gets permits.

use bindery_contract::acks::{InOrder, Progress};
use bindery_contract::{
    Binding, Event, EventSink, Input, Key, Metadata, OpenContext, OpenError, Opened, Pending,
    ReadError, Source,
};
use tokio::sync::mpsc;

use super::{KEYS, Order, Orders, done};

/// The binding.
pub(super) struct Log;

#[derive(serde::Deserialize, schemars::JsonSchema)]
pub(super) struct LogSettings {}

impl Binding for Log {
    const TYPE: &'static str = "bindings.bench.log";
    const SUMMARY: &'static str = "Sends events of its own.";
    const INPUT: Option<Source> = Some(Source::Log);
    type Settings = LogSettings;

    async fn open(_: LogSettings, _: OpenContext) -> Result<Opened, OpenError> {
        Ok(Opened::input(Partitions {
            keys: std::array::from_fn(|number| Key::new(format!("log/{number}"))),
            orders: Orders::new(),
        }))
    }
}

struct Partitions {
    keys: [Key; KEYS],
    orders: Orders,
}

impl Input for Partitions {
    async fn read(&mut self, events: EventSink) -> Result<(), ReadError> {
        while let Some(order) = self.orders.next().await {
            let (sent, settled) = mpsc::unbounded_channel();
            let ((), outcome) = tokio::join!(self.send(&events, order, sent), settle(settled));
            outcome?;
            done();
        }
        // Nobody wants anything any more.
        std::process::exit(0);
    }
}

impl Partitions {
    async fn send(
        &self,
        events: &EventSink,
        order: Order,
        sent: mpsc::UnboundedSender<(usize, usize, Pending)>,
    ) {
        let data = order.data();
        for offset in 0..order.count {
            let number = offset % KEYS;
            let key = &self.keys[number];
            let Ok(permit) = events.ready_for(key).await else {
                return;
            };
            let event = Event::new(data.clone())
                .with_metadata(Metadata::new().with("partition", number.to_string()))
                .in_order_of(key.clone());
            let _ = sent.send((number, offset, permit.send(event)));
        }
    }
}

/// Waits until all is acknowledged.
async fn settle(
    mut sent: mpsc::UnboundedReceiver<(usize, usize, Pending)>,
) -> Result<(), ReadError> {
    let mut acks = InOrder::new();
    let mut new = Vec::new();
    let mut more = true;
    while more || !acks.is_empty() {
        tokio::select! {
            biased;
            count = sent.recv_many(&mut new, 64), if more => {
                more = count > 0;
                for (number, offset, pending) in new.drain(..) {
                    acks.track(number, offset, pending);
                }
            }
            progress = acks.next() => if let Progress::Stuck { reason, .. } = progress {
                return Err(ReadError::disconnected(reason));
            },
        }
    }
    Ok(())
}
