//! The command line: one file for each subcommand.

mod demo;
mod flags;
mod run;
mod sidecar;
mod signals;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

pub use self::flags::SidecarFlags;

/// Dapr's bindings as one small program. Without a subcommand it is the sidecar and takes the
/// flags of daprd.
#[derive(Debug, Parser)]
#[command(
    name = "bindery",
    version,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    sidecar: SidecarFlags,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Shows the whole path in this terminal; needs no server.
    Demo(demo::DemoArgs),
    /// Runs the sidecar and your app together.
    Run(Box<run::RunArgs>),
}

/// Does what the command line says.
pub fn main() -> ExitCode {
    let arguments = flags::normalise(std::env::args_os());
    if arguments.len() <= 1 {
        let _ = Cli::command().print_help();
        return ExitCode::from(2);
    }
    let cli = Cli::parse_from(arguments);
    report_panics();
    match cli.command {
        Some(Command::Demo(arguments)) => demo::run(&arguments),
        Some(Command::Run(arguments)) => run::run(*arguments),
        None => sidecar::run(cli.sidecar),
    }
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
