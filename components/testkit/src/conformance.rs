//! The conformance suite: what every binding must do, whatever it connects to.
//!
//! A binding plugs in by naming its settings, what to do with its output, and how to make its
//! source speak. The suite runs it under the real actors and checks:
//!
//! - it opens and closes, and closes again;
//! - it offers the operations that it declares, and refuses others;
//! - payload and metadata arrive equal, in both directions;
//! - an event that the app refused comes again, or does not, as its source promises;
//! - it stops cleanly with an event in flight, and what was taken does not come again;
//! - it reconnects after its server was away, and nobody touched anything;
//! - each kind of failure has the right class: a wrong password, a missing resource, a refused
//!   port;
//! - it never keeps its thread from its other work.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bindery_actors::{Call, CallError, FailureClass, Limits};
use bindery_contract::settings::Properties;
use bindery_contract::{Binding, BoxFuture, Event, Registration, Role, Source};

use crate::app::{Seen, Verdict};
use crate::servers::Outage;
use crate::stand::{Stand, on_a_stand};

/// The component's name in all checks.
pub const NAME: &str = "subject";

/// What the suite needs to know of a binding.
pub struct Suite {
    registration: Registration,
    properties: Properties,
    exercise: Option<Exercise>,
    source: Option<Emit>,
    outage: Option<Arc<Mutex<dyn Outage>>>,
    failures: Vec<Failing>,
}

type Exercise = Arc<dyn for<'a> Fn(&'a Stand) -> LocalFuture<'a, ()> + Send + Sync>;
type Emit = Arc<dyn Fn(u32) -> BoxFuture<'static, Emitted> + Send + Sync>;

/// A future that stays on its thread.
pub type LocalFuture<'a, T> = std::pin::Pin<Box<dyn Future<Output = T> + 'a>>;

/// An event that a source was made to send.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Emitted {
    /// The body that the app must see.
    pub data: Vec<u8>,
    /// Metadata that the app must see; there may be more.
    pub metadata: Vec<(String, String)>,
}

struct Failing {
    what: String,
    properties: Properties,
    role: Role,
    class: FailureClass,
    says: String,
}

impl Suite {
    /// A suite for a binding with these settings.
    pub fn of<B: Binding>(settings: &[(&str, &str)]) -> Self {
        Self::on(Registration::of::<B>(), settings)
    }

    /// A suite for the binding of a row that no Rust type declares.
    pub fn on(registration: Registration, settings: &[(&str, &str)]) -> Self {
        Self {
            registration,
            properties: properties(settings),
            exercise: None,
            source: None,
            outage: None,
            failures: Vec::new(),
        }
    }

