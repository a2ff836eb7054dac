//! The reading side, as the runtime sees it: it finds out whether reading can work, and gives
//! the group's member a thread of its own.
//!
//! librdkafka blocks where it joins and leaves a group, and calls back from where it is polled.
//! On a thread of its own that is in nobody's way. Not on one of the runtime's, because ending
//! one that was given up may take as long as `sessionTimeout` while the brokers are away, and
//! nobody should have to wait for that.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::time::Duration;

use bindery_contract::{Clock, EventSink, Input, OpenContext, OpenError, ReadError};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::metadata::MetadataTopic;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::client::{Ear, create, first_answer};
use crate::config;
use crate::error::Problem;
use crate::group::Member;
use crate::settings::KafkaSettings;

/// How long a topic may take to appear that the brokers create when they are asked for it.
const CREATION: Duration = Duration::from_secs(2);
/// How long it may take to ask the brokers for a topic.
const ASK: Duration = Duration::from_secs(2);
/// How long to wait before a topic is asked for again.
const AGAIN: Duration = Duration::from_millis(100);

/// Reads topics as a member of a group.
pub(crate) struct Reader {
    settings: Arc<KafkaSettings>,
    cx: OpenContext,
}

/// Finds out whether the brokers let us in and have the topics. The client that asks is not the
/// one that reads: how much that one may fetch is known only when reading starts.
///
/// # Errors
/// When the configuration cannot be used, or the brokers do not answer or say no.
pub(crate) async fn open(settings: KafkaSettings, cx: OpenContext) -> Result<Reader, OpenError> {
    let settings = Arc::new(settings);
    if config::topics(&settings).next().is_some() && settings.consumer_group.is_empty() {
        // What Kafka would say, in more words. Not Invalid, because a component that is only
        // written to needs no group, and must not end the start.
        return Err(OpenError::refused(
            "setting \"consumerGroup\" is missing: Kafka lets nobody read without a group",
        ));
    }
    let (asked, clock) = (Arc::clone(&settings), cx.clock().clone());
    let asking = cx.blocking(move || ask(&asked, &clock));
    asking.await.map_err(OpenError::disconnected)??;
    Ok(Reader { settings, cx })
}

impl ConsumerContext for Ear {}

fn ask(settings: &KafkaSettings, clock: &Clock) -> Result<(), OpenError> {
    let mut config = config::client(settings).map_err(OpenError::invalid)?;
    config.set("allow.auto.create.topics", "true");
    let brokers = config::brokers(settings);
    let (ear, mut problems) = Ear::new();
    let client: BaseConsumer<Ear> = create(&config, ear)?;
    first_answer(
        &brokers,
        config::first_answer(settings),
        clock,
        &mut problems,
        |look| {
            // The ear hears while it is polled.
            client.poll(look / 2);
            client.client().fetch_cluster_id(look / 2).is_some()
        },
    )?;
    config::topics(settings).try_for_each(|topic| ask_for(topic, &client, &brokers, clock))
}

/// Makes sure that a topic is there.
fn ask_for(
    topic: &str,
    client: &BaseConsumer<Ear>,
    brokers: &str,
    clock: &Clock,
) -> Result<(), OpenError> {
    let deadline = clock.now() + CREATION;
    loop {
        let metadata = client.fetch_metadata(Some(topic), ASK);
        let metadata = metadata.map_err(|error| Problem::from(&error).while_opening(brokers))?;
        let error = metadata.topics().first().and_then(MetadataTopic::error);
        let Some(error) = error else { return Ok(()) };
        let problem = Problem::from(&KafkaError::MetadataFetch(error.into()));
        match problem.code {
            Code::UnknownTopicOrPartition | Code::LeaderNotAvailable if clock.now() < deadline => {
                client.poll(AGAIN);
            }
            Code::UnknownTopicOrPartition => {
                return Err(OpenError::refused(format!(
                    "topic {topic} does not exist, and the brokers at {brokers} do not create it"
                )));
            }
            _ => return Err(problem.while_opening(&format!("{brokers}, topic {topic}"))),
        }
    }
}

impl Input for Reader {
    async fn read(&mut self, events: EventSink) -> Result<(), ReadError> {
        if config::topics(&self.settings).next().is_none() {
            tracing::warn!("{}: no topic defined, nothing is read", self.cx.component());
            events.stopped().await;
            return Ok(());
        }
        let given_up = CancellationToken::new();
        let _gives_up = given_up.clone().drop_guard();
        let (settings, cx) = (Arc::clone(&self.settings), self.cx.clone());
        let (tell, told) = oneshot::channel();
        let name = format!("kafka {}", cx.component());
        let reading = move || {
            let read = || drive(settings, cx, events, given_up);
            // Whoever gave the reader up does not want to know.
            let _ = tell.send(catch_unwind(AssertUnwindSafe(read)));
        };
        let thread = std::thread::Builder::new().name(name);
        thread.spawn(reading).map_err(ReadError::disconnected)?;
        match told.await.expect("the thread says how it ended") {
            Ok(outcome) => outcome,
            Err(panic) => resume_unwind(panic),
        }
    }
}

/// Reads until it is stopped or given up, on the current thread, which may block.
fn drive(
    settings: Arc<KafkaSettings>,
    cx: OpenContext,
    events: EventSink,
    given_up: CancellationToken,
) -> Result<(), ReadError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build();
    let runtime = runtime.map_err(ReadError::disconnected)?;
    let config = config::consumer(&settings, events.max_in_flight());
    let config = config.map_err(|error| ReadError::disconnected(error.to_string()))?;
    runtime.block_on(async move {
        let mut member = Member::join(settings, &config, events, cx)?;
        tokio::select! {
            biased;
            outcome = member.read() => outcome,
            () = given_up.cancelled() => Ok(()),
        }
    })
}
