//! A whole resource file: documents, manifests, secrets, and the check of every binding. Whatever
//! it says, what is wrong with it is found and has its place in the file.
#![no_main]

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use bindery::catalogue::Catalogue;
use bindery::resources::{Env, Finding, Place, Scope, Surroundings, inspect};
use libfuzzer_sys::fuzz_target;

static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(Catalogue::default);

static SURROUNDINGS: LazyLock<Surroundings> = LazyLock::new(|| {
    let variables = [("SECRET", "\"quoted\""), ("EMPTY", ""), ("POD_NAME", "pod")];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
    Surroundings::new("app", Env::Fixed(Arc::new(HashMap::from(variables))))
});

fuzz_target!(|file: &[u8]| {
    let lines = file.split(|byte| matches!(byte, b'\n' | b'\r')).count();
    for scope in [Scope::All, Scope::App] {
        let place = Place::Text {
            name: "fuzz.yaml".into(),
            text: file.to_vec(),
        };
        let inspection = inspect(vec![place], &CATALOGUE, &SURROUNDINGS, scope)
            .expect("a text can always be read");
        let found = inspection.errors.iter().chain(&inspection.ignored);
        for finding in found.chain(&inspection.resources.warnings) {
            is_in_the_file(finding, lines);
        }
        for component in &inspection.resources.components {
            assert!(!component.name.is_empty());
            assert!((1..=65_536).contains(&component.delivery.max_in_flight));
        }
    }
});

fn is_in_the_file(finding: &Finding, lines: usize) {
    assert!(!finding.problem.is_empty());
    if let Some(at) = finding.at {
        // An end that comes too soon is one line behind the last.
        assert!((1..=lines + 1).contains(&at.line), "{finding}");
    }
}
