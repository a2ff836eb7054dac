//! Run files, from their text to what is started.

use super::keys::KEYS;
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
