//! Spans on their way out: gathered, and sent in batches by one task. Nobody who ends a span ever
//! waits; where a collector is away, what does not fit into the queue is lost, and counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bindery_contract::Clock;
use opentelemetry_sdk::trace::SpanData;
use tokio::sync::{mpsc, oneshot};

use super::wire::Exporter;

/// How many spans wait at most.
const ROOM: usize = 2048;
/// How many are sent at once at most.
const BATCH: usize = 512;
/// How long the first of a batch waits for others.
const GATHER: Duration = Duration::from_secs(1);

/// Where spans are put when they end.
#[derive(Clone)]
pub(super) struct Queue {
    sender: mpsc::Sender<Item>,
    lost: Arc<AtomicU64>,
}

enum Item {
    Span(Box<SpanData>),
    /// Send what there is, and answer.
    Flush(oneshot::Sender<()>),
}

/// What takes them out.
pub(super) struct Outlet {
    receiver: mpsc::Receiver<Item>,
    lost: Arc<AtomicU64>,
}

/// A queue and its outlet.
pub(super) fn queue() -> (Queue, Outlet) {
    let (sender, receiver) = mpsc::channel(ROOM);
    let lost = Arc::default();
    let queue = Queue {
        sender,
        lost: Arc::clone(&lost),
    };
    (queue, Outlet { receiver, lost })
}

impl Queue {
    pub(super) fn push(&self, span: SpanData) {
        if self.sender.try_send(Item::Span(Box::new(span))).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many found no room, or could not be sent.
    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Waits until everything that was put in has been sent, or has been tried.
    pub(super) async fn flush(&self) {
        let (done, flushed) = oneshot::channel();
        if self.sender.send(Item::Flush(done)).await.is_ok() {
            let _ = flushed.await;
        }
    }
}

impl Outlet {
    /// Sends until the last queue is gone.
    pub(super) async fn run(mut self, exporters: Vec<Exporter>, clock: Clock) {
        let mut batch = Vec::new();
        while let Some(first) = self.receiver.recv().await {
            let mut flushed = None;
            let mut next = Some(first);
            let until = clock.now() + GATHER;
            loop {
                match next {
                    Some(Item::Span(span)) => batch.push(*span),
                    Some(Item::Flush(done)) => {
                        flushed = Some(done);
                        break;
                    }
                    None => break,
                }
                if batch.len() >= BATCH {
                    break;
                }
                next = tokio::select! {
                    biased;
                    item = self.receiver.recv() => item,
                    () = clock.sleep_until(until) => None,
                };
            }
            if !batch.is_empty() {
                self.send(std::mem::take(&mut batch), &exporters, &clock)
                    .await;
            }
            if let Some(done) = flushed {
                let _ = done.send(());
            }
        }
    }

    async fn send(&self, batch: Vec<SpanData>, exporters: &[Exporter], clock: &Clock) {
        let count = batch.len() as u64;
        let sending = exporters.iter().map(|exporter| {
            let batch = batch.clone();
            async move {
                let sent = clock.timeout(exporter.timeout, exporter.send(batch)).await;
                let outcome = sent.unwrap_or_else(|| Err("no answer in time".into()));
                outcome.map_err(|error| format!("{}: {error}", exporter.target))
            }
        });
        for outcome in futures_util::future::join_all(sending).await {
            if let Err(error) = outcome {
                self.lost.fetch_add(count, Ordering::Relaxed);
                tracing::warn!(
                    target: "dapr.runtime.trace", "spans could not be sent to {error}"
                );
            }
        }
    }
}
