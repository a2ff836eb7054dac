//! The way to an app that is not on HTTP/1.1 in the clear: gRPC, TLS, HTTP/2 (runtime §2.2, §2.5).

use std::convert::Infallible;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bindery::grpc::proto::common::v1::{InvokeRequest, InvokeResponse, StateItem};
use bindery::grpc::proto::runtime::v1::app_callback_server::{AppCallback, AppCallbackServer};
use bindery::grpc::proto::runtime::v1::binding_event_response::BindingEventConcurrency;
use bindery::grpc::proto::runtime::v1::{
    BindingEventRequest, BindingEventResponse, ListInputBindingsResponse,
};
use bindery_testkit::certs::{Authority, Signed};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status};

use crate::support::{Running, free_port, request, resources, wait_for};

const SOON: Duration = Duration::from_secs(20);
const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// What listens on a port until it is dropped; then all its connections are gone too.
pub(crate) struct Listening {
    _runtime: tokio::runtime::Runtime,
}

/// TLS that offers one protocol, with a certificate that nobody knows.
fn tls(protocol: &str) -> TlsAcceptor {
    tls_as(&Authority::new().sign("localhost"), protocol)
}

/// TLS that offers one protocol, with this certificate.
pub(crate) fn tls_as(signed: &Signed, protocol: &str) -> TlsAcceptor {
    let certificate = PemObject::from_pem_slice(signed.certificate.as_bytes()).unwrap();
    let key = PemObject::from_pem_slice(signed.key.as_bytes()).unwrap();
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    config.alpn_protocols = vec![protocol.into()];
    TlsAcceptor::from(Arc::new(config))
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Serves each connection by a task of its own.
fn listen<F>(
    port: u16,
    tls: Option<TlsAcceptor>,
    serve: impl Fn(TokioIo<Box<dyn Stream>>) -> F + Send + Sync + 'static,
) -> Listening
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
    listener.set_nonblocking(true).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let serve = Arc::new(serve);
    runtime.spawn(async move {
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (serve, tls) = (Arc::clone(&serve), tls.clone());
            tokio::spawn(async move {
                let stream: Box<dyn Stream> = match tls {
                    // Whoever only looks at the port leaves before the handshake.
                    Some(tls) => match tls.accept(stream).await {
                        Ok(stream) => Box::new(stream),
                        Err(_) => return,
                    },
                    None => Box::new(stream),
                };
                serve(TokioIo::new(stream)).await;
            });
        }
    });
    Listening { _runtime: runtime }
}

/// HTTP/2 on each connection.
pub(crate) fn listen_http2<S, B>(port: u16, tls: Option<TlsAcceptor>, service: S) -> Listening
where
    S: Service<http::Request<Incoming>, Response = http::Response<B>, Error = Infallible>,
    S: Clone + Send + Sync + 'static,
    S::Future: Send,
    B: hyper::body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    listen(port, tls, move |stream| {
        let service = service.clone();
        async move {
            let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            let _ = server.serve_connection(stream, service).await;
        }
    })
}

type Answer = dyn Fn(&BindingEventRequest) -> Result<BindingEventResponse, Status> + Send + Sync;

/// An app over gRPC as the SDKs make them.
#[derive(Clone)]
pub struct App {
    inputs: Vec<String>,
    answer: Arc<Answer>,
    seen: Arc<Mutex<Vec<(BindingEventRequest, MetadataMap)>>>,
    asked: Arc<Mutex<Vec<MetadataMap>>>,
}

impl App {
    fn new(
        inputs: &[&str],
        answer: impl Fn(&BindingEventRequest) -> Result<BindingEventResponse, Status>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        Self {
            inputs: inputs.iter().map(ToString::to_string).collect(),
            answer: Arc::new(answer),
            seen: Arc::default(),
            asked: Arc::default(),
        }
    }

    /// An app that takes every event of `tick`.
    pub fn taking() -> Self {
        Self::new(&["tick"], |_| Ok(BindingEventResponse::default()))
    }

    pub fn start(&self, port: u16, tls: Option<TlsAcceptor>) -> Listening {
        let service = AppCallbackServer::new(self.clone());
        listen_http2(port, tls, TowerToHyperService::new(service))
    }

    fn count(&self) -> usize {
        self.seen.lock().unwrap().len()
    }
}

#[tonic::async_trait]
impl AppCallback for App {
    async fn on_invoke(
        &self,
        _: Request<InvokeRequest>,
    ) -> Result<Response<InvokeResponse>, Status> {
        Err(Status::unimplemented("it takes events only"))
    }

    async fn list_input_bindings(
        &self,
        request: Request<()>,
    ) -> Result<Response<ListInputBindingsResponse>, Status> {
        self.asked.lock().unwrap().push(request.metadata().clone());
        let bindings = self.inputs.clone();
        Ok(Response::new(ListInputBindingsResponse { bindings }))
    }

    async fn on_binding_event(
        &self,
        request: Request<BindingEventRequest>,
    ) -> Result<Response<BindingEventResponse>, Status> {
        let metadata = request.metadata().clone();
        let event = request.into_inner();
        let answer = (self.answer)(&event);
        self.seen.lock().unwrap().push((event, metadata));
        answer.map(Response::new)
    }
}

