//! Traces, as collectors get them (runtime §6.7): OpenTelemetry's over HTTP and gRPC, read with
//! its own message types, and Zipkin's.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bindery_testkit::certs::{self, Authority};
use hyper_util::service::TowerToHyperService;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use prost::Message;
use tokio_rustls::TlsAcceptor;
use tonic::{Request, Response, Status};

use crate::grpc_app::{Listening, listen_http2, tls_as};
use crate::support::{App, Running, free_port, request, resources, wait_for};

const SOON: Duration = Duration::from_secs(20);
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn configuration(folder: &Path, tracing: &str) -> String {
    let file = folder.join("configuration.yaml");
    std::fs::write(
        &file,
        format!("kind: Configuration\nspec:\n  tracing: {tracing}\n"),
    )
    .unwrap();
    file.display().to_string()
}

fn texts(attributes: &[KeyValue]) -> BTreeMap<&str, &str> {
    let text = |pair: &'_ KeyValue| match pair.value.as_ref()?.value.as_ref()? {
        Value::StringValue(_) => Some(()),
        _ => None,
    };
    let pairs = attributes.iter().filter(|pair| text(pair).is_some());
    let pairs = pairs.map(|pair| {
        let value = pair.value.as_ref().and_then(|value| value.value.as_ref());
        match value {
            Some(Value::StringValue(text)) => (pair.key.as_str(), text.as_str()),
            _ => unreachable!("only texts are left"),
        }
    });
    pairs.collect()
}

/// What a collector was sent.
#[derive(Clone, Default)]
struct Collected(Arc<Mutex<Vec<ExportTraceServiceRequest>>>, Keys);

/// The header `x-key` of each request over gRPC.
type Keys = Arc<Mutex<Vec<Option<String>>>>;

impl Collected {
    fn spans(&self) -> Vec<Span> {
        let all = self.0.lock().unwrap();
        let scopes = all.iter().flat_map(|sent| &sent.resource_spans);
        let scopes = scopes.flat_map(|resource| &resource.scope_spans);
        scopes.flat_map(|scope| scope.spans.clone()).collect()
    }

    fn wait_for(&self, name: &str) -> Span {
        let find = || self.spans().into_iter().find(|span| span.name == name);
        wait_for(name, SOON, || find().is_some());
        find().unwrap()
    }
}

/// A collector over HTTP.
fn over_http(port: u16) -> (App, Collected) {
    let collected = Collected::default();
    let kept = collected.clone();
    let app = App::start(port, move |request| {
        assert_eq!(request.path, "/v1/traces");
        assert_eq!(
            request.header("content-type"),
            Some("application/x-protobuf")
        );
        assert_eq!(request.header("x-key"), Some("s3cret"));
        let sent = ExportTraceServiceRequest::decode(&*request.body).unwrap();
        kept.0.lock().unwrap().push(sent);
        (200, String::new())
    });
    (app, collected)
}

