//! `--connect`: opens every binding, all at once, and says how that went.

use std::io::{IsTerminal, Write as _};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use bindery_actors::{
    ComponentStatus, FailureClass, Limits, Runtime, RuntimeConfig, SideStatus, Threads,
};
use bindery_contract::{Clock, Deadline, Identity};
use serde_json::json;

use super::show::Format;
use crate::resources::Resources;

/// How often the progress line is written anew.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// How the first attempt to open one side of a component went.
struct Outcome {
    component: Arc<ComponentStatus>,
    side: SideStatus,
    took: Duration,
}

impl Outcome {
    fn is_open(&self) -> bool {
        self.side.failure.is_none()
    }

    /// The class of failure, in a word.
    fn class(&self) -> &'static str {
        match self.side.failure {
            None => "open",
            Some(FailureClass::Invalid) => "invalid",
            Some(FailureClass::Refused) => "refused",
            Some(FailureClass::Disconnected) => "disconnected",
            Some(FailureClass::Stuck) => "timed out",
            Some(FailureClass::Crashed) => "crashed",
        }
    }
}

/// Opens all of them and closes them again; fails when one cannot be opened.
pub(super) fn run(resources: Resources, format: Format) -> ExitCode {
    let outcomes = actix_rt::System::new().block_on(open_all(resources));
    let mut out = std::io::stdout().lock();
    for outcome in &outcomes {
        let line = match format {
            Format::Human => human(outcome),
            Format::Json => json(outcome),
            Format::Github if outcome.is_open() => continue,
            Format::Github => format!("::error::{}", human(outcome)),
        };
        let _ = writeln!(out, "{line}");
    }
    if outcomes.iter().all(Outcome::is_open) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

async fn open_all(resources: Resources) -> Vec<Outcome> {
    let clock = Clock::system();
    let runtime = Runtime::start(RuntimeConfig {
        clock: clock.clone(),
        identity: Identity::default(),
        limits: Limits::default(),
        threads: Threads::Own,
        app: None,
        observer: None,
    });
    let started = clock.now();
    let sides: usize = resources.components.iter().map(|c| c.roles.len()).sum();
    runtime.load(resources.components);
    let mut outcomes: Vec<Outcome> = Vec::new();
    while outcomes.len() < sides {
        clock.sleep(LOOK_EVERY).await;
        look(&runtime, &mut outcomes, clock.now() - started);
        progress(outcomes.len(), sides, clock.now() - started);
    }
    progress_done();
    let deadline = Deadline::at(clock.now() + Duration::from_secs(5));
    runtime.close(deadline).await;
    outcomes
}

/// Notes the sides that have been tried since the last look.
fn look(runtime: &Runtime, outcomes: &mut Vec<Outcome>, took: Duration) {
    for component in runtime.core().status().components().iter() {
        for side in &component.sides {
            let known = outcomes.iter().any(|outcome| {
                outcome.component.name == component.name && outcome.side.role == side.role
            });
            let tried = side.failure.is_some() || side.state == "Running";
            if tried && !known {
                outcomes.push(Outcome {
                    component: Arc::clone(component),
                    side: side.clone(),
                    took,
                });
            }
        }
    }
}

fn progress(done: usize, all: usize, took: Duration) {
    if std::io::stderr().is_terminal() {
        eprint!("\ropening {done} of {all}, {:.1} s", took.as_secs_f32());
    }
}

fn progress_done() {
    if std::io::stderr().is_terminal() {
        eprint!("\r\u{1b}[K");
    }
}

fn human(outcome: &Outcome) -> String {
    let millis = outcome.took.as_millis();
    let (name, type_name) = (&outcome.component.name, &outcome.component.type_name);
    let line = format!(
        "{name} ({type_name}) {}: {} after {millis} ms",
        outcome.side.role,
        outcome.class()
    );
    match outcome
        .side
        .last_error
        .as_ref()
        .filter(|_| !outcome.is_open())
    {
        Some(error) => format!("{line}: {error}"),
        None => line,
    }
}

fn json(outcome: &Outcome) -> String {
    json!({
        "component": outcome.component.name.to_string(),
        "type": outcome.component.type_name,
        "direction": outcome.side.role.as_str(),
        "open": outcome.is_open(),
        "class": outcome.class(),
        "millis": outcome.took.as_millis(),
        "error": outcome.side.last_error.as_ref().filter(|_| !outcome.is_open()).map(ToString::to_string),
    })
    .to_string()
}
