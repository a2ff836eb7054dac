//! What happens inside the process: actors die, threads freeze.

use std::collections::HashSet;
use std::time::Duration;

use super::Numbers;
use crate::app::Manner;
use crate::row::Row;
use crate::scene::Scene;

/// How long after its block a reader has certainly woken up and said what it had to say.
const AWAKE: Duration = Duration::from_secs(10);

/// Delivery actors die with events under way: their sources hear of it, and read again.
pub(super) fn deaths(scene: &mut Scene) -> Row {
    let deaths = scene.scaled(20, 500);
    let mut numbers = Numbers::start(scene, steady());
    scene.component("killer", "bindings.faults.killer", &[], "");
    let sidecar = numbers.sidecar(scene);
    for death in 0..deaths {
        numbers.source.give(60);
        let wait = Duration::from_millis(50) + scene.up_to(Duration::from_millis(300));
        scene.pass(&format!("death {death} of {deaths}"), wait);
        let killed = sidecar.invoke("killer", r#"{"operation":"create"}"#);
        assert!(
            killed.is_ok_and(|answer| answer.status == 204),
            "nobody was killed"
        );
    }
    let mut row = Row::done(format!("{deaths} deaths of delivery actors"));
    numbers.until_done(scene);
    scene.stop(sidecar);
    numbers.finish(scene, &mut row, &HashSet::new());
    row
}

/// A reader blocks its thread: it is replaced, and acknowledges nothing when it wakes up.
pub(super) fn frozen(scene: &mut Scene) -> Row {
    let mut numbers = Numbers::start(scene, steady());
    let sidecar = numbers.sidecar(scene);
    numbers.source.give(500);
    scene.pass("a moment of work", Duration::from_millis(300));
    numbers.source.block_reader();
    let blocked = scene.until("the reader blocks", Duration::from_secs(5), || {
        numbers.source.is_blocking()
    });
    assert!(blocked, "the reader did not block its thread");
    scene.pass("the reader sleeps, and wakes up", AWAKE);
    let mut row = Row::done("a reader blocks its thread for 8 s");
    let done = numbers.until_done(scene);
    row.must(done, || "its successor did not read on".into());
    scene.stop(sidecar);
    numbers.finish(scene, &mut row, &HashSet::new());
    row
}

fn steady() -> Manner {
    Manner {
        takes: Duration::from_millis(1),
        ..Manner::default()
    }
}
