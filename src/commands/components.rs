//! `bindery components` and `bindery schema`: the catalogue, for people and for editors.

use std::process::ExitCode;

use crate::catalogue::{Catalogue, Lookup};
use crate::manual;

/// Arguments of `bindery components`.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  bindery components
  bindery components bindings.redis
  bindery components redis --example > components/cache.yaml")]
pub(super) struct ComponentsArgs {
    /// A type, with or without `bindings.`; without one, all types are listed.
    #[arg(value_name = "TYPE")]
    type_name: Option<String>,
    /// Prints the example only.
    #[arg(long, requires = "type_name")]
    example: bool,
}

/// Shows the list, or a page.
pub(super) fn run(arguments: &ComponentsArgs) -> ExitCode {
    let catalogue = Catalogue::default();
    let Some(name) = &arguments.type_name else {
        print!("{}", manual::list(catalogue.rows()));
        return ExitCode::SUCCESS;
    };
    let full = if name.starts_with("bindings.") {
        name.clone()
    } else {
        format!("bindings.{name}")
    };
    let problem = match catalogue.find(&full, "") {
        Lookup::Found(row)
        | Lookup::Awaited {
            registration: row, ..
        } => {
            let text = if arguments.example {
                manual::example(&row)
            } else {
                manual::page(&row)
            };
            print!("{text}");
            return ExitCode::SUCCESS;
        }
        Lookup::OtherBuildingBlock => "it is no binding".into(),
        Lookup::Unknown { problem, hint } => format!("{problem}; {hint}"),
    };
    eprintln!("error: {full}: {problem}");
    ExitCode::FAILURE
}

/// Arguments of `bindery schema`.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  bindery schema > components.schema.json

An editor with YAML support then completes and checks a file that begins with
  # yaml-language-server: $schema=components.schema.json
For Visual Studio Code, the same without touching the files, in settings.json:
  \"yaml.schemas\": { \"./components.schema.json\": \"components/*.yaml\" }")]
pub(super) struct SchemaArgs {}

/// Prints the schema.
pub(super) fn schema(_: &SchemaArgs) -> ExitCode {
    let schema = manual::schema(Catalogue::default().rows());
    println!("{schema:#}");
    ExitCode::SUCCESS
}
