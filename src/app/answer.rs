//! What an app's answer means: taken or refused, and what it asks for (runtime §2.4, §7, by
//! the rule in DESIGN "Delivery").

use bindery_actors::app::{Answer, FORWARD_LIMIT, Forward, Refusal};
use bindery_contract::request::canonical_json;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::grpc::proto::runtime::v1::BindingEventResponse;
use crate::grpc::proto::runtime::v1::binding_event_response::BindingEventConcurrency;

/// How much of an app's refusal is kept for the log.
const REFUSAL_BODY: usize = 4096;

/// Any 2xx takes the event, everything else refuses it.
pub(super) fn judge(status: u16, body: Bytes) -> Result<Answer, Refusal> {
    if (200..300).contains(&status) {
        return Ok(Answer {
            forward: read(&body),
            reply: body,
        });
    }
    let shown = String::from_utf8_lossy(&body[..body.len().min(REFUSAL_BODY)]);
    Err(Refusal {
        error: format!(
            "fails to send binding event to http app channel, status code: {status} body: {shown}"
        ),
        status: Some(status),
    })
}

/// What an answer over gRPC asks for: the same, in a message. Data that is no JSON reaches the
/// outputs as `null`.
pub(super) fn of_message(answer: &BindingEventResponse) -> Forward {
    if answer.to.is_empty() {
        return match (answer.store_name.is_empty(), answer.states.is_empty()) {
            (false, false) => Forward::Malformed(NO_STATE.into()),
            _ => Forward::Nothing,
        };
    }
    if answer.to.len() > FORWARD_LIMIT {
        return too_many();
    }
    let data = serde_json::from_slice::<&RawValue>(&answer.data).map_or("null", RawValue::get);
    Forward::To {
        bindings: answer.to.clone(),
        data: Bytes::copy_from_slice(canonical_json(data).as_bytes()),
        parallel: answer.concurrency() == BindingEventConcurrency::Parallel,
    }
}

const NO_STATE: &str = "it asks for state to be saved, and there are no state stores";

fn too_many() -> Forward {
    Forward::Malformed(format!("\"to\" names more than {FORWARD_LIMIT} bindings"))
}

#[derive(Deserialize)]
struct Asked<'a> {
    #[serde(borrow)]
    to: Option<&'a RawValue>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(borrow)]
    concurrency: Option<&'a RawValue>,
    #[serde(borrow, rename = "storeName", alias = "store_name")]
    store_name: Option<&'a RawValue>,
    #[serde(borrow, alias = "states")]
    state: Option<&'a RawValue>,
}

/// Reads an answer: a JSON object whose `to` is an array of names is executed; anything else
/// with a `to` is malformed; everything without one is just an answer.
fn read(body: &[u8]) -> Forward {
    let looks_like_it = body.trim_ascii_start().first() == Some(&b'{');
    let Ok(text) = std::str::from_utf8(body) else {
        return Forward::Nothing;
    };
    if !looks_like_it || !(text.contains("to") || text.contains("store")) {
        return Forward::Nothing;
    }
    // Apps answer whatever they like; only what is JSON can ask for something.
    let Ok(answer) = serde_json::from_str::<Asked<'_>>(text) else {
        return Forward::Nothing;
    };
    let Some(to) = answer.to else {
        return match (answer.store_name, answer.state) {
            (Some(_), Some(_)) => Forward::Malformed(NO_STATE.into()),
            _ => Forward::Nothing,
        };
    };
    let Ok(bindings) = serde_json::from_str::<Vec<String>>(to.get()) else {
        return Forward::Malformed("\"to\" is not an array of names".into());
    };
    if bindings.len() > FORWARD_LIMIT {
        return too_many();
    }
    let parallel = match answer.concurrency.map(RawValue::get) {
        None | Some("null" | "\"sequential\"" | "\"SEQUENTIAL\"" | "0") => false,
        Some("\"parallel\"" | "\"PARALLEL\"" | "1") => true,
        Some(other) => {
            let problem = format!("\"concurrency\" is {other}, not \"sequential\" or \"parallel\"");
            return Forward::Malformed(problem);
        }
    };
    let data = answer.data.map_or("null", RawValue::get);
    Forward::To {
        bindings,
        data: Bytes::copy_from_slice(canonical_json(data).as_bytes()),
        parallel,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(bindings: &[&str], data: &str, parallel: bool) -> Forward {
        Forward::To {
            bindings: bindings.iter().map(ToString::to_string).collect(),
            data: Bytes::copy_from_slice(data.as_bytes()),
            parallel,
        }
    }

    #[test]
    fn an_object_with_names_is_executed() {
        assert_eq!(
            read(br#" {"to": ["a", "b"], "data": {"x": 1.10}, "concurrency": "parallel"}"#),
            to(&["a", "b"], r#"{"x":1.10}"#, true)
        );
        assert_eq!(read(br#"{"to":[]}"#), to(&[], "null", false));
        assert_eq!(
            read(br#"{"to":["a"],"data":"text","concurrency":"sequential"}"#),
            to(&["a"], "\"text\"", false)
        );
    }

    #[test]
    fn an_ordinary_answer_is_just_an_answer() {
        for body in [
            "",
            "ok",
            "[\"to\"]",
            "\"to\"",
            "{\"total\": 3}",
            "{\"too",
            "{\"status\":\"SUCCESS\"}",
        ] {
            assert_eq!(read(body.as_bytes()), Forward::Nothing, "{body}");
        }
        assert_eq!(read(b"{\"to\xff\": 1}"), Forward::Nothing);
    }

    #[test]
    fn anything_else_with_a_to_is_malformed() {
        for body in [
            r#"{"to":"a"}"#,
            r#"{"to":[1]}"#,
            r#"{"to":{"a":1}}"#,
            r#"{"to":["a"],"concurrency":"both"}"#,
            r#"{"storeName":"s","state":[]}"#,
        ] {
            assert!(
                matches!(read(body.as_bytes()), Forward::Malformed(_)),
                "{body}"
            );
        }
        let many = format!(r#"{{"to":[{}"x"]}}"#, "\"x\",".repeat(FORWARD_LIMIT));
        assert!(matches!(read(many.as_bytes()), Forward::Malformed(_)));
    }

    #[test]
    fn a_message_asks_for_the_same_in_its_own_way() {
        let message = |names: &[&str], data: &'static str| BindingEventResponse {
            to: names.iter().map(ToString::to_string).collect(),
            data: Bytes::from_static(data.as_bytes()),
            ..BindingEventResponse::default()
        };
        assert_eq!(of_message(&message(&[], "{}")), Forward::Nothing);
        assert_eq!(
            of_message(&message(&["a", "b"], "{\"x\": 1.10}")),
            to(&["a", "b"], "{\"x\":1.10}", false)
        );
        for data in ["", "not JSON", "{} {}"] {
            assert_eq!(
                of_message(&message(&["a"], data)),
                to(&["a"], "null", false)
            );
        }
        let parallel = BindingEventResponse {
            concurrency: BindingEventConcurrency::Parallel.into(),
            ..message(&["a"], "1")
        };
        assert_eq!(of_message(&parallel), to(&["a"], "1", true));
        let state = BindingEventResponse {
            store_name: "s".into(),
            states: vec![crate::grpc::proto::common::v1::StateItem::default()],
            ..BindingEventResponse::default()
        };
        assert!(matches!(of_message(&state), Forward::Malformed(_)));
        let many = message(&["a"; FORWARD_LIMIT + 1], "1");
        assert!(matches!(of_message(&many), Forward::Malformed(_)));
    }
}