/// A sidecar with cron components, and two outputs that store files.
fn sidecar(
    folder: &std::path::Path,
    inputs: &[&str],
    protocol: &str,
    port: u16,
    env: &[(&str, &str)],
) -> Running {
    let every = [("schedule", "@every 100ms")];
    let roots = ["one", "two"].map(|name| folder.join(name).display().to_string());
    let settings = roots.each_ref().map(|root| [("rootPath", root.as_str())]);
    let mut components: Vec<crate::support::Component<'_>> = inputs
        .iter()
        .map(|name| (*name, "bindings.cron", &every[..]))
        .collect();
    components.push(("one", "bindings.localstorage", &settings[0]));
    components.push(("two", "bindings.localstorage", &settings[1]));
    let port = port.to_string();
    let flags = ["--app-port", &port, "--app-protocol", protocol];
    Running::sidecar_with(&resources(folder, &components), &flags, env)
}

#[test]
fn an_app_gets_the_events_that_it_lists() {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let app = App::taking();
    let _listening = app.start(port, None);
    let token = [("APP_API_TOKEN", "s3cret")];
    let bindery = sidecar(folder.path(), &["tick", "tock"], "gRPC", port, &token);
    bindery.wait_until_ready();
    wait_for("two events", SOON, || app.count() > 1);
    bindery.wait_for_log("application protocol: grpc. waiting on port");
    bindery.wait_for_log("app has not subscribed to binding tock.");
    let seen = app.seen.lock().unwrap();
    assert!(seen.iter().all(|(event, _)| event.name == "tick"));
    let (event, headers) = &seen[0];
    assert!(event.metadata.contains_key("readTimeUTC"), "{event:?}");
    assert_eq!(headers.get("dapr-api-token").unwrap(), "s3cret");
    assert_eq!(headers.get("traceparent").unwrap().len(), PARENT.len());
    let binary = headers.get_bin("grpc-trace-bin").unwrap().to_bytes();
    assert_eq!(binary.unwrap().len(), 29);
    // The token is for events only.
    let asked = app.asked.lock().unwrap();
    assert!(
        asked
            .iter()
            .all(|headers| headers.get("dapr-api-token").is_none())
    );
    let metadata: serde_json::Value =
        serde_json::from_slice(&bindery.get("/v1.0/metadata").body).unwrap();
    assert_eq!(metadata["appConnectionProperties"]["protocol"], "grpc");
}

#[test]
fn an_app_without_the_method_wants_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let service =
        service_fn(|_| async { Ok(Status::unimplemented("").into_http::<Full<bytes::Bytes>>()) });
    let _listening = listen_http2(port, None, service);
    let bindery = sidecar(folder.path(), &["tick"], "grpc", port, &[]);
    bindery.wait_for_log("app has not subscribed to binding tick.");
    bindery.wait_until_ready();
}

#[test]
fn an_error_refuses_an_event_and_is_said_with_its_code() {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let app = App::new(&["tick"], |_| Err(Status::failed_precondition("not now")));
    let _listening = app.start(port, None);
    let bindery = sidecar(folder.path(), &["tick"], "grpc", port, &[]);
    bindery.wait_for_log(
        "the app refused an event: error invoking app: rpc error: code = FailedPrecondition desc \
         = not now",
    );
    wait_for("the status to count it", SOON, || {
        let metadata = bindery.get("/v1.0/metadata");
        let metadata: serde_json::Value = serde_json::from_slice(&metadata.body).unwrap();
        let bindings = metadata["bindings"].as_array().unwrap();
        let tick = bindings.iter().find(|binding| binding["name"] == "tick");
        tick.unwrap()["sides"][0]["refused"].as_u64() > Some(0)
    });
}

#[test]
fn what_an_answer_asks_for_is_done() {
    for (concurrency, data, stored) in [
        (
            BindingEventConcurrency::Sequential,
            "{\"b\": 1.10, \"a\":[ ]}",
            b"{\"b\":1.10,\"a\":[]}".to_vec(),
        ),
        (
            BindingEventConcurrency::Parallel,
            "not JSON",
            // `null`, which this output takes for base64.
            vec![0x9e, 0xe9, 0x65],
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let port = free_port();
        let app = App::new(&["tick"], move |_| {
            Ok(BindingEventResponse {
                to: vec!["one".into(), "two".into()],
                data: data.into(),
                concurrency: concurrency.into(),
                ..BindingEventResponse::default()
            })
        });
        let _listening = app.start(port, None);
        let _bindery = sidecar(folder.path(), &["tick"], "grpc", port, &[]);
        for output in ["one", "two"] {
            let root = folder.path().join(output);
            let first = || std::fs::read_dir(&root).ok()?.next()?.ok();
            wait_for("a file", SOON, || first().is_some());
            let path = first().unwrap().path();
            wait_for("what is in it", SOON, || {
                std::fs::read(&path).unwrap() == stored
            });
        }
    }
}

#[test]
fn state_is_not_saved_and_that_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let app = App::new(&["tick"], |_| {
        Ok(BindingEventResponse {
            store_name: "store".into(),
            states: vec![StateItem::default()],
            ..BindingEventResponse::default()
        })
    });
    let _listening = app.start(port, None);
    let bindery = sidecar(folder.path(), &["tick"], "grpc", port, &[]);
    bindery.wait_for_log("there are no state stores");
}

