//! The way to the app: over HTTP, or in this process.

mod answer;
mod headers;
mod health;
mod http;
mod in_process;
mod routes;

pub use self::health::{Guarded, HealthCheck, watch as watch_health};
pub use self::http::{HttpApp, HttpAppConfig};
pub use self::in_process::{Handlers, InProcessApp, IntoAnswer};
pub use self::routes::Routes;
