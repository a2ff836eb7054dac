//! `cargo run -p bindery-testkit -- faults`: builds what the fault suite kills, and starts it.
//!
//! The suite is a crate of its own (`tests/faults`), because it knows the whole sidecar and this
//! crate must not.

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

const USAGE: &str = "\
Runs the fault suite: kills, cuts and stalls Bindery while a ledger keeps count of every event.

  cargo run -p bindery-testkit -- faults                    all cases, the short values
  cargo run -p bindery-testkit -- faults --list             what cases there are
  cargo run -p bindery-testkit -- faults kill-9-log --seed 7
  cargo run -p bindery-testkit -- faults --full             a thousand kills, an hour's soak
  cargo run -p bindery-testkit -- faults --check-mutations  what notices when something is off
  cargo run -p bindery-testkit -- faults --help             all options

BINDERY_FAULTS_PROFILE names another profile of cargo than release.";

fn main() -> ExitCode {
    let mut words = std::env::args_os().skip(1);
    if words.next().is_none_or(|word| word != "faults") {
        eprintln!("{USAGE}");
        return ExitCode::FAILURE;
    }
    let profile = std::env::var("BINDERY_FAULTS_PROFILE").unwrap_or_else(|_| "release".into());
    let cargo = |words: &[&str]| {
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.args(words).args(["--quiet", "--profile", &profile]);
        cargo
    };
    if std::env::var_os("BINDERY_BIN").is_none() {
        eprintln!("building bindery …");
        let built = cargo(&["build", "--package", "bindery", "--bin", "bindery"]).status();
        if !built.is_ok_and(|status| status.success()) {
            return ExitCode::FAILURE;
        }
    }
    eprintln!("building the suite …");
    let mut suite = cargo(&["run", "--package", "bindery-faults"]);
    // In its place: a signal for this process is one for the suite.
    let error = suite.arg("--").args(words).exec();
    eprintln!("cargo cannot be run: {error}");
    ExitCode::FAILURE
}
