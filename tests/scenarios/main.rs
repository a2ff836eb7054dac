//! What users do, against real servers: the quickstart, the tutorial, and what their data looks
//! like when it arrives. `tests/run.sh` installs the servers and what the apps need.

#[path = "../sidecar/support/mod.rs"]
#[allow(
    dead_code,
    unused_imports,
    reason = "it is shared with the tests of the sidecar"
)]
mod support;

mod data;
mod quickstart;
mod waiting;

use std::path::PathBuf;

/// The Python that the apps run with.
fn python() -> String {
    std::env::var("BINDERY_TEST_PYTHON").unwrap_or_else(|_| "python3".into())
}

/// Where `node` finds the packages of the apps.
fn node_path() -> String {
    std::env::var("BINDERY_TEST_NODE_PATH").unwrap_or_default()
}

/// An app of `tests/apps`.
fn app(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/apps")
        .join(name);
    path.display().to_string()
}
