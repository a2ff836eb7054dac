//! What a case works with: chance, a folder, patience, and a line that says how far it is.

use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::app::{App, Manner};
use crate::ledger::Ledger;
use crate::process::{Program, Running, Start};

/// Set by a signal: the case ends as if it had failed, and with it everything that it started.
pub static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// A case under way.
pub struct Scene {
    name: &'static str,
    /// Where its chances come from.
    pub rng: fastrand::Rng,
    /// Whether it runs as long as the promises say, or as CI has time for.
    pub is_full: bool,
    /// The mechanism that is off, if any.
    pub mutate: Option<&'static str>,
    folder: tempfile::TempDir,
    began: Instant,
    told: Instant,
}

/// A setting of a component.
pub type Setting<'a> = (&'a str, &'a str);

impl Scene {
    /// A scene for a case.
    pub fn new(name: &'static str, seed: u64, is_full: bool, mutate: Option<&'static str>) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::create_dir(folder.path().join("resources")).expect("our own folder");
        Self {
            name,
            rng: fastrand::Rng::with_seed(seed),
            is_full,
            mutate,
            folder,
            began: Instant::now(),
            told: Instant::now(),
        }
    }

    /// CI's value, or the one of the promise.
    pub fn scaled<T>(&self, ci: T, full: T) -> T {
        if self.is_full { full } else { ci }
    }

    /// A duration between nothing and this.
    pub fn up_to(&mut self, most: Duration) -> Duration {
        most.mul_f64(self.rng.f64())
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Where the sidecar's YAML files are.
    pub fn resources(&self) -> PathBuf {
        self.folder.path().join("resources")
    }

    /// The end of what the sidecars have said.
    pub fn log_tail(&self) -> String {
        let text = std::fs::read(self.log()).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(12)..].join("\n")
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("sidecar.log")
    }

    /// Writes a component; see [`component`].
    pub fn component(&self, name: &str, kind: &str, settings: &[Setting<'_>], more: &str) {
        self.resource(name, &component(name, kind, settings, more));
    }

    /// Writes a resource.
    pub fn resource(&self, name: &str, yaml: &str) {
        let path = self.resources().join(format!("{name}.yaml"));
        std::fs::write(path, yaml).expect("our own folder");
    }

    /// An app with an empty ledger.
    pub fn app(&mut self, manner: Manner) -> App {
        App::start(Ledger::create(self.folder.path()), manner, self.rng.u64(..))
    }

    /// A sidecar. It may still be starting when this returns.
    pub fn sidecar(&mut self, program: Program, app: Option<&App>) -> Running {
        if let Some(app) = app {
            self.settle(app);
            app.ledger.next_run();
        }
        Running::start(&Start {
            program,
            resources: &self.resources(),
            app_port: app.map_or(0, |app| app.port),
            log: &self.log(),
            mutate: self.mutate,
        })
    }

    /// Waits until the app has done with all that a killed sidecar gave it: that belongs to the
    /// run that was killed, and no sidecar could know of it.
    fn settle(&mut self, app: &App) {
        let mut quiet = (app.ledger.len(), Instant::now());
        self.until(
            "the app finishes what it has",
            Duration::from_secs(5),
            || {
                let entries = app.ledger.len();
                if entries != quiet.0 || !app.is_idle() {
                    quiet = (entries, Instant::now());
                }
                quiet.1.elapsed() > Duration::from_millis(15)
            },
        );
    }

    /// Waits until a condition holds; whether it did within the limit.
    pub fn until(
        &mut self,
        what: &str,
        limit: Duration,
        mut condition: impl FnMut() -> bool,
    ) -> bool {
        let start = Instant::now();
        loop {
            if condition() {
                return true;
            }
            if start.elapsed() > limit {
                return false;
            }
            self.tell(what);
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Lets some time pass.
    pub fn pass(&mut self, what: &str, time: Duration) {
        self.until(what, time, || false);
    }

    /// Says how far it is, from time to time.
    pub fn tell(&mut self, what: &str) {
        assert!(!INTERRUPTED.load(Ordering::Relaxed), "interrupted");
        let often = std::io::stderr().is_terminal();
        let every = Duration::from_millis(if often { 200 } else { 10_000 });
        if self.told.elapsed() < every {
            return;
        }
        self.told = Instant::now();
        let seconds = self.began.elapsed().as_secs();
        let (before, after) = if often { ("\r\x1b[K", "") } else { ("", "\n") };
        eprint!("{before}{}: {what} ({seconds} s){after}", self.name);
        let _ = std::io::stderr().flush();
    }

    /// Ends the line that said how far it was.
    pub fn end_line() {
        if std::io::stderr().is_terminal() {
            eprint!("\r\x1b[K");
        }
    }

    /// Ends a sidecar as its user would; whether it went well, and how long it took.
    pub fn stop(&mut self, mut sidecar: Running) -> (Option<i32>, Duration) {
        let start = Instant::now();
        sidecar.terminate();
        let mut status = None;
        self.until("stopping", Duration::from_secs(10), || {
            status = sidecar.ended();
            status.is_some()
        });
        (status.and_then(|status| status.code()), start.elapsed())
    }
}

/// The YAML of a component; `more` is added to its `spec`, indented by two.
pub fn component(name: &str, kind: &str, settings: &[Setting<'_>], more: &str) -> String {
    let mut yaml = format!(
        "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata:\n  name: {name}\nspec:\n  \
         type: {kind}\n  version: v1\n{more}  metadata:\n"
    );
    for (key, value) in settings {
        let _ = writeln!(yaml, "  - name: {key}\n    value: {value:?}");
    }
    yaml
}
