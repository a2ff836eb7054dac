//! The secrets API over both protocols, and what a Configuration keeps back (runtime §5, §6.5).

use std::path::Path;
use std::time::Duration;

use bindery::grpc::proto::runtime::v1::dapr_client::DaprClient;
use bindery::grpc::proto::runtime::v1::{
    GetBulkSecretRequest, GetSecretRequest, InvokeBindingRequest,
};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::support::{Answer, Running, resources, wait_for};

const ENV: [(&str, &str); 5] = [
    ("SHOP_USER", "maria"),
    ("SHOP_PASSWORD", "a/b \"c\""),
    ("DAPR_API_TOKEN", ""),
    ("APP_API_TOKEN", "not-for-you"),
    ("DAPR_SECRET", "not-for-you"),
];

const SECRETS: &str =
    r#"{"plain":"p","db":{"user":"u","hosts":["h0","h1"],"port":5432},"odd":null}"#;

/// A sidecar with four stores, and a Configuration.
fn start(folder: &Path, spec: &str) -> Running {
    let (file, config) = (folder.join("secrets.json"), folder.join("config.yaml"));
    std::fs::write(&file, SECRETS).unwrap();
    std::fs::write(&config, format!("spec: {spec}\n")).unwrap();
    let path = ("secretsFile", file.to_str().unwrap());
    let components = resources(
        folder,
        &[
            ("env", "secretstores.local.env", &[]),
            ("shop", "secretstores.local.env", &[("prefix", "SHOP_")]),
            (
                "file",
                "secretstores.local.file",
                &[path, ("nestedSeparator", ".")],
            ),
            (
                "multi",
                "secretstores.local.file",
                &[path, ("multiValued", "true")],
            ),
        ],
    );
    let flags = ["--config", config.to_str().unwrap()];
    let bindery = Running::sidecar_with(&components, &flags, &ENV);
    bindery.wait_until_ready();
    bindery
}

fn get(bindery: &Running, path: &str) -> Answer {
    bindery.get(&format!("/v1.0/secrets/{path}"))
}

fn client(bindery: &Running) -> DaprClient<Channel> {
    let url = format!("http://127.0.0.1:{}", bindery.grpc_port);
    DaprClient::new(Endpoint::from_shared(url).unwrap().connect_lazy())
}

async fn one(bindery: &Running, store: &str, key: &str) -> Result<Vec<(String, String)>, Status> {
    let asked = GetSecretRequest {
        store_name: store.into(),
        key: key.into(),
        ..GetSecretRequest::default()
    };
    let answer = client(bindery).get_secret(asked).await?.into_inner();
    let mut values: Vec<_> = answer.data.into_iter().collect();
    values.sort();
    Ok(values)
}

async fn all(bindery: &Running, store: &str) -> Result<Vec<String>, Status> {
    let asked = GetBulkSecretRequest {
        store_name: store.into(),
        ..GetBulkSecretRequest::default()
    };
    let answer = client(bindery).get_bulk_secret(asked).await?.into_inner();
    let secrets = answer.data.into_iter().map(|(name, secret)| {
        let mut values: Vec<_> = secret.secrets.into_iter().collect();
        values.sort();
        format!("{name} {values:?}")
    });
    let mut secrets: Vec<_> = secrets.collect();
    secrets.sort();
    Ok(secrets)
}

