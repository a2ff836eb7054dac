//! What the cases with numbered files share: a source, an app, and the account at the end.

use std::collections::HashSet;
use std::time::Duration;

use crate::app::{App, Manner};
use crate::audit::{Audit, audit};
use crate::ledger::Event;
use crate::process::{Program, Running};
use crate::row::Row;
use crate::scene::{Scene, component};
use crate::source::Numbered;

/// How many keys the source has.
pub const KEYS: usize = 8;
/// How many events may be in flight.
pub const MAX_IN_FLIGHT: u64 = 64;
/// How long the rest of the events may take at the end.
const REST: Duration = Duration::from_secs(60);
/// The same where a mechanism is off: what waits for ever then need not be waited for.
const REST_OF_MUTANT: Duration = Duration::from_secs(15);

/// A numbered source and an app that gets what it gives.
pub struct Numbers {
    pub source: Numbered,
    pub app: App,
}

impl Numbers {
    /// A source without events, and the component `numbers` that reads it.
    pub fn start(scene: &mut Scene, manner: Manner) -> Self {
        Self::with_keys(scene, KEYS, manner, "")
    }

    /// The same with another number of keys, and more lines for `spec.delivery`, indented by
    /// four.
    pub fn with_keys(scene: &mut Scene, keys: usize, manner: Manner, delivery: &str) -> Self {
        let source = Numbered::create(scene.folder(), keys);
        let app = scene.app(manner);
        let numbers = Self { source, app };
        scene.resource("numbers", &numbers.component(MAX_IN_FLIGHT, delivery));
        numbers
    }

    /// The YAML of the component, with more lines for `spec.delivery`.
    pub fn component(&self, max_in_flight: u64, delivery: &str) -> String {
        let folder = self.source.folder().display().to_string();
        let more = format!("  delivery:\n    maxInFlight: {max_in_flight}\n{delivery}");
        component(
            "numbers",
            "bindings.faults.log",
            &[("folder", &folder)],
            &more,
        )
    }

    /// Starts the suite's own sidecar and waits until it reads.
    pub fn sidecar(&self, scene: &mut Scene) -> Running {
        let sidecar = scene.sidecar(Program::Own, Some(&self.app));
        let is_ready = scene.until("starting", Duration::from_secs(20), || sidecar.is_ready());
        assert!(is_ready, "the sidecar did not start");
        sidecar
    }

    /// Waits until the source has been told of everything.
    pub fn until_done(&self, scene: &mut Scene) -> bool {
        let rest = if scene.mutate.is_some() {
            REST_OF_MUTANT
        } else {
            REST
        };
        scene.until("the rest of the events", rest, || self.source.is_done())
    }

    /// A last run without faults takes what is left; then the account.
    pub fn finish(&self, scene: &mut Scene, row: &mut Row, dead: &HashSet<Event>) {
        self.app.set(|manner| *manner = Manner::default());
        let sidecar = self.sidecar(scene);
        self.until_done(scene);
        let (code, took) = scene.stop(sidecar);
        row.must(code == Some(0), || {
            format!("the last run ended with {code:?} after {took:?}")
        });
        row.judge(self.audit(dead), self.app.ledger.corrupt(), MAX_IN_FLIGHT);
        let late = self.source.late();
        row.must(late == 0, || {
            format!("{late} acknowledgements of readers that were given up")
        });
    }

    /// What the ledger says now.
    pub fn audit(&self, dead: &HashSet<Event>) -> Audit {
        let entries = self.app.ledger.entries();
        audit(
            self.source.given(),
            &self.source.acknowledged(),
            &entries,
            dead,
        )
    }
}
