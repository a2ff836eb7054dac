//! The way to the app.

mod answer;
mod http;

pub use self::http::{HttpApp, HttpAppConfig};
