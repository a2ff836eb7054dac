//! The gRPC API, as a client of Dapr's sees it (runtime §1.2, §6.2, §6.4).

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::Mutex;
use std::thread::ThreadId;
use std::time::Duration;

use bindery::contract::{
    Binding, Invocation, InvokeError, OpenContext, OpenError, Opened, Operation, Output,
};
use bindery::grpc::proto::runtime::v1::dapr_client::DaprClient;
use bindery::grpc::proto::runtime::v1::{
    GetMetadataRequest, InvokeBindingRequest, InvokeBindingResponse, SetMetadataRequest,
    ShutdownRequest,
};
use bindery::sidecar::GrpcConfig;
use bindery::{Component, Reply, Sidecar};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Response, Status};
use tonic_types::StatusExt as _;

use crate::support::{App, Running, free_port, resources};

/// What every client of HTTP/2 begins with.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn channel(port: u16) -> Channel {
    Endpoint::from_shared(format!("http://127.0.0.1:{port}"))
        .unwrap()
        .connect_lazy()
}

fn client(bindery: &Running) -> DaprClient<Channel> {
    DaprClient::new(channel(bindery.grpc_port)).max_decoding_message_size(usize::MAX)
}

/// A sidecar with an output `web` that posts to an app of the test's.
fn with_web(app: &str, flags: &[&str], env: &[(&str, &str)]) -> (Running, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let web = ("web", "bindings.http", &[("url", app)][..]);
    let bindery = Running::sidecar_with(&resources(folder.path(), &[web]), flags, env);
    bindery.wait_until_ready();
    (bindery, folder)
}

fn url(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}

pub fn call(name: &str, operation: &str, data: &str) -> InvokeBindingRequest {
    InvokeBindingRequest {
        name: name.into(),
        operation: operation.into(),
        data: data.to_owned().into(),
        ..InvokeBindingRequest::default()
    }
}

pub async fn invoke(
    bindery: &Running,
    request: impl tonic::IntoRequest<InvokeBindingRequest>,
) -> Result<Response<InvokeBindingResponse>, Status> {
    client(bindery).invoke_binding(request).await
}

/// The same for tests that have no runtime of their own, where the call fails.
pub fn fail(bindery: &Running, request: impl tonic::IntoRequest<InvokeBindingRequest>) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let failed = runtime.block_on(invoke(bindery, request));
    failed.expect_err("it should have failed");
}

fn reason(status: &Status) -> (String, String) {
    let info = status.get_details_error_info().expect("it has details");
    (info.reason, info.domain)
}

#[tokio::test]
async fn a_reply_has_its_metadata_in_the_message_and_in_headers() {
    let port = free_port();
    let app = App::start(port, |_| (200, "{\"b\":1,  \"a\":2}".into()));
    let (bindery, _folder) = with_web(&url(port), &[], &[]);
    let raw = "not JSON, \u{1F600}";
    let reply = invoke(&bindery, call("web", "post", raw)).await.unwrap();
    assert_eq!(reply.metadata().get("metadata.statuscode").unwrap(), "200");
    assert_eq!(reply.get_ref().metadata["statusCode"], "200");
    assert_eq!(reply.get_ref().data, "{\"b\":1,  \"a\":2}");
    // Data over gRPC is bytes, and nobody looks into them.
    assert_eq!(app.seen()[0].body, raw.as_bytes());
}

