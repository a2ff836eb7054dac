//! Who has which partition, in librdkafka's words: what it says of changes, how they are carried
//! out, and where reading begins.

use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{
    BaseConsumer, CommitMode, Consumer, ConsumerContext, RebalanceProtocol, StreamConsumer,
};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{Offset, TopicPartitionList};
use tokio::sync::mpsc;

use crate::client::Ear;
use crate::error::Problem;
use crate::settings::InitialOffset;

/// How long it may take to ask the brokers something.
const ASK: Duration = Duration::from_secs(5);

pub(crate) type GroupConsumer = StreamConsumer<GroupEar>;

/// Hears of changes of the assignment too.
pub(crate) struct GroupEar {
    ear: Ear,
    changes: mpsc::UnboundedSender<Change>,
}

impl GroupEar {
    pub(crate) fn new(ear: Ear) -> (Self, mpsc::UnboundedReceiver<Change>) {
        let (changes, heard) = mpsc::unbounded_channel();
        (Self { ear, changes }, heard)
    }
}

/// A change of the assignment. librdkafka waits until it is carried out.
pub(crate) struct Change {
    pub(crate) kind: Kind,
    pub(crate) partitions: TopicPartitionList,
}

/// What changes for the partitions.
pub(crate) enum Kind {
    /// They are ours.
    Assigned,
    /// They are to be given up.
    Revoked,
    /// They are to be given up, and another member may have them already.
    Lost,
}

impl Change {
    /// Carries it out: only then are the partitions ours, or not ours any more. What is stored
    /// of the positions of those that are given up is committed by that.
    pub(crate) fn carry_out(&self, consumer: &impl Consumer<GroupEar>) -> KafkaResult<()> {
        let partitions = &self.partitions;
        let cooperative = matches!(
            consumer.rebalance_protocol(),
            RebalanceProtocol::Cooperative
        );
        match (&self.kind, cooperative) {
            (Kind::Assigned, true) => consumer.incremental_assign(partitions),
            (Kind::Assigned, false) => consumer.assign(partitions),
            (_, true) => consumer.incremental_unassign(partitions),
            (_, false) => consumer.unassign(),
        }
    }
}

impl ClientContext for GroupEar {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.ear.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.ear.error(error, reason);
    }
}

impl ConsumerContext for GroupEar {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        what: RDKafkaRespErr,
        partitions: &mut TopicPartitionList,
    ) {
        let kind = match what {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => Kind::Assigned,
            _ if consumer.assignment_lost() => Kind::Lost,
            _ => Kind::Revoked,
        };
        let change = Change {
            kind,
            partitions: partitions.clone(),
        };
        if let Err(mpsc::error::SendError(change)) = self.changes.send(change) {
            // The member has ended, and its consumer is being closed.
            let _ = change.carry_out(consumer);
        }
    }

    fn commit_callback(&self, result: KafkaResult<()>, _: &TopicPartitionList) {
        let Err(error) = result else { return };
        let problem = Problem::from(&error);
        if problem.is_refusal() {
            self.ear.tell(problem);
        } else {
            // It is committed again with the next position, or else read again.
            tracing::debug!("positions were not committed: {problem}");
        }
    }
}

/// A topic and the number of one of its partitions.
pub(crate) type TopicPartition = (String, i32);

/// The partitions of a list.
pub(crate) fn names(partitions: &TopicPartitionList) -> impl Iterator<Item = TopicPartition> {
    let elements = partitions.elements();
    elements
        .into_iter()
        .map(|element| (element.topic().to_owned(), element.partition()))
}

/// From where each partition is read: from what the group has committed, else by
/// `initialOffset`. Blocks.
///
/// What `newest` means is decided once, and committed at once. Else a reader that starts again
/// before the first acknowledgement would take a newer end for the beginning, and pass over what
/// came in between.
pub(crate) fn starts(
    consumer: &GroupConsumer,
    partitions: TopicPartitionList,
    initial: InitialOffset,
) -> KafkaResult<TopicPartitionList> {
    let mut starts = consumer.committed_offsets(partitions, ASK)?;
    let mut fresh = TopicPartitionList::new();
    for element in starts.elements() {
        element.error()?;
        if element.offset() == Offset::Invalid {
            let (topic, number) = (element.topic(), element.partition());
            let start = match initial {
                InitialOffset::Oldest => Offset::Beginning,
                InitialOffset::Newest => {
                    let (_, end) = consumer.fetch_watermarks(topic, number, ASK)?;
                    Offset::Offset(end)
                }
            };
            fresh.add_partition_offset(topic, number, start)?;
        }
    }
    if fresh.count() > 0 && initial == InitialOffset::Newest {
        consumer.commit(&fresh, CommitMode::Sync)?;
    }
    for element in fresh.elements() {
        starts.set_partition_offset(element.topic(), element.partition(), element.offset())?;
    }
    Ok(starts)
}
