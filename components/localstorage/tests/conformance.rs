//! Local storage under the conformance suite.

use bindery_contract::Role;
use bindery_localstorage::LocalStorage;
use bindery_testkit::FailureClass;
use bindery_testkit::conformance::{NAME, Suite};
use bindery_testkit::stand::Stand;

#[test]
fn conformance() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().canonicalize().unwrap();
    let expected = root.clone();
    Suite::of::<LocalStorage>(&[("rootPath", root.to_str().unwrap())])
        .output(move |stand| {
            let root = expected.clone();
            Box::pin(async move { exercise(stand, &root).await })
        })
        .fails(
            "a root that cannot be made",
            Role::Output,
            &[("rootPath", "/dev/null/x")],
            FailureClass::Refused,
            "unable to create directory",
        )
        .run();
}

async fn exercise(stand: &Stand, root: &std::path::Path) {
    let call = async |operation: &str, data: &str, metadata: &[(&str, &str)]| {
        stand
            .invoke(NAME, operation, data.to_owned(), metadata)
            .await
    };
    let file = [("fileName", "a/b c/ü.json")];
    let created = call("create", r#"{"x":[1.10,9007199254740993]}"#, &file)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(created.text(), r#"{"fileName":"a/b c/ü.json"}"#);
    assert_eq!(created.metadata, []);
    let read = call("get", "", &file).await.unwrap().unwrap();
    assert_eq!(read.text(), r#"{"x":[1.10,9007199254740993]}"#);
    let listed = call("list", "", &[]).await.unwrap().unwrap();
    let path = root.join("a/b c/ü.json");
    assert_eq!(listed.text(), serde_json::json!([path]).to_string());
    assert_eq!(call("delete", "", &file).await.unwrap(), None);
    assert_eq!(call("list", "", &[]).await.unwrap().unwrap().text(), "null");
    for (operation, metadata, says) in [
        (
            "get",
            &file[..],
            format!("file not found: {}", path.display()),
        ),
        (
            "delete",
            &file[..],
            format!("error deleting file {}", path.display()),
        ),
        ("get", &[], String::from("error reading file")),
        (
            "list",
            &[("fileName", "none")],
            String::from("error getting stats for path"),
        ),
        (
            "delete",
            &[("fileName", "..")],
            String::from("it is the root"),
        ),
    ] {
        let error = call(operation, "", metadata).await.unwrap_err().to_string();
        assert!(error.contains(&says), "{error}");
    }
    let named = call("create", "\"x\"", &[]).await.unwrap().unwrap();
    assert!(
        named.text().len() > "{\"fileName\":\"\"}".len() + 30,
        "a random name: {}",
        named.text()
    );
    let name: serde_json::Value = serde_json::from_slice(&named.data).unwrap();
    let name = [("fileName", name["fileName"].as_str().unwrap())];
    let error = call("list", "", &name).await.unwrap_err().to_string();
    assert!(error.contains("is not a directory"), "{error}");
    assert_eq!(call("delete", "", &name).await.unwrap(), None);
}