#[tokio::test]
async fn every_failure_of_a_call_is_internal_and_says_why() {
    let port = free_port();
    let _app = App::start(port, |_| (418, "no".into()));
    let (bindery, _folder) = with_web(&url(port), &[], &[]);
    for (request, says) in [
        (call("nope", "get", ""), "couldn't find output binding nope"),
        (
            call("web", "", ""),
            "operation field is missing from request",
        ),
        (
            call("nope", "", ""),
            "operation field is missing from request",
        ),
        (
            call("web", "fly", ""),
            "binding web does not support operation fly. supported operations:create get head \
             post put patch delete options trace",
        ),
        (call("web", "get", ""), "received status code 418"),
    ] {
        let message = format!("error invoking output binding {}: {says}", request.name);
        let status = invoke(&bindery, request).await.unwrap_err();
        assert_eq!(status.code(), Code::Internal);
        assert_eq!(status.message(), message);
        let expected = ("ERR_INVOKE_OUTPUT_BINDING".into(), "dapr.io".into());
        assert_eq!(reason(&status), expected);
    }
    // What the upstream said comes with the failure, in the headers: before the trailers.
    let (headers, trailers) = raw_call(&bindery, &call("web", "get", "")).await;
    assert_eq!(headers["metadata.statuscode"], "418");
    assert!(!headers.contains_key("grpc-status"));
    assert_eq!(trailers["grpc-status"], "13");
}

/// A call below the client library: the header block and the trailers as they came.
async fn raw_call(
    bindery: &Running,
    request: &InvokeBindingRequest,
) -> (http::HeaderMap, http::HeaderMap) {
    use http_body_util::BodyExt as _;
    use prost::Message as _;
    let message = request.encode_to_vec();
    let mut body = vec![0];
    body.extend_from_slice(&u32::try_from(message.len()).unwrap().to_be_bytes());
    body.extend_from_slice(&message);
    let client = hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new())
        .http2_only(true)
        .build_http();
    let request = http::Request::post(format!(
        "http://127.0.0.1:{}/dapr.proto.runtime.v1.Dapr/InvokeBinding",
        bindery.grpc_port
    ))
    .header("content-type", "application/grpc")
    .header("te", "trailers")
    .body(http_body_util::Full::<bytes::Bytes>::from(body))
    .unwrap();
    let (head, body) = client.request(request).await.unwrap().into_parts();
    let body = body.collect().await.unwrap();
    (head.headers, body.trailers().unwrap().clone())
}

#[tokio::test]
async fn a_trace_reaches_the_binding_and_other_metadata_does_not() {
    let port = free_port();
    let app = App::start(port, |_| (200, String::new()));
    let (bindery, _folder) = with_web(&url(port), &[], &[]);
    let other = PARENT.replace("4bf9", "aaaa");
    let send = |headers: &[(&'static str, &str)], own: Option<&str>| {
        let mut asked = call("web", "get", "");
        if let Some(parent) = own {
            asked.metadata.insert("traceparent".into(), parent.into());
        }
        let mut request = Request::new(asked);
        for (name, value) in headers {
            request.metadata_mut().insert(*name, value.parse().unwrap());
        }
        let binary = base64::Engine::decode(
            &base64::engine::general_purpose::STANDARD_NO_PAD,
            "AABL+S81d7NNpqPOkp0ODkc2AQDwZ6oLqQK3AgE",
        );
        if headers.is_empty() && own.is_none() {
            let value = tonic::metadata::MetadataValue::from_bytes(&binary.unwrap());
            request.metadata_mut().insert_bin("grpc-trace-bin", value);
        }
        request
    };
    let headers = [
        ("traceparent", PARENT),
        ("tracestate", "a=1"),
        ("baggage", "k=v"),
        ("x-mine", "1"),
    ];
    invoke(&bindery, send(&headers, Some(&other)))
        .await
        .unwrap();
    invoke(&bindery, send(&[("x-mine", "1")], Some(&other)))
        .await
        .unwrap();
    let reply = invoke(&bindery, send(&[], None)).await.unwrap();
    let seen = app.seen();
    let parents: Vec<_> = seen
        .iter()
        .map(|seen| seen.header("traceparent").unwrap())
        .collect();
    assert_eq!(parents, [PARENT, &other, PARENT]);
    assert_eq!(seen[0].header("tracestate"), Some("a=1"));
    assert_eq!(seen[0].header("baggage"), Some("k=v"));
    assert!(seen.iter().all(|seen| seen.header("x-mine").is_none()));
    let echo = reply.metadata().get_bin("grpc-trace-bin").unwrap();
    assert_eq!(echo.to_bytes().unwrap().len(), 29);

    let status = invoke(&bindery, send(&[("baggage", "a b")], None))
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().starts_with("invalid baggage header: "));
}

