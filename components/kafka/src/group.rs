//! A member of a consumer group: which partitions it holds, and what it does when that changes.
//!
//! Everything here runs on the reader's own thread. A change of the assignment is not handled
//! where librdkafka calls back, but put in line and handled like everything else, so that
//! partitions which are given up can finish in peace: what the app has taken by then is committed
//! before another member gets the partition.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use bindery_contract::{EventSink, Key, OpenContext, ReadError};
use futures_util::future::{FutureExt, LocalBoxFuture};
use futures_util::stream::{FuturesUnordered, StreamExt};
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code};
use rdkafka::{ClientConfig, Message, TopicPartitionList};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::assignment::{Change, GroupConsumer, GroupEar, Kind, TopicPartition, names, starts};
use crate::budget::Budget;
use crate::client::{Ear, Outage, Problems, create};
use crate::config;
use crate::error::Problem;
use crate::event::Shape;
use crate::partition::Partition;
use crate::settings::KafkaSettings;

/// How long the app may still take over an event when its partition is given up. The whole group
/// waits for it.
const GRACE: Duration = Duration::from_secs(5);
/// How long it may take to find a broker again.
const LOOK: Duration = Duration::from_secs(2);

type Flow = LocalBoxFuture<'static, (TopicPartition, Result<(), ReadError>)>;

/// A member of a group.
pub(crate) struct Member {
    /// What runs for each partition that is read.
    flows: FuturesUnordered<Flow>,
    /// The word to stop for each of them: how long what is under way may still take.
    held: HashMap<TopicPartition, oneshot::Sender<Duration>>,
    /// Those that have been told.
    leaving: HashSet<TopicPartition>,
    /// The change that is being carried out; the next one waits for it.
    change: Option<Change>,
    changes: mpsc::UnboundedReceiver<Change>,
    /// Finds out from where the assigned partitions are read.
    starts: Option<JoinHandle<KafkaResult<TopicPartitionList>>>,
    problems: Problems,
    outage: Outage,
    /// Finds out whether the brokers are there again.
    look: Option<JoinHandle<bool>>,
    consumer: Arc<GroupConsumer>,
    settings: Arc<KafkaSettings>,
    shape: Arc<Shape>,
    bytes: Budget,
    events: EventSink,
    cx: OpenContext,
}

impl Member {
    /// Joins the group.
    ///
    /// # Errors
    /// When librdkafka does not take the configuration or the topics.
    pub(crate) fn join(
        settings: Arc<KafkaSettings>,
        config: &ClientConfig,
        events: EventSink,
        cx: OpenContext,
    ) -> Result<Self, ReadError> {
        let cannot = |error: &dyn std::fmt::Display| ReadError::disconnected(error.to_string());
        let (ear, problems) = Ear::new();
        let (ear, changes) = GroupEar::new(ear);
        let consumer: GroupConsumer = create(config, ear).map_err(|error| cannot(&error))?;
        let topics: Vec<_> = config::topics(&settings).collect();
        consumer
            .subscribe(&topics)
            .map_err(|error| cannot(&error))?;
        let excluded = config::excluded_headers(&settings).map_err(|error| cannot(&error))?;
        // After that the group has given up on us, and nothing is gained by waiting.
        let outage = settings.session_timeout.positive().unwrap_or_default();
        Ok(Self {
            flows: FuturesUnordered::new(),
            held: HashMap::new(),
            leaving: HashSet::new(),
            change: None,
            changes,
            starts: None,
            problems,
            outage: Outage::new(outage),
            look: None,
            consumer: Arc::new(consumer),
            shape: Arc::new(Shape {
                escape: settings.escape_headers,
                excluded,
            }),
            bytes: Budget::new(),
            settings,
            events,
            cx,
        })
    }

    /// Reads until the events are stopped, and then until everything under way is settled.
    ///
    /// # Errors
    /// When it cannot go on.
    pub(crate) async fn read(&mut self) -> Result<(), ReadError> {
        let (events, clock) = (self.events.clone(), self.cx.clock().clone());
        while !(events.is_stopped() && self.flows.is_empty()) {
            tokio::select! {
                biased;
                () = events.stopped(), if !events.is_stopped() => {}
                Some(problem) = self.problems.recv() => self.hear(problem)?,
                Some(change) = self.changes.recv(), if self.change.is_none() => self.begin(change)?,
                starts = done(&mut self.starts) => self.start(starts?)?,
                Some((partition, outcome)) = self.flows.next() => self.ended(&partition, outcome)?,
                () = self.outage.due(&clock), if self.look.is_none() => self.look_for_brokers(),
                found = done(&mut self.look) => self.found(found?)?,
                error = poll(&self.consumer) => return Err(error),
            }
        }
        Ok(())
    }

    fn hear(&mut self, problem: Problem) -> Result<(), ReadError> {
        if problem.is_about_a_connection() {
            if let Some(news) = self.outage.hear(problem, self.cx.clock().now()) {
                self.cx.report_degraded(news);
            }
            return Ok(());
        }
        if problem.code == Code::PollExceeded {
            // Our thread was kept from running, with the whole machine most likely. The member
            // has left, says so by a change, and joins again.
            tracing::warn!("{}: {problem}", self.cx.component());
            return Ok(());
        }
        // A topic that is gone is looked for when the binding is opened anew.
        Err(problem.while_reading(&format!("consumer group {}", self.settings.consumer_group)))
    }

