//! A test stand: the real actors on one thread, with an app that does as it is told.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use bindery_actors::app::InputName;
use bindery_actors::{
    Call, CallError, Component, ComponentId, Core, DeliveryOptions, Limits, Operation,
    OperationError, Runtime, RuntimeConfig, SideStatus, Threads, Victim,
};
use bindery_contract::settings::Properties;
use bindery_contract::{Clock, Deadline, Identity, Registration, Reply, Role};
use bytes::Bytes;

use crate::app::ScriptedApp;

/// How long a test waits for anything before it fails.
const PATIENCE: Duration = Duration::from_secs(60);
/// A binding may keep its thread busy for this long at a time, on a loaded machine too.
const STALL: Duration = Duration::from_millis(400);

/// The actors of one sidecar, all on the current thread.
pub struct Stand {
    runtime: Runtime,
    app: ScriptedApp,
    clock: Clock,
    patience: Duration,
}

/// How a stand is set up.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The numbers that the actors run by.
    pub limits: Limits,
    /// Whether the bindings have a thread of their own.
    pub threads: Threads,
    /// Whether time only moves when nothing is left to do.
    pub held: bool,
}

impl Setup {
    /// Everything on one thread, by the machine's clock.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            threads: Threads::Current,
            held: false,
        }
    }

    /// Everything on one thread, with the clock in the test's hand: it jumps to the next moment
    /// that somebody waits for, and a test of an hour takes no time.
    pub fn held() -> Self {
        Self {
            held: true,
            ..Self::new(Limits::default())
        }
    }

    /// With a thread for the bindings, which can be blocked and replaced.
    pub fn own_thread(limits: Limits) -> Self {
        Self {
            threads: Threads::Own,
            ..Self::new(limits)
        }
    }

    /// Runs a test on a stand, on a thread of its own with a fresh runtime; then closes
    /// everything, and fails when something kept the thread from its other work.
    ///
    /// # Panics
    /// When the test does, and when the thread was stalled.
    pub fn run<T: Send + 'static>(self, test: impl AsyncFnOnce(&Stand) -> T + Send + 'static) -> T {
        let _ = tracing_subscriber::fmt().with_test_writer().try_init();
        let thread = std::thread::spawn(move || {
            let held = self.held;
            let system = actix_rt::System::with_tokio_rt(move || {
                tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .start_paused(held)
                    .build()
                    .expect("a runtime")
            });
            system.block_on(self.on_this_thread(test))
        });
        match thread.join() {
            Ok(outcome) => outcome,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }

    async fn on_this_thread<T>(self, test: impl AsyncFnOnce(&Stand) -> T) -> T {
        let app = ScriptedApp::new();
        let clock = if self.held {
            Clock::paused(UNIX_EPOCH + Duration::from_secs(1_700_000_000))
        } else {
            Clock::system()
        };
        let runtime = Runtime::start(RuntimeConfig {
            clock: clock.clone(),
            identity: Identity {
                app_id: "stand".into(),
                namespace: String::new(),
            },
            limits: self.limits,
            threads: self.threads,
            app: Some(Arc::new(app.clone())),
            observer: None,
        });
        runtime.core().work_here();
        runtime.start_inputs();
        let longest = Arc::new(AtomicU64::new(0));
        let heart =
            (!self.held).then(|| actix_rt::spawn(beat(clock.clone(), Arc::clone(&longest))));
        let stand = Stand {
            runtime,
            app,
            clock,
            // An hour costs nothing when the clock is held.
            patience: PATIENCE * if self.held { 60 } else { 1 },
        };
        let outcome = test(&stand).await;
        if let Some(heart) = heart {
            heart.abort();
        }
        stand.close().await;
        let stall = Duration::from_millis(longest.load(Ordering::Relaxed));
        assert!(
            stall < STALL,
            "the thread was kept from its other work for {stall:?}"
        );
        outcome
    }
}

/// Runs a test on a stand with one thread and the machine's clock.
///
/// # Panics
/// When the test does, and when a binding kept the thread from its other work.
pub fn on_a_stand<T: Send + 'static>(
    limits: Limits,
    test: impl AsyncFnOnce(&Stand) -> T + Send + 'static,
) -> T {
    Setup::new(limits).run(test)
}