#[tokio::test]
async fn without_the_token_nothing_is_answered() {
    let (bindery, _folder) = with_web("http://127.0.0.1:1", &[], &[("DAPR_API_TOKEN", "s3cret")]);
    let with = |token: Option<&str>| {
        let mut request = Request::new(GetMetadataRequest {});
        if let Some(token) = token {
            let token = token.parse().unwrap();
            request.metadata_mut().insert("dapr-api-token", token);
        }
        request
    };
    for (token, problem) in [
        (None, "missing api token in request metadata"),
        (Some("s3cre"), "authentication error: api token mismatch"),
    ] {
        let status = client(&bindery)
            .get_metadata(with(token))
            .await
            .unwrap_err();
        assert_eq!(status.code(), Code::Unauthenticated);
        assert_eq!(status.message(), "Unauthorized");
        let info = status.get_details_error_info().unwrap();
        assert_eq!((&*info.reason, &*info.domain), ("Unauthorized", "dapr.io"));
        assert_eq!(info.metadata["http.code"], "401");
        assert_eq!(info.metadata["http.error_message"], problem);
    }
    let mut health = tonic_health::pb::health_client::HealthClient::new(channel(bindery.grpc_port));
    let status = health.check(tonic_health::pb::HealthCheckRequest::default());
    assert_eq!(status.await.unwrap_err().code(), Code::Unauthenticated);
    assert!(
        client(&bindery)
            .get_metadata(with(Some("s3cret")))
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn a_configuration_closes_methods_before_the_token_is_looked_at() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("configuration.yaml");
    let rule = "{name: metadata, version: v1, protocol: grpc}";
    std::fs::write(&file, format!("spec:\n  api:\n    denied: [{rule}]\n")).unwrap();
    let file = file.display().to_string();
    let flags = [
        "--config",
        &file,
        "--app-port=1",
        "--enable-app-health-check",
    ];
    let env = [("DAPR_API_TOKEN", "s3cret")];
    let bindery = Running::sidecar_with(&resources(folder.path(), &[]), &flags, &env);
    bindery.wait_until_callable();
    let asked = client(&bindery).get_metadata(GetMetadataRequest {}).await;
    let status = asked.unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented);
    assert_eq!(status.message(), "Not Implemented");
    let info = status.get_details_error_info().unwrap();
    assert_eq!(
        (&*info.reason, &*info.domain),
        ("Not Implemented", "dapr.io")
    );
    assert_eq!(info.metadata["http.code"], "501");
    let problem = &info.metadata["http.error_message"];
    assert_eq!(problem, "requested endpoint is not available");
    // The others are where they were, and so are those of the library.
    let status = invoke(&bindery, call("x", "y", "")).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
}

#[tokio::test]
async fn the_health_check_of_the_app_is_in_the_metadata() {
    let folder = tempfile::tempdir().unwrap();
    let flags = [
        "--app-port=1",
        "--enable-app-health-check",
        "--app-health-probe-interval=7",
        "--app-health-check-path=/well",
    ];
    let bindery = Running::sidecar(&resources(folder.path(), &[]), &flags);
    bindery.wait_until_callable();
    let metadata = client(&bindery).get_metadata(GetMetadataRequest {}).await;
    let app = metadata.unwrap().into_inner().app_connection_properties;
    let health = app.unwrap().health.unwrap();
    assert_eq!(health.health_check_path, "/well");
    assert_eq!(health.health_probe_interval, "7s");
    assert_eq!(health.health_probe_timeout, "500ms");
    assert_eq!(health.health_threshold, 3);
}

