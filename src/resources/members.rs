//! The members of a Configuration's `spec`: which are read, and what is to be said of the others.

use serde_json::Value;

use super::keys;

/// Members of `spec` that are read.
const READ: &[&str] = &[
    "features",
    "components",
    "api",
    "secrets",
    "metric",
    "metrics",
    "tracing",
    "logging",
];

/// Members of `spec` that Dapr reads and that mean nothing here, and why.
const IDLE: &[(&str, &str)] = &[
    (
        "accessControl",
        "it says which other apps may call this one, and other sidecars' calls are not taken",
    ),
    (
        "mtls",
        "sidecars do not speak to each other here; put TLS before whatever must be reached from \
         another machine",
    ),
    (
        "nameResolution",
        "it finds other apps, and this sidecar calls its own only",
    ),
    ("wasm", "it is about middleware, and there is none here"),
    (
        "workflow",
        "workflows are not served; Bindery serves bindings",
    ),
];

/// The lists of middleware, and what goes past them here.
const PIPELINES: &[(&str, &str, &str)] = &[
    (
        "httpPipeline",
        "requests reach the API without",
        "where one of them keeps callers out, use DAPR_API_TOKEN, or a proxy before the sidecar",
    ),
    (
        "appHttpPipeline",
        "events and calls reach the app without",
        "what they do has to be done by the app, or by a proxy before it",
    ),
];

/// What is to be said of a member of `spec` that changes nothing here, and what to do about it.
pub(super) fn without_effect(key: &str, value: &Value) -> Option<(String, String)> {
    if READ.contains(&key) {
        return None;
    }
    if let Some((_, past, hint)) = PIPELINES.iter().find(|one| one.0 == key) {
        let handlers = value["handlers"].as_array().into_iter().flatten();
        let text = |value: &Value| value.as_str().unwrap_or("?").to_owned();
        let named = handlers.map(|one| format!("{} ({})", text(&one["name"]), text(&one["type"])));
        let named: Vec<String> = named.collect();
        let problem = format!(
            "spec.{key} has no effect: there is no middleware here, and {past} {}",
            named.join(", ")
        );
        return (!named.is_empty()).then(|| (problem, (*hint).to_owned()));
    }
    let problem = format!("spec.{key} has no effect");
    if let Some((_, why)) = IDLE.iter().find(|one| one.0 == key) {
        return Some((problem, (*why).to_owned()));
    }
    let idle = IDLE.iter().map(|one| one.0);
    let idle = idle.chain(PIPELINES.iter().map(|one| one.0));
    let known: Vec<&str> = READ.iter().copied().chain(idle).collect();
    Some((
        format!("{problem}: there is no such member"),
        match keys::nearest(key, &known) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None => format!("there are {}", READ.join(", ")),
        },
    ))
}
