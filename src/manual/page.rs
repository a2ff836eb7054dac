//! Pages for a terminal, and examples that work when they are pasted.

use std::fmt::Write as _;

use bindery_contract::Registration;
use bindery_contract::settings::Field;

use super::{directions, names};

/// All types, one line each.
pub fn list(rows: &[Registration]) -> String {
    let mut out = String::new();
    let width = rows
        .iter()
        .map(|row| row.type_name.len())
        .max()
        .unwrap_or(0);
    for row in rows {
        let (name, directions) = (row.type_name, directions(row));
        let _ = writeln!(out, "{name:width$}  {directions:13}  {}", row.summary);
        for alias in row.aliases {
            let _ = writeln!(out, "{alias:width$}  the same under another name");
        }
    }
    out.push_str("\nbindery components TYPE shows the settings, and an example to begin with.\n");
    out
}

/// Everything about one type.
pub fn page(row: &Registration) -> String {
    let mut out = format!("{}: {}\n\n", row.type_name, row.summary);
    if !row.aliases.is_empty() {
        let _ = writeln!(out, "Also called: {}", row.aliases.join(", "));
    }
    let _ = writeln!(out, "Directions: {}", directions(row));
    if !row.operations.is_empty() {
        out.push_str("\nOperations\n");
        for operation in row.operations {
            entry(&mut out, operation.name, operation.summary);
        }
    }
    if !row.event_metadata.is_empty() {
        out.push_str("\nMetadata of its events (headers of the app's request)\n");
        for metadata in row.event_metadata {
            entry(&mut out, metadata.name, metadata.summary);
        }
    }
    out.push_str("\nSettings\n");
    for (name, field) in names(&(row.settings)()) {
        setting(&mut out, &name, field);
    }
    let _ = write!(out, "\nExample\n\n{}", example(row));
    out
}

fn setting(out: &mut String, name: &str, field: &Field) {
    let mut about = vec![field.kind.clone()];
    if field.required {
        about.push("required".into());
    }
    if let Some(role) = field.role {
        about.push(format!("{role} only"));
    }
    if field.secret {
        about.push("secret".into());
    }
    if field.deprecated {
        about.push("deprecated".into());
    }
    if let Some(default) = &field.default {
        about.push(format!("default {default}"));
    }
    if !field.aliases.is_empty() {
        about.push(format!("also {}", field.aliases.join(", ")));
    }
    if !field.values.is_empty() {
        about.push(format!("one of {}", field.values.join(", ")));
    }
    entry(
        out,
        &format!("{name} ({})", about.join("; ")),
        &field.description,
    );
}

/// A heading, and a text below it that is easy to read on a terminal.
fn entry(out: &mut String, heading: &str, text: &str) {
    let _ = writeln!(out, "  {heading}");
    for paragraph in text.split("\n\n") {
        let mut line = String::from("     ");
        for word in paragraph.split_whitespace() {
            if line.len() + word.len() > 90 {
                let _ = writeln!(out, "{line}");
                line = String::from("     ");
            }
            line.push(' ');
            line.push_str(word);
        }
        let _ = writeln!(out, "{line}");
    }
}

/// A component of the type, as YAML.
pub fn example(row: &Registration) -> String {
    let short = row.type_name.rsplit('.').next().unwrap_or(row.type_name);
    let mut out = format!(
        "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata:\n  name: my-{short}\nspec:\n  \
         type: {}\n  version: v1\n  metadata:\n",
        row.type_name
    );
    for (name, field) in names(&(row.settings)()) {
        if field.in_example {
            let value = field.example.as_deref().unwrap_or_default();
            let _ = writeln!(out, "  - name: {name}\n    value: {}", quoted(value));
        }
    }
    out
}

/// A text as YAML takes it for a text.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::Catalogue;

    #[test]
    fn every_setting_is_documented_and_every_example_can_be_used() {
        for row in Catalogue::default().rows() {
            let fields = (row.settings)();
            for (name, field) in names(&fields) {
                let type_name = row.type_name;
                assert!(
                    !field.description.is_empty(),
                    "{type_name} {name} says nothing"
                );
                assert!(
                    !field.in_example || field.example.is_some(),
                    "{type_name} {name} is in the example and has none"
                );
            }
            let settings = names(&fields);
            let properties = settings
                .iter()
                .filter(|(_, field)| field.in_example)
                .map(|(name, field)| (name.clone(), field.example.clone().unwrap_or_default()))
                .collect();
            let prepared = row.prepare(&properties).map(drop);
            assert_eq!(prepared, Ok(()), "{}", row.type_name);
            assert_eq!(row.remarks(&properties), [], "{}", row.type_name);
        }
    }

    #[test]
    fn a_page_says_all_there_is() {
        for row in Catalogue::default().rows() {
            let page = page(row);
            for operation in row.operations {
                assert!(page.contains(operation.name));
            }
            for (name, _) in names(&(row.settings)()) {
                assert!(page.contains(&name), "{name}");
            }
            assert!(
                page.lines().all(|line| line.chars().count() <= 400),
                "{page}"
            );
        }
    }
}
