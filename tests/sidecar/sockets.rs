//! Unix domain sockets instead of ports (runtime §6.3).

use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::task::{Context, Poll};
use std::time::Duration;

use bindery::grpc::proto::runtime::v1::GetMetadataRequest;
use bindery::grpc::proto::runtime::v1::dapr_client::DaprClient;
use futures_util::future::BoxFuture;
use hyper_util::rt::TokioIo;
use tonic::transport::Endpoint;

use crate::support::{Answer, Running, binary, request, request_over, resources, signal};

/// A sidecar on sockets in `folder`, with an output `files`.
fn start(folder: &Path) -> Running {
    let root = folder.join("root");
    let settings = [("rootPath", root.to_str().unwrap())];
    let components = resources(folder, &[("files", "bindings.localstorage", &settings[..])]);
    Running::sidecar(
        &components,
        &["--unix-domain-socket", folder.to_str().unwrap()],
    )
}

fn http(folder: &Path) -> PathBuf {
    folder.join("dapr-test-http.socket")
}

fn grpc(folder: &Path) -> PathBuf {
    folder.join("dapr-test-grpc.socket")
}

fn ask(folder: &Path, method: &str, path: &str, body: &str) -> std::io::Result<Answer> {
    let stream = UnixStream::connect(http(folder))?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    request_over(stream, method, path, &[], body.as_bytes())
}

fn wait_until_ready(folder: &Path) {
    crate::support::wait_for("the sidecar", Duration::from_secs(20), || {
        ask(folder, "GET", "/v1.0/healthz", "").is_ok_and(|answer| answer.status == 204)
    });
}

fn bindery(arguments: &[&str]) -> (bool, String) {
    let output = Command::new(binary()).args(arguments).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(said).unwrap())
}

#[test]
fn sockets_take_the_place_of_both_ports_and_go_with_the_sidecar() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let mut sidecar = start(folder);
    wait_until_ready(folder);
    for port in [sidecar.http_port, sidecar.grpc_port] {
        assert!(request(port, "GET", "/v1.0/healthz", &[], b"").is_err());
    }
    let create = r#"{"operation":"create","data":1,"metadata":{"fileName":"x"}}"#;
    let answer = ask(folder, "POST", "/v1.0/bindings/files", create).unwrap();
    assert_eq!(answer.text(), r#"{"fileName":"x"}"#);
    // A path, and no port, in the two lines that tools and people look for.
    for line in [
        "HTTP server is running on unix",
        "API gRPC server is running on unix",
    ] {
        sidecar.wait_for_log(line);
    }
    assert_eq!(sidecar.interrupt(), Some(0));
    assert!(!http(folder).exists() && !grpc(folder).exists());
}

#[test]
fn an_idle_connection_is_served_again_and_http_2_is_spoken_too() {
    use std::io::{Read as _, Write as _};
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let _sidecar = start(folder);
    wait_until_ready(folder);
    let mut stream = UnixStream::connect(http(folder)).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    for _ in 0..2 {
        stream
            .write_all(b"GET /v1.0/healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            .unwrap();
        let mut start = [0; 12];
        stream.read_exact(&mut start).unwrap();
        assert_eq!(&start, b"HTTP/1.1 204");
        let mut rest = Vec::new();
        while !rest.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            rest.push(byte[0]);
        }
        // Long enough for the connection to lose its dispatcher.
        std::thread::sleep(Duration::from_millis(2500));
    }
    let output = Command::new("curl")
        .args(["-s", "--http2-prior-knowledge", "-o", "/dev/null"])
        .args(["-w", "%{http_version} %{http_code}", "--unix-socket"])
        .arg(http(folder))
        .arg("http://localhost/v1.0/healthz")
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "2 204");
}

#[tokio::test]
async fn a_client_of_grpc_finds_its_socket() {
    let folder = tempfile::tempdir().unwrap();
    let _sidecar = start(folder.path());
    wait_until_ready(folder.path());
    let endpoint = Endpoint::from_static("http://localhost");
    let dial = Dial(grpc(folder.path()));
    let channel = endpoint.connect_with_connector(dial).await.unwrap();
    let metadata = DaprClient::new(channel)
        .get_metadata(GetMetadataRequest {})
        .await;
    assert_eq!(metadata.unwrap().into_inner().id, "test");
}

/// Connects to a socket, whatever the address says.
struct Dial(PathBuf);

impl tower_service::Service<http::Uri> for Dial {
    type Response = TokioIo<tokio::net::UnixStream>;
    type Error = std::io::Error;
    type Future = BoxFuture<'static, std::io::Result<Self::Response>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: http::Uri) -> Self::Future {
        let connecting = tokio::net::UnixStream::connect(self.0.clone());
        Box::pin(async move { Ok(TokioIo::new(connecting.await?)) })
    }
}

#[test]
fn commands_find_it_by_its_app_and_by_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let root = folder.path().join("root");
    let settings = [("rootPath", root.to_str().unwrap())];
    let components = resources(
        folder.path(),
        &[("files", "bindings.localstorage", &settings[..])],
    );
    let app_id = format!("on-a-socket-{}", std::process::id());
    let mut command = Command::new(binary());
    command
        .args(["--app-id", &app_id, "--unix-domain-socket", "."])
        .arg("--resources-path")
        .arg(&components)
        .current_dir(folder.path());
    let _sidecar = Running::start(command, 0, 0);
    let wait = ["--wait", "--app-id", &app_id, "--unix-domain-socket", path];
    assert!(bindery(&wait).0);
    for place in [
        &["--app-id", &app_id][..],
        &["--app-id", &app_id, "--unix-domain-socket", path],
    ] {
        let create = ["invoke", "files", "create", "--data", "1"];
        let (done, said) = bindery(&[&create[..], place].concat());
        assert!(done, "{said}");
        let (done, said) = bindery(&[&["status", "--once"][..], place].concat());
        assert!(done && said.contains("Running"), "{said}");
        let (done, said) = bindery(&[&["restart", "files"][..], place].concat());
        assert!(done, "{said}");
    }
}

#[test]
fn a_file_that_was_left_behind_is_replaced_and_one_in_use_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let mut killed = start(folder);
    wait_until_ready(folder);
    signal(killed.id(), "KILL");
    killed.wait();
    assert!(http(folder).exists() && grpc(folder).exists());
    let first = start(folder);
    wait_until_ready(folder);

    let mut second = start(folder);
    assert_eq!(second.wait(), Some(1));
    let says = format!("unix domain socket {}", http(folder).display());
    second.wait_for_log(&says);
    second.wait_for_log("a process that runs listens there");
    assert_eq!(ask(folder, "GET", "/v1.0/healthz", "").unwrap().status, 204);
    drop(first);

    // Where only the second socket is taken, the first is not left behind.
    let taken = UnixListener::bind(grpc(folder)).unwrap();
    let mut third = start(folder);
    assert_eq!(third.wait(), Some(1));
    assert!(!http(folder).exists() && grpc(folder).exists());
    drop(taken);
}

#[test]
fn a_folder_that_is_none_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let components = resources(folder.path(), &[]);
    let none = folder.path().join("none");
    let mut sidecar = Running::sidecar(
        &components,
        &["--unix-domain-socket", none.to_str().unwrap()],
    );
    assert_eq!(sidecar.wait(), Some(1));
    let log = sidecar.log();
    assert!(log.contains(none.to_str().unwrap()), "{log}");
    assert!(log.contains("--unix-domain-socket"), "{log}");
}
