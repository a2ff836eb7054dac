//! The request side of the conventions (R1–R7), once for all bindings.
//!
//! R1 is [`Metadata`](crate::Metadata) itself: its keys are compared exactly.

mod data;
mod params;
mod ttl;
mod unquote;

pub use self::data::{canonical_json, null_if_absent};
pub use self::params::{bool_param, int_param, priority};
pub use self::ttl::{TtlError, ttl};
pub use self::unquote::{loose_unquote, unquote};