#[tonic::async_trait]
impl TraceService for Collected {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let key = request.metadata().get("x-key");
        let key = key.and_then(|key| key.to_str().ok()).map(str::to_owned);
        self.1.lock().unwrap().push(key);
        self.0.lock().unwrap().push(request.into_inner());
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

/// A collector over gRPC, perhaps under TLS.
fn over_grpc(port: u16, tls: Option<TlsAcceptor>) -> (Listening, Collected) {
    let collected = Collected::default();
    let service = TraceServiceServer::new(collected.clone());
    let listening = listen_http2(port, tls, TowerToHyperService::new(service));
    (listening, collected)
}

fn hex(bytes: &[u8]) -> String {
    let each = bytes.iter();
    each.flat_map(|byte| [byte >> 4, byte & 0xf])
        .filter_map(|digit| char::from_digit(digit.into(), 16))
        .collect()
}

fn check_who_tells(collected: &Collected) {
    let all = collected.0.lock().unwrap();
    let resource = all[0].resource_spans[0].resource.as_ref().unwrap();
    assert_eq!(texts(&resource.attributes)["service.name"], "test");
    let scope = all[0].resource_spans[0].scope_spans[0]
        .scope
        .as_ref()
        .unwrap();
    assert_eq!(scope.name, "dapr-diagnostics");
}

#[test]
fn a_call_and_an_event_are_spans_and_what_they_lead_to_is_below_them() {
    let folder = tempfile::tempdir().unwrap();
    let (app_port, collector_port) = (free_port(), free_port());
    let app = App::start(app_port, |request| match request.path.as_str() {
        "/fail" if request.method == "POST" => (500, "no".into()),
        _ => (200, "{}".into()),
    });
    let (_collector, collected) = over_http(collector_port);
    let url = format!("http://127.0.0.1:{app_port}/up");
    let components = resources(
        folder.path(),
        &[
            ("up", "bindings.http", &[("url", &url)]),
            ("tick", "bindings.cron", &[("schedule", "@every 200ms")]),
            ("fail", "bindings.cron", &[("schedule", "@every 200ms")]),
        ],
    );
    let spec = format!(
        "{{samplingRate: \"1\", otel: {{endpointAddress: \"127.0.0.1:{collector_port}\", protocol: \
         http, isSecure: false, headers: [\"x-key=s3cret\"]}}}}"
    );
    let configuration = configuration(folder.path(), &spec);
    let port = app_port.to_string();
    let flags = ["--app-port", &port, "--config", &configuration];
    let env = [("DAPR_API_TOKEN", "token")];
    let bindery = Running::sidecar_with(&components, &flags, &env);
    bindery.wait_for_log("Dapr trace sampler initialized: ParentBased{root:AlwaysOnSampler,");
    bindery.wait_until_ready();
    let answer = request(
        bindery.http_port,
        "POST",
        "/v1.0/bindings/up",
        &[
            ("traceparent", PARENT),
            ("dapr-api-token", "token"),
            ("dapr-mine", "yes"),
        ],
        br#"{"operation":"post"}"#,
    )
    .unwrap();
    assert_eq!(answer.status, 200);
    let call = collected.wait_for("/v1.0/bindings/up");
    assert_eq!(hex(&call.trace_id), TRACE);
    assert_eq!(hex(&call.parent_span_id), "00f067aa0ba902b7");
    assert_eq!(call.kind, SpanKind::Client as i32);
    let own = format!("00-{TRACE}-{}-01", hex(&call.span_id));
    assert_eq!(answer.header("traceparent"), Some(&*own));
    let upstream = app
        .seen()
        .into_iter()
        .find(|seen| seen.path == "/up")
        .unwrap();
    assert_eq!(upstream.header("traceparent"), Some(&*own));
    let mut attributes = texts(&call.attributes);
    assert_eq!(attributes.remove("server.address"), Some("127.0.0.1"));
    assert!(attributes.remove("server.port").is_some());
    assert!(
        attributes
            .remove("url.full")
            .unwrap()
            .ends_with("/v1.0/bindings/up")
    );
    let expected = [
        ("dapr-mine", "yes"),
        ("dapr.api", "POST /v1.0/bindings/up"),
        ("dapr.protocol", "http"),
        ("dapr.status_code", "200"),
        ("db.connection_string", "bindings"),
        ("db.name", "up"),
        ("db.statement", "POST /v1.0/bindings/up"),
        ("db.system", "bindings"),
        ("http.request.method", "POST"),
    ];
    assert_eq!(attributes, BTreeMap::from(expected));

    let event = collected.wait_for("bindings/tick");
    let expected = [
        ("db.connection_string", "POST /tick"),
        ("db.name", "tick"),
        ("db.system", "bindings"),
        ("rpc.service", "Dapr"),
    ];
    assert_eq!(texts(&event.attributes), BTreeMap::from(expected));
    let own = format!("00-{}-{}-01", hex(&event.trace_id), hex(&event.span_id));
    let of_event = |seen: &crate::support::Request| seen.header("traceparent") == Some(&*own);
    assert!(
        app.seen()
            .iter()
            .any(|seen| seen.path == "/tick" && of_event(seen))
    );
    let refused = collected.wait_for("bindings/fail");
    let status = refused.status.unwrap();
    assert_eq!(status.code, 2);
    assert!(
        status.message.contains("status code: 500"),
        "{}",
        status.message
    );

    check_who_tells(&collected);
}

#[test]
fn a_call_over_grpc_is_a_span_that_the_environment_sends_to_a_collector() {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let (_collector, collected) = over_grpc(port, None);
    let endpoint = format!("http://127.0.0.1:{port}");
    let env = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &*endpoint),
        ("OTEL_SERVICE_NAME", "shop"),
    ];
    let bindery = Running::sidecar_with(&resources(folder.path(), &[]), &[], &env);
    bindery.wait_until_ready();
    let mut call = tonic::Request::new(crate::grpc_api::call("none", "create", "x"));
    call.metadata_mut()
        .insert("traceparent", PARENT.parse().unwrap());
    call.metadata_mut()
        .insert("dapr-mine", "yes".parse().unwrap());
    crate::grpc_api::fail(&bindery, call);
    let method = "/dapr.proto.runtime.v1.Dapr/InvokeBinding";
    let span = collected.wait_for(method);
    assert_eq!(hex(&span.trace_id), TRACE);
    let expected = [
        ("dapr-mine", "yes"),
        ("dapr.api", method),
        ("dapr.protocol", "grpc"),
        ("db.connection_string", "bindings"),
        ("db.name", "none"),
        ("db.statement", method),
        ("db.system", "bindings"),
        ("rpc.service", "Dapr"),
    ];
    assert_eq!(texts(&span.attributes), BTreeMap::from(expected));
    let status = span.status.unwrap();
    assert_eq!(status.code, 2);
    assert!(
        status.message.contains("couldn't find output binding none"),
        "{}",
        status.message
    );
}

