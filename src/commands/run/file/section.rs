//! What stands under a key: lists of words and maps of variables.

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::Reader;
use crate::resources::yaml::{Node, Value};

/// The keys that a section has, with their values.
#[derive(Default)]
pub(super) struct Section<'a> {
    values: BTreeMap<&'static str, &'a Node>,
}

impl<'a> Section<'a> {
    pub(super) fn insert(&mut self, key: &'static str, value: &'a Node) {
        self.values.insert(key, value);
    }

    pub(super) fn get(&self, key: &str) -> Option<&'a Node> {
        self.values.get(key).copied()
    }
}

/// `a, b or c`.
pub(super) fn in_words(names: &[&str]) -> String {
    match names.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => names.concat(),
    }
}

impl Reader {
    /// The command of an app, whose program there must be; nothing where there is none.
    pub(super) fn command(
        &mut self,
        section: &Section,
        folder: &Path,
        env: &BTreeMap<String, String>,
    ) -> Vec<String> {
        let Some(node) = section.get("command") else {
            return Vec::new();
        };
        let words: Option<Vec<String>> = match &node.value {
            Value::List(items) => items.iter().map(Node::letters).collect(),
            _ => None,
        };
        let Some(words) = words.filter(|words| !words.iter().any(|word| word.contains('\0')))
        else {
            let hint = "write command: [\"python3\", \"app.py\"]";
            self.wrong(node.at, "command must be a list of words").hint = Some(hint.into());
            return Vec::new();
        };
        if let Some(program) = words.first() {
            let path = env
                .get("PATH")
                .map(OsString::from)
                .or_else(|| env::var_os("PATH"));
            if !is_program(program, folder, path) {
                let problem = if program.contains('/') {
                    format!("there is no program {program} in {}", folder.display())
                } else {
                    format!("there is no program {program:?} in PATH")
                };
                self.wrong(node.at, problem);
            }
        }
        words
    }

    /// The variables of a section. The documentation writes them as a map, and as a list of maps.
    pub(super) fn variables(&mut self, section: &Section) -> BTreeMap<String, String> {
        let Some(node) = section.get("env") else {
            return BTreeMap::new();
        };
        let maps: Vec<&Node> = match &node.value {
            Value::List(items) => items.iter().collect(),
            _ => vec![node],
        };
        let mut variables = BTreeMap::new();
        for map in maps {
            let Value::Map(entries) = &map.value else {
                let hint = "write it as a map: env: {DEBUG: \"true\"}";
                let problem = format!("env must be a map of variables, not {}", map.kind());
                self.wrong(map.at, problem).hint = Some(hint.into());
                continue;
            };
            for (named, value) in entries {
                let name = &named.name;
                let text = match &value.value {
                    Value::Null => Some(String::new()),
                    _ => value.letters(),
                };
                let text = text.filter(|text| !text.contains('\0'));
                if name.is_empty() || name.contains(['=', '\0']) {
                    self.wrong(named.at, format!("{name:?} is no name for a variable"));
                } else if let Some(text) = text {
                    variables.insert(name.clone(), text);
                } else {
                    let problem =
                        format!("the variable {name} must be a text, not {}", value.kind());
                    self.wrong(value.at, problem);
                }
            }
        }
        variables
    }
}

/// Whether a program can be started, as far as it shows before: below the app's folder where its
/// name has a slash, else in one of the folders of `PATH`.
fn is_program(name: &str, folder: &Path, path: Option<OsString>) -> bool {
    let is_one = |file: &Path| {
        let known = file.metadata();
        known.is_ok_and(|known| known.is_file() && known.permissions().mode() & 0o111 != 0)
    };
    if name.contains('/') {
        return is_one(&folder.join(name));
    }
    match path {
        Some(path) => env::split_paths(&path).any(|place| is_one(&folder.join(place).join(name))),
        // The system has folders of its own then.
        None => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_looked_for_where_the_system_looks() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("bin/app");
        std::fs::create_dir_all(program.parent().unwrap()).unwrap();
        std::fs::write(&program, "").unwrap();
        let is = |name: &str, path: &str| is_program(name, folder.path(), Some(path.into()));
        assert!(!is("./bin/app", ""), "nobody may start it");
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        assert!(is("./bin/app", "") && is("app", "/none:bin") && is(program.to_str().unwrap(), ""));
        assert!(
            !is("app", "/none") && !is("bin", "."),
            "a folder is no program"
        );
    }

    #[test]
    fn names_are_joined_as_in_speech() {
        assert_eq!(in_words(&["a", "b", "c"]), "a, b or c");
        assert_eq!(in_words(&["a"]), "a");
    }
}
