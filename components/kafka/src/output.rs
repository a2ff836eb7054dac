//! The writing side.

use std::sync::Arc;
use std::time::Duration;

use bindery_contract::{
    Invocation, InvokeError, OpenContext, OpenError, Output, Reply, Retry, Sent,
};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::producer::{DeliveryFuture, FutureProducer, FutureRecord, Producer, PurgeConfig};
use regex::Regex;

use crate::client::{Ear, Outage, Problems, create, first_answer};
use crate::config;
use crate::error::Problem;
use crate::off_thread::OffThread;
use crate::record::Record;
use crate::settings::KafkaSettings;

/// How long a call waits before it looks again whether the client's queue has room.
const QUEUE_FULL: Duration = Duration::from_millis(10);
/// How long it may take to ask the brokers something.
const ASK: Duration = Duration::from_secs(2);

/// How long the brokers may all be away before the binding is opened anew, and callers are told
/// so. Shorter ones are librdkafka's affair.
const OUTAGE: Duration = Duration::from_secs(5);

type Client = FutureProducer<Ear>;

/// Writes records to one topic.
pub(crate) struct Writer {
    client: Arc<OffThread<Client>>,
    topic: Arc<str>,
    brokers: String,
    excluded: Option<Regex>,
    record_limit: usize,
    call_limit: Duration,
    cx: OpenContext,
}

/// Connects.
///
/// # Errors
/// When the configuration cannot be used, or the brokers do not answer or say no.
pub(crate) async fn open(settings: KafkaSettings, cx: OpenContext) -> Result<Writer, OpenError> {
    let config = config::producer(&settings).map_err(OpenError::invalid)?;
    let brokers = config::brokers(&settings);
    let (limit, clock, asked) = (
        config::first_answer(&settings),
        cx.clock().clone(),
        brokers.clone(),
    );
    let connecting = cx.blocking(move || {
        let (ear, mut problems) = Ear::new();
        let client: Client = create(&config, ear)?;
        first_answer(&asked, limit, &clock, &mut problems, |look| {
            client.client().fetch_cluster_id(look).is_some()
        })?;
        Ok((client, problems))
    });
    let (client, problems) = connecting.await.map_err(OpenError::disconnected)??;
    let writer = Writer {
        client: Arc::new(OffThread::new(client, cx.runtime())),
        topic: settings.publish_topic.as_str().into(),
        brokers,
        excluded: config::excluded_headers(&settings).map_err(OpenError::invalid)?,
        record_limit: config::record_limit(&settings),
        call_limit: config::call_limit(&settings),
        cx: cx.clone(),
    };
    cx.spawn(writer.watch(problems));
    Ok(writer)
}

impl Output for Writer {
    async fn invoke(&self, call: Invocation) -> Result<Option<Reply>, InvokeError> {
        if self.topic.is_empty() {
            return Err(InvokeError::bad_request(
                "setting \"publishTopic\" is missing: there is no topic to write to",
            ));
        }
        let record = Record::of(call, self.excluded.as_ref())?;
        let size = record.size();
        if size > self.record_limit {
            return Err(self.too_large(size));
        }
        let delivery = self.enqueue(&record).await?;
        match delivery.await {
            Ok(Ok(_)) => Ok(None),
            Ok(Err((error, _))) => Err(self.failed(&error, &record).await),
            Err(_) => Err(InvokeError::disconnected(
                "the client was closed",
                Sent::Perhaps,
            )),
        }
    }
}

impl Writer {
    /// Hands the record to the client, which sends it. Waits while the client's queue is full.
    async fn enqueue(&self, record: &Record) -> Result<DeliveryFuture, InvokeError> {
        let clock = self.cx.clock();
        let deadline = clock.now() + self.call_limit;
        let mut handed = FutureRecord::to(&self.topic).headers(record.native_headers());
        handed.payload = record.value.as_deref();
        handed.key = record.key.as_deref();
        handed.partition = record.partition;
        loop {
            match self.client.send_result(handed) {
                Ok(delivery) => return Ok(delivery),
                Err((KafkaError::MessageProduction(Code::QueueFull), back))
                    if clock.now() < deadline =>
                {
                    handed = back;
                    clock.sleep(QUEUE_FULL).await;
                }
                Err((error, _)) => return Err(self.failed(&error, record).await),
            }
        }
    }

    fn too_large(&self, size: usize) -> InvokeError {
        InvokeError::bad_request(format!(
            "the record has {size} bytes, with key and headers, and maxMessageBytes is {}",
            self.record_limit
        ))
    }

