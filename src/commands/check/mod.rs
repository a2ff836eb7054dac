//! `bindery check`: finds the mistakes in YAML files, without connecting to anything unless asked.

mod connect;
mod show;
mod veil;

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use self::show::Format;
use crate::catalogue::Catalogue;
use crate::resources::{self, Env, Inspection, LoadError, Place, Scope, Surroundings};

/// What findings call standard input.
const STDIN: &str = "<stdin>";

/// Arguments of `bindery check`.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  bindery check ./components
  bindery check --strict components/orders.yaml
  helm template ./chart | bindery check -         # YAML from standard input
  bindery check --format github ./components      # annotations in a workflow
  bindery check --connect ./components            # also opens every binding

Exit codes: 0 nothing is wrong, 1 something is, 2 the command line is.")]
pub(super) struct CheckArgs {
    /// Files and folders; of a folder, the .yaml and .yml files directly in it. - is standard
    /// input.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Checks only what a sidecar with this app id would take; without it, everything.
    #[arg(long, default_value = "", hide_default_value = true, value_name = "ID")]
    app_id: String,
    /// How the findings are written.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Warnings count as errors.
    #[arg(long)]
    strict: bool,
    /// Opens every binding too, all at once, and says how that went.
    #[arg(long)]
    connect: bool,
}

/// Checks, and says what is wrong.
pub(super) fn run(arguments: &CheckArgs) -> ExitCode {
    let surroundings = Surroundings::new(&*arguments.app_id, Env::Process);
    let scope = if arguments.app_id.is_empty() {
        Scope::All
    } else {
        Scope::App
    };
    let catalogue = Catalogue::default().with_pluggable(&surroundings.env);
    let places = match arguments.paths.iter().map(|path| place(path)).collect() {
        Ok(places) => places,
        Err(error) => {
            eprintln!("error: {STDIN}: {error}");
            return ExitCode::from(2);
        }
    };
    let inspection = match resources::inspect(places, &catalogue, &surroundings, scope) {
        Ok(inspection) => inspection,
        Err(LoadError::Folder { path, reason }) => {
            eprintln!("error: {}: {reason}", path.display());
            return ExitCode::from(2);
        }
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::FAILURE;
        }
    };
    print!("{}", arguments.format.show(&inspection));
    if is_wrong(&inspection, arguments.strict) {
        return ExitCode::FAILURE;
    }
    if arguments.connect {
        return connect::run(inspection.resources, arguments.format);
    }
    ExitCode::SUCCESS
}

/// What a path of the command line means.
fn place(path: &Path) -> std::io::Result<Place> {
    if path != Path::new("-") {
        return Ok(Place::Path(path.to_owned()));
    }
    let mut text = Vec::new();
    std::io::stdin().lock().read_to_end(&mut text)?;
    let name = STDIN.into();
    Ok(Place::Text { name, text })
}

fn is_wrong(inspection: &Inspection, strict: bool) -> bool {
    let resources = &inspection.resources;
    !inspection.errors.is_empty()
        || !resources.mistakes.is_empty()
        || (strict && !resources.warnings.is_empty())
}
