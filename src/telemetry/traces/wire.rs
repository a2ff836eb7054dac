//! How spans are sent: OpenTelemetry's protocol over gRPC and HTTP, Zipkin's, and lines of the
//! log.

use std::task::{Context, Poll};
use std::time::Duration;

use bindery_contract::tls::ClientTls;
use bindery_contract::{Cause, Chain};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http::uri::Scheme;
use http::{Request, Uri};
use http_body_util::Full;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_proto::transform::trace::tonic::group_spans_by_resource_and_scope;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SpanData;
use prost::Message;
use tonic::transport::{Channel, Endpoint};
use tower_service::Service;

use super::settings::{Otlp, Settings};
use super::zipkin;

/// How long sending to Zipkin may take.
const ZIPKIN_TIMEOUT: Duration = Duration::from_secs(10);

/// One place that spans are sent to.
pub(super) struct Exporter {
    way: Way,
    resource: Resource,
    /// Where that is, for the log.
    pub(super) target: String,
    pub(super) timeout: Duration,
}

enum Way {
    Grpc {
        client: Box<TraceServiceClient<Channel>>,
        headers: HeaderMap,
    },
    Http {
        client: HttpClient,
        uri: Uri,
        headers: HeaderMap,
    },
    Zipkin {
        client: HttpClient,
        uri: Uri,
    },
    Log,
}

type HttpClient = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

impl Exporter {
    /// All that are configured. One whose address is none is said and left out, as the reference
    /// does it.
    pub(super) fn all(settings: &Settings) -> Vec<Self> {
        let resource = Resource::builder_empty()
            .with_attributes(settings.resource.clone())
            .build();
        let mut ways: Vec<(String, Duration, Result<Way, Cause>)> = Vec::new();
        if let Some(otlp) = &settings.otlp {
            ways.push((otlp.endpoint.clone(), otlp.timeout, of_otlp(otlp)));
        }
        if let Some(address) = &settings.zipkin {
            ways.push((address.clone(), ZIPKIN_TIMEOUT, of_zipkin(address)));
        }
        if settings.stdout {
            ways.push(("the log".into(), ZIPKIN_TIMEOUT, Ok(Way::Log)));
        }
        let usable = ways
            .into_iter()
            .filter_map(|(target, timeout, way)| match way {
                Ok(way) => Some(Self {
                    way,
                    resource: resource.clone(),
                    target,
                    timeout,
                }),
                Err(error) => {
                    tracing::error!(
                        target: "dapr.runtime", "no spans are sent to {target:?}: {error}"
                    );
                    None
                }
            });
        usable.collect()
    }

    /// Sends a batch.
    pub(super) async fn send(&self, batch: Vec<SpanData>) -> Result<(), String> {
        match &self.way {
            Way::Grpc { client, headers } => {
                let mut request = tonic::Request::new(self.message(batch));
                let metadata = tonic::metadata::MetadataMap::from_headers(headers.clone());
                *request.metadata_mut() = metadata;
                let answer = client.as_ref().clone().export(request).await;
                answer
                    .map(drop)
                    .map_err(|status| match std::error::Error::source(&status) {
                        Some(source) => Chain(source).to_string(),
                        None => format!("{:?}: {}", status.code(), status.message()),
                    })
            }
            Way::Http {
                client,
                uri,
                headers,
            } => {
                let body = self.message(batch).encode_to_vec();
                post(client, uri, "application/x-protobuf", headers, body).await
            }
            Way::Zipkin { client, uri } => {
                let body = zipkin::encode(&batch, &self.resource);
                post(client, uri, "application/json", &HeaderMap::new(), body).await
            }
            Way::Log => {
                for span in &batch {
                    let span = zipkin::one(span, "");
                    tracing::info!(target: "dapr.runtime.trace", "{span}");
                }
                Ok(())
            }
        }
    }

    fn message(&self, batch: Vec<SpanData>) -> ExportTraceServiceRequest {
        let resource = ResourceAttributesWithSchema::from(&self.resource);
        ExportTraceServiceRequest {
            resource_spans: group_spans_by_resource_and_scope(batch, &resource),
        }
    }
}

fn of_otlp(otlp: &Otlp) -> Result<Way, Cause> {
    let uri: Uri = otlp.endpoint.parse()?;
    let mut headers = HeaderMap::new();
    for (name, value) in &otlp.headers {
        let mut value = HeaderValue::try_from(value)?;
        // Keys to a collector, most of the time.
        value.set_sensitive(true);
        headers.insert(HeaderName::try_from(name)?, value);
    }
    if otlp.over_http {
        return Ok(Way::Http {
            client: client(&uri)?,
            uri,
            headers,
        });
    }
    // The connector decides about TLS; the channel itself must not.
    let authority = uri.authority().ok_or("it names no host")?.clone();
    let endpoint = Endpoint::from_shared(format!("http://{authority}"))?.origin(uri.clone());
    let toward = Toward {
        connector: connector(&uri)?,
        uri,
    };
    let channel = endpoint.connect_with_connector_lazy(toward);
    Ok(Way::Grpc {
        client: Box::new(TraceServiceClient::new(channel)),
        headers,
    })
}

fn of_zipkin(address: &str) -> Result<Way, Cause> {
    let uri: Uri = address.parse()?;
    uri.host().ok_or("it names no host")?;
    Ok(Way::Zipkin {
        client: client(&uri)?,
        uri,
    })
}

/// Connections to one place, whatever the channel asks for.
#[derive(Clone)]
struct Toward {
    connector: HttpsConnector<HttpConnector>,
    uri: Uri,
}

impl Service<Uri> for Toward {
    type Response = <HttpsConnector<HttpConnector> as Service<Uri>>::Response;
    type Error = <HttpsConnector<HttpConnector> as Service<Uri>>::Error;
    type Future = <HttpsConnector<HttpConnector> as Service<Uri>>::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.connector.poll_ready(cx)
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        self.connector.call(self.uri.clone())
    }
}

/// In the clear or over TLS, as the address says. In the clear nothing has to be trusted, and no
/// certificate is looked for.
fn connector(uri: &Uri) -> Result<HttpsConnector<HttpConnector>, Cause> {
    let tls = ClientTls {
        insecure: uri.scheme() == Some(&Scheme::HTTP),
        ..ClientTls::default()
    };
    Ok(HttpsConnectorBuilder::new()
        .with_tls_config(tls.config()?)
        .https_or_http()
        .enable_all_versions()
        .build())
}

fn client(uri: &Uri) -> Result<HttpClient, Cause> {
    Ok(Client::builder(TokioExecutor::new()).build(connector(uri)?))
}

async fn post(
    client: &HttpClient,
    uri: &Uri,
    content_type: &'static str,
    headers: &HeaderMap,
    body: Vec<u8>,
) -> Result<(), String> {
    let mut request = Request::post(uri.clone());
    if let Some(all) = request.headers_mut() {
        all.extend(headers.clone());
        all.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    }
    let request = request
        .body(Full::from(body))
        .map_err(|error| error.to_string())?;
    let answer = client.request(request).await;
    let answer = answer.map_err(|error| Chain(&error).to_string())?;
    if answer.status().is_success() {
        return Ok(());
    }
    Err(format!("it answers {}", answer.status()))
}
