//! `bindery pause`, `resume` and `restart`: a hand on one binding of a running sidecar.

use std::process::ExitCode;

use http::Method;

use super::{client, find};

/// Which binding.
#[derive(clap::Args, Debug)]
pub(super) struct BindingAt {
    /// The component's name.
    name: String,
    /// One side of a binding that has both.
    #[arg(long, value_parser = ["input", "output"])]
    side: Option<String>,
    #[command(flatten)]
    sidecar: find::SidecarAt,
}

/// Arguments of `bindery pause`.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  bindery pause orders
  bindery pause orders --side input --app-id shop

An input finishes and acknowledges the events it has, then reads no more. Calls of an output are
refused. A pause outlives a change of the binding's file; it ends with `bindery resume`, or with
the sidecar. The token is taken from DAPR_API_TOKEN.")]
pub(super) struct PauseArgs {
    #[command(flatten)]
    pub(super) binding: BindingAt,
}

/// Arguments of `bindery resume`.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  bindery resume orders
  bindery resume orders --side input --app-id shop")]
pub(super) struct ResumeArgs {
    #[command(flatten)]
    pub(super) binding: BindingAt,
}

/// Arguments of `bindery restart`.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  bindery restart orders
  bindery restart orders --dapr-http-port 3501

It is opened anew from clean state, with its secrets read again, and without waiting for the next
try of a binding that failed. Calls and events are not lost.")]
pub(super) struct RestartArgs {
    #[command(flatten)]
    pub(super) binding: BindingAt,
}

/// Does it, and says nothing when it was done.
pub(super) fn run(operation: &str, binding: &BindingAt) -> ExitCode {
    let place = match binding.sidecar.place() {
        Ok(place) => place,
        Err(problem) => {
            eprintln!("error: {problem}");
            return ExitCode::from(2);
        }
    };
    let name = client::encoded(&binding.name);
    let side = binding.side.as_ref();
    let query = side.map_or_else(String::new, |side| format!("?side={side}"));
    let path = format!("/v1.0-alpha1/bindings/{name}/{operation}{query}");
    let asking = client::ask(&place, Method::POST, &path, "");
    let problem = match actix_rt::System::new().block_on(asking) {
        Ok(answer) if answer.status.is_success() => return ExitCode::SUCCESS,
        Ok(answer) => answer.problem(),
        Err(problem) => problem,
    };
    eprintln!("error: {problem}");
    ExitCode::FAILURE
}
