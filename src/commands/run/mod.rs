//! `bindery run`: the sidecar and the app together, as Dapr's CLI runs them; or all that a run
//! file lists.

mod app;
mod file;
mod group;
mod leader;
mod lines;
mod logs;
mod several;
mod together;

use std::path::PathBuf;
use std::process::ExitCode;

use super::flags::{self, SidecarFlags};

/// Arguments of `bindery run`.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  bindery run --app-id orders --app-port 5000 --resources-path ./components -- python3 app.py
  bindery run --app-id orders --resources-path ./components
  bindery run -f .                 # all apps of ./dapr.yaml, each with its sidecar
  bindery run -f shop/dapr.yaml

SIGHUP reads the YAML files anew; Ctrl-C ends the app, then its sidecar. The exit code is the app's.")]
pub(super) struct RunArgs {
    /// Runs all apps of a run file of Dapr's CLI: the file, or a folder that holds a dapr.yaml.
    #[arg(
        short = 'f',
        long,
        value_name = "PATH",
        conflicts_with = "command",
        conflicts_with_all = flags::ids()
    )]
    run_file: Option<PathBuf>,
    #[command(flatten)]
    sidecar: SidecarFlags,
    /// The app's command, after two dashes. Without one, only the sidecar runs.
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// Runs until the end of it; the exit code is the app's.
pub(super) fn run(arguments: RunArgs) -> ExitCode {
    match arguments.run_file {
        Some(path) => several::run(&path),
        None => together::run(arguments.sidecar, arguments.command),
    }
}