#[test]
fn a_collector_over_grpc_may_ask_for_tls_and_for_a_key() {
    let authority = Authority::new();
    let signed = authority.sign("localhost");
    for by_configuration in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let (port, metrics) = (free_port(), free_port().to_string());
        let (_collector, collected) = over_grpc(port, Some(tls_as(&signed, "h2")));
        let spec = if by_configuration {
            // Under TLS unless something else is said.
            format!(
                "{{samplingRate: \"1\", otel: {{endpointAddress: \"localhost:{port}\", protocol: \
                 grpc, headers: [\"x-key=s3cret of it\"]}}}}"
            )
        } else {
            "{}".to_owned()
        };
        let configuration = configuration(folder.path(), &spec);
        // Whom the system trusts.
        let trusted = certs::write(folder.path(), "roots.pem", &authority.certificate());
        let endpoint = format!("https://localhost:{port}");
        let mut env = vec![("SSL_CERT_FILE", trusted.to_str().unwrap())];
        if !by_configuration {
            env.push(("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint));
            env.push(("OTEL_EXPORTER_OTLP_HEADERS", "a=b,x-key=s3cret%20of%20it"));
        }
        let flags = ["--config", &configuration, "--metrics-port", &metrics];
        let components = resources(folder.path(), &[]);
        let bindery = Running::sidecar_with(&components, &flags, &env);
        bindery.wait_until_ready();
        assert_eq!(bindery.get("/v1.0/metadata").status, 200);
        collected.wait_for("/v1.0/metadata");
        let keys = collected.1.lock().unwrap().clone();
        assert!(
            keys.iter()
                .all(|key| key.as_deref() == Some("s3cret of it")),
            "{keys:?}"
        );
        assert!(!bindery.log().contains("s3cret"), "{}", bindery.log());

        // Who is not trusted is sent nothing.
        let sent = collected.0.lock().unwrap().len();
        let other = certs::write(folder.path(), "other.pem", &Authority::new().certificate());
        env[0].1 = other.to_str().unwrap();
        drop(bindery);
        let bindery = Running::sidecar_with(&components, &flags, &env);
        bindery.wait_until_ready();
        assert_eq!(bindery.get("/v1.0/metadata").status, 200);
        bindery.wait_for_log("invalid peer certificate");
        assert_eq!(collected.0.lock().unwrap().len(), sent);
    }
}

#[test]
fn zipkin_and_the_log_are_told_too() {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let zipkin = App::start(port, |_| (202, String::new()));
    let spec = format!(
        "{{samplingRate: 1, stdout: true, zipkin: {{endpointAddress: \
         \"http://127.0.0.1:{port}/api/v2/spans\"}}}}"
    );
    let configuration = configuration(folder.path(), &spec);
    let components = resources(folder.path(), &[]);
    let bindery = Running::sidecar(&components, &["--config", &configuration]);
    bindery.wait_until_ready();
    let body = br#"{"operation":"create"}"#;
    let headers = [("traceparent", PARENT)];
    request(
        bindery.http_port,
        "POST",
        "/v1.0/bindings/none",
        &headers,
        body,
    )
    .unwrap();
    bindery.wait_for_log("scope=dapr.runtime.trace");
    wait_for("spans at Zipkin", SOON, || !zipkin.seen().is_empty());
    let seen = &zipkin.seen()[0];
    assert_eq!((&*seen.method, &*seen.path), ("POST", "/api/v2/spans"));
    let spans: serde_json::Value = serde_json::from_slice(&seen.body).unwrap();
    let span = &spans[0];
    assert_eq!(span["traceId"], TRACE);
    assert_eq!(span["parentId"], "00f067aa0ba902b7");
    assert_eq!(span["name"], "/v1.0/bindings/none");
    assert_eq!(span["kind"], "CLIENT");
    assert_eq!(span["localEndpoint"]["serviceName"], "test");
    assert_eq!(span["tags"]["db.name"], "none");
    assert_eq!(span["tags"]["error"], "Code(500): Internal Server Error");
    assert!(span["timestamp"].as_u64().unwrap() > 1_700_000_000_000_000);
    assert!(span["duration"].as_u64().is_some());
}

#[test]
fn a_rate_of_nothing_switches_traces_off() {
    let folder = tempfile::tempdir().unwrap();
    let app_port = free_port();
    let app = App::start(app_port, |_| (200, "{}".into()));
    let url = format!("http://127.0.0.1:{app_port}/up");
    let components = resources(
        folder.path(),
        &[
            ("up", "bindings.http", &[("url", &url)]),
            ("tick", "bindings.cron", &[("schedule", "@every 200ms")]),
        ],
    );
    let configuration = configuration(folder.path(), "{samplingRate: \"0\"}");
    let port = app_port.to_string();
    let bindery = Running::sidecar(
        &components,
        &["--app-port", &port, "--config", &configuration],
    );
    bindery.wait_until_ready();
    let body = br#"{"operation":"post"}"#;
    let headers = [("traceparent", PARENT)];
    let answer = request(
        bindery.http_port,
        "POST",
        "/v1.0/bindings/up",
        &headers,
        body,
    )
    .unwrap();
    assert_eq!((answer.status, answer.header("traceparent")), (200, None));
    wait_for("an event", SOON, || {
        app.seen_with("POST")
            .iter()
            .any(|seen| seen.path == "/tick")
    });
    assert!(
        app.seen()
            .iter()
            .all(|seen| seen.header("traceparent").is_none())
    );
    let wrong = [("baggage", "no baggage")];
    let answer = request(bindery.http_port, "POST", "/v1.0/bindings/up", &wrong, body).unwrap();
    assert!(
        answer.text().contains("ERR_MALFORMED_REQUEST"),
        "{}",
        answer.text()
    );
}

#[test]
fn a_collector_that_is_away_costs_spans_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let components = resources(folder.path(), &[]);
    let (nobody, metrics) = (free_port(), free_port());
    let spec = format!(
        "{{samplingRate: \"1\", otel: {{endpointAddress: \"127.0.0.1:{nobody}\", protocol: grpc, \
         isSecure: false}}}}"
    );
    let configuration = configuration(folder.path(), &spec);
    let metrics_port = metrics.to_string();
    let flags = ["--config", &configuration, "--metrics-port", &metrics_port];
    let mut bindery = Running::sidecar(&components, &flags);
    bindery.wait_until_ready();
    for _ in 0..20 {
        assert_eq!(bindery.get("/v1.0/metadata").status, 200);
    }
    bindery.wait_for_log("spans could not be sent to http://127.0.0.1");
    let lost = "bindery_spans_lost{app_id=\"test\"} 20";
    wait_for("the loss to be counted", SOON, || {
        request(metrics, "GET", "/", &[], b"")
            .unwrap()
            .text()
            .contains(lost)
    });
    assert_eq!(bindery.interrupt(), Some(0));
}
