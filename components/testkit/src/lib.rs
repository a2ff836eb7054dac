//! What tests of bindings need, so that a binding's own test is a dozen lines.
//!
//! - [`conformance`]: the suite that every binding plugs into.
//! - [`context`]: what a test needs that opens a binding itself.
//! - [`stand`]: the real actors on one thread, with an app that does as it is told.
//! - [`puppet`]: a binding that does as it is told, to test what surrounds a binding.
//! - [`servers`]: real servers, started on free loopback ports with data in temporary folders,
//!   stopped when they are dropped.
//! - [`proxy`]: a TCP proxy that cuts, stalls, slows and resets connections.
//! - [`identity`]: an identity provider that answers as a test wants.
//! - [`alone`]: tests that have a process, and its environment, to themselves.

pub mod alone;
pub mod app;
pub mod certs;
pub mod conformance;
pub mod context;
pub mod identity;
pub mod ports;
pub mod proxy;
pub mod puppet;
pub mod servers;
pub mod stand;

pub use bindery_actors::{
    Call, CallError, Component, DeliveryOptions, FailureClass, Limits, SideStatus, Threads, Victim,
};
