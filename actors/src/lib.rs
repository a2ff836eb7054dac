//! Bindery's actors: a router and a delivery actor on every worker, an actor for every binding,
//! and the supervisor above them.
//!
//! Nothing here knows a binding by name, an app's protocol or a port: it knows the contract.

pub mod app;
mod attempts;
mod backoff;
mod binding;
#[cfg(feature = "chaos")]
mod chaos;
mod child;
mod component;
mod core;
mod delivery;
pub mod lane;
mod life;
mod pulse;
mod report;
mod router;
mod runtime;
mod status;
mod supervisor;
mod table;
mod watchdog;
mod worker;

#[cfg(feature = "chaos")]
pub use self::chaos::Victim;
pub use self::component::{Component, DeliveryOptions, SettingsSource};
pub use self::core::{Core, Limits, Progress};
pub use self::life::FailureClass;
pub use self::pulse::{ComponentId, Pulse};
pub use self::router::{Call, CallError};
pub use self::runtime::{InputStarter, Runtime, RuntimeConfig};
pub use self::status::{
    BlockedEvent, ComponentStatus, InputCounters, InputStatus, SideStatus, StatusBoard,
};
pub use self::supervisor::Threads;
