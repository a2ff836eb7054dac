//! What the end-to-end tests share: Bindery as a process, ports, files, waiting.

mod app;
pub mod frames;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

pub use self::app::{App, Request};

/// A component for [`resources`]: name, type, settings.
pub type Component<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)]);

/// Writes components into a folder of their own below `folder`, and returns that.
pub fn resources(folder: &Path, components: &[Component<'_>]) -> PathBuf {
    let path = folder.join("components");
    std::fs::create_dir_all(&path).unwrap();
    for (name, kind, settings) in components {
        let mut yaml = format!(
            "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata:\n  name: {name}\nspec:\n  \
             type: {kind}\n  version: v1\n  metadata:\n"
        );
        for (key, value) in *settings {
            yaml.push_str(&format!("  - name: {key}\n    value: {value:?}\n"));
        }
        std::fs::write(path.join(format!("{name}.yaml")), yaml).unwrap();
    }
    path
}

pub use bindery_testkit::ports::free as free_port;

/// Waits until `condition` holds, and fails when it does not within `limit`.
pub fn wait_for(what: &str, limit: Duration, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < limit, "waited {limit:?} for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The binary under test: the release one when the test script names it.
pub fn binary() -> PathBuf {
    std::env::var_os("BINDERY_BIN")
        .map_or_else(|| env!("CARGO_BIN_EXE_bindery").into(), PathBuf::from)
}

/// By this variable a process knows that it is in a pod; these tests may be in one.
pub const POD: &str = "KUBERNETES_SERVICE_HOST";

/// A running Bindery. Dropping it ends it and everything it started.
pub struct Running {
    child: Child,
    pub http_port: u16,
    /// 0 where the test has chosen it.
    pub grpc_port: u16,
    pub app_port: u16,
    log: Arc<Mutex<String>>,
    readers: Vec<JoinHandle<()>>,
}

/// An answer over HTTP.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self
            .headers
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }
}

impl Running {
    /// `bindery run … -- <app>`; the app's command is split as a shell would.
    pub fn run(components: &Path, app: &str) -> Self {
        let (http_port, grpc_port, app_port) = (free_port(), free_port(), free_port());
        let mut command = Command::new(binary());
        command
            .args(["run", "--app-id", "test"])
            .args(["--app-port", &app_port.to_string()])
            .args(["--dapr-http-port", &http_port.to_string()])
            .args(["--dapr-grpc-port", &grpc_port.to_string()])
            .arg("--resources-path")
            .arg(components)
            .args(["--", "sh", "-c", &format!("exec {app}")]);
        let mut running = Self::start(command, http_port, app_port);
        running.grpc_port = grpc_port;
        running
    }

    /// The sidecar alone, as `daprd` is started.
    pub fn sidecar(components: &Path, flags: &[&str]) -> Self {
        Self::sidecar_with(components, flags, &[])
    }

    /// The sidecar alone, with variables in its environment.
    pub fn sidecar_with(components: &Path, flags: &[&str], env: &[(&str, &str)]) -> Self {
        let (http_port, grpc_port) = (free_port(), free_port());
        let mut command = Command::new(binary());
        command
            .args(["--app-id", "test"])
            .args(["--dapr-http-port", &http_port.to_string()])
            .args(["--dapr-grpc-port", &grpc_port.to_string()])
            .arg("--resources-path")
            .arg(components)
            .args(flags)
            .env_remove(POD)
            .envs(env.iter().copied());
        // Only one sidecar of a machine gets the port that is the default.
        if !flags.iter().any(|flag| flag.contains("metrics")) {
            command.args(["--metrics-port", "0"]);
        }
        let mut running = Self::start(command, http_port, 0);
        running.grpc_port = grpc_port;
        running
    }

