//! The body of a call over HTTP: what it asks for is what another reader of JSON finds in it.
#![no_main]

use bindery::http::body::parse;
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|bytes: &[u8]| {
    let body = Bytes::copy_from_slice(bytes);
    let parsed = parse("binding".into(), &body);
    let value: Option<Value> = std::str::from_utf8(bytes)
        .ok()
        .and_then(|text| serde_json::from_str(text).ok());
    let Ok(call) = parsed else {
        let members = value.as_ref().and_then(Value::as_object);
        assert!(
            members.is_none_or(|members| members
                .keys()
                .any(|key| is_named(key, "operation") || is_named(key, "metadata"))),
            "an object is a call unless its operation or its metadata are of another kind"
        );
        return;
    };
    assert_eq!(call.binding, "binding");
    let data = std::str::from_utf8(&call.data).expect("data is text");
    let read: Result<Value, _> = serde_json::from_str(data);
    // A number may be larger than what this reader takes.
    let Some(Value::Object(members)) = value else {
        return;
    };
    let mut named = members.iter().filter(|(key, _)| is_named(key, "data"));
    match (named.next(), named.next()) {
        (None, _) => assert_eq!(data, "null"),
        (Some((_, value)), None) => assert_eq!(&read.expect("data is JSON"), value),
        _ => {}
    }
    let mut named = members.iter().filter(|(key, _)| is_named(key, "operation"));
    match (named.next(), named.next()) {
        (None, _) => assert_eq!(call.operation, ""),
        (Some((_, value)), None) => assert_eq!(call.operation, value.as_str().unwrap_or_default()),
        _ => {}
    }
});

fn is_named(key: &str, name: &str) -> bool {
    key.eq_ignore_ascii_case(name)
}
