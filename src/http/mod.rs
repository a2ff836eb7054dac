//! The HTTP API (runtime §1.1, §6.1).
//!
//! `api.rs` holds the one function that every request passes through, to be read from top to
//! bottom. The others are its steps.

mod api;
pub mod body;
mod connection;
mod control;
mod ledger;
mod metadata;
mod observed;
mod path;
mod reply;
mod server;
mod trace;

pub use self::api::{Api, ApiConfig, serve};
pub use self::metadata::{AppConnection, AppHealth};
pub(crate) use self::metadata::{DAPR_VERSION, Metadata};
pub use self::server::{Listener, ServerConfig, Servers, bind, mount, start};
