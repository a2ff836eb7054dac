//! The load: many connections, one request at a time on each, all driven by one thread.

use std::io;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::rounds::Sample;

/// How a server is loaded.
pub struct Load {
    /// Which output the requests are for.
    pub output: &'static str,
    /// How many requests in all.
    pub requests: usize,
    /// Over how many connections.
    pub connections: usize,
    /// How many bytes of data each carries.
    pub bytes: usize,
}

impl Load {
    /// Sends all requests and waits for all answers.
    ///
    /// # Errors
    /// An answer that is not 200, or no answer.
    #[expect(
        clippy::disallowed_methods,
        reason = "a bench measures the machine's time"
    )]
    pub fn run(&self, port: u16) -> io::Result<Sample> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let request = request(self.output, self.bytes);
        let each = self.requests / self.connections;
        runtime.block_on(async {
            let mut streams = Vec::new();
            for _ in 0..self.connections {
                let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
                stream.set_nodelay(true)?;
                streams.push(stream);
            }
            let started = Instant::now();
            let running: Vec<_> = streams
                .into_iter()
                .map(|stream| tokio::spawn(converse(stream, request.clone(), each)))
                .collect();
            let mut latencies = Vec::with_capacity(self.requests);
            for connection in running {
                latencies.extend(connection.await.map_err(io::Error::other)??);
            }
            let took = started.elapsed();
            latencies.sort_unstable();
            Ok(Sample {
                count: latencies.len(),
                took,
                latencies,
            })
        })
    }
}

/// A request for an output, with `bytes` bytes of data.
pub fn request(output: &str, bytes: usize) -> String {
    let data = "x".repeat(bytes);
    let body = format!("{{\"operation\":\"create\",\"data\":\"{data}\"}}");
    format!(
        "POST /v1.0/bindings/{output} HTTP/1.1\r\nHost: localhost\r\nContent-Type: \
         application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

#[expect(
    clippy::disallowed_methods,
    reason = "a bench measures the machine's time"
)]
async fn converse(
    mut stream: TcpStream,
    request: String,
    count: usize,
) -> io::Result<Vec<Duration>> {
    let mut latencies = Vec::with_capacity(count);
    let mut buffer = BytesMut::with_capacity(64 << 10);
    for _ in 0..count {
        let started = Instant::now();
        stream.write_all(request.as_bytes()).await?;
        buffer.clear();
        let mut length = None;
        while length.is_none_or(|length| buffer.len() < length) {
            if stream.read_buf(&mut buffer).await? == 0 {
                return Err(io::Error::other("the server hung up"));
            }
            if length.is_none() {
                length = whole_length(&buffer)?;
            }
        }
        latencies.push(started.elapsed());
    }
    Ok(latencies)
}

/// How long the answer is, head and body, once its head has come.
pub fn whole_length(buffer: &[u8]) -> io::Result<Option<usize>> {
    let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") else {
        return Ok(None);
    };
    let head = String::from_utf8_lossy(&buffer[..end]).to_ascii_lowercase();
    if !head.starts_with("http/1.1 200") {
        let shown = String::from_utf8_lossy(buffer);
        return Err(io::Error::other(format!("not a 200: {shown}")));
    }
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"));
    let length = length.and_then(|length| length.trim().parse::<usize>().ok());
    let length = length.ok_or_else(|| io::Error::other("an answer without a length"))?;
    Ok(Some(end + 4 + length))
}
