//! Everything that is no endpoint of ours: a call of the app, if it names one (runtime §6.1).
//!
//! The app is named by the path, `/v1.0/invoke/{app-id}/method/{method}`, by the header
//! `dapr-app-id`, or by the name in `Authorization: Basic`; the path is the method then.

use actix_web::body::{BodyStream, SizedStream};
use actix_web::dev::Payload;
use actix_web::http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::stream;
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Bytes, Incoming};
use tonic::{Code, Status};

use super::api::Api;
use super::path::decode;
use super::{body, reply};
use crate::app::{AppAnswer, AppRequest, passed_on};
use crate::grpc::proto::common::v1::http_extension::Verb;
use crate::grpc::proto::common::v1::{HttpExtension, InvokeRequest, InvokeResponse};
use crate::trace::TraceContext;

/// The code of everything that goes wrong here.
const FAILED: &str = "ERR_DIRECT_INVOKE";

impl Api {
    /// Calls the app that the request is for; without one, it is for nobody.
    pub(super) async fn invoke_app(
        &self,
        request: &HttpRequest,
        payload: Payload,
        trace: &TraceContext,
    ) -> HttpResponse {
        if !self.lets_invoke() {
            return reply::plain(StatusCode::NOT_FOUND, "404 page not found\n");
        }
        let Some((app_id, method)) = target(request.path(), request.headers()) else {
            return reply::error(
                StatusCode::NOT_FOUND,
                FAILED,
                "failed getting app id either from the URL path or the header dapr-app-id",
            );
        };
        let failed = |reason: &dyn std::fmt::Display| {
            let message = format!("failed to invoke, id: {app_id}, err: {reason}");
            reply::error(StatusCode::INTERNAL_SERVER_ERROR, FAILED, &message)
        };
        let body = match body::read(payload, self.max_body()).await {
            Ok(body) => body,
            Err(error) => return failed(&format!("error invoking app: {error}")),
        };
        let mut headers = passed_on(&headers_of(request.headers()));
        trace.put_into(&mut headers);
        let content_type = request.headers().get(CONTENT_TYPE);
        let content_type = content_type.and_then(|value| value.to_str().ok());
        let verb = Verb::from_str_name(request.method().as_str());
        let message = InvokeRequest {
            method,
            data: Some(prost_types::Any {
                value: body.into(),
                ..prost_types::Any::default()
            }),
            content_type: content_type.unwrap_or_default().to_owned(),
            http_extension: Some(HttpExtension {
                verb: verb.unwrap_or_default().into(),
                querystring: request.query_string().to_owned(),
            }),
        };
        let asked = AppRequest { message, headers };
        match self.callee().call(&app_id, asked).await {
            Ok(AppAnswer::Http(answer)) => of_http(answer, request.method()),
            Ok(AppAnswer::Grpc(answer)) => of_grpc(answer),
            Ok(AppAnswer::Refused(status)) => of_refusal(&status),
            Err(error) => failed(&error),
        }
    }
}

/// The app that is meant, and what of it.
fn target(path: &str, headers: &HeaderMap) -> Option<(String, String)> {
    let named = headers.get("dapr-app-id").map(HeaderValue::as_bytes);
    let named = named.map(|name| String::from_utf8_lossy(name).into_owned());
    let named = named.filter(|name| !name.is_empty());
    if let Some(app_id) = named.or_else(|| named_by_user(headers)) {
        return Some((app_id, cleaned(path)));
    }
    let rest = path.trim_start_matches('/').strip_prefix("v1.0/")?;
    let rest = rest.trim_start_matches('/').strip_prefix("invoke/")?;
    let (app_id, method) = rest.trim_start_matches('/').split_once("/method/")?;
    let decoded = decode("app-id", app_id).unwrap_or_else(|_| app_id.to_owned());
    (!decoded.is_empty()).then(|| (decoded, method.to_owned()))
}

/// `http://dapr-app-id:{app-id}@…`.
fn named_by_user(headers: &HeaderMap) -> Option<String> {
    let given = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let given = STANDARD.decode(given.strip_prefix("Basic ")?).ok()?;
    let given = String::from_utf8(given).ok()?;
    let (user, app_id) = given.split_once(':')?;
    let is_name = user.eq_ignore_ascii_case("dapr-app-id");
    (is_name && !app_id.is_empty() && !app_id.contains(':')).then(|| app_id.to_owned())
}

/// A path without doubled slashes and dot segments, and without its first slash; one at the end
/// stays.
fn cleaned(path: &str) -> String {
    let mut segments: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(segments.pop()),
            segment => segments.push(segment),
        }
    }
    let mut method = segments.join("/");
    if path.ends_with('/') && !method.is_empty() {
        method.push('/');
    }
    method
}

/// The headers as the other HTTP library has them.
fn headers_of(headers: &HeaderMap) -> http::HeaderMap {
    let pairs = headers.iter().filter_map(|(name, value)| {
        let name = http::HeaderName::from_bytes(name.as_str().as_bytes()).ok()?;
        Some((name, http::HeaderValue::from_bytes(value.as_bytes()).ok()?))
    });
    let mut copied = http::HeaderMap::new();
    for (name, value) in pairs {
        copied.append(name, value);
    }
    copied
}

