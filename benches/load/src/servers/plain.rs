//! Handlers written by hand, without anything but their one purpose.

use std::io;
use std::net::{Ipv4Addr, TcpListener};

use actix_web::http::KeepAlive;
use actix_web::web::{self, Bytes, ServiceConfig};
use actix_web::{App, HttpResponse, HttpServer, error};
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Request, Uri};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{until_unwanted, workers};

/// A client with a pool of connections, as whoever writes this by hand would take it.
pub(super) type Hyper = Client<HttpConnector, Full<Bytes>>;

const JSON: HeaderValue = HeaderValue::from_static("application/json");

async fn serve(
    configure: impl FnOnce(&mut ServiceConfig) + Clone + Send + 'static,
) -> io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let port = listener.local_addr()?.port();
    let server = HttpServer::new(move || App::new().configure(configure.clone()))
        .workers(workers())
        // Without a timer for each connection, as Bindery has it.
        .keep_alive(KeepAlive::Os)
        .listen(listener)?
        .run();
    actix_rt::spawn(server);
    until_unwanted(port).await;
    Ok(())
}

/// Answers a body of the same kind and length as the echo, without reading what it is sent.
pub(super) async fn bare() -> io::Result<()> {
    async fn answer(body: Bytes) -> HttpResponse {
        let start = body
            .iter()
            .rposition(|byte| *byte == b':')
            .map_or(0, |colon| colon + 1);
        let data = body.slice(start..body.len().saturating_sub(1).max(start));
        HttpResponse::Ok()
            .content_type("application/json")
            .body(data)
    }
    serve(|config| {
        config.default_service(web::to(answer));
    })
    .await
}

/// Answers with what it is sent.
pub(super) async fn upstream() -> io::Result<()> {
    async fn answer(body: Bytes) -> HttpResponse {
        HttpResponse::Ok()
            .content_type("application/json")
            .body(body)
    }
    serve(|config| {
        config.default_service(web::to(answer));
    })
    .await
}

/// Takes every event.
pub(super) async fn app() -> io::Result<()> {
    async fn answer(_: Bytes) -> HttpResponse {
        HttpResponse::Ok().finish()
    }
    serve(|config| {
        config.default_service(web::to(answer));
    })
    .await
}

/// Where everything is posted to.
#[derive(Clone)]
pub(super) struct Target {
    client: Hyper,
    uri: Uri,
}

impl Target {
    /// A path of the server on a port, with a pool of connections of its own.
    pub(super) fn new(port: u16, path: &str) -> io::Result<Self> {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let uri = format!("http://127.0.0.1:{port}{path}").parse();
        Ok(Self {
            client: Client::builder(TokioExecutor::new()).build(connector),
            uri: uri.map_err(io::Error::other)?,
        })
    }

    /// Posts JSON and returns the whole answer, which must be a 200.
    pub(super) async fn post(
        &self,
        data: Bytes,
        header: Option<(&'static str, HeaderValue)>,
    ) -> io::Result<Bytes> {
        let mut request = Request::post(self.uri.clone()).header(CONTENT_TYPE, JSON);
        if let Some((name, value)) = header {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(data)).map_err(io::Error::other)?;
        let answer = self
            .client
            .request(request)
            .await
            .map_err(io::Error::other)?;
        if !answer.status().is_success() {
            return Err(io::Error::other(answer.status().to_string()));
        }
        let body = answer.into_body().collect().await;
        Ok(body.map_err(io::Error::other)?.to_bytes())
    }
}

/// Posts `data` of each request to the upstream, and answers with its answer.
pub(super) async fn forwarder(to: u16) -> io::Result<()> {
    #[derive(Deserialize)]
    struct Body<'a> {
        #[serde(borrow)]
        data: &'a RawValue,
    }
    async fn answer(body: Bytes, target: web::Data<Target>) -> actix_web::Result<HttpResponse> {
        let parsed: Body<'_> = serde_json::from_slice(&body).map_err(error::ErrorBadRequest)?;
        let data = body.slice_ref(parsed.data.get().as_bytes());
        let answer = target.post(data, None).await;
        Ok(HttpResponse::Ok()
            .content_type("application/json")
            .body(answer.map_err(error::ErrorBadGateway)?))
    }
    // Where it leads is checked once; each thread then has a pool of its own.
    Target::new(to, "/")?;
    serve(move |config| {
        if let Ok(target) = Target::new(to, "/") {
            config.app_data(web::Data::new(target));
        }
        config.default_service(web::to(answer));
    })
    .await
}
