//! Secrets of a Kubernetes cluster: for components and over the API, as Dapr's store of the name
//! gives them. The API server is one of the test's own, over TLS, with the real one's answers.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bindery::grpc::proto::runtime::v1::dapr_client::DaprClient;
use bindery::grpc::proto::runtime::v1::{GetBulkSecretRequest, GetSecretRequest};
use bindery_testkit::certs::Authority;
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use serde_json::{Value, json};
use tonic::transport::Endpoint;

use crate::grpc_app::{Listening, listen_http2, tls_as};
use crate::support::{Answer, App, POD, Running, free_port, request, resources};

const TOKEN: &str = "known-to-the-cluster-90f2";
const IN_A_POD: (&str, &str) = (POD, "127.0.0.1");

/// What a cluster has: namespace, Secret, key, value.
const SECRETS: &[(&str, &str, &str, &str)] = &[
    ("shop", "redis", "password", "hunter2"),
    ("shop", "redis", "user", "maria"),
    ("shop", "web.token", "token", "let me in"),
    ("other", "redis", "password", "another one"),
    ("closed", "redis", "password", "nobody may see it"),
];

/// An API server, and the file that names it.
struct Cluster {
    port: u16,
    authority: Authority,
    asked: Arc<Mutex<Vec<String>>>,
    _listening: Listening,
}

impl Cluster {
    fn start() -> Self {
        let (port, authority) = (free_port(), Authority::new());
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let note = Arc::clone(&asked);
        let service = service_fn(move |request: http::Request<Incoming>| {
            note.lock().unwrap().push(request.uri().path().to_owned());
            let (status, body) = answer(&request);
            let mut answer = http::Response::new(Full::<Bytes>::from(body.to_string()));
            *answer.status_mut() = http::StatusCode::from_u16(status).unwrap();
            async { Ok::<_, Infallible>(answer) }
        });
        let tls = tls_as(&authority.sign("kubernetes.default.svc"), "h2");
        Self {
            port,
            authority,
            asked,
            _listening: listen_http2(port, Some(tls), service),
        }
    }

    /// A kubeconfig by which a user with this token asks.
    fn kubeconfig(&self, folder: &Path, token: &str) -> PathBuf {
        let file = folder.join("kubeconfig");
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
            "clusters": [{"name": "test", "cluster": {
                "server": format!("https://127.0.0.1:{}", self.port),
                "certificate-authority-data": STANDARD.encode(self.authority.certificate()),
                "tls-server-name": "kubernetes.default.svc",
            }}],
            "users": [{"name": "test", "user": {"token": token}}],
        });
        std::fs::write(&file, config.to_string()).unwrap();
        file
    }
}

/// What an API server answers.
fn answer(request: &http::Request<Incoming>) -> (u16, Value) {
    let status = |code: u16, message: String| {
        let body = json!({
            "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code,
            "message": message,
        });
        (code, body)
    };
    let token = request.headers().get("authorization");
    if token.is_none_or(|token| token != &format!("Bearer {TOKEN}")) {
        return status(401, "Unauthorized".into());
    }
    let path: Vec<&str> = request.uri().path().split('/').skip(1).collect();
    let ["api", "v1", "namespaces", namespace, "secrets", name @ ..] = path.as_slice() else {
        return status(
            404,
            "the server could not find the requested resource".into(),
        );
    };
    if *namespace == "closed" {
        let verb = if name.is_empty() { "list" } else { "get" };
        return status(
            403,
            format!(
                "secrets is forbidden: User \"system:serviceaccount:shop:default\" cannot {verb} \
                 resource \"secrets\" in API group \"\" in the namespace \"closed\""
            ),
        );
    }
    let mut secrets: BTreeMap<&str, serde_json::Map<String, Value>> = BTreeMap::new();
    for (_, secret, key, value) in SECRETS.iter().filter(|one| one.0 == *namespace) {
        let data = secrets.entry(secret).or_default();
        data.insert((*key).to_owned(), STANDARD.encode(value).into());
    }
    let object = |(name, data): (&str, serde_json::Map<String, Value>)| {
        json!({
            "kind": "Secret", "apiVersion": "v1", "type": "Opaque",
            "metadata": {"name": name, "namespace": namespace}, "data": data,
        })
    };
    match name {
        [] => {
            let items: Vec<Value> = secrets.into_iter().map(object).collect();
            (
                200,
                json!({"kind": "SecretList", "apiVersion": "v1", "items": items}),
            )
        }
        [name] => match secrets.remove_entry(name) {
            Some(found) => (200, object(found)),
            None => status(404, format!("secrets {name:?} not found")),
        },
        _ => status(
            404,
            "the server could not find the requested resource".into(),
        ),
    }
}

