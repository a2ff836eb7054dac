//! SIGKILL at random instants: what was acknowledged has been taken, and what was not comes again.

use std::collections::HashSet;
use std::time::Duration;

use super::Numbers;
use crate::app::Manner;
use crate::process::Program;
use crate::row::Row;
use crate::scene::Scene;

/// The numbered files.
pub(super) fn log(scene: &mut Scene) -> Row {
    let kills = scene.scaled(30, 1000);
    let mut numbers = Numbers::start(
        scene,
        Manner {
            refuses: 1,
            takes: Duration::from_millis(1),
            ..Manner::default()
        },
    );
    for kill in 0..kills {
        numbers.source.give(60);
        let sidecar = scene.sidecar(Program::Own, Some(&numbers.app));
        // From the first moments of its start to the middle of its work.
        let alive = scene.up_to(Duration::from_millis(500));
        scene.pass(&format!("kill {kill} of {kills}"), alive);
        sidecar.kill();
    }
    let mut row = Row::done(format!("{kills} kills, 1 % app errors"));
    numbers.finish(scene, &mut row, &HashSet::new());
    row
}
