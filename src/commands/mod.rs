//! The command line: one file for each subcommand.

mod check;
mod client;
mod completions;
mod components;
mod demo;
mod find;
mod flags;
mod install;
mod invoke;
mod notify;
mod operate;
mod run;
mod sidecar;
mod signals;
mod status;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

pub use self::flags::SidecarFlags;

/// Dapr's bindings as one small program. Without a subcommand it is the sidecar and takes the
/// flags of daprd.
#[derive(Debug, Parser)]
#[command(
    name = "bindery",
    version,
    args_override_self = true,
    after_help = "\
Examples:
  bindery demo
  bindery check ./components
  bindery run --app-id orders --app-port 5000 --resources-path ./components -- python3 app.py
  bindery --app-id orders --app-port 5000 --resources-path ./components"
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    /// Here for the help text; the sidecar has a parser of its own.
    #[command(flatten)]
    _sidecar: SidecarFlags,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Finds the mistakes in YAML files, without connecting to anything.
    Check(check::CheckArgs),
    /// What a shell needs to complete this command line.
    Completions(completions::CompletionsArgs),
    /// The types of bindings; with a type: its settings, operations, and an example.
    Components(components::ComponentsArgs),
    /// Shows the whole path in this terminal; needs no server.
    Demo(demo::DemoArgs),
    /// Puts this program where Dapr's CLI looks for daprd.
    Install(install::InstallArgs),
    /// Calls an output of a running sidecar.
    Invoke(invoke::InvokeArgs),
    /// Lets a binding of a running sidecar rest: no events, no calls, until it is resumed.
    Pause(operate::PauseArgs),
    /// Opens a binding of a running sidecar anew.
    Restart(operate::RestartArgs),
    /// Ends the pause of a binding.
    Resume(operate::ResumeArgs),
    /// Runs the sidecar and your app together, or all apps of a run file.
    Run(Box<run::RunArgs>),
    /// A JSON schema of component YAML, for editors.
    Schema(components::SchemaArgs),
    /// How the bindings of a running sidecar are, in a table that refreshes.
    Status(status::StatusArgs),
}

/// Does what the command line says.
pub fn main() -> ExitCode {
    let arguments = flags::normalise(std::env::args_os());
    report_panics();
    if is_sidecar(&arguments) {
        return sidecar::main(arguments);
    }
    match Cli::parse_from(arguments).command {
        Some(Command::Check(arguments)) => check::run(&arguments),
        Some(Command::Completions(arguments)) => completions::run(&arguments),
        Some(Command::Install(arguments)) => install::run(&arguments),
        Some(Command::Invoke(arguments)) => invoke::run(&arguments),
        Some(Command::Components(arguments)) => components::run(&arguments),
        Some(Command::Schema(arguments)) => components::schema(&arguments),
        Some(Command::Demo(arguments)) => demo::run(&arguments),
        Some(Command::Pause(arguments)) => operate::run("pause", &arguments.binding),
        Some(Command::Restart(arguments)) => operate::run("restart", &arguments.binding),
        Some(Command::Resume(arguments)) => operate::run("resume", &arguments.binding),
        Some(Command::Run(arguments)) => run::run(*arguments),
        Some(Command::Status(arguments)) => status::run(&arguments),
        None => {
            let _ = Cli::command().print_help();
            ExitCode::from(2)
        }
    }
}

/// Whether it was started as `daprd`, or with daprd's flags and no subcommand.
fn is_sidecar(arguments: &[OsString]) -> bool {
    let program = arguments.first().map(Path::new).and_then(Path::file_stem);
    let first = arguments.get(1).map(|first| first.to_string_lossy());
    program.is_some_and(|program| program == "daprd")
        || first.is_some_and(|first| {
            first.starts_with('-') && !matches!(&*first, "-h" | "--help" | "-V" | "--version")
        })
}

/// A panic is a line of the log, with the binding whose code it was.
fn report_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let text = bindery_contract::panic_text(panic.payload());
        let place = panic
            .location()
            .map(ToString::to_string)
            .unwrap_or_default();
        tracing::error!(target: "bindery", "{text} at {place}");
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_sidecar_under_daprds_name_and_with_daprds_flags() {
        let is = |line: &str| {
            let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            is_sidecar(&words)
        };
        for line in [
            "/usr/bin/daprd",
            "daprd --help",
            "bindery --app-id x",
            "bindery --wait",
        ] {
            assert!(is(line), "{line}");
        }
        for line in [
            "bindery",
            "bindery run --app-id x",
            "bindery --help",
            "bindery --version",
        ] {
            assert!(!is(line), "{line}");
        }
    }

    #[test]
    fn the_command_line_is_declared_without_contradictions() {
        Cli::command().debug_assert();
        sidecar::command().debug_assert();
    }
}