    /// Any command line of Bindery.
    pub fn start(mut command: Command, http_port: u16, app_port: u16) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary can be started");
        let log = Arc::new(Mutex::new(String::new()));
        let readers = vec![
            read_into(child.stdout.take().unwrap(), Arc::clone(&log)),
            read_into(child.stderr.take().unwrap(), Arc::clone(&log)),
        ];
        Self {
            child,
            http_port,
            grpc_port: 0,
            app_port,
            log,
            readers,
        }
    }

    /// Everything it has printed so far.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Waits for a text in the log.
    pub fn wait_for_log(&self, text: &str) {
        wait_for(
            &format!("{text:?} in the log:\n{}", self.log()),
            Duration::from_secs(20),
            || self.log().contains(text),
        );
    }

    /// Waits until the API answers and says that it is ready.
    pub fn wait_until_ready(&self) {
        self.wait_until_healthy("/v1.0/healthz");
    }

    /// Waits until outputs can be called; the app may still be on its way.
    pub fn wait_until_callable(&self) {
        self.wait_until_healthy("/v1.0/healthz/outbound");
    }

    fn wait_until_healthy(&self, path: &str) {
        wait_for("the sidecar", Duration::from_secs(20), || {
            request(self.http_port, "GET", path, &[], b"").is_ok_and(|a| a.status == 204)
        });
    }

    pub fn get(&self, path: &str) -> Answer {
        request(self.http_port, "GET", path, &[], b"").unwrap()
    }

    pub fn post(&self, path: &str, body: &str) -> Answer {
        request(self.http_port, "POST", path, &[], body.as_bytes()).unwrap()
    }

    pub fn invoke(&self, binding: &str, body: &str) -> Answer {
        self.post(&format!("/v1.0/bindings/{binding}"), body)
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Ctrl-C, and the exit code that follows.
    pub fn interrupt(&mut self) -> Option<i32> {
        signal(self.child.id(), "INT");
        self.wait()
    }

    /// Waits for it to end by itself.
    pub fn wait(&mut self) -> Option<i32> {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                for reader in self.readers.drain(..) {
                    let _ = reader.join();
                }
                return status.code();
            }
            assert!(
                start.elapsed() < Duration::from_secs(30),
                "it does not end:\n{}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|status| status.is_none()) {
            signal(self.child.id(), "TERM");
            let start = Instant::now();
            let runs = |child: &mut Child| child.try_wait().is_ok_and(|status| status.is_none());
            while runs(&mut self.child) && start.elapsed() < Duration::from_secs(10) {
                std::thread::sleep(Duration::from_millis(20));
            }
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if std::thread::panicking() {
            eprintln!("--- log of the process under test\n{}", self.log());
        }
    }
}

/// Sends a signal to a process that we started.
pub fn signal(process: u32, name: &str) {
    let _ = Command::new("kill")
        .args([&format!("-{name}"), &process.to_string()])
        .status();
}

fn read_into(output: impl Read + Send + 'static, log: Arc<Mutex<String>>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut lines = BufReader::new(output);
        let mut line = Vec::new();
        while lines
            .read_until(b'\n', &mut line)
            .is_ok_and(|length| length > 0)
        {
            log.lock()
                .unwrap()
                .push_str(&String::from_utf8_lossy(&line));
            line.clear();
        }
    })
}

/// One HTTP/1.1 request over a connection of its own, written out so that a test decides about
/// every byte.
pub fn request(
    port: u16,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> std::io::Result<Answer> {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    request_over(stream, method, path, headers, body)
}

/// The same over a connection that the test has made.
pub fn request_over(
    mut stream: impl Read + Write,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> std::io::Result<Answer> {
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if !body.is_empty() || method == "POST" || method == "PUT" {
        head.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes())?;
    // A server that has seen enough may hang up before it has read everything.
    let _ = stream.write_all(body);
    read_answer(stream)
}

/// Reads one answer, to the end of the connection.
pub fn read_answer(stream: impl Read) -> std::io::Result<Answer> {
    let broken = |what: &str| std::io::Error::other(what.to_owned());
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let status = line.split(' ').nth(1).and_then(|code| code.parse().ok());
    let status = status.ok_or_else(|| broken(&format!("no status line: {line:?}")))?;
    let mut headers: Vec<(String, String)> = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        match line.trim_end().split_once(':') {
            Some((name, value)) => headers.push((name.to_owned(), value.trim().to_owned())),
            None => break,
        }
    }
    let find = |name: &str| {
        headers
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
    };
    let mut body = Vec::new();
    if find("transfer-encoding").is_some() {
        loop {
            let mut size = String::new();
            reader.read_line(&mut size)?;
            let size =
                usize::from_str_radix(size.trim(), 16).map_err(|_| broken("no chunk size"))?;
            let mut chunk = vec![0; size + 2];
            reader.read_exact(&mut chunk)?;
            body.extend_from_slice(&chunk[..size]);
            if size == 0 {
                break;
            }
        }
    } else {
        reader.read_to_end(&mut body)?;
        let length = find("content-length").and_then(|(_, length)| length.parse::<usize>().ok());
        if length.is_some_and(|length| length != body.len()) {
            return Err(broken("the body is cut short"));
        }
    }
    Ok(Answer {
        status,
        headers,
        body,
    })
}
