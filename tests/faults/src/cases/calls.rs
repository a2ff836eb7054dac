//! Calls: siblings of one that panics, and many large posts.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::apps::judge_memory;
use crate::process::{Program, Running, timed};
use crate::row::Row;
use crate::scene::Scene;

const CREATE: &str = r#"{"operation":"create","data":"hello"}"#;
/// How long a round is; rounds with and without panics take turns.
const ROUND: Duration = Duration::from_secs(1);
/// How often the other binding panics: once in each round is its promise, more shows more.
const PANICS_EVERY: Duration = Duration::from_millis(200);

/// One binding panics again and again while its sibling is called.
pub(super) fn panics(scene: &mut Scene) -> Row {
    let rounds = scene.scaled(5, 30);
    scene.component("panics", "bindings.faults.panics", &[], "");
    scene.component("echo", "bindings.faults.echo", &[], "");
    let sidecar = up(scene, Program::Own);
    let mut row = Row::default();
    let mut p99 = [Vec::new(), Vec::new()];
    for round in 0..2 * rounds {
        let with_panics = round % 2 == 1;
        let calls = sibling(scene, &sidecar, with_panics, &mut row);
        if let Some(latency) = percentile(calls, 99) {
            p99[usize::from(with_panics)].push(latency);
        }
    }
    let [without, with] = p99.map(|latencies| percentile(latencies, 50).unwrap_or_default());
    let ratio = with.as_secs_f64() / without.as_secs_f64();
    row.must(ratio.is_finite(), || {
        "no calls: nothing was measured".into()
    });
    row.done = format!(
        "{rounds} rounds of panics; siblings' p99 {} µs, {} µs without: {ratio:.2}",
        with.as_micros(),
        without.as_micros()
    );
    row
}

/// Calls the sibling for one round; how long each call took.
fn sibling(scene: &mut Scene, sidecar: &Running, panics: bool, row: &mut Row) -> Vec<Duration> {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let panicking = scope.spawn(|| {
            let mut wrong = Vec::new();
            while panics && !over.load(Ordering::Relaxed) {
                let status = sidecar.invoke("panics", CREATE).map(|answer| answer.status);
                if !matches!(status, Ok(500)) {
                    wrong.push(format!("the one that panics answered {status:?}"));
                }
                std::thread::sleep(PANICS_EVERY);
            }
            wrong
        });
        let calling = scope.spawn(|| {
            let (mut took, mut wrong) = (Vec::new(), Vec::new());
            while !over.load(Ordering::Relaxed) {
                let (answer, time) = timed(|| sidecar.invoke("echo", CREATE));
                match answer.map(|answer| answer.status) {
                    Ok(200) => took.push(time),
                    other => wrong.push(format!("its sibling answered {other:?}")),
                }
            }
            (took, wrong)
        });
        scene.pass(
            if panics {
                "with panics"
            } else {
                "without panics"
            },
            ROUND,
        );
        over.store(true, Ordering::Relaxed);
        let (took, wrong) = calling.join().expect("it does not panic");
        row.wrong.extend(wrong);
        row.wrong
            .extend(panicking.join().expect("it does not panic"));
        took
    })
}

fn percentile(mut times: Vec<Duration>, percent: usize) -> Option<Duration> {
    times.sort_unstable();
    times
        .get(times.len() * percent / 100)
        .or(times.last())
        .copied()
}

/// Posts of three MiB each, four at a time.
pub(super) fn big_posts(scene: &mut Scene) -> Row {
    const POSTS: usize = 300;
    const AT_ONCE: usize = 4;
    let root = scene.folder().join("files").display().to_string();
    scene.component("files", "bindings.localstorage", &[("rootPath", &root)], "");
    let sidecar = up(scene, Program::Bindery);
    let post = |number: usize, length: usize| {
        let data = "x".repeat(length);
        let body = format!(
            r#"{{"operation":"create","metadata":{{"fileName":"{number}"}},"data":"{data}"}}"#
        );
        let answer = sidecar.invoke("files", &body);
        answer
            .map_err(|error| error.to_string())
            .and_then(|answer| match answer.status {
                200 => Ok(()),
                _ => Err(String::from_utf8_lossy(&answer.body).into_owned()),
            })
    };
    // Threads, pools and buffers reach their working size before anything is measured.
    let warm = (0..200).map(|number| post(number % AT_ONCE, 100));
    let mut row = Row::done(format!("{POSTS} posts of 3 MiB"));
    row.wrong.extend(warm.filter_map(Result::err));
    let before = sidecar.usage();
    std::thread::scope(|scope| {
        let posting =
            |lane: usize| (0..POSTS / AT_ONCE).filter_map(move |_| post(lane, 3 << 20).err());
        let lanes = (0..AT_ONCE).map(|lane| scope.spawn(move || posting(lane).collect::<Vec<_>>()));
        for lane in lanes.collect::<Vec<_>>() {
            row.wrong.extend(lane.join().expect("it does not panic"));
        }
    });
    let (peak, mut after) = (sidecar.usage().memory >> 20, before);
    // The allocator gives memory back when it comes to it.
    let back = scene.until("memory comes back", Duration::from_secs(30), || {
        after = sidecar.usage();
        after.memory <= before.memory + super::apps::MEMORY
    });
    row.done = format!("{}, {peak} MiB right after", row.done);
    row.must(back, || "memory did not come back within 30 s".into());
    judge_memory(&mut row, (before, after));
    row
}

/// A sidecar whose outputs can be called.
pub(super) fn up(scene: &mut Scene, program: Program) -> Running {
    let sidecar = scene.sidecar(program, None);
    let is_up = scene.until("starting", Duration::from_secs(20), || sidecar.is_up());
    assert!(is_up, "the sidecar did not start");
    sidecar
}
