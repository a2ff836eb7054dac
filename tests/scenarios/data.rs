//! `data`, exactly (DESIGN): what Python and Node send is what arrives, in a file, in Redis and at
//! an HTTP server.

use std::process::Command;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bindery_testkit::servers::Redis;
use serde_json::{Value, json};

use crate::support::{App, Running, free_port, resources};
use crate::{app, python};

/// What is sent as `data`, and what arrives where quotes stay on (R2) and where they are taken off
/// (R3).
struct Row {
    sent: Sent,
    arrives: &'static str,
    unquoted: &'static str,
}

enum Sent {
    /// This very text.
    Raw(&'static str),
    /// Whatever the language makes of the value.
    Value(Value),
}

fn table() -> Vec<Row> {
    let raw = |text, arrives, unquoted| Row {
        sent: Sent::Raw(text),
        arrives,
        unquoted,
    };
    let value = |value, arrives, unquoted| Row {
        sent: Sent::Value(value),
        arrives,
        unquoted,
    };
    vec![
        raw(r#""😀""#, "\"😀\"", "😀"),
        raw(r#""\ud83d\ude00""#, "\"😀\"", "😀"),
        raw(r#""a\/b""#, "\"a/b\"", "a/b"),
        raw(r#""\u003ctag\u003e \u0026""#, "\"<tag> &\"", "<tag> &"),
        raw("9007199254740993", "9007199254740993", "9007199254740993"),
        raw("1.10", "1.10", "1.10"),
        raw(
            "{ \"b\" : [ 1.10 , 9007199254740993 ],\n \"a\" : \"\\u00e9\" }",
            "{\"b\":[1.10,9007199254740993],\"a\":\"é\"}",
            "{\"b\":[1.10,9007199254740993],\"a\":\"é\"}",
        ),
        // Python's encoder writes surrogate pairs, Node's the character itself.
        value(json!("😀 <é>"), "\"😀 <é>\"", "😀 <é>"),
        value(
            json!({"text": "a\nb \"c\""}),
            r#"{"text":"a\nb \"c\""}"#,
            r#"{"text":"a\nb \"c\""}"#,
        ),
        value(
            json!([true, null, 0.5]),
            "[true,null,0.5]",
            "[true,null,0.5]",
        ),
    ]
}

/// Sends the table through a binding, from Python and from Node; `metadata` names the entry.
fn send(bindery: &Running, folder: &std::path::Path, binding: &str, operation: &str, key: &str) {
    let languages = [(python(), app("data.py")), ("node".into(), app("data.js"))];
    for (language, (program, script)) in languages.iter().enumerate() {
        let entries: Vec<Value> = table()
            .iter()
            .enumerate()
            .map(|(at, row)| {
                let name = format!("{language}-{at}");
                let mut entry = json!({"operation": operation, "metadata": {key: name}});
                match &row.sent {
                    Sent::Raw(text) => entry["raw"] = json!(text),
                    Sent::Value(value) => entry["value"] = value.clone(),
                }
                entry
            })
            .collect();
        let file = folder.join("table.json");
        std::fs::write(&file, Value::from(entries).to_string()).unwrap();
        let output = Command::new(program)
            .arg(script)
            .arg(binding)
            .arg(&file)
            .env("DAPR_HTTP_PORT", bindery.http_port.to_string())
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

/// Compares what has arrived under the name of each entry.
fn compare(arrived: impl Fn(&str) -> Vec<u8>, expected: impl Fn(&Row) -> Vec<u8>) {
    for language in 0..2 {
        for (at, row) in table().iter().enumerate() {
            let name = format!("{language}-{at}");
            let (arrived, expected) = (arrived(&name), expected(row));
            let text = String::from_utf8_lossy(&arrived);
            assert!(arrived == expected, "{name}: {text} for {}", row.arrives);
        }
    }
}

fn as_sent(row: &Row) -> Vec<u8> {
    row.arrives.into()
}

/// Without its quotes; and a text that is base64 as a whole is decoded, as the reference does it:
/// the 16 digits of 2^53+1 are one.
fn as_a_file_holds_it(row: &Row) -> Vec<u8> {
    let text = row.unquoted;
    STANDARD.decode(text).unwrap_or_else(|_| text.into())
}

#[test]
fn data_arrives_in_a_file_as_it_was_sent() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    let settings = [("rootPath", root.to_str().unwrap())];
    let files = ("files", "bindings.localstorage", &settings[..]);
    let bindery = Running::sidecar(&resources(folder.path(), &[files]), &[]);
    bindery.wait_until_ready();
    send(&bindery, folder.path(), "files", "create", "fileName");
    let read = |name: &str| std::fs::read(root.join(name)).unwrap();
    compare(read, as_a_file_holds_it);
}

#[test]
fn data_arrives_in_redis_as_it_was_sent() {
    let redis = Redis::start();
    let folder = tempfile::tempdir().unwrap();
    let settings = [("redisHost", redis.address())];
    let settings: Vec<_> = settings
        .iter()
        .map(|(key, value)| (*key, value.as_str()))
        .collect();
    let component = ("redis", "bindings.redis", settings.as_slice());
    let bindery = Running::sidecar(&resources(folder.path(), &[component]), &[]);
    bindery.wait_until_ready();
    send(&bindery, folder.path(), "redis", "create", "key");
    let get = |name: &str| {
        let body = json!({"operation": "get", "metadata": {"key": name}});
        bindery.invoke("redis", &body.to_string()).body
    };
    compare(get, as_sent);
}

#[test]
fn data_arrives_at_an_http_server_as_it_was_sent() {
    let port = free_port();
    let server = App::start(port, |_| (200, String::new()));
    let folder = tempfile::tempdir().unwrap();
    let url = format!("http://127.0.0.1:{port}");
    let settings = [("url", url.as_str())];
    let component = ("http", "bindings.http", &settings[..]);
    let bindery = Running::sidecar(&resources(folder.path(), &[component]), &[]);
    bindery.wait_until_ready();
    send(&bindery, folder.path(), "http", "post", "path");
    crate::support::wait_for("all requests", Duration::from_secs(20), || {
        server.seen().len() >= 2 * table().len()
    });
    let seen = server.seen();
    let arrived = |name: &str| {
        let path = format!("/{name}");
        let request = seen.iter().find(|request| request.path == path).unwrap();
        request.body.clone()
    };
    compare(arrived, as_sent);
}
