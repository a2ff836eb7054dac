//! What the app does wrong: it is down, it hangs, it is slow, it refuses.

use std::collections::HashSet;
use std::path::Path;
use std::time::{Duration, Instant};

use super::Numbers;
use super::numbers::MAX_IN_FLIGHT;
use crate::app::Manner;
use crate::ledger::Event;
use crate::process::{Running, Usage};
use crate::row::Row;
use crate::scene::Scene;

/// How much more memory there may be than before.
pub(super) const MEMORY: u64 = 10 << 20;
/// The backoff's cap, and a second.
pub(super) const RECOVERY: Duration = Duration::from_secs(31);
/// How long the sidecar may rest before it is measured.
const REST: Duration = Duration::from_secs(60);
/// More keys than may be in flight, so that the limit is what limits.
const MANY_KEYS: usize = 100;

/// Nobody listens at the app's port for a while.
pub(super) fn down(scene: &mut Scene) -> Row {
    let long = scene.scaled(Duration::from_secs(5), Duration::from_secs(60));
    let mut numbers = Numbers::start(scene, Manner::default());
    let (sidecar, before) = warm(scene, &mut numbers);
    numbers.app.down();
    numbers.source.give(500);
    scene.pass("the app is down", long);
    let after = sidecar.usage();
    numbers.app.up();
    let back = Instant::now();
    let taken = numbers.app.ledger.len();
    let mut row = Row::done(format!("app down for {} s", long.as_secs()));
    let ledger = numbers.app.ledger.clone();
    let found = scene.until("the app is back", RECOVERY, || ledger.len() > taken);
    row.must(found, || {
        format!("no event within {RECOVERY:?} of its return")
    });
    row.recovered = Some(back.elapsed());
    finish(scene, &numbers, sidecar, &mut row, (before, after));
    row
}

/// The app takes events and does not answer; then it does.
pub(super) fn hangs(scene: &mut Scene) -> Row {
    let long = scene.scaled(Duration::from_secs(5), Duration::from_secs(60));
    let mut numbers = Numbers::with_keys(scene, MANY_KEYS, Manner::default(), "");
    let (sidecar, before) = warm(scene, &mut numbers);
    numbers.app.set(|manner| manner.hangs = true);
    numbers.app.most_in_flight();
    // One of each key: they are all at the app then, and none waits behind another.
    numbers.source.give(1);
    scene.pass("the app hangs", long);
    let (most, after) = (numbers.app.most_in_flight(), sidecar.usage());
    numbers.app.set(|manner| manner.hangs = false);
    let mut row = Row::done(format!(
        "app hangs for {} s, {most} in flight",
        long.as_secs()
    ));
    row.must(most as u64 == MAX_IN_FLIGHT, || {
        format!("{most} events were at the app; maxInFlight is {MAX_IN_FLIGHT}")
    });
    finish(scene, &numbers, sidecar, &mut row, (before, after));
    row
}

/// The app hangs, and a policy ends that: events are tried again, and none is lost.
pub(super) fn hangs_with_timeout(scene: &mut Scene) -> Row {
    scene.resource("patience", TIMEOUT);
    let mut numbers = Numbers::start(scene, Manner::default());
    let (sidecar, before) = warm(scene, &mut numbers);
    numbers.app.set(|manner| manner.hangs = true);
    numbers.source.give(50);
    scene.pass("the app hangs", Duration::from_secs(3));
    let blocked = sidecar.get("/v1.0/metadata");
    assert!(
        blocked.is_ok_and(|answer| answer.status == 200),
        "the API answers"
    );
    // What was given up there is not heard of again: only what is tried now counts.
    numbers.app.down();
    numbers.app.set(|manner| manner.hangs = false);
    numbers.app.up();
    let mut row = Row::done("app hangs for 3 s, inbound timeout 300 ms");
    numbers.until_done(scene);
    let after = sidecar.usage();
    finish(scene, &numbers, sidecar, &mut row, (before, after));
    row
}

const TIMEOUT: &str = "\
apiVersion: dapr.io/v1alpha1
kind: Resiliency
metadata:
  name: patience
spec:
  policies:
    timeouts:
      short: 300ms
  targets:
    components:
      numbers:
        inbound:
          timeout: short
";

/// The app takes its time with each event.
pub(super) fn slow(scene: &mut Scene) -> Row {
    let mut numbers = Numbers::with_keys(scene, MANY_KEYS, Manner::default(), "");
    let (sidecar, before) = warm(scene, &mut numbers);
    numbers
        .app
        .set(|manner| manner.takes = Duration::from_millis(150));
    numbers.app.most_in_flight();
    numbers.source.give(scene.scaled(10, 100));
    numbers.until_done(scene);
    let (most, after) = (numbers.app.most_in_flight(), sidecar.usage());
    let mut row = Row::done(format!("app takes 150 ms for each, {most} in flight"));
    row.must(most as u64 <= MAX_IN_FLIGHT, || {
        format!("{most} events were at the app; maxInFlight is {MAX_IN_FLIGHT}")
    });
    finish(scene, &numbers, sidecar, &mut row, (before, after));
    row
}

