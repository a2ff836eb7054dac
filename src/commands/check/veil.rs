//! Lines of YAML as they can be shown: a log of a build is read by more people than the file.

use std::borrow::Cow;
use std::ops::Range;

use crate::catalogue::Catalogue;

/// How far a name may be from that of a secret and still be meant for it.
const NEAR: usize = 2;

/// Knows the settings that are secrets.
pub(super) struct Veil {
    types: Vec<Type>,
}

/// A type of bindings, and the names of its secrets; all in lower case.
struct Type {
    names: Vec<String>,
    secrets: Vec<String>,
}

impl Veil {
    pub(super) fn new(catalogue: &Catalogue) -> Self {
        let types = catalogue.rows().iter().map(|row| {
            let fields = (row.settings)();
            let secrets = fields.iter().filter(|field| field.secret);
            let secrets =
                secrets.flat_map(|field| std::iter::once(&field.name).chain(&field.aliases));
            Type {
                names: row
                    .aliases
                    .iter()
                    .chain([&row.type_name])
                    .map(|name| name.to_lowercase())
                    .collect(),
                secrets: secrets.map(|name| name.to_lowercase()).collect(),
            }
        });
        Self {
            types: types.collect(),
        }
    }

    /// A line, without the value that it holds for a setting that is a secret, or whose name is
    /// nearly that of one.
    pub(super) fn line<'a>(&self, lines: &[&'a str], number: usize) -> Option<Cow<'a, str>> {
        let line = *lines.get(number)?;
        let secrets = self.secrets_of(document(lines, number));
        let own = names(line).find(|name| is_secret(&secrets, &line[name.clone()]));
        let is_value = names(line).next().is_none();
        let kept = match own {
            Some(name) => name.end,
            None if is_value && is_in_secret(&secrets, lines, number) => {
                line.find(": ").map_or(0, |colon| colon + 2)
            }
            None => return Some(line.into()),
        };
        let rest = line[kept..].trim_matches(['"', '\'', ' ', '\r']);
        if rest.is_empty() {
            return Some(line.into());
        }
        Some(format!("{} ***", line[..kept].trim_end()).into())
    }

    /// The secrets of the type that a document names; of all types, if it names none.
    fn secrets_of(&self, document: &[&str]) -> Vec<&str> {
        let mut types = document.iter().filter_map(|line| {
            let (_, name) = line.split_once("type:")?;
            let name = name.trim().trim_matches(['"', '\'']).to_lowercase();
            self.types.iter().find(|known| known.names.contains(&name))
        });
        let secrets = match types.next() {
            Some(known) => known.secrets.iter().collect(),
            None => self
                .types
                .iter()
                .flat_map(|known| &known.secrets)
                .collect::<Vec<_>>(),
        };
        secrets.into_iter().map(String::as_str).collect()
    }
}

/// The document that a line is part of.
fn document<'s, 'a>(lines: &'s [&'a str], number: usize) -> &'s [&'a str] {
    let ends = |line: &&str| line.starts_with("---");
    let first = lines[..number].iter().rposition(ends).unwrap_or(0);
    let behind = &lines[number + 1..];
    let last = behind.iter().position(ends).unwrap_or(behind.len());
    &lines[first..=number + last]
}

/// Whether the item that a line is part of names a secret.
fn is_in_secret(secrets: &[&str], lines: &[&str], number: usize) -> bool {
    let begins = |line: &&str| line.trim_start().starts_with("- ");
    let Some(first) = lines[..=number].iter().rposition(begins) else {
        return false;
    };
    let behind = &lines[first + 1..];
    let item = behind.iter().position(begins).unwrap_or(behind.len());
    lines[first..=first + item]
        .iter()
        .any(|line| names(line).any(|name| is_secret(secrets, &line[name])))
}

fn is_secret(secrets: &[&str], name: &str) -> bool {
    let lower = name.to_lowercase();
    // A short name is near to many.
    let near = NEAR.min(lower.len() / 4);
    secrets
        .iter()
        .any(|secret| strsim::osa_distance(secret, &lower) <= near)
}

/// Where the names in a line stand.
fn names(line: &str) -> impl Iterator<Item = Range<usize>> + '_ {
    const KEY: &str = "name:";
    line.match_indices(KEY).map(|(at, _)| {
        let rest = &line[at + KEY.len()..];
        let name = rest.trim_start_matches([' ', '"', '\'']);
        let start = line.len() - name.len();
        let end = name.find([',', '}', '"', '\'', ' ', '\r']);
        start..start + end.unwrap_or(name.len())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_secrets_are_hidden_however_they_are_written() {
        let veil = Veil {
            types: vec![Type {
                names: vec!["bindings.redis".into()],
                secrets: vec!["redispassword".into()],
            }],
        };
        let shown = |text: &str, number| {
            let lines: Vec<&str> = text.split('\n').collect();
            veil.line(&lines, number).map(Cow::into_owned)
        };
        for (text, number, expected) in [
            ("- name: redisPassword\n  value: x", 1, "  value: ***"),
            ("- name: redisPasword\n  valeu: \"x\"", 1, "  valeu: ***"),
            ("- value: x\n  name: redisPassword", 0, "- value: ***"),
            ("- name: redisPassword\n  value: |\n    x", 2, " ***"),
            (
                "- {name: \"redisPassword\", value: x}",
                0,
                "- {name: \"redisPassword ***",
            ),
            (
                "- name: redisPassword\n  value: x",
                0,
                "- name: redisPassword",
            ),
            ("- name: redisHost\n  value: x", 1, "  value: x"),
            (
                "- name: redisPassword\n  value: x\n- name: a\n  value: y",
                3,
                "  value: y",
            ),
            ("metadata:\n  name: a", 0, "metadata:"),
            (
                "type: bindings.redis\n- name: redisPassword\n  value: x",
                2,
                "  value: ***",
            ),
        ] {
            assert_eq!(shown(text, number).as_deref(), Some(expected), "{text}");
        }
        assert_eq!(shown("a", 1), None);
    }
}
