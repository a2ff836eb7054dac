//! An app that does as a test tells it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use bindery_actors::app::{
    Answer, App, AppConnection, Forward, InputName, LocalBoxFuture, Refusal,
};
use bindery_contract::{BoxFuture, Cause, Event};
use tokio::sync::futures::Notified;
use tokio::sync::{Notify, watch};

/// What the app does with an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Takes it.
    Take,
    /// Refuses it, with this status.
    Refuse(u16),
    /// Keeps it under way until [`ScriptedApp::release`].
    Hold,
    /// Takes it, and asks for this.
    Answer(Forward),
    /// Panics over it.
    Panic,
}

/// An event as the app saw it.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The component that it came from.
    pub component: String,
    /// The event.
    pub event: Event,
    /// What became of it.
    pub verdict: Verdict,
    /// How it ended; nothing while it is under way.
    pub end: Option<End>,
}

/// How an event left the app.
#[derive(Clone, Copy, Debug)]
pub struct End {
    /// How many events the app had seen by then, this one included.
    pub seen: usize,
    /// Whether the app took it; it may also have refused it, or have been broken off.
    pub taken: bool,
}

type Judge = Box<dyn Fn(&Event) -> Option<Verdict> + Send>;

/// An app in this process that answers by a script and remembers everything.
#[derive(Clone)]
pub struct ScriptedApp {
    shared: Arc<Shared>,
}

struct Shared {
    /// What happens to the next events; then [`Verdict::Take`].
    script: Mutex<VecDeque<Verdict>>,
    always: Mutex<Option<Verdict>>,
    /// Decides before the script does.
    judge: Mutex<Option<Judge>>,
    seen: watch::Sender<Vec<Seen>>,
    wants: Mutex<bool>,
    release: Notify,
}

impl ScriptedApp {
    /// An app that takes everything.
    pub fn new() -> Self {
        Self {
            shared: Arc::new(Shared {
                script: Mutex::default(),
                always: Mutex::default(),
                judge: Mutex::default(),
                seen: watch::Sender::new(Vec::new()),
                wants: Mutex::new(true),
                release: Notify::new(),
            }),
        }
    }

    /// Decides about the next events, in order; those after them are taken.
    pub fn next(&self, verdicts: impl IntoIterator<Item = Verdict>) {
        lock(&self.shared.script).extend(verdicts);
    }

    /// Decides about every event from now on; `None` goes back to the script.
    pub fn always(&self, verdict: Option<Verdict>) {
        *lock(&self.shared.always) = verdict;
    }

    /// Lets `judge` decide about every event it has a verdict for; the script has the others.
    pub fn judge(&self, judge: impl Fn(&Event) -> Option<Verdict> + Send + 'static) {
        *lock(&self.shared.judge) = Some(Box::new(judge));
    }

    /// Says that it does not want the events of any input.
    pub fn wants_nothing(&self) {
        *lock(&self.shared.wants) = false;
    }

    /// Lets the events go on that are held.
    pub fn release(&self) {
        self.shared.release.notify_waiters();
    }

    /// Everything seen so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.seen.borrow().clone()
    }

    /// The bodies of the events that were taken so far.
    pub fn taken(&self) -> Vec<Vec<u8>> {
        let seen = self.shared.seen.borrow();
        let taken = seen.iter().filter(|seen| seen.verdict == Verdict::Take);
        taken.map(|seen| seen.event.data.to_vec()).collect()
    }

    /// Waits until `condition` holds for what was seen.
    pub async fn until(&self, condition: impl Fn(&[Seen]) -> bool) {
        // The sender lives in `self`, so waiting cannot fail.
        let _ = self
            .shared
            .seen
            .subscribe()
            .wait_for(|seen| condition(seen))
            .await;
    }

    fn verdict(&self, event: &Event) -> Verdict {
        let judge = lock(&self.shared.judge);
        if let Some(verdict) = judge.as_ref().and_then(|judge| judge(event)) {
            return verdict;
        }
        if let Some(verdict) = lock(&self.shared.always).clone() {
            return verdict;
        }
        lock(&self.shared.script)
            .pop_front()
            .unwrap_or(Verdict::Take)
    }

    async fn answer(&self, input: &InputName, event: &Event) -> Result<Answer, Refusal> {
        let verdict = self.verdict(event);
        // Registered before the event is seen, so a release that follows is not missed.
        let released = self.shared.release.notified();
        let mut visit = self.visit(Seen {
            component: input.component.to_string(),
            event: event.clone(),
            verdict: verdict.clone(),
            end: None,
        });
        let answer = self.carry_out(verdict, released).await;
        visit.taken = answer.is_ok();
        answer
    }

    fn visit(&self, seen: Seen) -> Visit<'_> {
        let mut number = 0;
        self.shared.seen.send_modify(|all| {
            number = all.len();
            all.push(seen);
        });
        Visit {
            app: self,
            number,
            taken: false,
        }
    }

    async fn carry_out(&self, verdict: Verdict, released: Notified<'_>) -> Result<Answer, Refusal> {
        match verdict {
            Verdict::Take => Ok(Answer::default()),
            Verdict::Answer(forward) => Ok(Answer {
                forward,
                ..Answer::default()
            }),
            Verdict::Hold => {
                released.await;
                Ok(Answer::default())
            }
            Verdict::Refuse(status) => Err(Refusal {
                error: format!(
                    "fails to send binding event to http app channel, status code: {status} body: "
                ),
                status: Some(status),
            }),
            Verdict::Panic => panic!("the app panics"),
        }
    }
}

/// An event at the app; it leaves when this is dropped.
struct Visit<'a> {
    app: &'a ScriptedApp,
    number: usize,
    taken: bool,
}

impl Drop for Visit<'_> {
    fn drop(&mut self) {
        let (number, taken) = (self.number, self.taken);
        self.app.shared.seen.send_modify(|all| {
            let seen = all.len();
            all[number].end = Some(End { seen, taken });
        });
    }
}

impl Default for ScriptedApp {
    fn default() -> Self {
        Self::new()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl App for ScriptedApp {
    fn subscribes<'a>(&'a self, _: &'a InputName) -> BoxFuture<'a, Result<bool, Cause>> {
        let wants = *lock(&self.shared.wants);
        Box::pin(async move { Ok(wants) })
    }

    fn connect(&self) -> Box<dyn AppConnection> {
        Box::new(self.clone())
    }
}

impl AppConnection for ScriptedApp {
    fn deliver<'a>(
        &'a self,
        input: &'a InputName,
        event: &'a Event,
    ) -> LocalBoxFuture<'a, Result<Answer, Refusal>> {
        Box::pin(self.answer(input, event))
    }
}
