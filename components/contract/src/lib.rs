//! What a binding is.
//!
//! This crate is the contract between Bindery's runtime and its bindings, and the only crate of
//! ours that every binding knows. A binding is a type that implements [`Binding`]: it declares its
//! settings as a struct, opens, and gives out an [`Output`], an [`Input`], or one of each.
//!
//! ```
//! use bindery_contract::{Binding, Invocation, InvokeError, OpenContext, OpenError};
//! use bindery_contract::{Opened, Operation, Output, Reply};
//!
//! /// Answers with what it is sent.
//! struct Echo;
//!
//! #[derive(serde::Deserialize, schemars::JsonSchema)]
//! struct EchoSettings {
//!     /// Put before every answer.
//!     #[serde(default)]
//!     prefix: String,
//! }
//!
//! struct EchoOutput {
//!     prefix: String,
//! }
//!
//! impl Binding for Echo {
//!     const TYPE: &'static str = "bindings.echo";
//!     const SUMMARY: &'static str = "Answers with what it is sent.";
//!     const OPERATIONS: &'static [Operation] =
//!         &[Operation { name: "create", summary: "Answers with the request's data." }];
//!     type Settings = EchoSettings;
//!
//!     async fn open(settings: EchoSettings, _: OpenContext) -> Result<Opened, OpenError> {
//!         Ok(Opened::shared(EchoOutput { prefix: settings.prefix }))
//!     }
//! }
//!
//! impl Output for EchoOutput {
//!     async fn invoke(&self, call: Invocation) -> Result<Option<Reply>, InvokeError> {
//!         let answer = [self.prefix.as_bytes(), &call.data].concat();
//!         Ok(Some(Reply::new(answer)))
//!     }
//! }
//! ```

pub mod acks;
mod binding;
mod clock;
mod context;
pub mod credit;
mod error;
mod event;
mod metadata;
#[doc(hidden)]
pub mod mutation;
mod payload;
mod registration;
pub mod request;
pub mod settings;
pub mod sink;
#[doc(hidden)]
pub mod sync;
#[cfg(feature = "tls")]
pub mod tls;

pub use self::binding::{
    Binding, BoxFuture, DynInput, DynOutput, DynReplicas, EventMetadata, Input, Invocation, Opened,
    Operation, Output, Placement, Reply, Role,
};
pub use self::clock::{Clock, Deadline, Instant};
pub use self::context::{ContextParts, Host, Identity, OpenContext, ReplicaContext, panic_text};
pub use self::error::{Cause, Chain, InvokeError, OpenError, ReadError, Retry, Sent};
pub use self::event::{ByNumber, Event, Key, Order, Source};
pub use self::metadata::Metadata;
pub use self::payload::{Chunks, CollectError, Payload};
pub use self::registration::{Prepared, Registration};
pub use self::sink::{Ack, EventSink, Nack, Pending, Permit, Stopped};
