//! Dapr's bindings API as one small, supervised program, and as a library.
//!
//! A service that embeds a [`Sidecar`] calls outputs and handles the events of inputs in its own
//! process, without a second one beside it:
//!
//! ```
//! use bindery::{Component, Event, Sidecar};
//!
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! let sidecar = Sidecar::builder("shop")
//!     .component(Component::new("tick", "bindings.cron").set("schedule", "@every 5s"))
//!     .on("tick", |event: Event| async move {
//!         println!("it is {:?}", event.metadata.get("readTimeUTC"));
//!         Ok::<(), String>(())
//!     })
//!     .start()
//!     .await?;
//! sidecar.shutdown().await;
//! # Ok::<(), bindery::StartError>(())
//! # }).unwrap();
//! ```
//!
//! It installs no log, no signal handler, no panic hook and no allocator: those are the host's.
//! The panics of bindings are caught; what a panic hook makes of them is up to the host.

pub mod app;
pub mod catalogue;
pub mod commands;
pub mod grpc;
pub mod http;
pub mod manual;
pub mod resources;
mod resting;
mod secrets;
pub mod sidecar;
pub mod telemetry;
mod through;
mod trace;

pub use bindery_actors::app::{Answer, Forward};
pub use bindery_actors::{CallError, ComponentStatus, DeliveryOptions};
pub use bindery_contract as contract;
pub use bindery_contract::{Event, Metadata, Reply};

pub use self::sidecar::{Builder, Component, NO_METADATA, Sidecar, StartError};

/// The pages whose Rust code is tested with the documentation.
#[cfg(doctest)]
mod pages {
    #[doc = include_str!("../docs/embed.md")]
    struct Embed;
    #[doc = include_str!("../docs/write-a-binding.md")]
    struct WriteABinding;
}
