//! What `build.rs` makes of `proto/`: messages, and both sides of the services.

/// Package `dapr.proto.common.v1`.
pub mod common {
    /// Version 1.
    #[allow(missing_docs, clippy::pedantic, reason = "it is generated")]
    pub mod v1 {
        tonic::include_proto!("dapr.proto.common.v1");
    }
}

/// Package `dapr.proto.runtime.v1`.
pub mod runtime {
    /// Version 1.
    #[allow(missing_docs, clippy::pedantic, reason = "it is generated")]
    pub mod v1 {
        tonic::include_proto!("dapr.proto.runtime.v1");
    }
}

/// The files themselves, for reflection.
pub(super) const DESCRIPTORS: &[u8] = tonic::include_file_descriptor_set!("dapr");
