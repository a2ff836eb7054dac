//! A server that says what a test tells it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::AbortOnDropHandle;

/// Answers like a master, and like a cluster of one, while it is got to know; and commands with
/// its errors, one after the other. An error without text is none, [`HANG_UP`] closes the
/// connection instead, and when all are used up there are none.
pub struct Fake {
    address: String,
    seen: Arc<Mutex<Vec<String>>>,
    _task: AbortOnDropHandle<()>,
}

/// Instead of an error: close the connection without an answer.
pub const HANG_UP: &str = "hang up";

impl Fake {
    pub async fn start(errors: impl IntoIterator<Item = &'static str>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let errors = Arc::new(Mutex::new(errors.into_iter().collect::<VecDeque<_>>()));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let commands = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (errors, commands) = (Arc::clone(&errors), Arc::clone(&commands));
                tokio::spawn(async move {
                    // A client that goes away ends its connection.
                    let _ = serve(stream, &errors, &commands).await;
                });
            }
        });
        Self {
            address,
            seen,
            _task: AbortOnDropHandle::new(task),
        }
    }

    pub fn address(&self) -> String {
        self.address.clone()
    }

    /// The commands so far, each with its arguments.
    pub fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }

    /// How often a command came.
    pub fn count(&self, command: &str) -> usize {
        let seen = self.seen.lock().unwrap();
        seen.iter()
            .filter(|line| line.split(' ').next() == Some(command))
            .count()
    }
}

async fn serve(
    stream: TcpStream,
    errors: &Mutex<VecDeque<&'static str>>,
    seen: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let port = stream.local_addr()?.port();
    let mut stream = BufReader::new(stream);
    loop {
        let command = read(&mut stream).await?;
        seen.lock().unwrap().push(command.clone());
        let reply = match command.split(' ').next().unwrap_or_default() {
            "PING" => "+PONG".to_owned(),
            "AUTH" | "CLIENT" => "+OK".to_owned(),
            "ROLE" => "*1\r\n$6\r\nmaster".to_owned(),
            "CLUSTER" => format!("*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n$9\r\n127.0.0.1\r\n:{port}"),
            _ => {
                let error = errors.lock().unwrap().pop_front().unwrap_or_default();
                match error {
                    "" => ":1".to_owned(),
                    HANG_UP => return Ok(()),
                    error => format!("-{error}"),
                }
            }
        };
        stream.write_all(format!("{reply}\r\n").as_bytes()).await?;
    }
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
    stream.read_line(&mut line).await?;
    line.trim_end()[1..].parse().map_err(std::io::Error::other)
}
