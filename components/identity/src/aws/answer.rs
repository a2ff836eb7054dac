//! What an answer of AWS says of a failure: XML of STS, JSON of all others.

use http::StatusCode;
use serde_json::Value;

use crate::endpoint::passes;

/// How much of what others say is shown.
const LONGEST: usize = 300;
/// Codes of STS that mean: later.
const LATER: [&str; 6] = [
    "IDPCommunicationError",
    "RequestLimitExceeded",
    "RequestThrottled",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
];

/// An answer that is no success.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Failure {
    /// In the words of who answered.
    pub says: String,
    /// Whether it may be another one in a moment.
    pub passes: bool,
}

impl Failure {
    /// `secrets` are those of the question: some repeat it in their answer.
    pub(super) fn of(status: StatusCode, body: &[u8], secrets: &[String]) -> Self {
        let body = String::from_utf8_lossy(body);
        let code = said(&body, "Code");
        let mut says = status.to_string();
        for part in [code.as_deref(), said(&body, "Message").as_deref()] {
            // What was signed may follow on further lines.
            let first = part.and_then(|part| part.lines().next());
            if let Some(part) = first.map(str::trim).filter(|part| !part.is_empty()) {
                says = format!("{says}: {part}");
            }
        }
        for secret in secrets {
            says = says.replace(secret.as_str(), "…");
        }
        Self {
            says: says.chars().take(LONGEST).collect(),
            passes: passes(status) || code.is_some_and(|code| LATER.contains(&code.as_str())),
        }
    }
}

/// An element of XML or a member of an object, whose name begins with a small letter or not.
fn said(body: &str, name: &str) -> Option<String> {
    if let Ok(Value::Object(members)) = serde_json::from_str(body) {
        let named = |known: &str| known.eq_ignore_ascii_case(name);
        let found = members.iter().find(|(known, _)| named(known));
        return found.and_then(|(_, value)| value.as_str().map(str::to_owned));
    }
    let (_, rest) = body.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once(&format!("</{name}>"))?;
    let entities = [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&apos;", "'"),
        ("&#39;", "'"),
        ("&amp;", "&"),
    ];
    let mut text = text.to_owned();
    for (entity, character) in entities {
        text = text.replace(entity, character);
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_shown_in_the_words_of_who_refuses() {
        let xml = "<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code>\
                   <Message>User &quot;a&quot; may not\nhost:hunter2</Message></Error></ErrorResponse>";
        let throttled = "<Error><Code>Throttling</Code><Message>Rate exceeded</Message></Error>";
        for (status, body, says, passes) in [
            (
                403,
                xml,
                "403 Forbidden: AccessDenied: User \"a\" may not",
                false,
            ),
            (
                400,
                throttled,
                "400 Bad Request: Throttling: Rate exceeded",
                true,
            ),
            (
                404,
                r#"{"code":"NoRole","message":"none for t0ken"}"#,
                "404 Not Found: NoRole: none for …",
                false,
            ),
            (
                400,
                r#"{"Code":7,"Message":null}"#,
                "400 Bad Request",
                false,
            ),
            (401, "<html>t0ken</html>", "401 Unauthorized", false),
            (403, "<Code>unclosed", "403 Forbidden", false),
            (503, "", "503 Service Unavailable", true),
            (429, "", "429 Too Many Requests", true),
            (302, "", "302 Found", false),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            let failure = Failure::of(status, body.as_bytes(), &["t0ken".into()]);
            let says = says.to_owned();
            assert_eq!(failure, Failure { says, passes }, "{body}");
        }
        let long = format!(r#"{{"Message":"{}"}}"#, "ä".repeat(1000));
        let failure = Failure::of(StatusCode::FORBIDDEN, long.as_bytes(), &[]);
        assert_eq!(failure.says.chars().count(), LONGEST);
    }
}
