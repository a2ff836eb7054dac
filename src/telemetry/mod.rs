//! What the sidecar tells about itself.

pub mod log;
mod repeats;
