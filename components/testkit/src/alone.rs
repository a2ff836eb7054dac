//! Tests that have a process to themselves, for what depends on the environment.
//!
//! ```no_run
//! use bindery_testkit::alone::{is_alone, run_alone};
//!
//! fn it_is_read_from_the_environment() {
//!     let test = "it_is_read_from_the_environment";
//!     if !is_alone(test) {
//!         return run_alone(test, &[("NAME", "value")]);
//!     }
//!     assert_eq!(std::env::var("NAME").unwrap(), "value");
//! }
//! ```

/// Names the test that has this process to itself.
const ALONE: &str = "BINDERY_TEST_ALONE";

/// Whether this test has a process to itself, with the environment that it wants.
pub fn is_alone(test: &str) -> bool {
    std::env::var(ALONE).is_ok_and(|name| name == test)
}

/// Runs a test of the same file in a process of its own, with these variables in its environment.
/// `test` is its whole name, modules included.
///
/// # Panics
/// When it fails, or there is no such test.
pub fn run_alone(test: &str, environment: &[(&str, &str)]) {
    let output = std::process::Command::new(std::env::current_exe().expect("a test is a program"))
        .args(["--exact", test, "--nocapture"])
        .envs(environment.iter().copied())
        .env(ALONE, test)
        .output()
        .expect("it runs already");
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}"
    );
}
