//! `data` as it is passed on, and the quotes taken off it: valid JSON means the same afterwards.
#![no_main]

use bindery_contract::request::{canonical_json, loose_unquote, unquote};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|bytes: &[u8]| {
    let (plain, loose) = (unquote(bytes), loose_unquote(bytes));
    if !bytes.starts_with(b"\"") && !bytes.starts_with(b"'") && !bytes.starts_with(b"`") {
        assert_eq!(plain, bytes, "without quotes nothing is taken off");
    }
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let canonical = canonical_json(text);
    let Ok(value) = serde_json::from_str::<Value>(text) else {
        return;
    };
    assert_eq!(
        serde_json::from_str::<Value>(&canonical).ok(),
        Some(value.clone())
    );
    assert_eq!(canonical_json(&canonical), canonical, "it is stable");
    assert!(canonical.len() <= text.len() || text.contains(['\u{2028}', '\u{2029}']));
    match value {
        Value::String(inside) => {
            assert_eq!(loose, inside.as_bytes());
            if bytes.starts_with(b"\"") && bytes.ends_with(b"\"") {
                assert_eq!(plain, inside.as_bytes());
            }
        }
        Value::Null => assert!(loose.is_empty()),
        Value::Bool(value) => assert_eq!(loose, value.to_string().as_bytes()),
        Value::Number(_) => assert_eq!(loose, text.trim().as_bytes()),
        _ => assert_eq!(loose, bytes),
    }
});