#[test]
fn an_app_that_goes_away_gets_events_again_within_seconds_of_its_return() {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let app = App::taking();
    let listening = app.start(port, None);
    let bindery = sidecar(folder.path(), &["tick"], "grpc", port, &[]);
    wait_for("an event", SOON, || app.count() > 0);
    drop(listening);
    bindery.wait_for_log(
        "the app refused an event: error invoking app: rpc error: code = Unavailable",
    );

    // In its place something that takes connections and never says a word.
    let silent = listen(port, None, |stream| async move {
        let _held = stream;
        std::future::pending::<()>().await;
    });
    bindery.wait_for_log("said nothing");
    drop(silent);

    let app = App::taking();
    let _listening = app.start(port, None);
    let back = Instant::now();
    wait_for("an event again", SOON, || app.count() > 0);
    // What stalls is given up after three seconds, and a backoff may have to end.
    assert!(
        back.elapsed() < Duration::from_secs(10),
        "{:?}",
        back.elapsed()
    );
    assert_eq!(bindery.get("/v1.0/healthz").status, 204);
}

#[test]
fn an_app_under_tls_is_not_asked_who_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let app = App::taking();
    let _listening = app.start(port, Some(tls("h2")));
    let bindery = sidecar(folder.path(), &["tick"], "grpcs", port, &[]);
    wait_for("an event", SOON, || app.count() > 0);
    bindery.wait_until_ready();
}

#[test]
fn an_app_that_goes_in_the_middle_of_a_call_is_unavailable() {
    let folder = tempfile::tempdir().unwrap();
    let (port, metrics) = (free_port(), free_port());
    let app = AppCallbackServer::new(App::taking());
    let _listening = listen(port, None, move |stream| {
        let app = TowerToHyperService::new(app.clone());
        let cut = Arc::new(tokio::sync::Notify::new());
        let goes = Arc::clone(&cut);
        let service = service_fn(move |request: http::Request<Incoming>| {
            let (app, goes) = (app.clone(), Arc::clone(&goes));
            async move {
                if request.uri().path().ends_with("/ListInputBindings") {
                    return app.call(request).await;
                }
                goes.notify_one();
                std::future::pending().await
            }
        });
        async move {
            let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            tokio::select! {
                _ = server.serve_connection(stream, service) => {}
                () = cut.notified() => {}
            }
        }
    });
    let every = [("schedule", "@every 100ms")];
    let components = resources(folder.path(), &[("tick", "bindings.cron", &every)]);
    let flags = format!("--app-protocol grpc --app-port {port} --metrics-port {metrics}");
    let flags: Vec<&str> = flags.split(' ').collect();
    let bindery = Running::sidecar(&components, &flags);
    bindery.wait_until_ready();
    let answer = bindery.get("/v1.0/invoke/test/method/x");
    let says = "error invoking app: rpc error: code = Unavailable desc = ";
    assert!(answer.text().contains(says), "{}", answer.text());
    for method in ["OnInvoke", "OnBindingEvent"] {
        let line = format!(
            "dapr_grpc_io_client_completed_rpcs{{app_id=\"test\",grpc_client_method=\"/dapr.proto.\
             runtime.v1.AppCallback/{method}\",grpc_client_status=\"Unavailable\"}}"
        );
        wait_for(&line, SOON, || {
            let answer = request(metrics, "GET", "/metrics", &[], b"");
            answer.is_ok_and(|answer| answer.text().contains(&line))
        });
    }
}

#[test]
fn an_app_over_http_may_use_tls_or_http2() {
    for protocol in ["https", "h2c"] {
        let folder = tempfile::tempdir().unwrap();
        let port = free_port();
        let seen: Arc<Mutex<Vec<String>>> = Arc::default();
        let note = Arc::clone(&seen);
        let service = service_fn(move |request: http::Request<Incoming>| {
            let line = format!("{} {:?}", request.method(), request.version());
            note.lock().unwrap().push(line);
            async { Ok::<_, Infallible>(http::Response::new(Full::<bytes::Bytes>::default())) }
        });
        let _listening = if protocol == "h2c" {
            listen_http2(port, None, service)
        } else {
            listen(port, Some(tls("http/1.1")), move |stream| {
                let service = service.clone();
                async move {
                    let server = hyper::server::conn::http1::Builder::new();
                    let _ = server.serve_connection(stream, service).await;
                }
            })
        };
        let bindery = sidecar(folder.path(), &["tick"], protocol, port, &[]);
        let version = if protocol == "h2c" {
            "HTTP/2.0"
        } else {
            "HTTP/1.1"
        };
        for method in ["GET", "OPTIONS", "POST"] {
            let line = format!("{method} {version}");
            wait_for(&line, SOON, || seen.lock().unwrap().contains(&line));
        }
        bindery.wait_until_ready();
    }
}