/// Measures how late a task of the thread is at the worst.
async fn beat(clock: Clock, longest: Arc<AtomicU64>) {
    const EVERY: Duration = Duration::from_millis(10);
    loop {
        let due = clock.now() + EVERY;
        clock.sleep_until(due).await;
        let late = clock.now().saturating_duration_since(due).as_millis();
        longest.fetch_max(u64::try_from(late).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

impl Stand {
    /// The app.
    pub fn app(&self) -> &ScriptedApp {
        &self.app
    }

    /// The actors.
    pub fn core(&self) -> &Arc<Core> {
        self.runtime.core()
    }

    /// The clock.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Loads a component; both its sides, if its type has two.
    pub fn load(&self, name: &str, registration: &Registration, properties: &Properties) {
        let roles = [Role::Input, Role::Output];
        let roles = roles
            .into_iter()
            .filter(|role| registration.supports(*role))
            .collect();
        self.load_sides(name, registration, properties, roles);
    }

    /// Loads a component with these sides.
    pub fn load_sides(
        &self,
        name: &str,
        registration: &Registration,
        properties: &Properties,
        roles: Vec<Role>,
    ) {
        let delivery = DeliveryOptions::default();
        self.load_component(component(name, registration, properties, roles, delivery));
    }

    /// Loads a component as it is.
    pub fn load_component(&self, component: Component) {
        self.runtime.load(vec![component]);
    }

    /// Takes in what has changed, as a hot reload does.
    pub fn change(&self, removed: &[&str], put: Vec<Component>) {
        let removed: Vec<String> = removed.iter().map(|name| (*name).to_owned()).collect();
        self.runtime.change(&removed, put);
    }

    /// Pauses, resumes or restarts both sides of a binding.
    ///
    /// # Errors
    /// See [`OperationError`].
    pub async fn operate(&self, name: &str, operation: Operation) -> Result<(), OperationError> {
        self.runtime.operator().operate(name, None, operation).await
    }

    /// Kills an actor by a panic in its own code.
    pub fn kill(&self, victim: Victim) {
        self.runtime.kill(victim);
    }

    /// Calls an output and collects its reply; `None` is no reply at all.
    ///
    /// # Errors
    /// As the API would show it.
    pub async fn invoke(
        &self,
        binding: &str,
        operation: &str,
        data: impl Into<Bytes>,
        metadata: &[(&str, &str)],
    ) -> Result<Option<Collected>, CallError> {
        let call = Call {
            binding: binding.into(),
            operation: operation.into(),
            data: data.into(),
            metadata: metadata
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect(),
            deadline: None,
        };
        // As the sidecar does before anybody can call it.
        self.runtime.loaded().await;
        match self.core().invoke_here(&call).await? {
            None => Ok(None),
            Some(Reply { data, metadata }) => {
                let data = data.collect(64 << 20).await.expect("a whole reply");
                let metadata = metadata
                    .iter()
                    .map(|(k, v)| (k.to_owned(), v.to_owned()))
                    .collect();
                Ok(Some(Collected { data, metadata }))
            }
        }
    }

    /// How one side of a component is now.
    pub fn side(&self, component: &str, role: Role) -> Option<SideStatus> {
        let board = self.core().status().components();
        let found = board.iter().find(|status| &*status.name == component)?;
        found.sides.iter().find(|side| side.role == role).cloned()
    }

    /// Waits until one side of a component is in a state, and returns how it is then.
    pub async fn until_state(&self, component: &str, role: Role, state: &str) -> SideStatus {
        let what = format!("the {role} of {component} to be {state}");
        self.until(&what, || {
            self.side(component, role)
                .filter(|side| side.state == state)
        })
        .await
    }

    /// Waits until `condition` gives something.
    ///
    /// # Panics
    /// When it does not within a minute, or an hour when the clock is held.
    pub async fn until<T>(&self, what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
        let (clock, patience) = (&self.clock, self.patience);
        let deadline = clock.now() + patience;
        loop {
            if let Some(found) = condition() {
                return found;
            }
            assert!(clock.now() < deadline, "waited {patience:?} for {what}");
            clock.sleep(Duration::from_millis(10)).await;
        }
    }

    /// Reads no more, and waits until everything is settled.
    pub async fn stop_inputs(&self, within: Duration) {
        self.runtime
            .stop_inputs(Deadline::at(self.clock.now() + within))
            .await;
    }

    /// Reads again after [`stop_inputs`](Self::stop_inputs).
    pub fn restart_inputs(&self) {
        self.runtime.start_inputs();
    }

    async fn close(&self) {
        self.runtime
            .close(Deadline::at(self.clock.now() + Duration::from_secs(10)))
            .await;
    }
}

/// A component as the loader would make it; the app is known to want its events.
pub fn component(
    name: &str,
    registration: &Registration,
    properties: &Properties,
    roles: Vec<Role>,
    delivery: DeliveryOptions,
) -> Component {
    Component {
        id: ComponentId::next(name),
        name: name.into(),
        type_name: registration.type_name.into(),
        version: "v1".into(),
        registration: registration.clone(),
        roles,
        settings: Arc::new(properties.clone()),
        init_timeout: Duration::from_secs(5),
        ignore_errors: false,
        input_name: InputName {
            component: name.into(),
            route: format!("/{name}").into(),
        },
        subscribed: true,
        delivery,
    }
}

/// A reply, all of it in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collected {
    /// The data.
    pub data: Bytes,
    /// The metadata.
    pub metadata: Vec<(String, String)>,
}

impl Collected {
    /// The data as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.data).into_owned()
    }

    /// An entry of the metadata.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.metadata
            .iter()
            .find(|(name, _)| name == key)
            .map(|(_, value)| value.as_str())
    }
}
