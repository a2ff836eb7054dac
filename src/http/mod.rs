//! The HTTP API (runtime §1.1, §6.1).
//!
//! `api.rs` holds the one function that every request passes through, to be read from top to
//! bottom. The others are its steps.

mod api;
pub mod body;
mod connection;
mod control;
mod cors;
mod invoke;
mod ledger;
mod listen;
mod metadata;
mod observed;
mod path;
mod public;
mod reply;
mod secrets;
mod server;
mod stream;
mod trace;

pub use self::api::{Api, ApiConfig};
pub use self::cors::Cors;
pub use self::listen::{Address, Listener, bind, bind_file, bind_public};
pub(crate) use self::listen::{Socket, SocketFile};
pub use self::metadata::{AppConnection, AppHealth};
pub(crate) use self::metadata::{DAPR_VERSION, Metadata};
pub use self::server::{ServerConfig, Servers, mount, start};
pub(crate) use self::stream::Stream;
