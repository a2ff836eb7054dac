//! Resources: what becomes of YAML files (runtime §3.1–3.4, §5, DESIGN "Supervision"), by the
//! loader itself, and what a person sees of its errors.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bindery::catalogue::Catalogue;
use bindery::resources::{Configuration, Env, LoadError, Resources, Sources, Surroundings};
use bindery_contract::{Order, Role};

use crate::support::{Running, free_port};

/// A folder of files, and an environment.
struct Case {
    folder: tempfile::TempDir,
    env: HashMap<String, String>,
}

impl Case {
    fn of(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        Self {
            folder,
            env: HashMap::new(),
        }
    }

    fn one(text: &str) -> Self {
        Self::of(&[("c.yaml", text)])
    }

    fn env(mut self, name: &str, value: &str) -> Self {
        self.env.insert(name.into(), value.into());
        self
    }

    fn load(&self) -> Result<Resources, LoadError> {
        let surroundings = Surroundings::new("orders", Env::Fixed(Arc::new(self.env.clone())));
        let sources = Sources {
            folders: vec![self.folder.path().to_owned()],
            code: Vec::new(),
            catalogue: Catalogue::default(),
            surroundings,
        };
        sources.load(&Configuration::default())
    }

    fn names(&self) -> Vec<String> {
        let loaded = self.load().map_err(|error| error.to_string()).unwrap();
        loaded
            .components
            .iter()
            .map(|component| component.name.to_string())
            .collect()
    }

    /// The errors, with the folder left out of their paths.
    fn errors(&self) -> String {
        let folder = format!("{}/", self.folder.path().display());
        match self.load() {
            Ok(_) => panic!("it was loaded"),
            Err(error) => error.to_string().replace(&folder, ""),
        }
    }

