//! Failures, with the codes, words and details of the reference (runtime §1.2, §6.4).

use std::collections::HashMap;

use bindery_actors::CallError;
use bindery_contract::{CollectError, InvokeError, Metadata};
use tonic::metadata::{Ascii, MetadataKey, MetadataMap, MetadataValue};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

const DOMAIN: &str = "dapr.io";
const INVOKE_FAILED: &str = "ERR_INVOKE_OUTPUT_BINDING";

/// What callers of another building block are told.
pub(super) const NO_BINDINGS: &str = "this sidecar is Bindery: it serves Dapr's bindings, secrets \
    and calls of its own app (InvokeBinding, GetSecret, GetBulkSecret, InvokeService, GetMetadata, \
    SetMetadata, Shutdown) and no other building block";

/// What other sidecars are told.
pub(super) const NO_OTHER_SIDECARS: &str = "this sidecar is Bindery: it takes no calls of other \
    sidecars; this port answers that it is there";

/// A call of an output that failed, with what metadata the upstream gave with its answer.
pub(super) fn of_failed_call(binding: &str, error: &CallError) -> Status {
    let code = match error {
        CallError::Overloaded => Code::ResourceExhausted,
        _ => Code::Internal,
    };
    let metadata = match error {
        CallError::Failed(InvokeError::Rejected {
            reply: Some(reply), ..
        }) => headers(&reply.metadata),
        _ => MetadataMap::new(),
    };
    failed(code, binding, error, metadata)
}

/// A reply that could not be sent in one message.
pub(super) fn of_reply(binding: &str, error: &CollectError, metadata: MetadataMap) -> Status {
    match error {
        CollectError::TooLarge { .. } => {
            let hint = format!("{error}; --max-body-size sets the limit, and HTTP has none");
            failed(Code::ResourceExhausted, binding, &hint, metadata)
        }
        CollectError::Broken(_) => failed(Code::Internal, binding, error, metadata),
    }
}

fn failed(
    code: Code,
    binding: &str,
    error: &dyn std::fmt::Display,
    metadata: MetadataMap,
) -> Status {
    let message = format!("error invoking output binding {binding}: {error}");
    let details = ErrorDetails::with_error_info(INVOKE_FAILED, DOMAIN, HashMap::new());
    Status::with_error_details_and_metadata(code, message, details, metadata)
}

/// What an API does not do, with the code that clients know over both protocols.
pub(super) fn of_refusal(code: Code, reason: &str, problem: &dyn std::fmt::Display) -> Status {
    let details = ErrorDetails::with_error_info(reason, DOMAIN, HashMap::new());
    Status::with_error_details(code, problem.to_string(), details)
}

/// A code as Go's library writes it, which the metrics and the log have.
pub(crate) fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "Canceled",
        Code::Unknown => "Unknown",
        Code::InvalidArgument => "InvalidArgument",
        Code::DeadlineExceeded => "DeadlineExceeded",
        Code::NotFound => "NotFound",
        Code::AlreadyExists => "AlreadyExists",
        Code::PermissionDenied => "PermissionDenied",
        Code::ResourceExhausted => "ResourceExhausted",
        Code::FailedPrecondition => "FailedPrecondition",
        Code::Aborted => "Aborted",
        Code::OutOfRange => "OutOfRange",
        Code::Unimplemented => "Unimplemented",
        Code::Internal => "Internal",
        Code::Unavailable => "Unavailable",
        Code::DataLoss => "DataLoss",
        Code::Unauthenticated => "Unauthenticated",
    }
}

/// A caller without the token.
pub(super) fn of_missing_token(given: bool) -> Status {
    let problem = if given {
        "authentication error: api token mismatch"
    } else {
        "missing api token in request metadata"
    };
    of_http(Code::Unauthenticated, 401, "Unauthorized", problem)
}

/// A method that a Configuration has closed.
pub(super) fn of_closed_method() -> Status {
    let problem = "requested endpoint is not available";
    of_http(Code::Unimplemented, 501, "Not Implemented", problem)
}

/// A failure that is one of HTTP: its status, its name, and what it is about.
pub(super) fn of_http(code: Code, status: u16, name: &str, problem: &str) -> Status {
    let about = [
        ("http.code".to_owned(), status.to_string()),
        ("http.error_message".to_owned(), problem.to_owned()),
    ];
    let details = ErrorDetails::with_error_info(name, DOMAIN, HashMap::from(about));
    Status::with_error_details(code, name, details)
}

/// A method that is not here.
pub(super) fn of_unknown_method(elsewhere: &str) -> Status {
    Status::unimplemented(elsewhere)
}

/// A message over the limit: gRPC's own libraries have another code for it than tonic.
pub(super) fn of_large_message(limit: Option<usize>) -> Status {
    let limit = limit.unwrap_or(usize::MAX);
    Status::resource_exhausted(format!(
        "grpc: received message larger than max ({limit}); --max-body-size raises it"
    ))
}

/// The headers `metadata.<key>` of a reply; what cannot be a header is left out.
pub(super) fn headers(metadata: &Metadata) -> MetadataMap {
    let mut headers = MetadataMap::new();
    for (key, value) in metadata.iter() {
        let key = format!("metadata.{}", key.to_ascii_lowercase());
        let key: Result<MetadataKey<Ascii>, _> = key.parse();
        let value: Result<MetadataValue<Ascii>, _> = value.replace(['\r', '\n'], " ").parse();
        if let (Ok(key), Ok(value)) = (key, value) {
            headers.append(key, value);
        }
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_becomes_headers_and_cannot_break_out_of_them() {
        let metadata = Metadata::new()
            .with("statusCode", "200")
            .with("bad key", "x")
            .with("not-text-bin", "x")
            .with("split", "a\r\nInjected: yes");
        let headers = headers(&metadata);
        assert_eq!(headers.get("metadata.statuscode").unwrap(), "200");
        assert_eq!(headers.get("metadata.split").unwrap(), "a  Injected: yes");
        assert_eq!(headers.len(), 2);
    }
}
