//! Dapr's bindings API as one small, supervised program, and as a library.

pub mod app;
pub mod catalogue;
pub mod commands;
pub mod http;
pub mod resources;
pub mod sidecar;
pub mod telemetry;
mod trace;