    /// The root path of the one component, as its settings resolve.
    fn root_path(&self) -> String {
        let loaded = self.load().map_err(|error| error.to_string()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let properties = runtime
            .block_on(loaded.components[0].settings.resolve())
            .unwrap();
        properties.get("rootPath").unwrap().to_owned()
    }
}

/// A component that stores files, `more` after its metadata.
fn files(name: &str, root: &str, more: &str) -> String {
    format!(
        "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata:\n  name: {name}\nspec:\n  \
         type: bindings.localstorage\n  version: v1\n  metadata:\n  - name: rootPath\n    \
         {root}\n{more}"
    )
}

#[test]
fn yaml_files_are_read_in_the_order_of_their_names_and_hold_several_documents() {
    let doc = |name: &str| files(name, "value: /tmp/x", "");
    let case = Case::of(&[
        ("b.YML", &doc("third")),
        (
            "a.yaml",
            &format!("---\n{}--- # next\n{}---\n", doc("first"), doc("second")),
        ),
        (".hidden.yaml", &doc("hidden")),
        ("notes.txt", "no component"),
        (
            "other.yaml",
            "kind: Subscription\napiVersion: dapr.io/v1alpha1\nmetadata:\n  name: s\n",
        ),
        ("version.yaml", &doc("x").replace("v1alpha1", "v2alpha1")),
    ]);
    assert_eq!(case.names(), ["hidden", "first", "second", "third"]);
}

#[test]
fn keys_are_lenient_and_scalars_are_coerced() {
    let case = Case::one(
        "apiVersion: dapr.io/v1alpha1\nkind: Component\nMetadata:\n  NAME: 123\nspec:\n  \
         Type: bindings.LocalStorage\n  VERSION: V1\n  unknown: [1]\n  metadata:\n  - Name: rootPath\n    \
         Value: 7\n",
    );
    let loaded = case.load().map_err(|error| error.to_string()).unwrap();
    let component = &loaded.components[0];
    assert_eq!(
        (&*component.name, component.version.as_str()),
        ("123", "V1")
    );
    assert_eq!(component.display(), "123 (bindings.LocalStorage/V1)");
    assert_eq!(case.root_path(), "7");
}

#[test]
fn a_value_of_any_kind_becomes_its_json_text() {
    for (value, text) in [
        ("value: true", "true"),
        ("value: yes", "true"),
        ("value: \"yes\"", "yes"),
        ("value: 1.50", "1.5"),
        ("value: 1e3", "1000"),
        ("value: {b: [1, x], a: null}", r#"{"a":null,"b":[1,"x"]}"#),
        ("value: [a, b]", r#"["a","b"]"#),
        ("value: |\n      two\n      lines", "two\nlines\n"),
        ("value: \"\\\"quoted\\\"\"", "\"quoted\""),
    ] {
        assert_eq!(
            Case::one(&files("f", value, "")).root_path(),
            text,
            "{value}"
        );
    }
}

#[test]
fn a_component_is_for_the_apps_and_the_namespace_it_names() {
    let scoped =
        |name: &str, scope: &str| files(name, "value: x", &format!("scopes:\n- {scope}\n"));
    let case = Case::one(&format!(
        "{}---\n{}",
        scoped("ours", "orders"),
        scoped("theirs", "other")
    ));
    assert_eq!(case.names(), ["ours"]);
    let spaced =
        files("n", "value: x", "").replace("  name: n\n", "  name: n\n  namespace: prod\n");
    assert_eq!(
        Case::one(&spaced).names(),
        ["n"],
        "without NAMESPACE any namespace counts"
    );
    assert_eq!(Case::one(&spaced).env("NAMESPACE", "prod").names(), ["n"]);
    assert!(
        Case::one(&spaced)
            .env("NAMESPACE", "test")
            .names()
            .is_empty()
    );
}

#[test]
fn two_of_one_name_are_an_error_unless_the_first_is_not_for_this_app() {
    let doc = |more: &str| files("twice", "value: x", more);
    let theirs = "scopes: [other]\n";
    let case = Case::one(&format!("{}---\n{}", doc(theirs), doc("")));
    assert_eq!(case.names(), ["twice"]);
    let case = Case::one(&format!("{}---\n{}", doc(""), doc(theirs)));
    let errors = case.errors();
    assert!(
        errors.contains(
            "c.yaml:15:9: component \"twice\": duplicate definition of Component name twice with \
             existing twice (bindings.localstorage/v1) in c.yaml:4"
        ),
        "{errors}"
    );
}

#[test]
fn direction_chooses_the_sides_and_a_typo_chooses_none() {
    let cron = |direction: &str| {
        let case = Case::one(&format!(
            "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata:\n  name: c\nspec:\n  type: \
             bindings.cron\n  metadata:\n  - name: schedule\n    value: \"@daily\"\n{direction}"
        ));
        let loaded = case.load().map_err(|error| error.to_string()).unwrap();
        (
            loaded.components[0].roles.clone(),
            loaded.components[0].subscribed,
        )
    };
    let direction = |value: &str| format!("  - name: DIRECTION\n    value: {value}\n");
    assert_eq!(cron(""), (vec![Role::Input], false));
    assert_eq!(
        cron(&direction("\" Output , INPUT\"")),
        (vec![Role::Input], true)
    );
    assert_eq!(cron(&direction("output")), (vec![], false));
    assert_eq!(cron(&direction("aaa")), (vec![], false));
}

#[test]
fn templates_are_filled_in() {
    let root = |value: &str| {
        let case =
            Case::one(&files("f", &format!("value: \"{value}\""), "")).env("NAMESPACE", "prod");
        case.root_path()
    };
    assert_eq!(root("/x/{appID}/{namespace}"), "/x/orders/prod.orders");
    let uuids = root("{uuid}/{uuid}");
    let (first, second) = uuids.split_once('/').unwrap();
    assert_ne!(first, second);
    assert_eq!((first.len(), second.len()), (36, 36));
    let case = Case::one(&files("f", "value: \"{podName}\"", ""));
    assert!(case.errors().contains(
        "failed to parse metadata: property rootPath refers to {podName} but podName is not set"
    ));
    assert_eq!(case.env("POD_NAME", "pod-1").root_path(), "pod-1");
}

#[test]
fn env_ref_reads_the_environment_but_for_what_is_the_sidecars_own() {
    let case = |name: &str| Case::one(&files("f", &format!("envRef: {name}"), ""));
    assert_eq!(case("ROOT").env("ROOT", "/data").root_path(), "/data");
    assert_eq!(
        case("ROOT").env("ROOT", "\"/quoted\"").root_path(),
        "/quoted"
    );
    let errors = case("ROOT").errors();
    assert_eq!(
        errors,
        "failed to load components: c.yaml:10:13: component \"f\": setting \"rootPath\": the \
         environment variable \"ROOT\" is not set; set it, if only to nothing"
    );
    for name in ["APP_API_TOKEN", "dapr_api_token", "\"A B\""] {
        let bare = name.trim_matches('"');
        let errors = case(name).env(bare, "x").errors();
        assert!(errors.contains("is not allowed in a component"), "{errors}");
    }
    let listed = case("ROOT")
        .env("ROOT", "/data")
        .env("DAPR_ENV_KEYS", "OTHER ROOT");
    assert_eq!(listed.root_path(), "/data");
    let unlisted = case("ROOT")
        .env("ROOT", "/data")
        .env("DAPR_ENV_KEYS", "OTHER");
    assert!(unlisted.errors().contains("is not allowed in a component"));
}

const ENV_STORE: &str = "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata:\n  name: env\n\
                         spec:\n  type: secretstores.local.env\n  version: v1\n  metadata:\n  - \
                         name: prefix\n    value: MY_\n---\n";

fn secret(store: &str, name: &str, key: &str) -> String {
    let reference = format!("secretKeyRef: {{name: {name}, key: {key}}}");
    files("f", &reference, &format!("auth:\n  secretStore: {store}\n"))
}

#[test]
fn a_secret_comes_from_the_environment() {
    // The store may be defined after its user: stores are loaded first.
    let text = format!("{}---\n{ENV_STORE}", secret("env", "ROOT", "ROOT"));
    let case = Case::one(&text).env("MY_ROOT", "/secret");
    assert_eq!(case.root_path(), "/secret");
    let errors = Case::one(&text).errors();
    assert!(
        errors.contains(
            "c.yaml:10:19: component \"f\": setting \"rootPath\": secret MY_ROOT not found"
        ),
        "{errors}"
    );
    let text = format!("{ENV_STORE}{}", secret("env", "X", "\"\"")).replace("MY_", "DAPR_");
    let errors = Case::one(&text).env("DAPR_X", "x").errors();
    assert!(
        errors.contains("access to env var DAPR_X is forbidden"),
        "{errors}"
    );
}

fn file_store(path: &Path, more: &str) -> String {
    format!(
        "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata:\n  name: file\nspec:\n  type: \
         secretstores.local.file\n  version: v1\n  metadata:\n  - name: secretsFile\n    value: \
         {}\n{more}---\n",
        path.display()
    )
}

#[test]
fn a_secret_comes_from_a_file_flat_nested_or_with_several_values() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secrets.json");
    let secrets =
        r#"{"flat": "/flat", "db": {"user": "u", "path": "/nested"}, "list": ["/first"], "n": 7}"#;
    std::fs::write(&path, secrets).unwrap();
    let root = |store: &str, name: &str, key: &str| {
        Case::one(&format!("{store}{}", secret("file", name, key))).root_path()
    };
    let flat = file_store(&path, "");
    assert_eq!(root(&flat, "flat", "flat"), "/flat");
    assert_eq!(root(&flat, "\"db:path\"", "\"db:path\""), "/nested");
    assert_eq!(
        root(&flat, "\"list:0\"", "\"\""),
        "/first",
        "no key: the secret's own name"
    );
    assert_eq!(root(&flat, "n", "n"), "7");
    let dotted = file_store(&path, "  - name: nestedSeparator\n    value: \".\"\n");
    assert_eq!(root(&dotted, "db.path", "db.path"), "/nested");
    let multi = file_store(&path, "  - name: multiValued\n    value: true\n");
    assert_eq!(root(&multi, "db", "path"), "/nested");
    let missing = Case::one(&format!("{multi}{}", secret("file", "db", "port")));
    assert!(missing.errors().contains("secret db has no key \"port\""));
    let loaded = Case::one(&multi)
        .load()
        .map_err(|error| error.to_string())
        .unwrap();
    assert_eq!(
        loaded.listed[0].capabilities,
        ["MULTIPLE_KEY_VALUES_PER_SECRET"]
    );
}

#[test]
fn a_secret_that_cannot_be_resolved_is_an_error_and_never_an_empty_value() {
    let errors = |text: &str| Case::one(text).errors();
    let unknown = errors(&secret("vault", "x", "x"));
    assert!(
        unknown.contains("there is no secret store \"vault\"; none is loaded"),
        "{unknown}"
    );
    let no_store = errors(&files("f", "secretKeyRef: {name: x, key: x}", ""));
    assert!(
        no_store.contains("add auth.secretStore to the component"),
        "{no_store}"
    );
    let unsupported = format!(
        "{}{}",
        ENV_STORE
            .replace("local.env", "azure.keyvault")
            .replace("name: env", "name: vault"),
        secret("vault", "x", "x")
    );
    let unsupported = errors(&unsupported);
    assert!(
        unsupported.contains("secretstores.azure.keyvault, which is not supported"),
        "{unsupported}"
    );
    let no_file = errors(&file_store(Path::new("/nowhere/secrets.json"), ""));
    assert!(
        no_file.contains("secrets file /nowhere/secrets.json: No such file"),
        "{no_file}"
    );
}

#[test]
fn what_is_ignored_when_it_fails_does_not_end_the_start() {
    let broken = files("broken", "value: /proc/x", "  ignoreErrors: true\n");
    let case = Case::one(&format!("{broken}---\n{}", files("well", "value: x", "")));
    assert_eq!(case.names(), ["well"]);
    let errors = Case::one(&files("broken", "value: /proc/x", "")).errors();
    assert!(
        errors.contains("component \"broken\": setting \"rootPath\""),
        "{errors}"
    );
}

#[test]
fn an_init_timeout_is_a_duration_or_five_seconds() {
    let timeout = |text: &str| {
        let case = Case::one(&files("f", "value: x", &format!("  initTimeout: {text}\n")));
        case.load()
            .map_err(|error| error.to_string())
            .unwrap()
            .components[0]
            .init_timeout
    };
    assert_eq!(timeout("250ms"), Duration::from_millis(250));
    assert_eq!(timeout("soon"), Duration::from_secs(5));
    assert_eq!(timeout("-1s"), Duration::from_secs(5));
}

#[test]
fn delivery_is_configured_in_the_spec_or_by_annotations() {
    let loaded = |text: &str| {
        Case::one(text)
            .load()
            .map_err(|error| error.to_string())
            .unwrap()
            .components[0]
            .delivery
            .clone()
    };
    let spec = files(
        "f",
        "value: x",
        "  delivery: {maxInFlight: 8, maxAttempts: 3, order: key, reply: off, replyFailure: nack}\n",
    );
    let delivery = loaded(&spec);
    assert_eq!(
        (
            delivery.max_in_flight,
            delivery.max_attempts,
            delivery.order
        ),
        (8, 3, Order::Key)
    );
    assert!(!delivery.reply && delivery.reply_failure_nacks);
    let annotated = files("f", "value: x", "").replace(
        "  name: f\n",
        "  name: f\n  annotations:\n    bindery.io/max-in-flight: \"9\"\n    bindery.io/order: none\n",
    );
    let delivery = loaded(&annotated);
    assert_eq!((delivery.max_in_flight, delivery.order), (9, Order::None));
    let wrong = files(
        "f",
        "value: x",
        "  delivery:\n    maxInFlight: 0\n    ordre: key\n",
    );
    let errors = Case::one(&wrong).errors();
    assert!(errors.contains("c.yaml:12:18: component \"f\": setting \"delivery.maxInFlight\": \"0\" is not a whole number from 1 to 65536"), "{errors}");
    assert!(
        errors.contains("setting \"delivery.ordre\": is not known"),
        "{errors}"
    );
}

#[test]
fn an_error_names_file_line_component_and_key_and_all_are_told_at_once() {
    let case = Case::of(&[
        ("1.yaml", "a: [1,\nb: 2\n"),
        (
            "2.yaml",
            &files("typo", "value: x", "").replace("localstorage", "localstorge"),
        ),
        (
            "3.yaml",
            &files("version", "value: x", "").replace("version: v1", "version: v2"),
        ),
        (
            "4.yaml",
            &files("later", "value: x", "").replace("localstorage", "rabbitmq"),
        ),
        (
            "5.yaml",
            "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {}\nspec: {}\n",
        ),
        ("6.yaml", &files("a/b", "value: x", "")),
        (
            "7.yaml",
            &files("nothing", "value: x", "").replace("rootPath", "rotPath"),
        ),
        (
            "8.yaml",
            "\u{feff}apiVersion: dapr.io/v1alpha1\r\nkind: Component\r\nmetadata:\r\n  name: crlf\r\nspec:\r\n  type: bindings.localstorage\r\n  metadata: 7\r\n",
        ),
    ]);
    let errors = case.errors();
    for line in [
        "1.yaml:2:1: invalid indentation in flow construct; close the bracket",
        "2.yaml:6:9: component \"typo\": couldn't find binding typo (bindings.localstorge/v1): there is no such type; did you mean bindings.localstorage?",
        "3.yaml:6:9: component \"version\": couldn't find binding version (bindings.localstorage/v2): there is no version v2; write v1",
        "4.yaml:6:9: component \"later\": couldn't find binding later (bindings.rabbitmq/v1): Dapr has this type, this version of Bindery does not",
        "5.yaml:3:11: the component has no metadata.name",
        "6.yaml:4:9: \"a/b\" cannot be a name; a name must not contain / or %",
        "7.yaml:6:9: component \"nothing\": setting \"rootPath\": is required and missing; did you mean it by \"rotPath\"?",
        "8.yaml:7:13: component \"crlf\": spec.metadata must be a list, not a number",
    ] {
        assert!(errors.contains(line), "{line:?} in:\n{errors}");
    }
}

#[test]
fn a_person_sees_all_of_it_and_nothing_is_half_started() {
    let case = Case::one(&files("f", "value: x", "").replace("localstorage", "localstorge"));
    let port = free_port();
    let mut bindery = {
        let mut command = std::process::Command::new(crate::support::binary());
        command
            .args(["--app-id", "x", "--dapr-http-port", &port.to_string()])
            .arg("--resources-path")
            .arg(case.folder.path());
        Running::start(command, port, 0)
    };
    assert_eq!(bindery.wait(), Some(1));
    let log = bindery.log();
    let last = log.lines().last().unwrap();
    assert!(
        last.contains("level=fatal msg=\"Fatal error from runtime: failed to load components: "),
        "{last}"
    );
    assert!(last.contains("c.yaml:6:9: component"), "{last}");
    assert!(!log.contains("HTTP server is running"), "{log}");
}

#[test]
fn other_building_blocks_are_left_out_with_a_warning() {
    let state = files("state", "value: x", "").replace("bindings.localstorage", "state.redis");
    let case = Case::one(&format!("{state}---\n{}", files("f", "value: x", "")));
    assert_eq!(case.names(), ["f"]);
    let bindery = Running::sidecar(case.folder.path(), &[]);
    bindery.wait_until_ready();
    bindery.wait_for_log(
        "component state (state.redis/v1) is of a type that is not supported and is left out",
    );
}
