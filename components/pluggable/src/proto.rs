//! What `build.rs` makes of `proto/`: the messages, and our side of the services.

#![allow(missing_docs, dead_code, clippy::pedantic, reason = "it is generated")]

tonic::include_proto!("dapr.proto.components.v1");
