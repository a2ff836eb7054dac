//! A server that says what a test tells it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::AbortOnDropHandle;

/// Answers like a master, like a cluster of one, and like a sentinel that names it, while it is
/// got to know; and commands with its errors, one after the other. An error without text is none,
/// [`HANG_UP`] closes the connection instead, and when all are used up there are none.
pub struct Fake {
    address: String,
    script: Arc<Script>,
    _task: AbortOnDropHandle<()>,
}

struct Script {
    role: &'static str,
    errors: Mutex<VecDeque<&'static str>>,
    /// Each command, and the AUTH before it on its connection.
    seen: Mutex<Vec<(String, String)>>,
}

/// Instead of an error: close the connection without an answer.
pub const HANG_UP: &str = "hang up";

impl Fake {
    pub async fn start(errors: impl IntoIterator<Item = &'static str>) -> Self {
        Self::with_role("master", errors).await
    }

    /// The same, but for what it says to ROLE.
    pub async fn with_role(
        role: &'static str,
        errors: impl IntoIterator<Item = &'static str>,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let script = Arc::new(Script {
            role,
            errors: Mutex::new(errors.into_iter().collect()),
            seen: Mutex::default(),
        });
        let shared = Arc::clone(&script);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let script = Arc::clone(&shared);
                tokio::spawn(async move {
                    // A client that goes away ends its connection.
                    let _ = serve(stream, &script).await;
                });
            }
        });
        Self {
            address,
            script,
            _task: AbortOnDropHandle::new(task),
        }
    }

    pub fn address(&self) -> String {
        self.address.clone()
    }

    /// The commands so far, each with its arguments.
    pub fn seen(&self) -> Vec<String> {
        let seen = self.script.seen.lock().unwrap();
        seen.iter().map(|(_, line)| line.clone()).collect()
    }

    /// The AUTH of the connection over which a command came last.
    pub fn login_of(&self, command: &str) -> Option<String> {
        let seen = self.script.seen.lock().unwrap();
        let last = seen.iter().rfind(|(_, line)| name(line) == command)?;
        Some(last.0.clone())
    }

    /// How often a command came.
    pub fn count(&self, command: &str) -> usize {
        let seen = self.seen();
        seen.iter().filter(|line| name(line) == command).count()
    }
}

fn name(line: &str) -> &str {
    line.split(' ').next().unwrap_or_default()
}

async fn serve(stream: TcpStream, script: &Script) -> std::io::Result<()> {
    let port = stream.local_addr()?.port().to_string();
    let mut stream = BufReader::new(stream);
    let mut login = String::new();
    loop {
        let command = read(&mut stream).await?;
        if name(&command) == "AUTH" {
            login.clone_from(&command);
        }
        let seen = (login.clone(), command.clone());
        script.seen.lock().unwrap().push(seen);
        let reply = match name(&command) {
            "PING" => "+PONG".to_owned(),
            "AUTH" | "CLIENT" => "+OK".to_owned(),
            "ROLE" => format!("*1\r\n{}", bulk(script.role)),
            "CLUSTER" => format!(
                "*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n{}\r\n:{port}",
                bulk("127.0.0.1")
            ),
            "SENTINEL" => format!("*2\r\n{}\r\n{}", bulk("127.0.0.1"), bulk(&port)),
            _ => match script.errors.lock().unwrap().pop_front() {
                None | Some("") => ":1".to_owned(),
                Some(HANG_UP) => return Ok(()),
                Some(error) => format!("-{error}"),
            },
        };
        stream.write_all(format!("{reply}\r\n").as_bytes()).await?;
    }
}

fn bulk(text: &str) -> String {
    format!("${}\r\n{text}", text.len())
}

/// One command: an array of bulk strings.
async fn read(stream: &mut BufReader<TcpStream>) -> std::io::Result<String> {
    let mut words = Vec::new();
    for _ in 0..number(stream).await? {
        let mut word = vec![0; number(stream).await? + 2];
        stream.read_exact(&mut word).await?;
        words.push(String::from_utf8_lossy(&word).trim_end().to_owned());
    }
    Ok(words.join(" "))
}

async fn number(stream: &mut BufReader<TcpStream>) -> std::io::Result<usize> {
    let mut line = String::new();
    if stream.read_line(&mut line).await? == 0 {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    line.trim_end()[1..].parse().map_err(std::io::Error::other)
}
