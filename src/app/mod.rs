//! The way to the app: over HTTP, over gRPC, or in this process.

mod answer;
mod callee;
mod dial;
mod grpc;
mod headers;
mod health;
mod http;
mod in_process;
mod recent;
mod remote;
mod routes;

pub use self::callee::{AppAnswer, AppRequest, Callee, NotCalled};
pub use self::grpc::GrpcApp;
pub(crate) use self::headers::passed_on;
pub use self::health::{Guarded, HealthCheck, watch as watch_health};
pub use self::http::HttpApp;
pub use self::in_process::{Handlers, InProcessApp, IntoAnswer};
pub use self::remote::{Prober, Protocol, RemoteApp, RemoteConfig, UnknownProtocol};
pub use self::routes::Routes;