    /// What to do with the output: calls of the component [`NAME`] that compare what comes back.
    /// It is done several times, also after an outage.
    pub fn output(
        mut self,
        exercise: impl for<'a> Fn(&'a Stand) -> LocalFuture<'a, ()> + Send + Sync + 'static,
    ) -> Self {
        self.exercise = Some(Arc::new(exercise));
        self
    }

    /// How to make the source send event number `n`; the same body must not come twice.
    pub fn input<F>(mut self, emit: impl Fn(u32) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Emitted> + Send + 'static,
    {
        self.source = Some(Arc::new(move |number| Box::pin(emit(number))));
        self
    }

    /// The server, so that it can go away and come back.
    pub fn outage(mut self, server: impl Outage + 'static) -> Self {
        self.outage = Some(Arc::new(Mutex::new(server)));
        self
    }

    /// Settings that must fail, their class of failure, and a part of what it says.
    pub fn fails(
        mut self,
        what: &str,
        role: Role,
        settings: &[(&str, &str)],
        class: FailureClass,
        says: &str,
    ) -> Self {
        self.failures.push(Failing {
            what: what.into(),
            properties: properties(settings),
            role,
            class,
            says: says.into(),
        });
        self
    }

    /// Runs all checks that apply, one after another, each on a stand of its own.
    ///
    /// # Panics
    /// When one does not hold.
    pub fn run(self) {
        let suite = Arc::new(self);
        suite.check("opens and closes", Self::opens_and_closes);
        if suite.exercise.is_some() {
            suite.check("offers what it declares", Self::offers_what_it_declares);
            suite.check("works", Self::works);
        }
        if suite.source.is_some() {
            suite.check("events arrive equal", Self::events_arrive_equal);
            suite.check("a refused event", Self::a_refused_event);
            suite.check(
                "stops with an event in flight",
                Self::stops_with_an_event_in_flight,
            );
        }
        if suite.outage.is_some() {
            suite.check(
                "its server goes away and comes back",
                Self::survives_an_outage,
            );
        }
        for failing in 0..suite.failures.len() {
            let what = suite.failures[failing].what.clone();
            suite.check(&what, move |suite, stand| {
                suite.has_the_right_class(stand, failing)
            });
        }
    }

    fn check(
        self: &Arc<Self>,
        what: &str,
        check: impl for<'a> FnOnce(&'a Self, &'a Stand) -> LocalFuture<'a, ()> + Send + 'static,
    ) {
        eprintln!("conformance of {}: {what}", self.registration.type_name);
        let suite = Arc::clone(self);
        on_a_stand(Limits::default(), async move |stand| {
            check(&suite, stand).await;
        });
    }

    fn roles(&self) -> Vec<Role> {
        let exercised = [
            (Role::Input, self.source.is_some()),
            (Role::Output, self.exercise.is_some()),
        ];
        exercised
            .into_iter()
            .filter(|(_, exercised)| *exercised)
            .map(|(role, _)| role)
            .collect()
    }

    async fn open(&self, stand: &Stand) {
        stand.load_sides(NAME, &self.registration, &self.properties, self.roles());
        for role in self.roles() {
            stand.until_state(NAME, role, "Running").await;
        }
    }

    fn opens_and_closes<'a>(&'a self, stand: &'a Stand) -> LocalFuture<'a, ()> {
        // The stand closes everything at its end; that it may be told twice is part of it.
        Box::pin(async {
            self.open(stand).await;
            stand.stop_inputs(Duration::from_secs(10)).await;
        })
    }

    fn offers_what_it_declares<'a>(&'a self, stand: &'a Stand) -> LocalFuture<'a, ()> {
        Box::pin(async {
            self.open(stand).await;
            let call = Call {
                binding: NAME.into(),
                operation: "no such operation".into(),
                ..Call::default()
            };
            let Err(error) = stand.core().invoke(call).await else {
                panic!("it did it")
            };
            let declared: Vec<_> = self
                .registration
                .operations
                .iter()
                .map(|operation| operation.name)
                .collect();
            match error {
                CallError::Unsupported { supported, .. } => assert_eq!(supported, declared),
                other => panic!("{other}"),
            }
        })
    }

    fn works<'a>(&'a self, stand: &'a Stand) -> LocalFuture<'a, ()> {
        Box::pin(async {
            self.open(stand).await;
            self.exercise(stand).await;
            self.exercise(stand).await;
        })
    }

    async fn exercise(&self, stand: &Stand) {
        if let Some(exercise) = &self.exercise {
            exercise(stand).await;
        }
    }

    async fn emit(&self, number: u32) -> Emitted {
        match &self.source {
            Some(emit) => emit(number).await,
            None => Emitted::default(),
        }
    }

    /// Waits until the app has seen this very event `times` times.
    async fn until_seen(&self, stand: &Stand, emitted: &Emitted, times: usize) -> Seen {
        stand
            .until(&format!("{emitted:?} to be seen {times} times"), || {
                let seen = stand.app().seen();
                let same: Vec<_> = seen
                    .iter()
                    .filter(|seen| is_same(&seen.event, emitted))
                    .cloned()
                    .collect();
                (same.len() >= times).then(|| same[times - 1].clone())
            })
            .await
    }

    fn source(&self) -> Source {
        self.registration
            .input
            .expect("a binding with a source declares its kind")
    }

    fn events_arrive_equal<'a>(&'a self, stand: &'a Stand) -> LocalFuture<'a, ()> {
        Box::pin(async {
            self.open(stand).await;
            for number in 100..103 {
                let emitted = self.emit(number).await;
                let seen = self.until_seen(stand, &emitted, 1).await;
                for (key, value) in &emitted.metadata {
                    assert_eq!(seen.event.metadata.get(key), Some(value.as_str()), "{key}");
                }
            }
        })
    }

    fn a_refused_event<'a>(&'a self, stand: &'a Stand) -> LocalFuture<'a, ()> {
        Box::pin(async {
            self.open(stand).await;
            stand
                .app()
                .next([Verdict::Refuse(500), Verdict::Refuse(404)]);
            let emitted = self.emit(200).await;
            match self.source() {
                Source::Queue | Source::Log => {
                    let third = self.until_seen(stand, &emitted, 3).await;
                    assert_eq!(third.verdict, Verdict::Take);
                }
                Source::Signal => {
                    self.until_seen(stand, &emitted, 1).await;
                    let next = self.emit(201).await;
                    self.until_seen(stand, &next, 1).await;
                }
            }
            let after = self.emit(202).await;
            self.until_seen(stand, &after, 1).await;
        })
    }

    fn stops_with_an_event_in_flight<'a>(&'a self, stand: &'a Stand) -> LocalFuture<'a, ()> {
        Box::pin(async {
            self.open(stand).await;
            stand.app().next([Verdict::Hold]);
            let held = self.emit(300).await;
            stand
                .app()
                .until(|seen| seen.iter().any(|seen| seen.verdict == Verdict::Hold))
                .await;
            let clock = stand.clock();
            let started = clock.now();
            let stop = async {
                stand.stop_inputs(Duration::from_secs(20)).await;
                clock.now() - started
            };
            let release = async {
                clock.sleep(Duration::from_millis(300)).await;
                stand.app().release();
            };
            let (took, ()) = tokio::join!(stop, release);
            assert!(
                took >= Duration::from_millis(300),
                "it did not wait for the event: {took:?}"
            );
            assert!(
                took < Duration::from_secs(15),
                "it waited too long: {took:?}"
            );
            // What was taken must have been acknowledged: it does not come again.
            stand.restart_inputs();
            stand.until_state(NAME, Role::Input, "Running").await;
            let next = self.emit(301).await;
            self.until_seen(stand, &next, 1).await;
            if self.source() != Source::Signal {
                let seen = stand.app().seen();
                let again = seen
                    .iter()
                    .filter(|seen| is_same(&seen.event, &held))
                    .count();
                assert_eq!(
                    again, 1,
                    "an event that was taken came again after a clean stop"
                );
            }
        })
    }

    fn survives_an_outage<'a>(&'a self, stand: &'a Stand) -> LocalFuture<'a, ()> {
        Box::pin(async {
            self.open(stand).await;
            self.exercise(stand).await;
            self.outage_of(|server| server.stop()).await;
            if self.exercise.is_some() {
                // A call meets the outage: it must end, and it must not be taken for done.
                let clock = stand.clock();
                clock.sleep(Duration::from_millis(200)).await;
            }
            self.outage_of(|server| server.start()).await;
            for role in self.roles() {
                stand.until_state(NAME, role, "Running").await;
            }
            if self.source.is_some() {
                let emitted = self.emit(400).await;
                self.until_seen(stand, &emitted, 1).await;
            }
            self.exercise(stand).await;
        })
    }

    async fn outage_of(&self, change: impl FnOnce(&mut dyn Outage) + Send + 'static) {
        let Some(server) = self.outage.clone() else {
            return;
        };
        let changing = tokio::task::spawn_blocking(move || {
            change(&mut *server.lock().unwrap_or_else(PoisonError::into_inner));
        });
        changing.await.expect("the server does as it is told");
    }

    fn has_the_right_class<'a>(&'a self, stand: &'a Stand, failing: usize) -> LocalFuture<'a, ()> {
        Box::pin(async move {
            let failing = &self.failures[failing];
            stand.load_sides(
                NAME,
                &self.registration,
                &failing.properties,
                vec![failing.role],
            );
            let side = stand
                .until("it to fail", || {
                    stand
                        .side(NAME, failing.role)
                        .filter(|side| side.failure.is_some())
                })
                .await;
            let error = side.last_error.as_deref().unwrap_or_default();
            assert_eq!(
                side.failure,
                Some(failing.class),
                "{}: {error}",
                failing.what
            );
            assert!(error.contains(&failing.says), "{}: {error}", failing.what);
        })
    }
}

fn is_same(event: &Event, emitted: &Emitted) -> bool {
    event.data == emitted.data
        && emitted
            .metadata
            .iter()
            .all(|(key, value)| event.metadata.get(key) == Some(value))
}

fn properties(settings: &[(&str, &str)]) -> Properties {
    settings.iter().map(|(key, value)| (*key, *value)).collect()
}