    /// Begins to carry out a change.
    fn begin(&mut self, change: Change) -> Result<(), ReadError> {
        let grace = match change.kind {
            Kind::Assigned => {
                let consumer = Arc::clone(&self.consumer);
                let partitions = change.partitions.clone();
                let initial = self.settings.initial_offset;
                let asking = move || starts(&consumer, partitions, initial);
                self.starts = Some(tokio::task::spawn_blocking(asking));
                self.change = Some(change);
                return Ok(());
            }
            Kind::Revoked => GRACE,
            Kind::Lost => Duration::ZERO,
        };
        for partition in names(&change.partitions) {
            let stop = self.held.remove(&partition);
            // One that cannot be told has left already.
            if stop.is_some_and(|stop| stop.send(grace).is_ok()) {
                self.leaving.insert(partition);
            }
        }
        self.change = Some(change);
        self.let_go_when_all_have_left()
    }

    /// A partition's flow has ended.
    fn ended(
        &mut self,
        partition: &TopicPartition,
        outcome: Result<(), ReadError>,
    ) -> Result<(), ReadError> {
        self.leaving.remove(partition);
        outcome?;
        self.let_go_when_all_have_left()
    }

    fn let_go_when_all_have_left(&mut self) -> Result<(), ReadError> {
        let is_revoked = |change: &mut Change| !matches!(change.kind, Kind::Assigned);
        if self.leaving.is_empty()
            && let Some(change) = self.change.take_if(is_revoked)
        {
            let given_up = change.carry_out(&*self.consumer);
            given_up.map_err(|error| self.cannot(&error, "giving up partitions"))?;
        }
        Ok(())
    }

    /// Starts to read the partitions that were assigned.
    fn start(&mut self, starts: KafkaResult<TopicPartitionList>) -> Result<(), ReadError> {
        self.starts = None;
        let starts = starts.map_err(|error| self.cannot(&error, "finding where to read from"))?;
        // Before they are assigned: from then on their records go into their own queues.
        let queues: Option<Vec<_>> = names(&starts)
            .map(|(topic, number)| self.consumer.split_partition_queue(&topic, number))
            .collect();
        let queues = queues.ok_or_else(|| ReadError::disconnected("a partition has no queue"))?;
        let change = Change {
            kind: Kind::Assigned,
            partitions: starts,
        };
        let taken = change.carry_out(&*self.consumer);
        taken.map_err(|error| self.cannot(&error, "taking partitions"))?;
        self.change = None;
        for (partition, queue) in names(&change.partitions).zip(queues) {
            let (stop, stopped) = oneshot::channel();
            let reading = Partition {
                key: Key::new(format!("{}/{}", partition.0, partition.1)),
                name: partition.clone(),
                queue,
                consumer: Arc::clone(&self.consumer),
                shape: Arc::clone(&self.shape),
                events: self.events.clone(),
                bytes: self.bytes.share(),
                clock: self.cx.clock().clone(),
                revoked: CancellationToken::new(),
            };
            self.held.insert(partition.clone(), stop);
            let flow = async move { (partition, reading.run(stopped).await) };
            self.flows.push(flow.boxed_local());
        }
        Ok(())
    }

    fn look_for_brokers(&mut self) {
        let (consumer, settings) = (Arc::clone(&self.consumer), Arc::clone(&self.settings));
        self.look = Some(tokio::task::spawn_blocking(move || {
            let topic = config::topics(&settings).next();
            consumer.fetch_metadata(topic, LOOK).is_ok()
        }));
    }

    fn found(&mut self, found: bool) -> Result<(), ReadError> {
        self.look = None;
        if !found {
            return Err(self.outage.lost());
        }
        self.outage.over();
        self.cx.report_recovered();
        Ok(())
    }

    fn cannot(&self, error: &KafkaError, what: &str) -> ReadError {
        let group = &self.settings.consumer_group;
        Problem::from(error).while_reading(&format!("consumer group {group}, {what}"))
    }
}

impl Drop for Member {
    /// Leaves the group: librdkafka closes the consumer when it is dropped, and for that every
    /// change must have been carried out.
    fn drop(&mut self) {
        // They hold the consumer.
        self.flows.clear();
        self.changes.close();
        let waiting = std::iter::from_fn(|| self.changes.try_recv().ok());
        for change in self.change.take().into_iter().chain(waiting) {
            if let Err(error) = change.carry_out(&*self.consumer) {
                tracing::debug!("{}: while leaving the group: {error}", self.cx.component());
            }
        }
    }
}

/// Polls the consumer, which is what carries everything but records. Returns only when the
/// consumer is of no use any more.
async fn poll(consumer: &GroupConsumer) -> ReadError {
    loop {
        match consumer.recv().await {
            // Not lost: it is not acknowledged, so it is read again.
            Ok(record) => {
                let (topic, partition) = (record.topic(), record.partition());
                let text = format!("a record of {topic}/{partition} did not come by its queue");
                return ReadError::disconnected(text);
            }
            Err(KafkaError::MessageConsumptionFatal(code)) => {
                return Problem::new(code, "").while_reading("the consumer cannot go on");
            }
            // The ear has heard it.
            Err(_) => {}
        }
    }
}

/// The outcome of a task, if there is one; else it waits for ever.
async fn done<T>(task: &mut Option<JoinHandle<T>>) -> Result<T, ReadError> {
    match task {
        None => std::future::pending().await,
        Some(task) => task.await.map_err(|error| match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(error) => ReadError::disconnected(error),
        }),
    }
}

#[cfg(test)]
mod tests;
