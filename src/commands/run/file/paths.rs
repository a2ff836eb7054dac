//! Paths of a run file: what they are relative to, and what counts where none is given.

use std::path::{Path, PathBuf};

use super::Reader;
use super::section::Section;
use crate::resources::yaml::{Node, Value};
use crate::resources::{Env, clean_path};

/// What a path must lead to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wants {
    File,
    Folder,
}

impl Reader {
    /// The folder that a key of an app leads to.
    pub(super) fn folder(&mut self, node: &Node, key: &str) -> Option<PathBuf> {
        let base = self.base.clone();
        let text = node.letters().unwrap_or_default();
        if text.is_empty() {
            self.wrong(
                node.at,
                format!("{key} must name a folder, not {}", node.kind()),
            );
            return None;
        }
        self.existing(node, key, &text, &base, Wants::Folder)
    }

    /// Where the sidecar finds its components: those of the app, else of its folder, else of
    /// `common`, else of Dapr's own folder.
    pub(super) fn resources(
        &mut self,
        folder: &Path,
        own: &Section,
        common: &Section,
    ) -> Vec<String> {
        if let Some(paths) = self.listed(own, folder) {
            return paths;
        }
        let conventional = folder.join(".dapr/resources");
        if conventional.is_dir() {
            return vec![text(&conventional)];
        }
        let base = self.base.clone();
        if let Some(paths) = self.listed(common, &base) {
            return paths;
        }
        let default = self
            .runtime(folder, own, common)
            .map(|path| path.join("components"));
        default
            .filter(|path| path.is_dir())
            .iter()
            .map(|path| text(path))
            .collect()
    }

    /// The Configuration of the sidecar, looked for in the same order.
    pub(super) fn configuration(
        &mut self,
        folder: &Path,
        own: &Section,
        common: &Section,
    ) -> Option<String> {
        const KEY: &str = "configFilePath";
        let base = self.base.clone();
        let conventional = folder.join(".dapr/config.yaml");
        let found = if let Some((node, path)) = named(own, KEY) {
            self.existing(node, KEY, &path, folder, Wants::File)
        } else if conventional.is_file() {
            Some(conventional)
        } else if let Some((node, path)) = named(common, KEY) {
            self.existing(node, KEY, &path, &base, Wants::File)
        } else {
            let default = self.runtime(folder, own, common);
            let default = default.map(|path| path.join("config.yaml"));
            default.filter(|path| path.is_file())
        };
        found.map(|path| text(&path))
    }

    /// `resourcesPaths` and `resourcesPath` of a section; nothing where it has neither.
    fn listed(&mut self, section: &Section, base: &Path) -> Option<Vec<String>> {
        let mut is_given = false;
        let mut paths = Vec::new();
        for key in ["resourcesPaths", "resourcesPath"] {
            let Some(node) = section.get(key) else {
                continue;
            };
            let items = match &node.value {
                Value::List(items) => items.iter().collect(),
                _ => vec![node],
            };
            for item in items {
                let Some(text) = item.letters() else {
                    let problem = format!("{key} must name folders, not {}", item.kind());
                    self.wrong(item.at, problem);
                    is_given = true;
                    continue;
                };
                // The documentation separates them by commas too.
                for path in text
                    .split(',')
                    .map(str::trim)
                    .filter(|path| !path.is_empty())
                {
                    is_given = true;
                    let found = self.existing(item, key, path, base, Wants::Folder);
                    paths.extend(found.map(|path| self::text(&path)));
                }
            }
        }
        is_given.then_some(paths)
    }

    /// Dapr's own folder: where `runtimePath`, the environment or the home folder says.
    fn runtime(&mut self, folder: &Path, own: &Section, common: &Section) -> Option<PathBuf> {
        const KEY: &str = "runtimePath";
        let base = self.base.clone();
        let place = if let Some((node, path)) = named(own, KEY) {
            self.existing(node, KEY, &path, folder, Wants::Folder)
        } else if let Some((node, path)) = named(common, KEY) {
            self.existing(node, KEY, &path, &base, Wants::Folder)
        } else {
            let env = |name| Env::Process.non_empty(name).map(PathBuf::from);
            env("DAPR_RUNTIME_PATH").or_else(|| env("HOME"))
        };
        place.map(|place| place.join(".dapr"))
    }

    /// An absolute path to something that there is.
    fn existing(
        &mut self,
        node: &Node,
        key: &str,
        path: &str,
        base: &Path,
        wants: Wants,
    ) -> Option<PathBuf> {
        let path = match (path.strip_prefix("~/"), Env::Process.non_empty("HOME")) {
            (Some(rest), Some(home)) => Path::new(&home).join(rest),
            _ => base.join(path),
        };
        let path = PathBuf::from(clean_path(&path.to_string_lossy()));
        let problem = match (path.metadata(), wants) {
            (Err(error), _) => format!("{}: {error}", path.display()),
            (Ok(found), Wants::Folder) if !found.is_dir() => {
                format!("{} is no folder", path.display())
            }
            (Ok(found), Wants::File) if found.is_dir() => {
                format!("{} is a folder, and no file", path.display())
            }
            _ => return Some(path),
        };
        let hint = match key {
            "appDirPath" => "it is relative to this file",
            _ if base == self.base => "in common it is relative to this file",
            _ => "it is relative to the appDirPath of its app",
        };
        self.wrong(node.at, format!("{key}: {problem}")).hint = Some(hint.into());
        None
    }
}

/// A path that a section names.
fn named<'a>(section: &Section<'a>, key: &str) -> Option<(&'a Node, String)> {
    let node = section.get(key)?;
    let path = node.letters().filter(|path| !path.trim().is_empty())?;
    Some((node, path))
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
