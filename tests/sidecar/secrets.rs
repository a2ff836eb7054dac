//! Secrets reach the systems that they are for, and nothing else that anybody can read: no line of
//! the log, no answer of an API, no finding, no panic message.
//!
//! Each secret goes to a server that keeps what it hears and turns the binding away. That it heard
//! the secret shows that the settings were used, and that the search for it finds something.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bindery::contract::settings::Secret;
use bindery::contract::{
    Binding, Invocation, InvokeError, OpenContext, OpenError, Opened, Operation, Output,
};
use bindery::grpc::proto::runtime::v1::dapr_client::DaprClient;
use bindery::grpc::proto::runtime::v1::{GetMetadataRequest, InvokeBindingRequest};
use bindery::telemetry::log::{LogConfig, LogLevel, install};
use bindery::{Component, Reply, Sidecar};
use tonic::transport::Endpoint;

use crate::servers::{Server, kafka, postgres, redis};
use crate::support::{App, Running, binary, free_port, wait_for};

const SOON: Duration = Duration::from_secs(20);

const REDIS: &str = "kept-by-redis-5a81";
const POSTGRES: &str = "kept-by-postgres-c20f";
const KAFKA: &str = "kept-by-kafka-77d3";
const TOKEN: &str = "kept-by-web-token-e94b";
const URL: &str = "kept-by-web-url-1b6e";
const HEADER: &str = "kept-by-web-header-80aa";
const UNUSED: &str = "kept-by-nobody-d15c";
const SECRETS: [&str; 7] = [REDIS, POSTGRES, KAFKA, TOKEN, URL, HEADER, UNUSED];

/// Where a text tells a secret: as it is, or somewhere in base64.
fn told(text: &[u8], secret: &str) -> bool {
    let contains = |part: &[u8]| text.windows(part.len()).any(|window| window == part);
    contains(secret.as_bytes())
        || (0..3).any(|shift| {
            let encoded = STANDARD.encode([&vec![b' '; shift], secret.as_bytes()].concat());
            // Without the characters that what stands before and behind has a part in.
            contains(&encoded.as_bytes()[4..encoded.len() - 4])
        })
}

#[track_caller]
fn tells_nothing(what: &str, text: &str) {
    for line in text.lines() {
        for secret in SECRETS {
            assert!(
                !told(line.as_bytes(), secret),
                "{what} tells {secret}: {line}"
            );
        }
    }
}

/// All systems that the components below name.
struct Systems {
    redis: Server,
    postgres: Server,
    kafka: Server,
    web: App,
    web_port: u16,
}

impl Systems {
    fn start() -> Self {
        let web_port = free_port();
        Self {
            redis: Server::start(redis),
            postgres: Server::start(postgres),
            kafka: Server::start(kafka),
            web: App::start(web_port, |_| (500, "no".into())),
            web_port,
        }
    }