#[tokio::test]
async fn messages_have_a_limit_both_ways() {
    let port = free_port();
    let _app = App::start(port, |request| (200, "x".repeat(request.body.len() * 2)));
    let (bindery, _folder) = with_web(&url(port), &["--max-body-size", "100Ki"], &[]);
    let send = async |size: usize| invoke(&bindery, call("web", "post", &"x".repeat(size))).await;
    assert_eq!(
        send(50 << 10).await.unwrap().get_ref().data.len(),
        100 << 10
    );
    let status = send(200 << 10).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(
        status
            .message()
            .contains("received message larger than max"),
        "{status}"
    );
    let status = send(60 << 10).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(
        status.message().contains("larger than 102400 bytes"),
        "{status}"
    );
    assert!(status.message().contains("--max-body-size"), "{status}");
}

#[tokio::test]
async fn metadata_is_what_http_answers() {
    let (bindery, _folder) = with_web("http://127.0.0.1:1", &[], &[]);
    let mut client = client(&bindery);
    let set = |key: &str, value: &str| SetMetadataRequest {
        key: key.into(),
        value: value.into(),
    };
    client.set_metadata(set("cliPID", "7")).await.unwrap();
    client.set_metadata(set("", "nothing")).await.unwrap();
    let metadata = client
        .get_metadata(GetMetadataRequest {})
        .await
        .unwrap()
        .into_inner();
    let http: serde_json::Value =
        serde_json::from_slice(&bindery.get("/v1.0/metadata").body).unwrap();
    assert_eq!(metadata.id, "test");
    assert_eq!(
        metadata.runtime_version,
        http["runtimeVersion"].as_str().unwrap()
    );
    assert_eq!(
        serde_json::to_value(&metadata.enabled_features).unwrap(),
        http["enabledFeatures"]
    );
    let component = &metadata.registered_components[0];
    assert_eq!(
        (&*component.name, &*component.r#type),
        ("web", "bindings.http")
    );
    assert_eq!(
        (&*component.version, &component.capabilities[..]),
        ("v1", &["OUTPUT_BINDING".to_owned()][..])
    );
    let extended = serde_json::to_value(&metadata.extended_metadata).unwrap();
    assert_eq!(extended, http["extended"]);
    assert_eq!(extended["cliPID"], "7");
    let app = metadata.app_connection_properties.unwrap();
    assert_eq!((app.port, &*app.protocol), (0, "http"));
    let actors = metadata.actor_runtime.unwrap();
    assert_eq!(
        (actors.runtime_status, &*actors.placement),
        (1, "placement: disconnected")
    );
}

#[tokio::test]
async fn what_is_elsewhere_is_said_to_be_so() {
    let (bindery, _folder) = with_web("http://127.0.0.1:1", &[], &[]);
    for path in [
        "/dapr.proto.runtime.v1.Dapr/GetState",
        "/dapr.proto.runtime.v1.Dapr/PublishEvent",
        "/some.other.Service/Method",
        "/nonsense",
    ] {
        let mut grpc = tonic::client::Grpc::new(channel(bindery.grpc_port));
        grpc.ready().await.unwrap();
        let codec = tonic_prost::ProstCodec::<GetMetadataRequest, GetMetadataRequest>::default();
        let request = Request::new(GetMetadataRequest {});
        let status = grpc
            .unary(request, path.parse().unwrap(), codec)
            .await
            .unwrap_err();
        assert_eq!(status.code(), Code::Unimplemented, "{path}");
        assert!(status.message().contains("Bindery"), "{path}: {status}");
    }
}

#[tokio::test]
async fn tools_find_out_what_is_served() {
    use tonic_reflection::pb::v1::ServerReflectionRequest;
    use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
    use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
    use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
    let internal = free_port();
    let flags = ["--dapr-internal-grpc-port", &internal.to_string()];
    let (bindery, _folder) = with_web("http://127.0.0.1:1", &flags, &[]);
    let ask = async |request: MessageRequest| {
        let request = ServerReflectionRequest {
            host: String::new(),
            message_request: Some(request),
        };
        let mut client = ServerReflectionClient::new(channel(bindery.grpc_port));
        let asking = client.server_reflection_info(tokio_stream::iter([request]));
        let answer = asking.await.unwrap().into_inner().message().await.unwrap();
        answer.unwrap().message_response.unwrap()
    };
    let MessageResponse::ListServicesResponse(services) =
        ask(MessageRequest::ListServices(String::new())).await
    else {
        panic!("that is no list of services");
    };
    let names: Vec<_> = services
        .service
        .iter()
        .map(|service| &*service.name)
        .collect();
    assert!(names.contains(&"dapr.proto.runtime.v1.Dapr"), "{names:?}");
    let symbol = "dapr.proto.runtime.v1.InvokeBindingRequest".to_owned();
    let file = ask(MessageRequest::FileContainingSymbol(symbol)).await;
    assert!(
        matches!(file, MessageResponse::FileDescriptorResponse(_)),
        "{file:?}"
    );

    for port in [bindery.grpc_port, internal] {
        let mut health = tonic_health::pb::health_client::HealthClient::new(channel(port));
        let answer = health.check(tonic_health::pb::HealthCheckRequest::default());
        assert_eq!(answer.await.unwrap().get_ref().status, 1);
    }
}

#[tokio::test]
async fn the_port_for_other_sidecars_is_open_without_a_flag_on_this_machine() {
    for flags in [&[][..], &["--dapr-internal-grpc-port", "0"]] {
        let (bindery, _folder) = with_web("http://127.0.0.1:1", flags, &[]);
        let log = bindery.log();
        let after = log.split("Internal gRPC server is running on port ").nth(1);
        let (port, rest) = after.and_then(|after| after.split_once(": ")).unwrap();
        assert!(rest.starts_with(&format!("127.0.0.1:{port}")), "{rest}");
        let port = port.parse().unwrap();
        let mut health = tonic_health::pb::health_client::HealthClient::new(channel(port));
        let answer = health.check(tonic_health::pb::HealthCheckRequest::default());
        assert_eq!(answer.await.unwrap().get_ref().status, 1);
    }
}

#[tokio::test]
async fn shutdown_is_answered_and_then_done() {
    for (force, code) in [(None, 0), (Some("True"), 1)] {
        let (mut bindery, _folder) = with_web("http://127.0.0.1:1", &[], &[]);
        let mut client = client(&bindery);
        // An open stream of a client that never leaves must not hold the end up.
        let mut health =
            tonic_health::pb::health_client::HealthClient::new(channel(bindery.grpc_port));
        let watch = health.watch(tonic_health::pb::HealthCheckRequest::default());
        let _watch = watch.await.unwrap();
        let mut request = Request::new(ShutdownRequest {});
        if let Some(force) = force {
            let value = force.parse().unwrap();
            request.metadata_mut().insert("dapr-force-shutdown", value);
        }
        client.shutdown(request).await.unwrap();
        assert_eq!(bindery.wait(), Some(code));
    }
}

#[tokio::test]
async fn whatever_arrives_on_the_port_disturbs_nobody() {
    let port = free_port();
    let _app = App::start(port, |_| (200, "fine".into()));
    let (bindery, _folder) = with_web(&url(port), &[], &[]);
    // A header block without end, and one that is none; a window of zero; a length that lies.
    let frames: [&[u8]; 6] = [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        &[0xff; 4096],
        b"\0\0\x08\x01\x04\0\0\0\x01\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\0\0\x04\x08\0\0\0\0\0\0\0\0\0",
        b"\xff\xff\xff\0\0\0\0\0\x01",
        b"\0\0\x06\x04\0\0\0\0\0\0\x04\xff\xff\xff\xff",
    ];
    let mut idle = Vec::new();
    for frame in frames {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, bindery.grpc_port)).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(30)))
            .unwrap();
        if !frame.starts_with(b"GET") {
            stream.write_all(PREFACE).unwrap();
        }
        let _ = stream.write_all(frame);
        idle.push(stream);
    }
    for _ in 0..500 {
        idle.push(TcpStream::connect((Ipv4Addr::LOCALHOST, bindery.grpc_port)).unwrap());
    }
    let garbled = {
        let mut grpc = tonic::client::Grpc::new(channel(bindery.grpc_port));
        grpc.ready().await.unwrap();
        // A message of another type: field 1 is a number here, and a string there.
        let codec =
            tonic_prost::ProstCodec::<prost_number::Number, InvokeBindingResponse>::default();
        let path = "/dapr.proto.runtime.v1.Dapr/InvokeBinding".parse().unwrap();
        grpc.unary(Request::new(prost_number::Number { it: 7 }), path, codec)
            .await
    };
    assert_eq!(garbled.unwrap_err().code(), Code::Internal);
    let reply = invoke(&bindery, call("web", "get", "")).await.unwrap();
    assert_eq!(reply.get_ref().data, "fine");
    // A client that says nothing is hung up on.
    let mut silent = idle.pop().unwrap();
    silent
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    let mut rest = Vec::new();
    silent.read_to_end(&mut rest).unwrap();
}

