//! Hot reloads under load: of the binding that changes, of one that does not, and of an input.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::apps::judge_rest;
use super::numbers::MAX_IN_FLIGHT;
use super::{Numbers, Over};
use crate::app::Manner;
use crate::process::Running;
use crate::row::Row;
use crate::scene::{Scene, component};
use crate::source::{READERS, number_in};

/// How long a change of a file may take to become effective.
const TAKEN_IN: Duration = Duration::from_secs(10);
/// Each so many reloads of the output the input is changed too.
const INPUT_EVERY: u64 = 10;
const ECHO: &str = r#"{"operation":"create","data":"hello"}"#;

/// Where the YAML files are, and how they change.
enum Files {
    /// In the folder itself: a new file takes the place of the old one.
    Plain,
    /// As Kubernetes mounts them: behind the link `..data`, which is swapped.
    Mounted(u64),
}

/// Files in a folder.
pub(super) fn plain(scene: &mut Scene) -> Row {
    reloads(scene, Files::Plain)
}

/// Files behind a link.
pub(super) fn mounted(scene: &mut Scene) -> Row {
    reloads(scene, Files::Mounted(0))
}

fn reloads(scene: &mut Scene, mut files: Files) -> Row {
    let count = scene.scaled(40, 1000);
    let mut numbers = Numbers::start(
        scene,
        Manner {
            takes: Duration::from_millis(1),
            ..Manner::default()
        },
    );
    let output = |scene: &Scene, number: u64| {
        let root = root(scene, number).display().to_string();
        component("files", "bindings.localstorage", &[("rootPath", &root)], "")
    };
    scene.resource("files", &output(scene, 0));
    scene.component("echo", "bindings.faults.echo", &[], "");
    files.settle(scene);
    let sidecar = numbers.sidecar(scene);
    let calls = Calls::default();
    let mut row = Row::done(format!(
        "{count} reloads of an output, {} of an input",
        count / INPUT_EVERY
    ));
    // Threads, connections and buffers reach their working size before anything is measured.
    let warm = std::thread::scope(|scope| {
        let _over = Over(&calls.over);
        scope.spawn(|| calls.run(|number| sidecar.invoke("files", &create(number))));
        scope.spawn(|| calls.run(|_| sidecar.invoke("echo", ECHO)));
        let mut warm = sidecar.usage();
        for number in 1..=count {
            numbers.source.give(5);
            files.publish(scene, "files", &output(scene, number));
            let new = root(scene, number);
            let taken = scene.until(&format!("reload {number} of {count}"), TAKEN_IN, || {
                std::fs::read_dir(&new).is_ok_and(|mut files| files.next().is_some())
            });
            row.must(taken, || {
                format!("reload {number} did not become effective")
            });
            // Nothing may go there any more that is told to go elsewhere, so it can be deleted.
            let _ = std::fs::remove_dir_all(root(scene, number - 1));
            if number % INPUT_EVERY == 0 {
                reload_input(scene, &numbers, &mut files, number, &mut row);
            }
            if number == count / 4 {
                warm = sidecar.usage();
            }
        }
        warm
    });
    row.wrong.extend(
        calls
            .wrong
            .lock()
            .expect("nobody panics with it")
            .drain(..)
            .take(5),
    );
    row.done = format!("{}, {} calls", row.done, calls.next.load(Ordering::Relaxed));
    numbers.until_done(scene);
    judge_rest(scene, &mut row, &sidecar, warm);
    end(scene, &numbers, sidecar, &mut row);
    row
}

/// Another limit, and back: the input is drained and started anew.
fn reload_input(
    scene: &mut Scene,
    numbers: &Numbers,
    files: &mut Files,
    number: u64,
    row: &mut Row,
) {
    let readers = numbers.source.folder().join(READERS);
    let before = number_in(&readers);
    let max = MAX_IN_FLIGHT - (number / INPUT_EVERY) % 2;
    files.publish(scene, "numbers", &numbers.component(max, ""));
    let started = scene.until("reload of the input", TAKEN_IN, || {
        number_in(&readers) > before
    });
    row.must(started, || {
        format!("reload {number}: the input was not started anew")
    });
}

