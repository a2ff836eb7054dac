//! The log of the API: a line for each call (runtime §6.8).

use std::time::Duration;

use crate::resources::ApiLogging;

/// The scopes of these lines: they are written whatever the level of the log.
pub(super) const SCOPES: [&str; 2] = [HTTP, GRPC];
const HTTP: &str = "dapr.runtime.http-info";
const GRPC: &str = "dapr.runtime.grpc.api-info";

/// Which calls are lines.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ApiLog {
    is_on: bool,
    obfuscate_urls: bool,
    omit_health_checks: bool,
}

/// A call that is over.
pub(crate) struct Called<'a> {
    /// The endpoint's name.
    pub(crate) endpoint: &'a str,
    /// The method and the path.
    pub(crate) request: &'a dyn std::fmt::Display,
    pub(crate) is_health_check: bool,
    pub(crate) took: Duration,
    pub(crate) code: u16,
    /// The answer's body, in bytes.
    pub(crate) size: u64,
    pub(crate) user_agent: &'a str,
}

impl ApiLog {
    /// As a Configuration says, unless the flag says something.
    pub(crate) fn new(spec: &ApiLogging, flag: Option<bool>) -> Self {
        Self {
            is_on: flag.unwrap_or(spec.enabled),
            obfuscate_urls: spec.obfuscate_urls,
            omit_health_checks: spec.omit_health_checks,
        }
    }

    /// Whether any is.
    pub(crate) fn is_on(self) -> bool {
        self.is_on
    }

    /// A call over HTTP.
    pub(crate) fn http(self, call: &Called<'_>) {
        if !self.is_on || (self.omit_health_checks && call.is_health_check) {
            return;
        }
        let method = if self.obfuscate_urls {
            call.endpoint.to_owned()
        } else {
            call.request.to_string()
        };
        tracing::info!(
            target: HTTP,
            method,
            duration = millis(call.took),
            code = call.code,
            size = call.size,
            useragent = call.user_agent,
            "HTTP API Called"
        );
    }

    /// A call over gRPC.
    pub(crate) fn grpc(self, method: &str, code: i32, took: Duration, user_agent: &str) {
        if self.is_on {
            tracing::info!(
                target: GRPC,
                method,
                duration = millis(took),
                code,
                useragent = user_agent,
                "gRPC API Called"
            );
        }
    }
}

fn millis(took: Duration) -> u64 {
    u64::try_from(took.as_millis()).unwrap_or(u64::MAX)
}
