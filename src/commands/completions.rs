//! `bindery completions`: what a shell needs to complete our command line.

use std::process::ExitCode;

use clap::CommandFactory;
use clap_complete::Shell;

/// Arguments of `bindery completions`.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  bindery completions bash > /etc/bash_completion.d/bindery
  bindery completions zsh > \"${fpath[1]}/_bindery\"
  bindery completions fish > ~/.config/fish/completions/bindery.fish
  bindery completions powershell >> $PROFILE")]
pub(super) struct CompletionsArgs {
    /// The shell.
    shell: Shell,
}

/// Prints the script.
pub(super) fn run(arguments: &CompletionsArgs) -> ExitCode {
    let mut script = Vec::new();
    clap_complete::generate(
        arguments.shell,
        &mut super::Cli::command(),
        "bindery",
        &mut script,
    );
    print!("{}", String::from_utf8_lossy(&script));
    ExitCode::SUCCESS
}