    /// The bindings, each with its secret from somewhere else.
    fn components(&self, folder: &Path) -> String {
        let file = folder.join("secrets.json");
        std::fs::write(&file, format!(r#"{{"cache":{{"password":"{REDIS}"}}}}"#)).unwrap();
        format!(
            "{}{}{}{}{}{}",
            component(
                "file",
                "secretstores.local.file",
                &[("secretsFile", value(file.to_str().unwrap()))],
                ""
            ),
            component("env", "secretstores.local.env", &[], ""),
            component(
                "cache",
                "bindings.redis",
                &[
                    (
                        "redisHost",
                        value(&format!("127.0.0.1:{}", self.redis.port))
                    ),
                    ("redisPassword", secret("cache:password")),
                    ("sentinelPassword", value(UNUSED)),
                ],
                "file",
            ),
            component(
                "db",
                "bindings.postgresql",
                &[
                    ("connectionString", secret("DB")),
                    ("awsSecretKey", value(UNUSED))
                ],
                "env",
            ),
            component(
                "stream",
                "bindings.kafka",
                &[
                    ("brokers", value(&format!("127.0.0.1:{}", self.kafka.port))),
                    ("publishTopic", value("t")),
                    ("direction", value("output")),
                    ("authType", value("password")),
                    ("disableTls", value("true")),
                    ("saslUsername", value("app")),
                    ("saslPassword", value(KAFKA)),
                    ("clientKey", value(UNUSED)),
                ],
                "",
            ),
            component(
                "web",
                "bindings.http",
                &[
                    (
                        "url",
                        value(&format!("http://app:{URL}@127.0.0.1:{}/", self.web_port))
                    ),
                    ("securityToken", "envRef: WEB_TOKEN".into()),
                    ("securityTokenHeader", value("X-Token")),
                ],
                "",
            ),
        )
    }

    fn env(&self) -> [(&'static str, String); 2] {
        let port = self.postgres.port;
        let db = format!("host=127.0.0.1 port={port} user=app password={POSTGRES} sslmode=disable");
        [("DB", db), ("WEB_TOKEN", TOKEN.into())]
    }

    /// Whether every system has heard its secret.
    fn all_have_heard(&self) -> bool {
        let calls = self.web.seen_with("POST");
        let has = |name, secret: &str| {
            calls.iter().any(|call| {
                call.header(name)
                    .is_some_and(|value| told(value.as_bytes(), secret))
            })
        };
        told(&self.redis.heard(), REDIS)
            && told(&self.postgres.heard(), POSTGRES)
            && told(&self.kafka.heard(), KAFKA)
            && has("x-token", TOKEN)
            && has("authorization", URL)
            && has("x-key", HEADER)
    }
}

fn component(name: &str, kind: &str, settings: &[(&str, String)], store: &str) -> String {
    let mut yaml = format!(
        "---\napiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata:\n  name: {name}\nspec:\n  \
         type: {kind}\n  version: v1\n  metadata:\n"
    );
    for (key, source) in settings {
        yaml += &format!("  - name: {key}\n    {source}\n");
    }
    if !store.is_empty() {
        yaml += &format!("auth:\n  secretStore: {store}\n");
    }
    yaml
}

fn value(value: &str) -> String {
    format!("value: {value:?}")
}

fn secret(name: &str) -> String {
    format!("secretKeyRef:\n      name: {name:?}\n      key: {name:?}")
}

/// What a command prints, on both streams.
fn printed(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let streams = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&streams).into_owned()
}

/// What the APIs and the tools answer while every binding is turned away.
fn answers(bindery: &Running) -> String {
    const NAMES: [&str; 4] = ["cache", "db", "stream", "web"];
    let body = format!(
        r#"{{"operation":"create","data":"x","metadata":{{"path":"","key":"k","sql":"SELECT 1","X-Key":"{HEADER}"}}}}"#
    );
    let body = |name: &str| match name {
        "web" => body.replace("create", "post"),
        "db" => body.replace("create", "exec"),
        _ => body.clone(),
    };
    let mut said = std::thread::scope(|scope| {
        let calls =
            NAMES.map(|name| scope.spawn(move || (name, bindery.invoke(name, &body(name)))));
        calls
            .map(|call| {
                let (name, answer) = call.join().unwrap();
                assert_eq!(answer.status, 500, "{name}: {}", answer.text());
                format!("{:?}\n{}", answer.headers, answer.text())
            })
            .join("\n")
    });
    for path in ["/v1.0/metadata", "/v1.0-alpha1/bindings"] {
        let answer = bindery.get(path).text();
        assert!(
            NAMES.iter().all(|name| answer.contains(name)),
            "{path}: {answer}"
        );
        said += &answer;
    }
    let at = ["--dapr-http-port", &bindery.http_port.to_string()];
    said += &printed(Command::new(binary()).args(["status", "--once"]).args(at));
    said += &printed(
        Command::new(binary())
            .args(["invoke", "web", "post"])
            .args(at),
    );
    said + &over_grpc(bindery.grpc_port)
}

fn over_grpc(port: u16) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let channel = Endpoint::from_shared(format!("http://127.0.0.1:{port}")).unwrap();
        let mut client = DaprClient::new(channel.connect().await.unwrap());
        let metadata = client.get_metadata(GetMetadataRequest {}).await.unwrap();
        let call = InvokeBindingRequest {
            name: "web".into(),
            operation: "post".into(),
            ..InvokeBindingRequest::default()
        };
        let refused = client.invoke_binding(call).await.unwrap_err();
        format!("{metadata:?}\n{refused:?}")
    })
}

#[test]
fn bindings_that_are_turned_away_tell_no_secret() {
    std::thread::scope(|scope| {
        for json in ["false", "true"] {
            scope.spawn(move || {
                let folder = tempfile::tempdir().unwrap();
                let systems = Systems::start();
                let components = folder.path().join("components");
                std::fs::create_dir(&components).unwrap();
                std::fs::write(
                    components.join("all.yaml"),
                    systems.components(folder.path()),
                )
                .unwrap();
                let env = systems.env();
                let env = env.each_ref().map(|(name, value)| (*name, value.as_str()));
                let flags = ["--log-level", "debug", "--log-as-json", json];
                let mut bindery = Running::sidecar_with(&components, &flags, &env);
                wait_for("the sidecar", SOON, || {
                    bindery.log().contains("HTTP server is running")
                });
                let said = answers(&bindery);
                for why in [
                    "unknown command",
                    "password authentication failed",
                    "code 500",
                ] {
                    assert!(said.contains(why), "{why}: {said}");
                }
                tells_nothing("an answer", &said);
                wait_for("all secrets to be heard", SOON, || systems.all_have_heard());
                bindery.interrupt();
                let log = bindery.log();
                for name in ["cache", "db", "stream"] {
                    assert!(log.contains(name), "{name}: {log}");
                }
                tells_nothing("the log", &log);
            });
        }
    });
}

