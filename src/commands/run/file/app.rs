//! One app of a run file: what it says, and what `common` says where it says nothing.

use std::ffi::OsString;

use clap::{Args, FromArgMatches};

use super::keys::{Does, KEYS, Key, Takes};
use super::section::{Section, in_words};
use super::{AppToRun, Reader};
use crate::commands::flags::SidecarFlags;
use crate::commands::run::logs::Destination;
use crate::resources::yaml::{Node, Value};

impl Reader {
    pub(super) fn app(&mut self, node: &Node, own: &Section, common: &Section) -> Option<AppToRun> {
        let Some(folder) = own.get("appDirPath") else {
            if matches!(node.value, Value::Map(_)) {
                let hint = "write where the app is, relative to this file: appDirPath: ./shop";
                self.wrong(node.at, "the app has no appDirPath").hint = Some(hint.into());
            }
            return None;
        };
        let folder = self.folder(folder, "appDirPath")?;
        let id = match own.get("appID").and_then(Node::letters) {
            Some(id) if !id.is_empty() => id,
            _ => match folder.file_name() {
                Some(name) => name.to_string_lossy().into_owned(),
                None => {
                    let hint = "write appID: shop";
                    self.wrong(node.at, "the app has no appID, and its folder has no name")
                        .hint = Some(hint.into());
                    return None;
                }
            },
        };
        let at = own.get("appID").map_or(node.at, |node| node.at);
        if id.contains('/') {
            self.wrong(at, format!("the app id {id:?} must not contain a slash"));
        }
        let mut flags = vec![("app-id", id.clone())];
        let mut ports = Vec::new();
        for key in KEYS {
            let Some(value) = own.get(key.name).or_else(|| common.get(key.name)) else {
                continue;
            };
            let Some(text) = self.value(key, value) else {
                continue;
            };
            if let Does::Flag(flag) = key.does {
                if matches!(key.takes, Takes::Port) {
                    ports.push((key.name, text.clone()));
                }
                flags.push((flag, text));
            }
        }
        for path in self.resources(&folder, own, common) {
            flags.push(("resources-path", path));
        }
        if let Some(path) = self.configuration(&folder, own, common) {
            flags.push(("config", path));
        }
        let mut env = self.variables(common);
        env.extend(self.variables(own));
        let command = self.command(own, &folder, &env);
        let log = |name: &str, default| {
            let value = own.get(name).or_else(|| common.get(name));
            let named = value.and_then(Node::letters);
            named
                .and_then(|name| Destination::named(&name))
                .unwrap_or(default)
        };
        let app = AppToRun {
            app_log: log("appLogDestination", Destination::FileAndConsole),
            sidecar_log: log("daprdLogDestination", Destination::File),
            id,
            folder,
            command,
            env,
            flags,
            ports,
        };
        // What is wrong already is said better.
        if self.errors.is_empty()
            && let Err(problem) = app.check()
        {
            self.wrong(at, format!("app {:?}: {problem}", app.id));
        }
        Some(app)
    }

    /// The value of a key as a text, if it is one that the key takes; nothing where it is none.
    fn value(&mut self, key: &Key, node: &Node) -> Option<String> {
        let letters = node.letters();
        let (wants, value) = match key.takes {
            Takes::Else => return None,
            Takes::Text => ("a text".to_owned(), letters.map(Some)),
            Takes::OneOf(names) => {
                let hint = format!("one of {}", in_words(names));
                let known = letters.filter(|text| {
                    text.is_empty() || names.iter().any(|name| name.eq_ignore_ascii_case(text))
                });
                (hint, known.map(Some))
            }
            Takes::Port => {
                let number = letters.and_then(|text| text.parse::<i64>().ok());
                let port = number.filter(|number| *number <= 65_535);
                let named = |port: i64| (port > 0).then(|| port.to_string());
                ("a port from 1 to 65535".to_owned(), port.map(named))
            }
            Takes::Number => {
                let number = letters.and_then(|text| text.parse::<i64>().ok());
                let text = number.map(|number| Some(number.to_string()));
                ("a number".to_owned(), text)
            }
            Takes::Switch => {
                let value = match node.value {
                    Value::Bool(value) => Some(Some(value.to_string())),
                    _ => None,
                };
                ("true or false".to_owned(), value)
            }
        };
        if value.is_none() {
            let is = node.letters().unwrap_or_else(|| node.kind().to_owned());
            self.wrong(node.at, format!("{} must be {wants}, not {is}", key.name));
        }
        let lower = matches!(key.does, Does::Flag(_)) && matches!(key.takes, Takes::OneOf(_));
        let text = value.flatten().filter(|text| !text.is_empty());
        text.map(|text| if lower { text.to_lowercase() } else { text })
    }
}

impl AppToRun {
    /// Whether the sidecar would take its flags.
    fn check(&self) -> Result<(), String> {
        let words = self
            .flags
            .iter()
            .map(|(flag, value)| format!("--{flag}={value}"));
        let words = std::iter::once("daprd".to_owned()).chain(words);
        let command = SidecarFlags::augment_args(clap::Command::new("daprd"));
        let matches = command
            .try_get_matches_from(words.map(OsString::from))
            .map_err(|error| error.to_string())?;
        let flags = SidecarFlags::from_arg_matches(&matches).map_err(|error| error.to_string())?;
        let checked = flags.log().and_then(|_| flags.builder());
        checked.map(drop).map_err(|error| error.to_string())
    }
}