#[tokio::test]
async fn every_store_gives_its_secrets_out_over_both_protocols() {
    let folder = tempfile::tempdir().unwrap();
    let bindery = start(folder.path(), "{}");
    for (store, key, document) in [
        ("env", "SHOP_USER", r#"{"SHOP_USER":"maria"}"#),
        ("shop", "PASSWORD", r#"{"PASSWORD":"a/b \"c\""}"#),
        ("file", "plain", r#"{"plain":"p"}"#),
        ("file", "db.user", r#"{"db.user":"u"}"#),
        ("file", "db.hosts.1", r#"{"db.hosts.1":"h1"}"#),
        ("multi", "plain", r#"{"plain":"p"}"#),
        (
            "multi",
            "db",
            r#"{"hosts:0":"h0","hosts:1":"h1","port":"5432","user":"u"}"#,
        ),
        // As the reference has it: no error, and nothing of the sidecar's own.
        ("env", "NOT_SET", r#"{"NOT_SET":""}"#),
        ("env", "APP_API_TOKEN", r#"{"APP_API_TOKEN":""}"#),
        ("env", "DAPR_SECRET", r#"{"DAPR_SECRET":""}"#),
    ] {
        let answer = get(&bindery, &format!("{store}/{key}"));
        assert_eq!((answer.status, answer.text().as_str()), (200, document));
        assert_eq!(answer.header("content-type"), Some("application/json"));
        let expected: std::collections::BTreeMap<String, String> =
            serde_json::from_str(document).unwrap();
        let expected: Vec<_> = expected.into_iter().collect();
        assert_eq!(one(&bindery, store, key).await.unwrap(), expected);
    }
    let answer = get(&bindery, "shop/PASSWORD?metadata.version_id=3&metadata.x=y");
    assert_eq!(answer.status, 200, "metadata of the query is taken");

    let bulk = get(&bindery, "shop/bulk");
    let document = r#"{"PASSWORD":{"PASSWORD":"a/b \"c\""},"USER":{"USER":"maria"}}"#;
    assert_eq!((bulk.status, bulk.text().as_str()), (200, document));
    let bulk = get(&bindery, "multi/bulk").text();
    assert_eq!(
        bulk,
        r#"{"db":{"hosts:0":"h0","hosts:1":"h1","port":"5432","user":"u"},"plain":{"plain":"p"}}"#
    );
    let everything = get(&bindery, "env/bulk").text();
    assert!(everything.contains("maria") && !everything.contains("not-for-you"));
    let secrets = all(&bindery, "file").await.unwrap();
    assert_eq!(secrets[0], r#"db.hosts.0 [("db.hosts.0", "h0")]"#);
    assert_eq!(secrets.len(), 5);
}

#[tokio::test]
async fn what_cannot_be_had_has_the_codes_of_the_reference() {
    let folder = tempfile::tempdir().unwrap();
    let bindery = start(folder.path(), "{}");
    let not_found =
        "failed getting secret with key nope from secret store file: secret nope not found";
    for (store, key, status, code, error, message) in [
        (
            "vault",
            "x",
            401,
            Code::InvalidArgument,
            "ERR_SECRET_STORE_NOT_FOUND",
            "failed finding secret store with key vault",
        ),
        (
            "file",
            "nope",
            500,
            Code::Internal,
            "ERR_SECRET_GET",
            not_found,
        ),
    ] {
        let answer = get(&bindery, &format!("{store}/{key}"));
        let body = format!(r#"{{"errorCode":"{error}","message":"{message}"}}"#);
        assert_eq!((answer.status, answer.text()), (status, body));
        let refused = one(&bindery, store, key).await.unwrap_err();
        assert_eq!((refused.code(), refused.message()), (code, message));
        assert_eq!(refused.get_details_error_info().unwrap().reason, error);
    }
    assert_eq!(get(&bindery, "vault/bulk").status, 401);
    // The file goes away while it runs.
    std::fs::remove_file(folder.path().join("secrets.json")).unwrap();
    let answer = get(&bindery, "file/bulk");
    assert_eq!(answer.status, 500);
    assert!(
        answer
            .text()
            .contains("failed getting secrets from secret store file: ")
    );
    let answer = bindery.post("/v1.0/secrets/env/SHOP_USER", "");
    assert_eq!(answer.status, 404, "it can only be read");

    let none = tempfile::tempdir().unwrap();
    let bindery = Running::sidecar(&resources(none.path(), &[]), &[]);
    bindery.wait_until_ready();
    let answer = get(&bindery, "env/x");
    assert_eq!(answer.status, 500);
    assert_eq!(
        answer.text(),
        r#"{"errorCode":"ERR_SECRET_STORES_NOT_CONFIGURED","message":"secret store is not configured"}"#
    );
    let refused = one(&bindery, "env", "x").await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
}

#[tokio::test]
async fn a_configuration_keeps_secrets_back_and_may_change() {
    let folder = tempfile::tempdir().unwrap();
    let spec = "{secrets: {scopes: [{storeName: env, defaultAccess: deny, \
                allowedSecrets: [SHOP_USER]}, {storeName: file, deniedSecrets: [plain]}]}}";
    let bindery = start(folder.path(), spec);
    assert_eq!(get(&bindery, "env/SHOP_USER").status, 200);
    assert_eq!(get(&bindery, "multi/plain").status, 200);
    let answer = get(&bindery, "env/SHOP_PASSWORD");
    let message = r#"access denied by policy to get \"SHOP_PASSWORD\" from \"env\""#;
    let body = format!(r#"{{"errorCode":"ERR_PERMISSION_DENIED","message":"{message}"}}"#);
    assert_eq!((answer.status, answer.text()), (403, body));
    let refused = one(&bindery, "file", "plain").await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    assert_eq!(
        get(&bindery, "env/bulk").text(),
        r#"{"SHOP_USER":{"SHOP_USER":"maria"}}"#
    );
    assert_eq!(all(&bindery, "file").await.unwrap().len(), 4);

    std::fs::write(folder.path().join("config.yaml"), "spec: {}\n").unwrap();
    wait_for("the change", Duration::from_secs(20), || {
        get(&bindery, "env/SHOP_PASSWORD").status == 200
    });
    // A store that is removed; one whose file is wrong now goes on.
    let components = folder.path().join("components");
    std::fs::remove_file(components.join("shop.yaml")).unwrap();
    wait_for("the store to go", Duration::from_secs(20), || {
        get(&bindery, "shop/USER").status == 401
    });
    std::fs::write(components.join("file.yaml"), "kind: [").unwrap();
    bindery.wait_for_log("What runs goes on as it is");
    assert_eq!(get(&bindery, "file/plain").status, 200);
}

#[test]
fn scopes_that_cannot_be_meant_end_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config.yaml");
    let scopes = "spec:\n  secrets:\n    scopes:\n    - storeName: a\n    - storeName: a\n";
    std::fs::write(&config, scopes).unwrap();
    let components = resources(folder.path(), &[]);
    let mut bindery = Running::sidecar(&components, &["--config", config.to_str().unwrap()]);
    assert_eq!(bindery.wait(), Some(1));
    let says = "config.yaml:2:3: error loading configuration: a storeName is repeated";
    bindery.wait_for_log(says);
}

#[tokio::test]
async fn a_token_and_the_list_of_apis_count() {
    let folder = tempfile::tempdir().unwrap();
    let spec = "{api: {denied: [{name: secrets, version: v1, protocol: http}], \
                allowed: [{name: bindings, version: v1, protocol: grpc}]}}";
    let bindery = start(folder.path(), spec);
    assert_eq!(get(&bindery, "env/SHOP_USER").status, 404);
    let refused = one(&bindery, "env", "SHOP_USER").await.unwrap_err();
    assert_eq!(refused.code(), Code::Unimplemented);
    assert_eq!(refused.message(), "Not Implemented");
    let info = refused.get_details_error_info().unwrap();
    let says = "requested endpoint is not available";
    assert_eq!(info.metadata["http.error_message"], says);
    let mut client = client(&bindery);
    let call = client.invoke_binding(InvokeBindingRequest::default());
    assert_eq!(call.await.unwrap_err().code(), Code::Internal);

    let env = [("DAPR_API_TOKEN", "secret"), ("SHOP_USER", "maria")];
    let store: crate::support::Component = ("env", "secretstores.local.env", &[]);
    let folder = tempfile::tempdir().unwrap();
    let bindery = Running::sidecar_with(&resources(folder.path(), &[store]), &[], &env);
    bindery.wait_until_ready();
    assert_eq!(get(&bindery, "env/SHOP_USER").status, 401);
    let refused = one(&bindery, "env", "SHOP_USER").await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
}
