//! The gRPC API (runtime §1.2, §6.2), served on the workers' threads.
//!
//! `server.rs` deals connections to the workers, `connection.rs` is the life of one of them,
//! `door.rs` the path of a request from top to bottom, `api.rs` what the sidecar's methods do.
//! Calls of outputs go through [`Core::invoke`](bindery_actors::Core::invoke), as those over HTTP
//! do.

mod api;
mod authority;
mod connection;
mod door;
mod invoke;
mod metadata;
mod observed;
mod prompt;
pub mod proto;
mod secrets;
mod server;
mod status;

pub(crate) use self::door::Door;
pub(crate) use self::prompt::Prompt;
pub(crate) use self::server::{Server, start};
pub(crate) use self::status::code_name;
