//! A test stand: the real actors on one thread, with an app that does as it is told.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bindery_actors::app::InputName;
use bindery_actors::{
    Call, CallError, Component, ComponentId, Core, DeliveryOptions, Limits, Runtime, RuntimeConfig,
    SideStatus, Threads,
};
use bindery_contract::settings::Properties;
use bindery_contract::{Clock, Deadline, Identity, Registration, Reply, Role};
use bytes::Bytes;

use crate::app::ScriptedApp;

/// How long a test waits for anything before it fails.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// A binding may keep its thread busy for this long at a time, on a loaded machine too.
const STALL: Duration = Duration::from_millis(400);

/// The actors of one sidecar, all on the current thread.
pub struct Stand {
    runtime: Runtime,
    app: ScriptedApp,
    clock: Clock,
}

/// Runs a test on a stand, on a thread of its own with a fresh runtime; then closes everything,
/// and fails when a binding kept the thread from its other work.
///
/// # Panics
/// When the test does, and when the thread was stalled.
pub fn on_a_stand<T: Send + 'static>(
    limits: Limits,
    test: impl AsyncFnOnce(&Stand) -> T + Send + 'static,
) -> T {
    let _ = tracing_subscriber::fmt().with_test_writer().try_init();
    let thread = std::thread::spawn(move || {
        actix_rt::System::new().block_on(async move {
            let app = ScriptedApp::new();
            let clock = Clock::system();
            let runtime = Runtime::start(RuntimeConfig {
                clock: clock.clone(),
                identity: Identity {
                    app_id: "stand".into(),
                    namespace: String::new(),
                },
                limits,
                threads: Threads::Current,
                app: Some(Arc::new(app.clone())),
            });
            runtime.core().work_here();
            runtime.start_inputs();
            let longest = Arc::new(AtomicU64::new(0));
            let heart = actix_rt::spawn(beat(clock.clone(), Arc::clone(&longest)));
            let stand = Stand {
                runtime,
                app,
                clock,
            };
            let outcome = test(&stand).await;
            heart.abort();
            stand.close().await;
            let stall = Duration::from_millis(longest.load(Ordering::Relaxed));
            assert!(
                stall < STALL,
                "the thread was kept from its other work for {stall:?}"
            );
            outcome
        })
    });
    match thread.join() {
        Ok(outcome) => outcome,
        Err(panic) => std::panic::resume_unwind(panic),
    }
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
        self.runtime.load(vec![Component {
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
            delivery: DeliveryOptions::default(),
        }]);
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
        match self.core().invoke(call).await? {
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
    /// When it does not in time.
    pub async fn until<T>(&self, what: &str, condition: impl FnMut() -> Option<T>) -> T {
        until(&self.clock, what, condition).await
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

/// Waits until `condition` gives something.
///
/// # Panics
/// When it does not within [`PATIENCE`].
pub async fn until<T>(clock: &Clock, what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = clock.now() + PATIENCE;
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(clock.now() < deadline, "waited {PATIENCE:?} for {what}");
        clock.sleep(Duration::from_millis(10)).await;
    }
}
