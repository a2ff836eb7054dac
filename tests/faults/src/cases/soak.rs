//! All of it at random, in one life of one sidecar, and what is left of it afterwards.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use super::Numbers;
use super::apps::judge_rest;
use crate::app::Manner;
use crate::process::Running;
use crate::row::Row;
use crate::scene::Scene;

const CREATE: &str = r#"{"operation":"create","data":"hello"}"#;

/// What can happen next.
const HAPPENINGS: [&str; 8] = [
    "work",
    "errors",
    "slow",
    "hang",
    "down",
    "death",
    "panics",
    "big posts",
];

/// Two minutes, or an hour.
pub(super) fn soak(scene: &mut Scene) -> Row {
    let long = scene.scaled(Duration::from_secs(120), Duration::from_secs(3600));
    let root = scene.folder().join("files").display().to_string();
    scene.component("files", "bindings.localstorage", &[("rootPath", &root)], "");
    scene.component("killer", "bindings.faults.killer", &[], "");
    scene.component("panics", "bindings.faults.panics", &[], "");
    let mut numbers = Numbers::start(scene, Manner::default());
    let sidecar = numbers.sidecar(scene);
    for what in HAPPENINGS {
        happen(scene, &mut numbers, &sidecar, what);
    }
    numbers.until_done(scene);
    scene.pass("a rest before it is measured", Duration::from_secs(12));
    let before = sidecar.usage();
    let (began, mut count) = (Instant::now(), 0u32);
    while began.elapsed() < long {
        let what = HAPPENINGS[scene.rng.usize(..HAPPENINGS.len())];
        happen(scene, &mut numbers, &sidecar, what);
        count += 1;
    }
    numbers.app.set(|manner| *manner = Manner::default());
    numbers.until_done(scene);
    let mut row = Row::done(format!(
        "{} s, {count} happenings at random",
        long.as_secs()
    ));
    judge_rest(scene, &mut row, &sidecar, before);
    scene.stop(sidecar);
    numbers.finish(scene, &mut row, &HashSet::new());
    row
}

fn happen(scene: &mut Scene, numbers: &mut Numbers, sidecar: &Running, what: &str) {
    let moment = Duration::from_millis(200) + scene.up_to(Duration::from_millis(800));
    numbers.source.give(scene.rng.u64(5..50));
    numbers.app.set(|manner| {
        *manner = Manner {
            refuses: if what == "errors" { 10 } else { 0 },
            takes: Duration::from_millis(if what == "slow" { 50 } else { 1 }),
            hangs: what == "hang",
            poison: None,
        }
    });
    // What these answer is other cases' matter; here they are weather.
    match what {
        "down" => numbers.app.down(),
        "death" => drop(sidecar.invoke("killer", CREATE)),
        "panics" => (0..5).for_each(|_| drop(sidecar.invoke("panics", CREATE))),
        "big posts" => {
            let data = "x".repeat(3 << 20);
            let body = format!(
                r#"{{"operation":"create","metadata":{{"fileName":"big"}},"data":"{data}"}}"#
            );
            (0..4).for_each(|_| drop(sidecar.invoke("files", &body)));
        }
        _ => {}
    }
    scene.pass(what, moment);
    numbers.app.set(|manner| manner.hangs = false);
    if what == "down" {
        numbers.app.up();
    }
}
