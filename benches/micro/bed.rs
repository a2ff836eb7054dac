//! The actors of one sidecar, with one component, as a bench needs them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_rt::{System, SystemRunner};
use bindery::app::InProcessApp;
use bindery_actors::{Core, DeliveryOptions, Limits, Runtime, RuntimeConfig, Threads};
use bindery_contract::settings::Properties;
use bindery_contract::{Binding, Clock, Identity, Registration, Role};
use bindery_testkit::stand::component;

pub struct Bed {
    system: SystemRunner,
    runtime: Runtime,
}

impl Bed {
    /// With a component of this type that is called `it`, one side of it. The current thread is
    /// the worker and the control thread; the binding lives there too, unless it has its own.
    pub fn new<B: Binding>(role: Role, threads: Threads, app: InProcessApp) -> Self {
        let system = System::new();
        let runtime = system.block_on(async {
            let runtime = Runtime::start(RuntimeConfig {
                clock: Clock::system(),
                identity: Identity::default(),
                limits: Limits::default(),
                threads,
                app: Some(Arc::new(app)),
                observer: None,
            });
            runtime.core().work_here();
            let registration = Registration::of::<B>();
            let delivery = DeliveryOptions::default();
            let settings = Properties::new();
            let it = component("it", &registration, &settings, vec![role], delivery);
            runtime.load(vec![it]);
            runtime.loaded().await;
            runtime.start_inputs();
            runtime
        });
        Self { system, runtime }
    }

    /// How long something takes.
    pub fn time(&self, work: impl AsyncFnOnce(&Arc<Core>)) -> Duration {
        self.system.block_on(async {
            let started = Instant::now();
            work(self.runtime.core()).await;
            started.elapsed()
        })
    }
}