fn end(scene: &mut Scene, numbers: &Numbers, sidecar: Running, row: &mut Row) {
    scene.stop(sidecar);
    numbers.finish(scene, row, &HashSet::new());
    let again = row.audit.as_ref().map_or(0, |audit| audit.duplicates);
    row.must(again == 0, || {
        format!("{again} events came again, though inputs are drained")
    });
    row.allowed = 0;
}

fn create(number: u64) -> String {
    let name = number % 8;
    format!(r#"{{"operation":"create","metadata":{{"fileName":"{name}"}},"data":"x"}}"#)
}

fn root(scene: &Scene, number: u64) -> PathBuf {
    scene.folder().join(format!("root-{number}"))
}

/// Calls without a pause, of which none may fail.
#[derive(Default)]
struct Calls {
    next: AtomicU64,
    over: AtomicBool,
    wrong: Mutex<Vec<String>>,
}

impl Calls {
    fn run(&self, call: impl Fn(u64) -> std::io::Result<crate::process::Answer>) {
        while !self.over.load(Ordering::Relaxed) {
            let wrong = match call(self.next.fetch_add(1, Ordering::Relaxed)) {
                Ok(answer) if matches!(answer.status, 200 | 204) => None,
                Ok(answer) => Some(String::from_utf8_lossy(&answer.body).into_owned()),
                Err(error) => Some(error.to_string()),
            };
            self.wrong
                .lock()
                .expect("nobody panics with it")
                .extend(wrong);
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Files {
    /// Puts what is in the folder where it belongs.
    fn settle(&mut self, scene: &Scene) {
        if let Self::Mounted(version) = self {
            let folder = scene.resources();
            let first = folder.join(format!("..v{version}"));
            std::fs::create_dir(&first).expect("our own folder");
            let entries = std::fs::read_dir(&folder).expect("our own folder");
            let names = entries.flatten().map(|entry| entry.file_name());
            for name in names.filter(|name| !name.to_string_lossy().starts_with("..")) {
                std::fs::rename(folder.join(&name), first.join(&name)).expect("our own folder");
                let behind = PathBuf::from("..data").join(&name);
                std::os::unix::fs::symlink(behind, folder.join(&name)).expect("our own folder");
            }
            swap(&folder, *version);
        }
    }

    /// Changes a file, in one step.
    fn publish(&mut self, scene: &Scene, name: &str, yaml: &str) {
        let (folder, file) = (scene.resources(), format!("{name}.yaml"));
        match self {
            Self::Plain => {
                let new = scene.folder().join("new.yaml");
                std::fs::write(&new, yaml).expect("our own folder");
                std::fs::rename(new, folder.join(file)).expect("our own folder");
            }
            Self::Mounted(version) => {
                let old = folder.join(format!("..v{version}"));
                *version += 1;
                let new = folder.join(format!("..v{version}"));
                std::fs::create_dir(&new).expect("our own folder");
                for entry in std::fs::read_dir(&old).expect("our own folder").flatten() {
                    let copied = std::fs::copy(entry.path(), new.join(entry.file_name()));
                    copied.expect("our own folder");
                }
                std::fs::write(new.join(file), yaml).expect("our own folder");
                swap(&folder, *version);
                std::fs::remove_dir_all(old).expect("our own folder");
            }
        }
    }
}

/// Lets `..data` lead to this version, in one step.
fn swap(folder: &std::path::Path, version: u64) {
    let new = folder.join("..data_tmp");
    std::os::unix::fs::symlink(format!("..v{version}"), &new).expect("our own folder");
    std::fs::rename(new, folder.join("..data")).expect("our own folder");
}
