//! Members that share a group, against a real broker: what happens when partitions change hands.

mod support;

use std::collections::HashMap;
use std::sync::mpsc::{Sender, TryRecvError, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bindery_contract::settings::Properties;
use bindery_contract::{Event, Registration, Role};
use bindery_kafka::Kafka;
use bindery_testkit::Limits;
use bindery_testkit::app::Verdict;
use bindery_testkit::stand::{Stand, on_a_stand};
use tokio::task::JoinHandle;

use support::{Client, broker, settings, unique};

/// What all apps of a test took, in order.
type Ledger = Arc<Mutex<Vec<(i32, u32)>>>;

fn entry(event: &Event) -> (i32, u32) {
    let partition = event.metadata.get("__partition").unwrap().parse().unwrap();
    let value = std::str::from_utf8(&event.data).unwrap();
    (partition, value.parse().unwrap())
}

/// An app that takes everything and writes it down.
fn takes_everything(stand: &Stand, ledger: &Ledger) {
    let ledger = Arc::clone(ledger);
    stand.app().judge(move |event| {
        ledger.lock().unwrap().push(entry(event));
        Some(Verdict::Take)
    });
}

async fn join(stand: &Stand, name: &str, properties: &Properties) {
    let registration = Registration::of::<Kafka>();
    stand.load_sides(name, &registration, properties, vec![Role::Input]);
    stand.until_state(name, Role::Input, "Running").await;
}

fn by_partition(ledger: &Ledger) -> HashMap<i32, Vec<u32>> {
    let mut all: HashMap<i32, Vec<u32>> = HashMap::new();
    for (partition, value) in ledger.lock().unwrap().iter() {
        all.entry(*partition).or_default().push(*value);
    }
    all
}

/// While records come all the time, a second member joins, a third joins and leaves again:
/// nothing is lost, each partition stays in order across its members, and since every app works,
/// nothing is taken twice.
fn partitions_change_hands(strategy: &'static str) {
    const PARTITIONS: i32 = 4;
    const EACH: u32 = 1_500;
    let broker = broker();
    let brokers = broker.brokers.clone();
    on_a_stand(Limits::default(), async move |stand| {
        let (topic, client) = (unique("hands"), Arc::new(Client::of(&brokers)));
        client.create_topic(&topic, PARTITIONS).await;
        let more = [
            ("topics", topic.as_str()),
            ("consumerGroup", &topic),
            ("consumerGroupRebalanceStrategy", strategy),
            ("heartbeatInterval", "200ms"),
        ];
        let settings = settings(&brokers, &more);
        let ledger = Ledger::default();
        takes_everything(stand, &ledger);
        join(stand, "a", &settings).await;

        let (writer, clock) = (Arc::clone(&client), stand.clock().clone());
        let writing = tokio::task::spawn_local(async move {
            for number in 0..EACH {
                for partition in 0..PARTITIONS {
                    writer.put_soon(&topic, partition, number);
                }
                clock.sleep(Duration::from_millis(4)).await;
            }
        });
        let taken = |part: u32| {
            let ledger = Arc::clone(&ledger);
            let enough = (PARTITIONS.unsigned_abs() * EACH * part / 100) as usize;
            async move {
                let what = format!("{part}% to be taken");
                stand
                    .until(&what, || {
                        (ledger.lock().unwrap().len() >= enough).then_some(())
                    })
                    .await;
            }
        };
        taken(10).await;
        join(stand, "b", &settings).await;
        taken(30).await;
        let third = Other::joins(&settings, &ledger);
        taken(70).await;
        third.leaves().await;
        writing.await.unwrap();
        taken(100).await;
        for seen in ["a", "b"] {
            let of_it = stand
                .app()
                .seen()
                .iter()
                .filter(|event| event.component == seen)
                .count();
            assert!(of_it > 0, "{seen} had no partition");
        }
        for (partition, values) in by_partition(&ledger) {
            assert_eq!(
                values,
                (0..EACH).collect::<Vec<_>>(),
                "partition {partition}"
            );
        }
    });
}

#[test]
fn eager_members_lose_nothing_and_repeat_nothing() {
    partitions_change_hands("range");
}

#[test]
fn cooperative_members_lose_nothing_and_repeat_nothing() {
    partitions_change_hands("sticky");
}

/// A second member joins while the first one's app is working on events: their partitions are
/// given up only when it is done with them, and nobody gets them again.
#[test]
fn what_the_app_is_working_on_is_finished_before_its_partition_goes() {
    let broker = broker();
    let brokers = broker.brokers.clone();
    on_a_stand(Limits::default(), async move |stand| {
        let (topic, client) = (unique("working"), Client::of(&brokers));
        client.create_topic(&topic, 2).await;
        for partition in 0..2 {
            let values = (0..3).map(|number: u32| number.to_string());
            client.put_all(&topic, partition, values).await;
        }
        let more = [
            ("topics", topic.as_str()),
            ("consumerGroup", &topic),
            ("heartbeatInterval", "200ms"),
        ];
        let settings = settings(&brokers, &more);
        let ledger = Ledger::default();
        let ours = Arc::clone(&ledger);
        stand.app().judge(move |event| {
            let (partition, value) = entry(event);
            ours.lock().unwrap().push((partition, value));
            Some(if value == 0 {
                Verdict::Hold
            } else {
                Verdict::Take
            })
        });
        join(stand, "a", &settings).await;
        stand.app().until(|seen| seen.len() == 2).await;

        let other = Other::joins(&settings, &ledger);
        while client.group_state(&topic).await != "PreparingRebalance" {}
        // Time enough for a member that does not wait to go on without its partitions.
        stand.clock().sleep(Duration::from_secs(1)).await;
        assert_eq!(client.group_state(&topic).await, "PreparingRebalance");
        stand.app().release();
        let all = || (ledger.lock().unwrap().len() >= 6).then_some(());
        stand.until("everything", all).await;
        other.leaves().await;
        for values in by_partition(&ledger).values() {
            assert_eq!(*values, [0, 1, 2]);
        }
    });
}

/// A member in a sidecar of its own, whose app takes everything.
struct Other {
    leave: Sender<()>,
    thread: JoinHandle<()>,
}

impl Other {
    fn joins(settings: &Properties, ledger: &Ledger) -> Self {
        let (settings, ledger) = (settings.clone(), Arc::clone(ledger));
        let (leave, told) = channel();
        let thread = tokio::task::spawn_blocking(move || {
            on_a_stand(Limits::default(), async move |stand| {
                takes_everything(stand, &ledger);
                join(stand, "other", &settings).await;
                while told.try_recv() == Err(TryRecvError::Empty) {
                    stand.clock().sleep(Duration::from_millis(20)).await;
                }
            });
        });
        Self { leave, thread }
    }

    async fn leaves(self) {
        drop(self.leave);
        self.thread.await.unwrap();
    }
}

/// One member's app is down and holds its partitions' events; a member whose app works joins and
/// gets half of the partitions, from the first event on. The first app never sees an event again
/// of a partition that it does not have any more.
#[test]
fn what_is_not_acknowledged_goes_to_the_member_that_takes_over() {
    const PARTITIONS: i32 = 4;
    const EACH: u32 = 50;
    let broker = broker();
    let brokers = broker.brokers.clone();
    on_a_stand(Limits::default(), async move |stand| {
        let (topic, client) = (unique("takeover"), Client::of(&brokers));
        client.create_topic(&topic, PARTITIONS).await;
        for partition in 0..PARTITIONS {
            let values = (0..EACH).map(|number| number.to_string());
            client.put_all(&topic, partition, values).await;
        }
        let more = [
            ("topics", topic.as_str()),
            ("consumerGroup", &topic),
            ("heartbeatInterval", "200ms"),
        ];
        let settings = settings(&brokers, &more);
        stand.app().always(Some(Verdict::Refuse(503)));
        join(stand, "a", &settings).await;
        let stuck = |seen: &[bindery_testkit::app::Seen]| {
            (0..PARTITIONS)
                .all(|partition| seen.iter().any(|seen| entry(&seen.event).0 == partition))
        };
        stand.app().until(stuck).await;

        let ledger = Ledger::default();
        let other = Other::joins(&settings, &ledger);
        let half = 2 * EACH as usize;
        let taken = || (ledger.lock().unwrap().len() >= half).then_some(());
        stand.until("half of it", taken).await;
        let theirs = by_partition(&ledger);
        assert_eq!(theirs.len(), 2, "half of the partitions");
        for values in theirs.values() {
            assert_eq!(*values, (0..EACH).collect::<Vec<_>>());
        }
        // Longer than any backoff so far: the events that were taken back stay away.
        let before = stand.app().seen().len();
        stand
            .until("more attempts", || {
                (stand.app().seen().len() > before + 6).then_some(())
            })
            .await;
        for seen in &stand.app().seen()[before..] {
            let (partition, _) = entry(&seen.event);
            assert!(
                !theirs.contains_key(&partition),
                "partition {partition} is not ours"
            );
        }

        stand.app().always(None);
        takes_everything(stand, &ledger);
        let all = || {
            (ledger.lock().unwrap().len() == (PARTITIONS.unsigned_abs() * EACH) as usize)
                .then_some(())
        };
        stand.until("the other half", all).await;
        for values in by_partition(&ledger).values() {
            assert_eq!(*values, (0..EACH).collect::<Vec<_>>());
        }
        other.leaves().await;
    });
}
