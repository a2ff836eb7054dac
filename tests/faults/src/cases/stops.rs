//! SIGTERM in the middle of everything: a stop is not a kill.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use super::Numbers;
use crate::app::Manner;
use crate::row::Row;
use crate::scene::Scene;

/// After this no event may begin.
const READERS_STOP: Duration = Duration::from_millis(100);

/// Several times, at random instants.
pub(super) fn sigterm(scene: &mut Scene) -> Row {
    let stops = scene.scaled(8, 100);
    let mut numbers = Numbers::start(
        scene,
        Manner {
            takes: Duration::from_millis(30),
            ..Manner::default()
        },
    );
    let mut row = Row::done(format!("{stops} SIGTERMs under load"));
    let (mut latest, mut longest) = (Duration::ZERO, Duration::ZERO);
    for stop in 0..stops {
        numbers.source.give(40);
        let sidecar = numbers.sidecar(scene);
        let wait = Duration::from_millis(100) + scene.up_to(Duration::from_millis(400));
        scene.pass(&format!("stop {stop} of {stops}"), wait);
        let told = Instant::now();
        let (code, took) = scene.stop(sidecar);
        row.must(code == Some(0), || {
            format!("it ended with {code:?} after {took:?}")
        });
        let begun = numbers.app.last_begun();
        let begun = begun.map_or(Duration::ZERO, |begun| {
            begun.saturating_duration_since(told)
        });
        (latest, longest) = (latest.max(begun), longest.max(took));
    }
    row.must(latest <= READERS_STOP, || {
        format!("an event began {latest:?} after the signal")
    });
    row.done = format!(
        "{}: last event {} ms, exit {} ms after it",
        row.done,
        latest.as_millis(),
        longest.as_millis()
    );
    // What was running was finished and acknowledged: nothing comes twice.
    let again = numbers.audit(&HashSet::new()).duplicates;
    numbers.finish(scene, &mut row, &HashSet::new());
    let all = row.audit.as_ref().map_or(again, |audit| audit.duplicates);
    row.must(all == 0, || format!("{all} events came again after a stop"));
    row.allowed = 0;
    row
}