mod prost_number {
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Number {
        #[prost(uint32, tag = "1")]
        pub it: u32,
    }
}

/// An output that remembers which threads its replicas were called on.
struct Where;

static THREADS: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

#[derive(serde::Deserialize, schemars::JsonSchema)]
struct Nothing {}

struct Replica(ThreadId);

impl Binding for Where {
    const TYPE: &'static str = "bindings.test.where";
    const SUMMARY: &'static str = "For this test.";
    const OPERATIONS: &'static [Operation] = &[Operation {
        name: "get",
        summary: "Says where.",
    }];
    type Settings = Nothing;

    async fn open(_: Nothing, _: OpenContext) -> Result<Opened, OpenError> {
        Ok(Opened::per_thread(|_| async {
            Ok(Replica(std::thread::current().id()))
        }))
    }
}

impl Output for Replica {
    async fn invoke(&self, _: Invocation) -> Result<Option<Reply>, InvokeError> {
        assert_eq!(self.0, std::thread::current().id());
        let thread = format!("{:?}", self.0);
        THREADS.lock().unwrap().insert(thread.clone());
        Ok(Some(Reply::new(thread)))
    }
}

#[tokio::test]
async fn connections_are_dealt_to_all_workers_and_stay_on_theirs() {
    let sidecar = Sidecar::builder("test")
        .binding::<Where>()
        .component(Component::new("where", Where::TYPE))
        .configure(|config| {
            config.workers = 3;
            config.grpc = Some(GrpcConfig::port(0));
        })
        .start()
        .await
        .unwrap();
    let port = sidecar.grpc_addresses()[0].port();
    let mut threads = Vec::new();
    let mut channels = Vec::new();
    for _ in 0..6 {
        let mut client = DaprClient::new(channel(port));
        let mut seen = BTreeSet::new();
        for _ in 0..3 {
            let reply = client
                .invoke_binding(call("where", "get", ""))
                .await
                .unwrap();
            seen.insert(reply.into_inner().data);
        }
        assert_eq!(seen.len(), 1, "one connection, one thread");
        threads.extend(seen);
        channels.push(client);
    }
    threads.sort();
    threads.dedup();
    assert_eq!(threads.len(), 3);
    assert_eq!(THREADS.lock().unwrap().len(), 3);
    drop(channels);
    sidecar.shutdown().await;
}