/// A sidecar with a store of this name and these settings.
fn start(folder: &Path, name: &str, settings: &[(&str, &str)], env: &[(&str, &str)]) -> Running {
    let components = resources(folder, &[(name, "secretstores.kubernetes", settings)]);
    let bindery = Running::sidecar_with(&components, &[], env);
    bindery.wait_until_ready();
    bindery
}

fn get(bindery: &Running, path: &str) -> Answer {
    bindery.get(&format!("/v1.0/secrets/{path}"))
}

#[test]
fn a_store_gives_the_secrets_of_a_cluster_over_both_protocols() {
    let (folder, cluster) = (tempfile::tempdir().unwrap(), Cluster::start());
    let file = cluster.kubeconfig(folder.path(), TOKEN);
    let settings = [
        ("kubeconfigPath", file.to_str().unwrap()),
        ("defaultNamespace", "shop"),
    ];
    let bindery = start(
        folder.path(),
        "cluster",
        &settings,
        &[("NAMESPACE", "other")],
    );
    for (path, document) in [
        ("redis", r#"{"password":"hunter2","user":"maria"}"#),
        ("web.token", r#"{"token":"let me in"}"#),
        (
            "redis?metadata.namespace=other",
            r#"{"password":"another one"}"#,
        ),
        (
            "bulk?x=y&metadata.namespace=other",
            r#"{"redis":{"password":"another one"}}"#,
        ),
        (
            "bulk",
            r#"{"redis":{"password":"hunter2","user":"maria"},"web.token":{"token":"let me in"}}"#,
        ),
        ("bulk?metadata.namespace=empty", "{}"),
    ] {
        let answer = get(&bindery, &format!("cluster/{path}"));
        assert_eq!(
            (answer.status, answer.text().as_str()),
            (200, document),
            "{path}"
        );
    }
    tokio::runtime::Runtime::new()
        .unwrap()
        .block_on(over_grpc(&bindery));
    let metadata: Value = serde_json::from_str(&bindery.get("/v1.0/metadata").text()).unwrap();
    let listed = json!([{
        "name": "cluster", "type": "secretstores.kubernetes", "version": "v1",
        "capabilities": ["MULTIPLE_KEY_VALUES_PER_SECRET"],
    }]);
    assert_eq!(metadata["components"], listed);
}

async fn over_grpc(bindery: &Running) {
    let url = format!("http://127.0.0.1:{}", bindery.grpc_port);
    let mut client = DaprClient::new(Endpoint::from_shared(url).unwrap().connect_lazy());
    let asked = GetSecretRequest {
        store_name: "cluster".into(),
        key: "redis".into(),
        metadata: [("namespace".into(), "other".into())].into(),
    };
    let answer = client.get_secret(asked).await.unwrap().into_inner();
    assert_eq!(
        answer.data,
        [("password".into(), "another one".into())].into()
    );
    let asked = GetBulkSecretRequest {
        store_name: "cluster".into(),
        ..GetBulkSecretRequest::default()
    };
    let answer = client.get_bulk_secret(asked).await.unwrap().into_inner();
    assert_eq!(answer.data["redis"].secrets["user"], "maria");
}

#[test]
fn what_the_cluster_refuses_is_told_with_what_to_do() {
    let (folder, cluster) = (tempfile::tempdir().unwrap(), Cluster::start());
    let file = cluster.kubeconfig(folder.path(), TOKEN);
    let settings = [("kubeconfigPath", file.to_str().unwrap())];
    let bindery = start(
        folder.path(),
        "cluster",
        &settings,
        &[("NAMESPACE", "shop")],
    );
    let says = |path: &str, text: &str| {
        let answer = get(&bindery, &format!("cluster/{path}"));
        assert_eq!(answer.status, 500, "{path}");
        let body: Value = serde_json::from_str(&answer.text()).unwrap();
        assert_eq!(body["errorCode"], "ERR_SECRET_GET");
        let message = body["message"].as_str().unwrap();
        assert!(message.contains(text), "{message}");
        assert!(!message.contains(TOKEN), "{message}");
    };
    says("none", "from secret store cluster: secret none not found");
    let missing = |verb| {
        format!(
            "must not {verb} Secrets in the namespace closed: a Role with the verb {verb} for \
             secrets is missing there, or a RoleBinding of it (secrets is forbidden: User \
             \"system:serviceaccount:shop:default\""
        )
    };
    says("redis?metadata.namespace=closed", &missing("get"));
    says("bulk?metadata.namespace=closed", &missing("list"));
    let before = cluster.asked.lock().unwrap().len();
    says("Redis", "\"Redis\" cannot be the name of a Secret");
    says(
        "%2e%2e%2fnodes",
        "\"../nodes\" cannot be the name of a Secret",
    );
    says(
        "redis?metadata.namespace=a%2F..%2Fb",
        "\"a/../b\" cannot be the name of a namespace",
    );
    assert_eq!(
        cluster.asked.lock().unwrap().len(),
        before,
        "nobody was asked"
    );

    // It is read anew each time.
    cluster.kubeconfig(folder.path(), "unknown-token-77ab");
    says(
        "redis",
        "the API server does not know who asks (401 Unauthorized)",
    );
    let other = Authority::new();
    let text = std::fs::read_to_string(&file).unwrap();
    let own = STANDARD.encode(cluster.authority.certificate());
    std::fs::write(
        &file,
        text.replace(&own, &STANDARD.encode(other.certificate())),
    )
    .unwrap();
    says(
        "redis",
        "cannot be asked: client error (Connect): invalid peer certificate",
    );
    drop(cluster);
    says("redis", "cannot be asked: ");
}

/// An output that shows its secrets to the app that it calls.
fn web(folder: &Path, url: &str, namespace: &str, auth: &str) {
    let component = format!(
        "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {{name: web{namespace}}}\nspec:\n  \
         type: bindings.http\n  version: v1\n  metadata:\n  - {{name: url, value: '{url}'}}\n  \
         - {{name: securityTokenHeader, secretKeyRef: {{name: redis, key: user}}}}\n  \
         - {{name: securityToken, secretKeyRef: {{name: redis, key: password}}}}\n{auth}"
    );
    std::fs::write(folder.join("components/web.yaml"), component).unwrap();
}

#[test]
fn a_component_in_a_pod_that_names_no_store_means_kubernetes() {
    let (folder, cluster) = (tempfile::tempdir().unwrap(), Cluster::start());
    let file = cluster.kubeconfig(folder.path(), TOKEN);
    let port = free_port();
    let app = App::start(port, |_| (200, String::new()));
    let settings = [("kubeconfigPath", file.to_str().unwrap())];
    let components = resources(
        folder.path(),
        &[("kubernetes", "secretstores.kubernetes", &settings)],
    );
    // The component's own namespace is asked first.
    web(
        folder.path(),
        &format!("http://127.0.0.1:{port}"),
        ", namespace: shop",
        "",
    );
    let bindery = Running::sidecar_with(&components, &[], &[IN_A_POD]);
    bindery.wait_until_ready();
    let answer = bindery.invoke("web", r#"{"operation":"create"}"#);
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(app.seen_with("POST")[0].header("maria"), Some("hunter2"));
    let asked = cluster.asked.lock().unwrap().clone();
    assert!(!asked.is_empty());
    assert!(
        asked
            .iter()
            .all(|path| path == "/api/v1/namespaces/shop/secrets/redis"),
        "{asked:?}"
    );
    // A component of the name takes the place of the store that is there without one.
    let metadata: Value = serde_json::from_str(&bindery.get("/v1.0/metadata").text()).unwrap();
    assert_eq!(metadata["components"].as_array().unwrap().len(), 2);

    // Outside of a pod a component says which store it means.
    let mut elsewhere = Running::sidecar(&components, &[]);
    assert_eq!(elsewhere.wait(), Some(1));
    let says = "secretKeyRef does not say which store to ask";
    elsewhere.wait_for_log(says);
}

#[test]
fn a_pod_has_the_store_without_a_component_unless_a_flag_takes_it_away() {
    let folder = tempfile::tempdir().unwrap();
    let components = resources(folder.path(), &[]);
    let bindery = Running::sidecar_with(&components, &[], &[IN_A_POD]);
    bindery.wait_until_ready();
    let metadata: Value = serde_json::from_str(&bindery.get("/v1.0/metadata").text()).unwrap();
    assert_eq!(metadata["components"][0]["name"], "kubernetes");
    assert_eq!(metadata["components"][0]["type"], "secretstores.kubernetes");
    // This test runs in no pod, and the error names what it looked for.
    let answer = get(&bindery, "kubernetes/redis");
    assert_eq!(answer.status, 500);
    let says = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt";
    assert!(answer.text().contains(says), "{}", answer.text());

    let flag = ["--disable-builtin-k8s-secret-store"];
    let bindery = Running::sidecar_with(&components, &flag, &[IN_A_POD]);
    bindery.wait_until_ready();
    let answer = get(&bindery, "kubernetes/redis");
    assert!(
        answer.text().contains("ERR_SECRET_STORES_NOT_CONFIGURED"),
        "{}",
        answer.text()
    );
    drop(bindery);
    web(folder.path(), "http://127.0.0.1:1", "", "");
    let mut bindery = Running::sidecar_with(&components, &flag, &[IN_A_POD]);
    assert_eq!(bindery.wait(), Some(1));
    let says = r#"there is no secret store \"kubernetes\""#;
    bindery.wait_for_log(says);
}

#[test]
fn secrets_may_be_mounted_as_files() {
    let folder = tempfile::tempdir().unwrap();
    let mount = folder.path().join("mounted/redis");
    std::fs::create_dir_all(&mount).unwrap();
    std::fs::write(mount.join("password"), "hunter2").unwrap();
    std::fs::write(mount.join("user"), "maria").unwrap();
    let root = folder.path().join("mounted").display().to_string();
    let settings = [("mountPath", root.as_str())];
    let components = resources(
        folder.path(),
        &[("files", "secretstores.kubernetes", &settings)],
    );
    let port = free_port();
    let app = App::start(port, |_| (200, String::new()));
    let auth = "auth: {secretStore: files}\n";
    web(folder.path(), &format!("http://127.0.0.1:{port}"), "", auth);
    let bindery = Running::sidecar(&components, &[]);
    bindery.wait_until_ready();
    assert_eq!(
        bindery.invoke("web", r#"{"operation":"create"}"#).status,
        200
    );
    assert_eq!(app.seen_with("POST")[0].header("maria"), Some("hunter2"));
    let document = r#"{"password":"hunter2","user":"maria"}"#;
    assert_eq!(get(&bindery, "files/redis").text(), document);
    assert_eq!(
        get(&bindery, "files/bulk").text(),
        format!(r#"{{"redis":{document}}}"#)
    );
    let none = get(&bindery, "files/none");
    assert!(
        none.text().contains("secret none not found"),
        "{}",
        none.text()
    );
    // A path is no name.
    let headers: [(&str, &str); 0] = [];
    let path = "/v1.0/secrets/files/%2e%2e%2fcomponents";
    let answer = request(bindery.http_port, "GET", path, &headers, b"").unwrap();
    assert!(
        answer.text().contains("cannot be the name of a Secret"),
        "{}",
        answer.text()
    );
}

#[test]
fn a_store_that_can_never_work_ends_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let none = folder.path().join("none").display().to_string();
    for (settings, says) in [
        (vec![], "no cluster is named"),
        (
            vec![("kubeconfigPath", none.as_str())],
            "there is no such file or folder",
        ),
        (
            vec![("mountPath", none.as_str())],
            "there is no such file or folder",
        ),
        (
            vec![
                ("mountPath", none.as_str()),
                ("kubeconfigPath", none.as_str()),
            ],
            "both set",
        ),
    ] {
        let components = resources(
            folder.path(),
            &[("cluster", "secretstores.kubernetes", &settings)],
        );
        let mut bindery = Running::sidecar(&components, &[]);
        assert_eq!(bindery.wait(), Some(1), "{says}");
        bindery.wait_for_log(says);
    }
}
