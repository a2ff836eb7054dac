//! `InvokeService`: a call of the app.

use bindery_contract::Chain;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tonic::metadata::MetadataMap;
use tonic::{Code, Request, Response, Status};

use super::door::Trace;
use super::proto::common::v1::InvokeResponse;
use super::proto::runtime::v1::InvokeServiceRequest;
use super::status;
use crate::app::{AppAnswer, AppRequest, passed_on};
use crate::http::Api;

/// How much of what the app says about a failure is passed on.
const SAID: usize = 63;

pub(super) async fn of_the_app(
    api: &Api,
    request: Request<InvokeServiceRequest>,
) -> Result<Response<InvokeResponse>, Status> {
    let mut headers = passed_on(request.metadata().as_ref());
    if let Some(trace) = request.extensions().get::<Trace>() {
        trace.context.put_into(&mut headers);
    }
    let asked = request.into_inner();
    let message = asked.message.unwrap_or_default();
    let failed = |reason: &dyn std::fmt::Display| {
        let problem = format!("failed to invoke, id: {}, err: {reason}", asked.id);
        status::of_refusal(Code::Internal, "ERR_DIRECT_INVOKE", &problem)
    };
    match api
        .callee()
        .call(&asked.id, AppRequest { message, headers })
        .await
    {
        Ok(AppAnswer::Http(answer)) => of_http(answer, api.max_body()).await,
        Ok(AppAnswer::Grpc(answer)) => {
            let (metadata, message, _) = answer.into_parts();
            Ok(with_headers(message, passed_on(metadata.as_ref())))
        }
        Ok(AppAnswer::Refused(said)) => Err(of_refusal(&said)),
        Err(error) => Err(failed(&error)),
    }
}

/// That the app does not want to, in its own words.
fn of_refusal(said: &Status) -> Status {
    let message = match (said.code(), said.message()) {
        (Code::Unimplemented, "") => "the app does not take calls (OnInvoke)",
        (_, message) => message,
    };
    let details = said.details().to_vec().into();
    let metadata = MetadataMap::from_headers(passed_on(said.metadata().as_ref()));
    Status::with_details_and_metadata(said.code(), message, details, metadata)
}

/// What an app over HTTP has answered. It has to fit into one message.
async fn of_http(
    answer: http::Response<hyper::body::Incoming>,
    limit: Option<usize>,
) -> Result<Response<InvokeResponse>, Status> {
    let (head, body) = answer.into_parts();
    let body = match Limited::new(body, limit.unwrap_or(usize::MAX))
        .collect()
        .await
    {
        Ok(body) => body.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => {
            return Err(status::of_large_message(limit));
        }
        Err(error) => return Err(Status::internal(Chain(&*error).to_string())),
    };
    let mut headers = passed_on(&head.headers);
    headers.insert("dapr-http-status", head.status.as_u16().into());
    if !head.status.is_success() {
        let name = head.status.canonical_reason().unwrap_or_default();
        let said = &body[..body.len().min(SAID)];
        let said = String::from_utf8_lossy(said);
        let code = code_of(head.status.as_u16());
        let mut status = status::of_http(code, head.status.as_u16(), name, &said);
        *status.metadata_mut() = MetadataMap::from_headers(headers);
        return Err(status);
    }
    let content_type = head.headers.get(http::header::CONTENT_TYPE);
    let content_type = content_type.and_then(|value| value.to_str().ok());
    let message = InvokeResponse {
        data: Some(prost_types::Any {
            value: body.into(),
            ..prost_types::Any::default()
        }),
        content_type: content_type.unwrap_or_default().to_owned(),
    };
    Ok(with_headers(message, headers))
}

fn with_headers(message: InvokeResponse, headers: http::HeaderMap) -> Response<InvokeResponse> {
    let mut response = Response::new(message);
    *response.metadata_mut() = MetadataMap::from_headers(headers);
    response
}

/// The code of gRPC that stands for a status of HTTP.
fn code_of(status: u16) -> Code {
    match status {
        400 => Code::Internal,
        401 => Code::Unauthenticated,
        403 => Code::PermissionDenied,
        404 => Code::NotFound,
        408 => Code::Cancelled,
        409 => Code::AlreadyExists,
        429 => Code::ResourceExhausted,
        501 => Code::Unimplemented,
        503 => Code::Unavailable,
        504 => Code::DeadlineExceeded,
        _ => Code::Unknown,
    }
}
