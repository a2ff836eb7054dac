//! What a binding's declaration says, for people and for editors: pages, examples, a schema.
//!
//! Everything here is made of [`Registration`]s; nothing is written twice.

mod page;
mod schema;

pub use self::page::{example, list, page};
pub use self::schema::schema;

use bindery_contract::settings::Field;
use bindery_contract::{Registration, Role};

/// Which sides a type has, in words.
fn directions(row: &Registration) -> &'static str {
    match (row.supports(Role::Input), row.supports(Role::Output)) {
        (true, true) => "input, output",
        (true, false) => "input",
        _ => "output",
    }
}

/// The names that settings are written by: those that begin with a prefix in full.
fn names(fields: &[Field]) -> Vec<(String, &Field)> {
    fields
        .iter()
        .flat_map(|field| {
            if field.prefix.is_empty() {
                vec![(field.name.clone(), field)]
            } else {
                let inner = field.prefix.iter();
                inner
                    .map(|inner| (prefixed(&field.name, &inner.name), inner))
                    .collect()
            }
        })
        .collect()
}

fn prefixed(prefix: &str, name: &str) -> String {
    let mut chars = name.chars();
    let first = chars.next().map(|first| first.to_ascii_uppercase());
    let rest = chars.as_str();
    first.map_or_else(
        || prefix.to_owned(),
        |first| format!("{prefix}{first}{rest}"),
    )
}