#[test]
fn findings_about_a_secret_do_not_show_it() {
    let pem = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----";
    let broken_key = |name: &str, certificate: &str, key: &str, more: &[(&str, &str)]| {
        let mut settings = vec![
            (certificate, value(pem)),
            (key, value(&format!("no PEM: {UNUSED}"))),
        ];
        settings.extend(more.iter().map(|(key, text)| (*key, value(text))));
        component(name, &format!("bindings.{name}"), &settings, "")
    };
    let redis = |setting: &str, source: String, store: &str| {
        let settings = [("redisHost", value("127.0.0.1:1")), (setting, source)];
        component("cache", "bindings.redis", &settings, store)
    };
    let kafka = [
        ("brokers", "127.0.0.1:1"),
        ("publishTopic", "t"),
        ("direction", "output"),
        ("authType", "mtls"),
    ];
    let env_store = component("env", "secretstores.local.env", &[], "");
    let unterminated = [("connectionString", value(&format!("password='{UNUSED}")))];
    let http = [("url", "http://127.0.0.1:1")];
    let flow = format!("- {{name: redisPasword, value: {UNUSED}}}");
    let cases = [
        (
            "clientKey",
            broken_key("kafka", "clientCert", "clientKey", &kafka),
        ),
        (
            "MTLSClientKey",
            broken_key("http", "MTLSClientCert", "MTLSClientKey", &http),
        ),
        (
            "has no end",
            component("db", "bindings.postgresql", &unterminated, ""),
        ),
        (
            "redisDB",
            env_store + &redis("redisDB", secret("PLANTED"), "env"),
        ),
        ("redisPasword", redis("redisPasword", value(UNUSED), "")),
        (
            "valeu",
            redis("redisPassword", format!("valeu: {UNUSED}"), ""),
        ),
        (
            "mapping values",
            redis("redisPassword", format!("value: {UNUSED}: x"), ""),
        ),
        (
            "tab",
            redis("redisPassword", format!("value: x\n\t{UNUSED}"), ""),
        ),
        (
            "quot",
            redis("redisPassword", format!("value: \"{UNUSED}"), ""),
        ),
        (
            "redisPasword",
            redis("x", "value: y".into(), "").replace("- name: x\n    value: y", &flow),
        ),
    ];
    for (about, yaml) in cases {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("c.yaml"), yaml).unwrap();
        for format in ["human", "json", "github"] {
            let mut check = Command::new(binary());
            check
                .args(["check", "--format", format])
                .arg(folder.path())
                .env("PLANTED", UNUSED);
            let said = printed(&mut check);
            assert!(said.contains(about), "{about}: {said}");
            tells_nothing(about, &said);
        }
    }
}

/// Panics over everything it knows.
struct Careless(CarelessSettings);

#[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
struct CarelessSettings {
    password: Secret,
    opens: bool,
}

impl Binding for Careless {
    const TYPE: &'static str = "bindings.careless";
    const SUMMARY: &'static str = "Panics.";
    const OPERATIONS: &'static [Operation] = &[Operation {
        name: "create",
        summary: "Panics.",
    }];
    type Settings = CarelessSettings;

    async fn open(settings: CarelessSettings, _: OpenContext) -> Result<Opened, OpenError> {
        assert_eq!(settings.password.expose(), UNUSED);
        assert!(settings.opens, "cannot open with {settings:?}");
        Ok(Opened::shared(Self(settings)))
    }
}

impl Output for Careless {
    async fn invoke(&self, call: Invocation) -> Result<Option<Reply>, InvokeError> {
        panic!("cannot do {call:?} with {:?}", self.0);
    }
}

#[tokio::test]
#[ignore = "what_panics_shows_no_secret runs it, in a process of its own"]
async fn a_host_whose_bindings_panic() {
    install(&LogConfig {
        level: LogLevel::Debug,
        ..LogConfig::default()
    })
    .unwrap();
    let careless = |name: &str, opens: &str| {
        let component = Component::new(name, Careless::TYPE);
        component.set("password", UNUSED).set("opens", opens)
    };
    let sidecar = Sidecar::builder("test")
        .binding::<Careless>()
        .component(careless("panics-when-called", "true"))
        .component(careless("panics-when-opened", "false"))
        .start()
        .await
        .unwrap();
    let metadata = [("key", HEADER)];
    for name in ["panics-when-called", "panics-when-opened"] {
        let refused = sidecar.invoke(name, "create", "x", metadata).await;
        println!("{:?}", refused.unwrap_err());
    }
    println!("{:?}", sidecar.status());
    sidecar.shutdown().await;
}

#[test]
fn what_panics_shows_no_secret() {
    let mut host = Command::new(std::env::current_exe().unwrap());
    host.args([
        "--ignored",
        "--exact",
        "--nocapture",
        "secrets::a_host_whose_bindings_panic",
    ]);
    let said = printed(&mut host);
    assert!(said.contains("test result: ok. 1 passed"), "{said}");
    for panic in [
        "cannot open with CarelessSettings { password: ***",
        "cannot do Invocation",
    ] {
        assert!(said.contains(panic), "{panic}: {said}");
    }
    tells_nothing("a panic", &said);
}