/// An answer with a status, and the app's headers.
fn answer(status: u16, headers: &http::HeaderMap) -> HttpResponseBuilder {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut answer = HttpResponse::build(status);
    for (name, value) in &passed_on(headers) {
        let name = HeaderName::from_bytes(name.as_str().as_bytes());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(value.as_bytes())) {
            answer.append_header((name, value));
        }
    }
    answer
}

/// What the app has answered over HTTP, as it is, and while it is still coming.
fn of_http(response: http::Response<Incoming>, asked: &Method) -> HttpResponse {
    let (head, body) = response.into_parts();
    let mut answer = answer(head.status.as_u16(), &head.headers);
    if let Some(kind) = head.headers.get(http::header::CONTENT_TYPE) {
        answer.insert_header((CONTENT_TYPE, kind.as_bytes()));
    }
    if *asked == Method::HEAD {
        // How long it would have been is all that there is of it.
        let length = head.headers.get(http::header::CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
        let nothing = stream::empty::<Result<Bytes, hyper::Error>>();
        return match length {
            Some(length) => answer.body(SizedStream::new(length, nothing)),
            None => answer.finish(),
        };
    }
    match body.size_hint().exact() {
        Some(0) => answer.finish(),
        Some(length) => answer.body(SizedStream::new(length, body.into_data_stream())),
        None => answer.body(BodyStream::new(body.into_data_stream())),
    }
}

/// What the app has answered over gRPC.
fn of_grpc(response: tonic::Response<InvokeResponse>) -> HttpResponse {
    let (metadata, message, _) = response.into_parts();
    let mut answer = answer(200, metadata.as_ref());
    if !message.content_type.is_empty() {
        answer.insert_header((CONTENT_TYPE, message.content_type));
    }
    answer.body(message.data.unwrap_or_default().value)
}

/// That the app over gRPC does not want to, as JSON.
fn of_refusal(status: &Status) -> HttpResponse {
    let document = serde_json::json!({
        "code": i32::from(status.code()),
        "message": status.message(),
    });
    answer(status_of(status.code()), status.metadata().as_ref())
        .insert_header((CONTENT_TYPE, "application/json"))
        .body(document.to_string())
}

/// The status of HTTP that stands for a code of gRPC.
fn status_of(code: Code) -> u16 {
    match code {
        Code::Ok => 200,
        Code::Cancelled => 408,
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => 400,
        Code::DeadlineExceeded => 504,
        Code::NotFound => 404,
        Code::AlreadyExists | Code::Aborted => 409,
        Code::PermissionDenied => 403,
        Code::Unauthenticated => 401,
        Code::ResourceExhausted => 429,
        Code::Unimplemented => 501,
        Code::Unavailable => 503,
        Code::Unknown | Code::Internal | Code::DataLoss => 500,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target_of(path: &str, header: Option<(HeaderName, &'static str)>) -> Option<String> {
        let mut headers = HeaderMap::new();
        if let Some((name, value)) = header {
            headers.insert(name, HeaderValue::from_static(value));
        }
        target(path, &headers).map(|(app_id, method)| format!("{app_id} {method}"))
    }

    #[test]
    fn an_app_is_named_by_the_path() {
        for (path, is) in [
            ("/v1.0/invoke/shop/method/orders/1", Some("shop orders/1")),
            ("//v1.0//invoke//shop/method/a//b/", Some("shop a//b/")),
            ("/v1.0/invoke/shop/method/", Some("shop ")),
            ("/v1.0/invoke/my%20shop/method/a%2Fb", Some("my shop a%2Fb")),
            (
                "/v1.0/invoke/http://x.example/method/a",
                Some("http://x.example a"),
            ),
            ("/v1.0/invoke/shop/method", None),
            ("/v1.0/invoke/shop", None),
            ("/v1.0/invoke//method/a", None),
            ("/v1.1/invoke/shop/method/a", None),
            ("/orders", None),
        ] {
            assert_eq!(target_of(path, None).as_deref(), is, "{path}");
        }
    }

    #[test]
    fn an_app_is_named_by_a_header() {
        let app_id = |value| Some((HeaderName::from_static("dapr-app-id"), value));
        assert_eq!(
            target_of("/a/./b//c/../d/", app_id("shop")).unwrap(),
            "shop a/b/d/"
        );
        assert_eq!(target_of("/", app_id("shop")).unwrap(), "shop ");
        assert_eq!(target_of("/a", app_id("")), None);
        // dapr-app-id:shop, somebody:else, dapr-app-id: and dapr-app-id:a:b.
        for (value, is) in [
            ("Basic ZGFwci1hcHAtaWQ6c2hvcA==", Some("shop a")),
            ("Basic c29tZWJvZHk6ZWxzZQ==", None),
            ("Basic ZGFwci1hcHAtaWQ6", None),
            ("Basic ZGFwci1hcHAtaWQ6YTpi", None),
            ("Bearer x", None),
        ] {
            assert_eq!(target_of("/a", Some((AUTHORIZATION, value))).as_deref(), is);
        }
    }
}
