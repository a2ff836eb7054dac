//! A run file of Dapr's CLI (`dapr.yaml`): read and checked as a whole before anything is started.

mod app;
mod keys;
mod paths;
mod section;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use self::keys::{Does, TOP, Takes};
use self::section::Section;
use super::logs::Destination;
use crate::resources::yaml::{self, Node, Value};
use crate::resources::{Finding, nearest};

/// What Dapr's CLI calls it where a folder is given.
const NAME: &str = "dapr.yaml";

/// What is to be run.
#[derive(Debug)]
pub(super) struct RunFile {
    pub(super) apps: Vec<AppToRun>,
    /// What in it has no effect.
    pub(super) warnings: Vec<Finding>,
}

/// One app with its sidecar.
#[derive(Debug)]
pub(super) struct AppToRun {
    pub(super) id: String,
    /// Where both run.
    pub(super) folder: PathBuf,
    pub(super) command: Vec<String>,
    /// The variables of the app.
    pub(super) env: BTreeMap<String, String>,
    /// The sidecar's flags, without dashes.
    pub(super) flags: Vec<(&'static str, String)>,
    /// The ports that the file names, with their keys.
    pub(super) ports: Vec<(&'static str, String)>,
    pub(super) app_log: Destination,
    pub(super) sidecar_log: Destination,
}

impl AppToRun {
    /// The value of a flag.
    pub(super) fn flag(&self, name: &str) -> Option<&str> {
        let mut flags = self.flags.iter();
        let found = flags.find(|(flag, _)| *flag == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// Why nothing can be run.
#[derive(Debug)]
pub(super) struct Mistakes {
    pub(super) found: Vec<Finding>,
    /// The exit code.
    pub(super) code: u8,
}

/// Reads the file at a path, or the one in a folder.
///
/// # Errors
/// All that is wrong in it.
pub(super) fn read(path: &Path) -> Result<RunFile, Mistakes> {
    let fail = |path: &Path, problem: &str, hint: &str| Mistakes {
        found: vec![Finding::in_file(&Arc::from(path), problem).hint(hint)],
        code: 2,
    };
    if path == Path::new("-") {
        return Err(fail(
            Path::new("<stdin>"),
            "a run file cannot come from standard input",
            "its paths are relative to its folder: name the file, or a folder that holds dapr.yaml",
        ));
    }
    let file = if path.is_dir() {
        path.join(NAME)
    } else {
        path.to_owned()
    };
    let text = read_text(&file).map_err(|error| {
        let hint = "-f takes a run file, or a folder that holds one by the name dapr.yaml";
        fail(&file, &format!("it cannot be read: {error}"), hint)
    })?;
    let base = std::path::absolute(&file).map_err(|error| fail(&file, &error.to_string(), ""))?;
    let mut reader = Reader {
        file: Arc::from(file),
        base: base.parent().map(Path::to_owned).unwrap_or_default(),
        errors: Vec::new(),
        warnings: Vec::new(),
    };
    let apps = reader.file(&text);
    if reader.errors.is_empty() {
        Ok(RunFile {
            apps,
            warnings: reader.warnings,
        })
    } else {
        reader.errors.sort_by_key(|finding| finding.at);
        // What is wrong in common is wrong for each app.
        reader.errors.dedup();
        Err(Mistakes {
            found: reader.errors,
            code: 1,
        })
    }
}

/// No more of a file than can be one; what is larger is refused by the reader of YAML.
fn read_text(file: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    let most = u64::try_from(yaml::MAX_BYTES + 1).unwrap_or(u64::MAX);
    std::fs::File::open(file)?
        .take(most)
        .read_to_string(&mut text)?;
    Ok(text)
}

struct Reader {
    file: Arc<Path>,
    /// The folder that paths of the file are relative to.
    base: PathBuf,
    errors: Vec<Finding>,
    warnings: Vec<Finding>,
}

impl Reader {
    fn wrong(&mut self, at: yaml::Position, problem: impl std::fmt::Display) -> &mut Finding {
        let finding = Finding::in_file(&self.file, problem).at(at);
        self.errors.push(finding);
        self.errors.last_mut().expect("it was just pushed")
    }

    fn file(&mut self, text: &str) -> Vec<AppToRun> {
        let mut documents = yaml::documents(text).into_iter();
        let start = yaml::Position { line: 1, column: 1 };
        let Some(document) = documents.next() else {
            self.wrong(start, "the file is empty");
            return Vec::new();
        };
        if let Some(second) = documents.next() {
            let at = yaml::Position {
                line: second.line,
                column: 1,
            };
            self.wrong(at, "a run file is one document, and this is a second one");
        }
        match yaml::parse(&document) {
            Ok(node) => self.document(&node),
            Err(error) => {
                self.wrong(error.at, &error.problem).hint = Some(error.hint().into());
                Vec::new()
            }
        }
    }

    fn document(&mut self, node: &Node) -> Vec<AppToRun> {
        let Value::Map(entries) = &node.value else {
            self.wrong(node.at, format!("a run file is a map, not {}", node.kind()));
            return Vec::new();
        };
        for (named, _) in entries {
            if !TOP.contains(&&*named.name) {
                let hint = match nearest(&named.name, TOP) {
                    Some(name) => format!("did you mean \"{name}\"?"),
                    None if keys::key(&named.name, true).is_some() => {
                        "write it under common, or under an app".to_owned()
                    }
                    None => format!("there are {}", TOP.join(", ")),
                };
                let problem = format!("there is no key {:?} in a run file", named.name);
                self.wrong(named.at, problem).hint = Some(hint.into());
            }
        }
        let find = |name: &str| entries.iter().find(|(named, _)| named.name == name);
        match find("version").map(|(_, version)| (version.at, version.scalar())) {
            Some((_, Some(version))) if version == "1" => {}
            Some((at, version)) => {
                let version = version.unwrap_or_default();
                self.wrong(at, format!("version {version:?} of run files is not known"))
                    .hint = Some("write version: 1".into());
            }
            None => {
                let hint = "write version: 1 at its beginning";
                self.wrong(node.at, "it has no version").hint = Some(hint.into());
            }
        }
        let common = match find("common") {
            Some((_, common)) => self.section(common, true),
            None => Section::default(),
        };
        let list = find("apps").map(|(named, apps)| (named.at, apps.items()));
        let apps = match list {
            Some((_, Some(apps))) if !apps.is_empty() => apps,
            Some((at, Some(_))) => {
                self.wrong(at, "there are no apps to run");
                return Vec::new();
            }
            Some((at, None)) => {
                self.wrong(at, "apps must be a list: begin each app with a dash");
                return Vec::new();
            }
            None => {
                self.wrong(node.at, "it has no apps to run");
                return Vec::new();
            }
        };
        self.ports_are_different(apps);
        let mut read: Vec<AppToRun> = Vec::new();
        for node in apps {
            let section = self.section(node, false);
            let Some(app) = self.app(node, &section, &common) else {
                continue;
            };
            if read.iter().any(|other| other.id == app.id) {
                let at = section.get("appID").map_or(node.at, |node| node.at);
                self.wrong(at, format!("there are two apps with the id {:?}", app.id))
                    .hint = Some("give each an appID of its own".into());
            }
            read.push(app);
        }
        read
    }

    /// The keys of a section that there are, with their values.
    fn section<'a>(&mut self, node: &'a Node, common: bool) -> Section<'a> {
        let entries = match &node.value {
            Value::Map(entries) => entries,
            Value::Null if common => return Section::default(),
            _ => {
                let what = if common { "common" } else { "an app" };
                self.wrong(node.at, format!("{what} is a map, not {}", node.kind()));
                return Section::default();
            }
        };
        let mut section = Section::default();
        for (named, value) in entries {
            let Some(key) = keys::key(&named.name, common) else {
                let place = if common { "in common" } else { "of an app" };
                let problem = format!("there is no key {:?} {place}", named.name);
                let hint = keys::hint(&named.name, common);
                self.wrong(named.at, problem).hint = Some(hint.into());
                continue;
            };
            if value.value == Value::Null {
                continue;
            }
            let problem = match key.does {
                Does::Nothing(why) => Some(format!("{} has no effect: {why}", key.name)),
                Does::Partly(what) => Some(format!("{}: {what}", key.name)),
                Does::Flag(_) | Does::Ours => None,
            };
            // What is switched off is not missed.
            let problem = problem.filter(|_| value.value != Value::Bool(false));
            let warning = problem.map(|problem| Finding::in_file(&self.file, problem).at(named.at));
            self.warnings.extend(warning);
            section.insert(key.name, value);
        }
        section
    }

    /// No two listeners of sidecars may have one; where apps listen is their own matter.
    fn ports_are_different(&mut self, apps: &[Node]) {
        let mut seen: HashMap<String, yaml::Position> = HashMap::new();
        for app in apps {
            let Value::Map(entries) = &app.value else {
                continue;
            };
            for (named, value) in entries {
                let Some(text) = value.letters() else {
                    continue;
                };
                let key = keys::key(&named.name, false);
                let is_port = key.is_some_and(|key| {
                    let listens = matches!(key.does, Does::Flag(flag) if flag != "app-port");
                    matches!(key.takes, Takes::Port) && listens
                });
                let first = if is_port && text.parse::<i64>().is_ok_and(|port| port > 0) {
                    seen.insert(text.clone(), value.at)
                } else {
                    None
                };
                if let Some(first) = first {
                    let problem = format!("port {text} is taken already, in line {}", first.line);
                    self.wrong(value.at, problem);
                }
            }
        }
    }
}
