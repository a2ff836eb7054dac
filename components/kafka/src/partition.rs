//! One partition while this member holds it: from its queue to the app, and from the app's
//! acknowledgement to its position.
//!
//! A partition that is stuck behind an event fills its queue, and librdkafka fetches no more of
//! it; the others have queues and positions of their own.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bindery_contract::acks::{InOrder, Progress};
use bindery_contract::{Clock, Event, EventSink, Key, Nack, Pending, ReadError};
use rdkafka::Message;
use rdkafka::consumer::Consumer;
use rdkafka::consumer::stream_consumer::StreamPartitionQueue;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::assignment::{GroupConsumer, GroupEar, TopicPartition};
use crate::budget::{Room, Share};
use crate::error::Problem;
use crate::event::Shape;

/// A partition that is read.
pub(crate) struct Partition {
    pub(crate) name: TopicPartition,
    pub(crate) key: Key,
    pub(crate) queue: StreamPartitionQueue<GroupEar>,
    pub(crate) consumer: Arc<GroupConsumer>,
    pub(crate) shape: Arc<Shape>,
    pub(crate) events: EventSink,
    pub(crate) bytes: Share,
    pub(crate) clock: Clock,
    /// Takes back what was sent and is not being delivered yet.
    pub(crate) revoked: CancellationToken,
}

/// How many events that were sent are looked at together.
const AT_ONCE: usize = 64;

/// An event that was sent.
struct Sent {
    offset: i64,
    pending: Pending,
    room: Room,
}

impl Partition {
    /// Reads until the events are stopped, and waits for what is under way. When the partition
    /// is given up before that, takes back what is not being delivered yet, and waits for what
    /// is, no longer than it is told.
    ///
    /// # Errors
    /// When the partition has to be read again.
    pub(crate) async fn run(
        self,
        mut given_up: oneshot::Receiver<Duration>,
    ) -> Result<(), ReadError> {
        let _revokes = self.revoked.clone().drop_guard();
        let (sent, to_settle) = mpsc::unbounded_channel();
        let settling = self.settle(to_settle);
        tokio::pin!(settling);
        let grace = tokio::select! {
            biased;
            // No word at all: the member is gone, and with it the partition.
            grace = &mut given_up => grace.unwrap_or_default(),
            outcome = &mut settling => return outcome,
            outcome = self.read(sent) => {
                outcome?;
                tokio::select! {
                    biased;
                    outcome = &mut settling => return outcome,
                    grace = &mut given_up => grace.unwrap_or_default(),
                }
            }
        };
        self.revoked.cancel();
        self.clock.timeout(grace, settling).await.unwrap_or(Ok(()))
    }

    /// Sends records to the app until the events are stopped.
    async fn read(&self, sent: mpsc::UnboundedSender<Sent>) -> Result<(), ReadError> {
        tokio::select! {
            biased;
            () = self.events.stopped() => Ok(()),
            outcome = self.send_on(sent) => outcome,
        }
    }

    /// A record is taken out of the queue before there is a permit for it: an idle partition
    /// must not hold one that another has use for. Until then it is only one more that was
    /// fetched ahead.
    async fn send_on(&self, sent: mpsc::UnboundedSender<Sent>) -> Result<(), ReadError> {
        loop {
            let (offset, event) = match self.queue.recv().await {
                Ok(record) => (record.offset(), self.event(&record)),
                // librdkafka goes on behind what it could not read, and we must not.
                Err(error) => return Err(Problem::from(&error).while_reading(self.key.as_str())),
            };
            let room = self.bytes.room(event.data.len()).await;
            let Ok(permit) = self.events.ready_for(&self.key).await else {
                return Ok(());
            };
            let pending = permit.send(event);
            // Settled for as long as the partition runs.
            let _ = sent.send(Sent {
                offset,
                pending,
                room,
            });
        }
    }

    fn event(&self, record: &impl Message) -> Event {
        self.shape
            .event(record, &self.key)
            .revocable(self.revoked.clone())
    }

    /// Moves the position behind what the app has taken, until nothing is under way and nothing
    /// can come any more.
    async fn settle(&self, mut sent: mpsc::UnboundedReceiver<Sent>) -> Result<(), ReadError> {
        let mut under_way = InOrder::new();
        let mut rooms = VecDeque::new();
        let mut new = Vec::new();
        let mut more = true;
        while more || !under_way.is_empty() {
            tokio::select! {
                // Nobody sends while this runs, so what was sent comes to an end.
                biased;
                count = sent.recv_many(&mut new, AT_ONCE), if more => {
                    more = count > 0;
                    for Sent { offset, pending, room } in new.drain(..) {
                        under_way.track((), offset, pending);
                        rooms.push_back((offset, room));
                    }
                }
                progress = under_way.next() => match progress {
                    Progress::Upto { position, .. } => {
                        self.store(position);
                        while rooms.front().is_some_and(|(offset, _)| *offset <= position) {
                            rooms.pop_front();
                        }
                    }
                    // Not delivered, because we stop. Whoever comes next reads it again.
                    Progress::Stuck { reason: Nack::Stopped | Nack::Fenced | Nack::Revoked, .. } => {}
                    Progress::Stuck { position, reason, .. } => {
                        let name = self.key.as_str();
                        return Err(ReadError::disconnected(format!(
                            "the event at offset {position} of {name} was not delivered and is \
                             read again: {reason}"
                        )));
                    }
                },
            }
        }
        Ok(())
    }

    /// Says that everything up to `offset` is done. Committed by librdkafka, which refuses it for
    /// a partition that is not ours any more.
    fn store(&self, offset: i64) {
        let (topic, number) = &self.name;
        if let Err(error) = self.consumer.store_offset(topic, *number, offset) {
            tracing::debug!(
                "the position of {} was not stored: {error}",
                self.key.as_str()
            );
        }
    }
}
