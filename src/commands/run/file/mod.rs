//! A run file of Dapr's CLI (`dapr.yaml`): read and checked as a whole before anything is started.

mod keys;
mod paths;
mod section;

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, FromArgMatches};

use self::keys::{Does, KEYS, TOP, Takes};
use self::section::{Section, in_words};
use super::logs::Destination;
use crate::commands::flags::SidecarFlags;
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

    fn app(&mut self, node: &Node, own: &Section, common: &Section) -> Option<AppToRun> {
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
    fn value(&mut self, key: &keys::Key, node: &Node) -> Option<String> {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder with a run file and folders.
    fn folder(run_file: &str, folders: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for path in folders {
            std::fs::create_dir_all(folder.path().join(path)).unwrap();
        }
        std::fs::write(folder.path().join(NAME), run_file).unwrap();
        folder
    }

    fn flags(app: &AppToRun, flag: &str) -> Vec<String> {
        let flags = app.flags.iter().filter(|(name, _)| *name == flag);
        flags.map(|(_, value)| value.clone()).collect()
    }

    #[test]
    fn every_documented_key_comes_to_a_flag_or_a_warning() {
        let mut text = String::from("version: 1\napps:\n- appDirPath: .\n");
        for key in KEYS {
            let value = match key.takes {
                Takes::OneOf(names) => names[0],
                Takes::Text => "1",
                // Each its own.
                Takes::Port => &format!("{}", 20_000 + text.len()),
                Takes::Number => "600",
                Takes::Switch => "true",
                Takes::Else => continue,
            };
            if !["appDirPath", "configFilePath", "runtimePath"].contains(&key.name) {
                text.push_str(&format!("  {}: {value}\n", key.name));
            }
        }
        let folder = folder(&text, &[]);
        let read = read(folder.path()).unwrap();
        let app = &read.apps[0];
        for key in KEYS {
            match key.does {
                Does::Flag(flag) => assert!(app.flag(flag).is_some(), "{}", key.name),
                Does::Nothing(_) => {
                    let of_key = |warning: &Finding| warning.problem.starts_with(key.name);
                    assert!(read.warnings.iter().any(of_key), "{}", key.name);
                }
                Does::Ours | Does::Partly(_) => {}
            }
        }
        assert_eq!(app.id, "1");
    }

    #[test]
    fn what_an_app_says_comes_before_what_common_says() {
        let text = "
version: 1
common:
  appProtocol: GRPC
  logLevel: debug
  daprdLogDestination: console
  env: {A: common, B: common}
apps:
- appDirPath: one
  appProtocol: http
  appPort: -1
  env: [A: one, C: ~]
- {appDirPath: ./two/, appID: second, appLogDestination: console}
";
        let folder = folder(text, &["one", "two"]);
        let apps = read(&folder.path().join(NAME)).unwrap().apps;
        let [one, two] = apps.as_slice() else {
            panic!("{apps:?}")
        };
        assert_eq!((one.id.as_str(), two.id.as_str()), ("one", "second"));
        assert_eq!(one.flag("app-protocol"), Some("http"));
        assert_eq!(two.flag("app-protocol"), Some("grpc"));
        assert_eq!(one.flag("app-port"), None, "-1 is none");
        assert_eq!(one.flag("log-level"), Some("debug"));
        let env = |app: &AppToRun| serde_json::to_string(&app.env).unwrap();
        assert_eq!(env(one), r#"{"A":"one","B":"common","C":""}"#);
        assert_eq!(env(two), r#"{"A":"common","B":"common"}"#);
        assert_eq!(
            (one.sidecar_log, one.app_log, two.app_log),
            (
                Destination::Console,
                Destination::FileAndConsole,
                Destination::Console
            )
        );
    }

    #[test]
    fn resources_and_configuration_are_looked_for_in_the_order_of_the_documentation() {
        let text = "
version: 1
common: {resourcesPaths: [shared], resourcesPath: more, configFilePath: shared.yaml, runtimePath: .}
apps:
- {appDirPath: own, resourcesPaths: \"a, b\", configFilePath: ../own.yaml}
- {appDirPath: conventional}
- {appDirPath: plain}
";
        let folders = [
            "shared",
            "more",
            "own/a",
            "own/b",
            "plain",
            ".dapr/components",
        ];
        let folder = folder(text, &folders);
        let at = |path: &str| folder.path().join(path);
        std::fs::create_dir_all(at("conventional/.dapr/resources")).unwrap();
        for file in [
            "shared.yaml",
            "own.yaml",
            "conventional/.dapr/config.yaml",
            ".dapr/config.yaml",
        ] {
            std::fs::write(at(file), "").unwrap();
        }
        let paths = |paths: &[&str]| -> Vec<String> {
            paths
                .iter()
                .map(|path| at(path).display().to_string())
                .collect()
        };
        let expect = |expected: [(&[&str], &[&str]); 3]| {
            let apps = read(folder.path()).unwrap().apps;
            for (app, (resources, config)) in apps.iter().zip(expected) {
                assert_eq!(flags(app, "resources-path"), paths(resources), "{}", app.id);
                assert_eq!(flags(app, "config"), paths(config), "{}", app.id);
            }
        };
        let own: (&[&str], &[&str]) = (&["own/a", "own/b"], &["own.yaml"]);
        let conventional: (&[&str], &[&str]) = (
            &["conventional/.dapr/resources"],
            &["conventional/.dapr/config.yaml"],
        );
        expect([own, conventional, (&["shared", "more"], &["shared.yaml"])]);
        let common = "common: {runtimePath: .}";
        let line = text
            .lines()
            .find(|line| line.starts_with("common"))
            .unwrap();
        std::fs::write(at(NAME), text.replace(line, common)).unwrap();
        expect([
            own,
            conventional,
            (&[".dapr/components"], &[".dapr/config.yaml"]),
        ]);
    }

    #[test]
    fn what_the_sidecar_would_refuse_is_a_mistake_of_the_file() {
        for (app, problem) in [
            ("appID: a.b", "parameter app-id cannot contain dots"),
            ("appID: a/b", "must not contain a slash"),
            ("maxBodySize: big", "--max-body-size"),
            (
                "metricsPort: 3500, daprHTTPPort: 3500",
                "port 3500 is taken already",
            ),
            ("env: {A: [1]}", "the variable A must be a text"),
            ("env: [A]", "env must be a map of variables"),
            ("env: {\"A=B\": 1}", "is no name for a variable"),
            ("command: [./none]", "there is no program ./none in"),
            ("resourcesPaths: {a: b}", "resourcesPaths must name folders"),
            ("configFilePath: .", "is a folder, and no file"),
            ("appDirPath: dapr.yaml", "is no folder"),
            ("appDirPath: /, appID: ''", "its folder has no name"),
        ] {
            let mut at = String::new();
            for (key, value) in [("appDirPath", "."), ("appID", "shop")] {
                if !app.contains(key) {
                    at.push_str(&format!("{key}: {value}, "));
                }
            }
            let folder = folder(&format!("version: 1\napps: [{{{at}{app}}}]\n"), &[]);
            let mistakes = read(folder.path()).unwrap_err();
            assert_eq!(mistakes.code, 1);
            let found = mistakes.found[0].to_string();
            assert!(
                found.contains(problem) && found.contains(":2:"),
                "{app}: {found}"
            );
        }
    }

    #[test]
    fn no_file_however_broken_does_more_than_be_refused() {
        let text = "version: 1\ncommon: {env: {A: 1}, logLevel: info}\napps:\n- appDirPath: .\n  \
                    appPort: 1\n  resourcesPaths: [., .]\n  command: [sh, -c, 'true']\n";
        let folder = folder(text, &[]);
        let odd = [
            "", "~", "[]", "{}", "*a", "&a", "- x", "\"\\0\"", "1e999", "\u{feff}", "\t", "!x y",
        ];
        let mut broken: Vec<String> = (0..text.len()).map(|end| text[..end].to_owned()).collect();
        for (at, _) in text.match_indices([' ', ':', '[', '{', '\n']) {
            let around = |odd: &&str| format!("{}{odd}{}", &text[..=at], &text[at + 1..]);
            let instead = |odd: &&str| {
                let rest = text[at + 1..].find(['\n', ',', ']', '}']);
                let rest = rest.map_or("", |length| &text[at + 1 + length..]);
                format!("{}{odd}{rest}", &text[..=at])
            };
            broken.extend(odd.iter().map(around));
            broken.extend(odd.iter().map(instead));
        }
        for text in broken {
            std::fs::write(folder.path().join(NAME), &text).unwrap();
            match read(folder.path()) {
                Ok(file) => assert!(!file.apps.is_empty(), "{text:?}"),
                Err(mistakes) => assert!(!mistakes.found.is_empty(), "{text:?}"),
            }
        }
    }

    #[test]
    fn a_file_without_apps_is_none() {
        for (text, problem) in [
            ("", "empty"),
            ("- 1", "a run file is a map"),
            ("apps: []", "it has no version"),
            (
                "version: 2\napps: []",
                "version \"2\" of run files is not known",
            ),
            ("version: 1", "it has no apps to run"),
            ("version: 1\napps:", "there are no apps to run"),
            ("version: 1\napps: {a: b}", "apps must be a list"),
            ("version: 1\napps: [a]", "an app is a map, not a text"),
            (
                "version: 1\ncommon: 1\napps: []",
                "common is a map, not a number",
            ),
            ("version: 1\n---\nversion: 1", "one document"),
            ("version: [1", "flow"),
        ] {
            let folder = folder(text, &[]);
            let found = read(folder.path()).unwrap_err().found;
            let all = found
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join("\n");
            assert!(all.contains(problem), "{text:?}: {all}");
        }
    }
}