    /// What a record that was not written means to the caller.
    async fn failed(&self, error: &KafkaError, record: &Record) -> InvokeError {
        let topic = &self.topic;
        let problem = Problem::from(error);
        match problem.code {
            Code::PurgeQueue => InvokeError::disconnected(self.away(), Sent::No),
            Code::PurgeInflight => InvokeError::disconnected(self.away(), Sent::Perhaps),
            Code::MessageTimedOut => InvokeError::failed(format!(
                "Kafka at {} did not confirm the record within {:?}; it may have been written all \
                 the same",
                self.brokers, self.call_limit
            )),
            Code::QueueFull => InvokeError::failed(format!(
                "too many records wait for Kafka at {} already",
                self.brokers
            )),
            Code::UnknownPartition => InvokeError::bad_request(self.out_of_range(record).await),
            Code::UnknownTopic | Code::UnknownTopicOrPartition => pointless(format!(
                "topic {topic} does not exist, and the brokers do not create it"
            )),
            Code::MessageSizeTooLarge | Code::MessageBatchTooLarge => pointless(format!(
                "the record has {} bytes, with key and headers, which is more than topic {topic} \
                 takes (max.message.bytes)",
                record.size()
            )),
            Code::InvalidTopic | Code::InvalidArgument | Code::InvalidRecord => {
                pointless(format!("topic {topic} does not take the record: {problem}"))
            }
            _ if problem.is_refusal() => pointless(format!("writing to topic {topic}: {problem}")),
            _ => InvokeError::failed(format!("writing to topic {topic}: {problem}")),
        }
    }

    fn away(&self) -> String {
        format!("Kafka at {} is away", self.brokers)
    }

    /// Says how many partitions there are, if the brokers tell.
    async fn out_of_range(&self, record: &Record) -> String {
        let (client, topic) = (Arc::clone(&self.client), Arc::clone(&self.topic));
        let asking = self.cx.blocking(move || {
            let metadata = client.client().fetch_metadata(Some(&topic), ASK).ok()?;
            metadata
                .topics()
                .first()
                .map(|topic| topic.partitions().len())
        });
        let known = asking.await.ok().flatten();
        let has = known.map_or("fewer".into(), |count| count.to_string());
        let number = record.partition.unwrap_or_default();
        format!(
            "partition number {number} is out of range, topic {} has {has} partitions",
            self.topic
        )
    }

    /// Opens the binding anew when all brokers have been away for too long: until then the
    /// client connects again by itself, and its calls wait.
    fn watch(&self, mut problems: Problems) -> impl Future<Output = ()> + use<> {
        let (client, cx) = (Arc::clone(&self.client), self.cx.clone());
        let topic = Some(Arc::clone(&self.topic)).filter(|topic| !topic.is_empty());
        async move {
            let mut outage = Outage::new(OUTAGE);
            loop {
                tokio::select! {
                    problem = problems.recv() => {
                        let Some(problem) = problem else { return };
                        if let Some(news) = outage.hear(problem, cx.clock().now()) {
                            cx.report_degraded(news);
                        }
                    }
                    () = outage.due(cx.clock()) => {
                        if there_again(&client, topic.clone(), &cx).await {
                            outage.over();
                            cx.report_recovered();
                            continue;
                        }
                        give_up_waiting(&client, &cx).await;
                        cx.report_disconnected(outage.why());
                        return;
                    }
                }
            }
        }
    }
}

async fn there_again(
    client: &Arc<OffThread<Client>>,
    topic: Option<Arc<str>>,
    cx: &OpenContext,
) -> bool {
    let client = Arc::clone(client);
    let asking = cx.blocking(move || {
        client
            .client()
            .fetch_metadata(topic.as_deref(), ASK)
            .is_ok()
    });
    asking.await.unwrap_or(false)
}

/// Ends the calls that wait: what was not sent can be sent over the next connection.
async fn give_up_waiting(client: &Arc<OffThread<Client>>, cx: &OpenContext) {
    let client = Arc::clone(client);
    let purging = move || client.purge(PurgeConfig::default().queue().inflight());
    if let Err(cause) = cx.blocking(purging).await {
        tracing::warn!("{}: {cause}", cx.component());
    }
}

fn pointless(cause: String) -> InvokeError {
    InvokeError::Rejected {
        cause: cause.into(),
        reply: None,
        retry: Retry::Pointless,
    }
}
