//! Whether the app is well, where it shall be asked (runtime §2.6): the inputs are read only
//! while it is.

use std::sync::Arc;
use std::time::Duration;

use bindery_actors::app::{Answer, App, AppConnection, InputName, LocalBoxFuture, Refusal};
use bindery_contract::{BoxFuture, Cause, Clock, Event};
use tokio::sync::watch;

/// How the app's health is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// `--app-health-check-path`.
    pub path: String,
    /// `--app-health-probe-interval`.
    pub interval: Duration,
    /// `--app-health-probe-timeout`.
    pub timeout: Duration,
    /// `--app-health-threshold`: after how many failures in a row it is unwell.
    pub threshold: u32,
}

impl Default for HealthCheck {
    fn default() -> Self {
        Self {
            path: "/healthz".into(),
            interval: Duration::from_secs(5),
            timeout: Duration::from_millis(500),
            threshold: 3,
        }
    }
}

/// Judges by the answers so far. The app begins unwell; one success makes it well.
struct Judge {
    threshold: u32,
    is_well: bool,
    failures: u32,
}

impl Judge {
    /// Takes an answer in, and says what the app is from now on, where that is new.
    fn note(&mut self, is_success: bool) -> Option<bool> {
        self.failures = if is_success {
            0
        } else {
            self.failures.saturating_add(1)
        };
        let is_well = if self.is_well {
            self.failures < self.threshold
        } else {
            is_success
        };
        (std::mem::replace(&mut self.is_well, is_well) != is_well).then_some(is_well)
    }
}

/// Asks for the app's health until the end of time, at once and then every interval. Tells
/// `change` each time it is another.
pub async fn watch<F>(
    clock: &Clock,
    check: &HealthCheck,
    probe: impl Fn() -> F,
    mut change: impl FnMut(bool),
) where
    F: Future<Output = Result<(), String>>,
{
    let mut judge = Judge {
        threshold: check.threshold,
        is_well: false,
        failures: 0,
    };
    loop {
        let answer = match clock.timeout(check.timeout, probe()).await {
            Some(answer) => answer,
            None => Err("no answer in time".to_owned()),
        };
        let is_new = judge.note(answer.is_ok());
        match (is_new, answer) {
            (Some(true), _) => {
                tracing::info!(target: "dapr.runtime.apphealth", "App entered healthy status");
                change(true);
            }
            (Some(false), answer) => {
                let reason = answer.err().unwrap_or_default();
                tracing::warn!(
                    target: "dapr.runtime.apphealth", "App entered un-healthy status: {reason}"
                );
                change(false);
            }
            (None, _) => {}
        }
        clock.sleep(check.interval).await;
    }
}

/// An app that is given nothing while it is unwell.
pub struct Guarded {
    app: Arc<dyn App>,
    is_well: watch::Receiver<bool>,
}

impl Guarded {
    /// Guards an app by what its health is now.
    pub fn new(app: Arc<dyn App>, is_well: watch::Receiver<bool>) -> Self {
        Self { app, is_well }
    }
}

/// What whoever wants something of an unwell app is told.
pub(super) const UNWELL: &str = "app is not in a healthy state";

impl App for Guarded {
    fn subscribes<'a>(&'a self, input: &'a InputName) -> BoxFuture<'a, Result<bool, Cause>> {
        if *self.is_well.borrow() {
            self.app.subscribes(input)
        } else {
            Box::pin(std::future::ready(Err(UNWELL.into())))
        }
    }

    fn connect(&self) -> Box<dyn AppConnection> {
        Box::new(GuardedConnection {
            connection: self.app.connect(),
            is_well: self.is_well.clone(),
        })
    }
}

struct GuardedConnection {
    connection: Box<dyn AppConnection>,
    is_well: watch::Receiver<bool>,
}

impl AppConnection for GuardedConnection {
    fn deliver<'a>(
        &'a self,
        input: &'a InputName,
        event: &'a Event,
    ) -> LocalBoxFuture<'a, Result<Answer, Refusal>> {
        if *self.is_well.borrow() {
            self.connection.deliver(input, event)
        } else {
            Box::pin(std::future::ready(Err(Refusal::unreachable(UNWELL))))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(threshold: u32, answers: &str) -> String {
        let mut judge = Judge {
            threshold,
            is_well: false,
            failures: 0,
        };
        let note = |answer| match judge.note(answer == '+') {
            Some(true) => 'W',
            Some(false) => 'U',
            None => '.',
        };
        answers.chars().map(note).collect()
    }

    #[test]
    fn one_success_makes_it_well_and_only_failures_in_a_row_make_it_unwell() {
        assert_eq!(judge(3, "--+--+--+---+"), "..W........UW");
        assert_eq!(judge(1, "+-+-"), "WUWU");
        assert_eq!(judge(2, "----"), "....");
    }
}
