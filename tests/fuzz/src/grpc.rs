//! The gRPC port: a whole sidecar that gets bytes in place of HTTP/2, and calls with any headers and
//! any message. Whatever comes, it answers or hangs up, does what a reader of the message would
//! expect, and goes on serving.
//!
//! The first byte says which it is: bytes from the first on, bytes behind a client's beginning, a
//! header, or a message.
#![no_main]

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{LazyLock, Mutex};
use std::time::Duration;

use bindery::contract::{
    Binding, Invocation, InvokeError, OpenContext, OpenError, Opened, Operation, Output,
};
use bindery::grpc::proto::runtime::v1::{InvokeBindingRequest, InvokeBindingResponse};
use bindery::sidecar::GrpcConfig;
use bindery::{Component, Reply, Sidecar};
use bytes::Bytes;
use http::{HeaderValue, Request};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use libfuzzer_sys::fuzz_target;
use prost::Message;
use tokio::runtime::Runtime;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
const HEADERS: [&str; 8] = [
    "traceparent",
    "tracestate",
    "baggage",
    "grpc-trace-bin",
    "grpc-timeout",
    "grpc-encoding",
    "dapr-api-token",
    "user-agent",
];
/// No answer in this time is none.
const PATIENCE: Duration = Duration::from_secs(8);
const OK: &str = "0";
const INTERNAL: &str = "13";

static STAGE: LazyLock<Mutex<Stage>> = LazyLock::new(|| Mutex::new(Stage::new()));

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, bytes)) = bytes.split_first() else {
        return;
    };
    let mut stage = STAGE.lock().unwrap_or_else(|broken| broken.into_inner());
    match kind % 4 {
        0 => stage.throw(&[bytes]),
        1 => stage.throw(&[PREFACE, SETTINGS, bytes]),
        2 => stage.call_with_header(bytes),
        _ => stage.call_with_message(bytes),
    }
});

/// A sidecar with an echo, and a client that behaves.
struct Stage {
    runtime: Runtime,
    socket: PathBuf,
    client: SendRequest<Full<Bytes>>,
    /// The sidecar lives as long as this.
    _sidecar: Sidecar,
}

impl Stage {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime can be had");
        let folder = format!("bindery-fuzz-{}", std::process::id());
        let folder = std::env::temp_dir().join(folder);
        std::fs::create_dir_all(&folder).expect("a folder can be made");
        let socket = folder.join("grpc.socket");
        let at = socket.clone();
        let sidecar = Sidecar::builder("fuzz")
            .binding::<Echo>()
            .component(Component::new("echo", Echo::TYPE))
            .configure(|config| {
                config.workers = 1;
                config.grpc = Some(GrpcConfig {
                    socket: Some(at),
                    ..GrpcConfig::port(0)
                });
            });
        let sidecar = runtime.block_on(sidecar.start()).expect("it starts");
        let client = runtime.block_on(connect(&socket));
        Self {
            runtime,
            socket,
            client,
            _sidecar: sidecar,
        }
    }

    /// Sends bytes over a connection of their own, and waits until the other side has hung up.
    fn throw(&mut self, parts: &[&[u8]]) {
        let mut stream = UnixStream::connect(&self.socket).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        // Whoever has seen enough may hang up before all is said.
        if stream.write_all(&parts.concat()).is_ok() {
            let _ = stream.shutdown(Shutdown::Write);
        }
        let mut answer = Vec::new();
        if let Err(error) = stream.read_to_end(&mut answer) {
            let is_patience = error.kind() == std::io::ErrorKind::WouldBlock;
            assert!(!is_patience, "it neither answers nor hangs up");
        }
    }

    fn call_with_header(&mut self, bytes: &[u8]) {
        let Some((which, value)) = bytes.split_first() else {
            return;
        };
        let Ok(value) = HeaderValue::from_bytes(value) else {
            return;
        };
        let header = HEADERS[usize::from(*which) % HEADERS.len()];
        let message = InvokeBindingRequest {
            name: "echo".into(),
            operation: "create".into(),
            ..InvokeBindingRequest::default()
        };
        let (status, _) = self.call(Some((header, value)), &message.encode_to_vec());
        if header.starts_with("trace") {
            assert_eq!(status, OK, "{header}");
        }
    }

    fn call_with_message(&mut self, bytes: &[u8]) {
        let (status, reply) = self.call(None, bytes);
        match InvokeBindingRequest::decode(bytes) {
            Ok(message) if message.name == "echo" && message.operation == "create" => {
                assert_eq!(status, OK);
                assert_eq!(reply.expect("a reply").data, message.data);
            }
            _ => assert_eq!(status, INTERNAL),
        }
    }

    /// Calls over the one connection that lasts: its status, and its reply.
    fn call(
        &mut self,
        header: Option<(&'static str, HeaderValue)>,
        message: &[u8],
    ) -> (String, Option<InvokeBindingResponse>) {
        let length = u32::try_from(message.len()).expect("inputs are short");
        let body = [&[0], &length.to_be_bytes()[..], message].concat();
        let mut request =
            Request::post("http://localhost/dapr.proto.runtime.v1.Dapr/InvokeBinding")
                .header("content-type", "application/grpc")
                .header("te", "trailers");
        if let Some((name, value)) = header {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(body.into())).expect("it is one");
        let client = &mut self.client;
        let answering = async {
            client.ready().await.expect("the connection lasts");
            let (head, body) = client.send_request(request).await?.into_parts();
            Ok::<_, hyper::Error>((head, body.collect().await?))
        };
        let answer = async { tokio::time::timeout(PATIENCE, answering).await };
        let answer = self.runtime.block_on(answer).expect("it answers");
        let (head, body) = answer.expect("it answers a call");
        let trailers = body.trailers().unwrap_or(&head.headers);
        let status = trailers.get("grpc-status").expect("a status");
        let status = status.to_str().expect("a number").to_owned();
        let data = body.to_bytes();
        let reply = data.get(5..).map(InvokeBindingResponse::decode);
        (status, reply.map(|reply| reply.expect("a message of ours")))
    }
}

async fn connect(socket: &std::path::Path) -> SendRequest<Full<Bytes>> {
    let stream = tokio::net::UnixStream::connect(socket).await;
    let stream = TokioIo::new(stream.expect("it listens"));
    let (client, driving) = handshake(TokioExecutor::new(), stream)
        .await
        .expect("it speaks HTTP/2");
    tokio::spawn(driving);
    client
}

/// Answers with what it is sent.
struct Echo;

#[derive(serde::Deserialize, schemars::JsonSchema)]
struct EchoSettings {}

impl Binding for Echo {
    const TYPE: &'static str = "bindings.fuzz.echo";
    const SUMMARY: &'static str = "Answers with what it is sent.";
    const OPERATIONS: &'static [Operation] = &[Operation {
        name: "create",
        summary: "Answers with the request's data.",
    }];
    type Settings = EchoSettings;

    async fn open(_: EchoSettings, _: OpenContext) -> Result<Opened, OpenError> {
        Ok(Opened::per_thread(|_| async { Ok(Self) }))
    }
}

impl Output for Echo {
    async fn invoke(&self, call: Invocation) -> Result<Option<Reply>, InvokeError> {
        Ok(Some(Reply::new(call.data)))
    }
}
