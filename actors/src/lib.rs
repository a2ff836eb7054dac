//! Bindery's actors: a router and a delivery actor on every worker, an actor for every binding,
//! and the supervisor above them.
//!
//! Nothing here knows a binding by name, an app's protocol or a port: it knows the contract.

pub mod app;
mod attempts;
mod backoff;
mod binding;
mod breaker;
mod burst;
mod call;
#[cfg(feature = "chaos")]
mod chaos;
mod child;
mod component;
mod core;
mod dead_letter;
mod delivery;
mod handover;
pub mod lane;
mod life;
mod observe;
mod outbox;
mod patience;
mod policy;
mod pulse;
mod report;
mod router;
mod runtime;
mod status;
mod supervisor;
mod table;
mod watchdog;
mod worker;

pub use self::breaker::{Breaker, BreakerSettings, BreakerState, Counts, Past, Refused, Trip};
pub use self::call::{Call, CallError};
#[cfg(feature = "chaos")]
pub use self::chaos::{Victim, kill_delivery_here};
pub use self::component::{Component, DeliveryOptions, SettingsSource};
pub use self::core::{Core, Limits, Progress};
pub use self::life::FailureClass;
pub use self::observe::Observer;
pub use self::policy::{Directions, Policies, Policy, PolicyCounts, PolicyUse, Retry, Rules};
pub use self::pulse::{ComponentId, Pulse};
pub use self::runtime::{InputSwitch, Operator, Runtime, RuntimeConfig};
pub use self::status::{
    BlockedEvent, ComponentStatus, InputCounters, InputStatus, OutputCounters, SideStatus,
    StatusBoard,
};
pub use self::supervisor::{Operation, OperationError, Threads};
