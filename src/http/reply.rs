//! Answers: replies of bindings, errors, and the headers that carry metadata.

use std::fmt::Write as _;

use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use actix_web::{HttpResponse, HttpResponseBuilder};
use bindery_actors::CallError;
use bindery_contract::{InvokeError, Metadata, Payload, Reply};

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// A reply of a binding (runtime §1.1.2): nothing at all is 204, an empty reply 200, and the
/// type is always JSON, whatever is in it.
pub(super) fn of_binding(reply: Option<Reply>) -> HttpResponse {
    let Some(Reply { data, metadata }) = reply else {
        return HttpResponse::NoContent().finish();
    };
    let mut response = HttpResponse::Ok();
    response.insert_header((CONTENT_TYPE, JSON));
    add_metadata(&mut response, &metadata);
    match data {
        Payload::Bytes(bytes) => response.body(bytes),
        Payload::Stream {
            length: Some(length),
            chunks,
        } => response.body(actix_web::body::SizedStream::new(length, chunks)),
        Payload::Stream {
            length: None,
            chunks,
        } => response.streaming(chunks),
    }
}

/// A call that failed: 500, and what metadata the upstream gave with its answer.
pub(super) fn of_failed_call(binding: &str, error: &CallError) -> HttpResponse {
    let status = match error {
        CallError::Overloaded => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    let mut response = HttpResponse::build(status);
    if let CallError::Failed(InvokeError::Rejected {
        reply: Some(reply), ..
    }) = error
    {
        add_metadata(&mut response, &reply.metadata);
    }
    let message = format!("error invoking output binding {binding}: {error}");
    error_body(&mut response, "ERR_INVOKE_OUTPUT_BINDING", &message)
}

/// The error code of an answer, for those who count them.
pub(super) struct ErrorCode(pub(super) &'static str);

/// `{"errorCode":…,"message":…}`.
pub(super) fn error(status: StatusCode, code: &'static str, message: &str) -> HttpResponse {
    error_body(&mut HttpResponse::build(status), code, message)
}

/// A document that is JSON already.
pub(super) fn json(document: String) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "application/json"))
        .body(document)
}

/// A plain-text answer, as the reference's HTTP library gives it.
pub(super) fn plain(status: StatusCode, text: impl Into<String>) -> HttpResponse {
    HttpResponse::build(status)
        .insert_header((CONTENT_TYPE, "text/plain; charset=utf-8"))
        .body(text.into())
}

fn error_body(
    response: &mut HttpResponseBuilder,
    code: &'static str,
    message: &str,
) -> HttpResponse {
    let mut body = String::from("{\"errorCode\":\"");
    push_json(&mut body, code);
    body.push_str("\",\"message\":\"");
    push_json(&mut body, message);
    body.push_str("\"}");
    response.extensions_mut().insert(ErrorCode(code));
    response.insert_header((CONTENT_TYPE, JSON)).body(body)
}

/// The inside of a JSON string, with the characters escaped that the reference escapes.
fn push_json(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\0'..='\u{1f}' => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
}

/// A header `metadata.<key>` for each entry. What cannot be a header is left out, line breaks in
/// values become blanks, as the reference's HTTP library does it.
fn add_metadata(response: &mut HttpResponseBuilder, metadata: &Metadata) {
    let mut name = String::from("metadata.");
    for (key, value) in metadata.iter() {
        name.truncate("metadata.".len());
        name.push_str(key);
        let value = HeaderValue::from_str(value)
            .or_else(|_| HeaderValue::from_str(&value.replace(['\r', '\n'], " ")));
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), value) {
            response.append_header((name, value));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_escaped_as_the_reference_escapes_it() {
        let mut text = String::new();
        push_json(&mut text, "a \"b\" <c>&\n\u{1}é");
        assert_eq!(text, r#"a \"b\" \u003cc\u003e\u0026\n\u0001é"#);
    }

    #[test]
    fn metadata_becomes_headers_and_cannot_break_out_of_them() {
        let metadata = Metadata::new()
            .with("statusCode", "200")
            .with("bad key", "x")
            .with("split", "a\r\nInjected: yes");
        let mut response = HttpResponse::Ok();
        add_metadata(&mut response, &metadata);
        let response = response.finish();
        assert_eq!(
            response.headers().get("metadata.statuscode").unwrap(),
            "200"
        );
        assert_eq!(
            response.headers().get("metadata.split").unwrap(),
            "a  Injected: yes"
        );
        assert_eq!(response.headers().len(), 2);
    }
}
