//! Outputs that hurt the process they run in, or only answer.

use std::sync::{Arc, OnceLock};

use bindery_actors::{Core, kill_delivery_here};
use bindery_contract::{
    Binding, Invocation, InvokeError, OpenContext, OpenError, Opened, Operation, Output, Reply,
};

/// The sidecar's own actors, for [`Killer`].
pub static CORE: OnceLock<Arc<Core>> = OnceLock::new();

const CREATE: &[Operation] = &[Operation {
    name: "create",
    summary: "Does it.",
}];

/// No settings.
#[derive(serde::Deserialize, schemars::JsonSchema)]
pub struct NoSettings {}

/// Kills the delivery actor of the thread that it is called on.
pub struct Killer;

impl Binding for Killer {
    const TYPE: &'static str = "bindings.faults.killer";
    const SUMMARY: &'static str = "Kills the delivery actor of the thread that it is called on.";
    const OPERATIONS: &'static [Operation] = CREATE;
    type Settings = NoSettings;

    async fn open(_: NoSettings, _: OpenContext) -> Result<Opened, OpenError> {
        Ok(Opened::per_thread(|_| async { Ok(Self) }))
    }
}

impl Output for Killer {
    async fn invoke(&self, _: Invocation) -> Result<Option<Reply>, InvokeError> {
        let core = CORE.get();
        kill_delivery_here(core.ok_or_else(|| InvokeError::failed("it is still starting"))?);
        Ok(None)
    }
}

/// Panics.
pub struct Panics;

impl Binding for Panics {
    const TYPE: &'static str = "bindings.faults.panics";
    const SUMMARY: &'static str = "Panics.";
    const OPERATIONS: &'static [Operation] = CREATE;
    type Settings = NoSettings;

    async fn open(_: NoSettings, _: OpenContext) -> Result<Opened, OpenError> {
        Ok(Opened::shared(Self))
    }
}

impl Output for Panics {
    async fn invoke(&self, _: Invocation) -> Result<Option<Reply>, InvokeError> {
        panic!("on purpose")
    }
}

/// Answers with what it is given.
pub struct Echo;

impl Binding for Echo {
    const TYPE: &'static str = "bindings.faults.echo";
    const SUMMARY: &'static str = "Answers with what it is given.";
    const OPERATIONS: &'static [Operation] = CREATE;
    type Settings = NoSettings;

    async fn open(_: NoSettings, _: OpenContext) -> Result<Opened, OpenError> {
        Ok(Opened::per_thread(|_| async { Ok(Self) }))
    }
}

impl Output for Echo {
    async fn invoke(&self, call: Invocation) -> Result<Option<Reply>, InvokeError> {
        Ok(Some(Reply::new(call.data)))
    }
}
