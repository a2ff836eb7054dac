//! The public port (runtime §6.1): health and metadata, for everybody who reaches it and without
//! a token. Nothing else is ever served there.

use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse};

use super::api::ApiHere;
use super::observed::{Port, observing};
use super::path::Route;
use super::reply;

pub(super) async fn serve(request: &HttpRequest, payload: Payload, api: &ApiHere) -> HttpResponse {
    observing(Port::Public, request, payload, api, answer).await
}

async fn answer(request: &HttpRequest, payload: Payload, api: &ApiHere) -> HttpResponse {
    match Route::of(request.method(), request.path()) {
        Route::Healthz => api.health(request.query_string()),
        Route::HealthzOutbound => api.outbound_health(),
        Route::Metadata => api.metadata(),
        Route::SetMetadata(key) => api.set_metadata(key, payload).await,
        _ => reply::plain(StatusCode::NOT_FOUND, "404 page not found\n"),
    }
}