/// The app refuses one event for a while: it waits and does not spin, and the others flow.
pub(super) fn refuses(scene: &mut Scene) -> Row {
    let long = Duration::from_secs(5);
    let poison = poison();
    let mut numbers = Numbers::start(scene, Manner::default());
    let (sidecar, before) = warm(scene, &mut numbers);
    numbers
        .app
        .set(|manner| manner.poison = Some(poison.clone()));
    numbers.source.give(100);
    scene.pass("one event is refused", long);
    let attempts = numbers.app.ledger.attempts(&poison);
    let behind: Vec<_> = unfinished(&numbers);
    numbers.app.set(|manner| manner.poison = None);
    let mut row = Row::done(format!("one event refused for 5 s, {attempts} attempts"));
    // Full jitter from 100 ms up: seven or eight of them, by the luck of the draw.
    row.must((3..=40).contains(&attempts), || {
        format!("{attempts} attempts in {long:?}")
    });
    row.must(behind == [poison.key.clone()], || {
        format!("{behind:?} waited; only {} had a reason", poison.key)
    });
    numbers.until_done(scene);
    let after = sidecar.usage();
    finish(scene, &numbers, sidecar, &mut row, (before, after));
    row
}

/// The app refuses one event for good: its attempts are used up, and the dead letter takes it.
pub(super) fn poison_to_dead_letter(scene: &mut Scene) -> Row {
    let folder = scene.folder().join("dead");
    let root = folder.display().to_string();
    scene.component("dead", "bindings.localstorage", &[("rootPath", &root)], "");
    let delivery = "    maxAttempts: 3\n    deadLetter: dead\n";
    let keys = super::numbers::KEYS;
    let mut numbers = Numbers::with_keys(scene, keys, Manner::default(), delivery);
    let (sidecar, before) = warm(scene, &mut numbers);
    let poison = poison();
    numbers
        .app
        .set(|manner| manner.poison = Some(poison.clone()));
    numbers.source.give(100);
    numbers.until_done(scene);
    let after = sidecar.usage();
    let (attempts, dead) = (numbers.app.ledger.attempts(&poison), dead_letters(&folder));
    let mut row = Row::done(format!("one event refused for good, {attempts} attempts"));
    row.must(attempts == 3, || {
        format!("{attempts} attempts instead of 3")
    });
    row.must(dead == HashSet::from([poison]), || {
        format!("dead letters: {dead:?}")
    });
    scene.stop(sidecar);
    numbers.finish(scene, &mut row, &dead);
    judge_memory(&mut row, (before, after));
    row
}

/// The one that is refused: in the second batch of its key.
fn poison() -> Event {
    Event {
        key: "k3".into(),
        number: 60,
    }
}

fn dead_letters(folder: &Path) -> HashSet<Event> {
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let bodies = files.filter_map(|file| std::fs::read_to_string(file.path()).ok());
    bodies
        .filter_map(|body| Event::of(body.trim_matches('"')))
        .collect()
}

fn unfinished(numbers: &Numbers) -> Vec<String> {
    let acknowledged = numbers.source.acknowledged();
    let given = numbers.source.given().iter();
    let behind = given.filter(|(key, count)| acknowledged.get(*key) != Some(count));
    behind.map(|(key, _)| key.clone()).collect()
}

/// A sidecar that has worked: what it uses then is what it may use later.
fn warm(scene: &mut Scene, numbers: &mut Numbers) -> (Running, Usage) {
    numbers.source.give(40);
    let sidecar = numbers.sidecar(scene);
    let done = numbers.until_done(scene);
    assert!(done || scene.mutate.is_some(), "it does not deliver");
    let usage = sidecar.usage();
    (sidecar, usage)
}

fn finish(
    scene: &mut Scene,
    numbers: &Numbers,
    sidecar: Running,
    row: &mut Row,
    usage: (Usage, Usage),
) {
    numbers.until_done(scene);
    scene.stop(sidecar);
    numbers.finish(scene, row, &HashSet::new());
    judge_memory(row, usage);
}

/// Not more than ten MiB above what it was.
pub(super) fn judge_memory(row: &mut Row, (before, after): (Usage, Usage)) {
    let more = after.memory.saturating_sub(before.memory);
    row.must(more <= MEMORY, || {
        format!("{more} bytes of memory more than before")
    });
    row.usage = Some((before, after));
}

/// After at most a minute's rest: not more than ten MiB of memory, two descriptors and two
/// threads above what it was.
pub(super) fn judge_rest(scene: &mut Scene, row: &mut Row, sidecar: &Running, before: Usage) {
    let mut after = before;
    scene.until("a rest", REST, || {
        after = sidecar.usage();
        after.memory <= before.memory + MEMORY
            && after.descriptors <= before.descriptors + 2
            && after.threads <= before.threads + 2
    });
    judge_memory(row, (before, after));
    for (what, before, after) in [
        ("descriptors", before.descriptors, after.descriptors),
        ("threads", before.threads, after.threads),
    ] {
        row.must(after <= before + 2, || {
            format!("{after} {what}; there were {before}")
        });
    }
}
