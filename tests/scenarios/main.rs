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
mod metrics;
mod openapi;
mod quickstart;
mod traces;
mod tutorial;
mod waiting;

use std::path::PathBuf;

use bindery_testkit::servers::installed;

/// The Python that the apps run with.
fn python() -> String {
    installed("BINDERY_TEST_PYTHON", "python/bin/python")
        .display()
        .to_string()
}

/// Where `node` finds the packages of the apps.
fn node_path() -> String {
    installed("BINDERY_TEST_NODE_PATH", "node/node_modules")
        .display()
        .to_string()
}

/// An app of `tests/apps`.
fn app(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/apps")
        .join(name);
    path.display().to_string()
}
