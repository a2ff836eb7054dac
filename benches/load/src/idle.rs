//! Connections that are open and not used: what they cost in memory.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::thread;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::Size;
use crate::cases::{Case, Protocol};
use crate::client::{request, whole_length};
use crate::grpc::GrpcLines;
use crate::process::Server;
use crate::report;

/// Files that are open besides the connections.
const OTHER_FILES: usize = 200;

/// How long connections are unused before they count as idle: those of HTTP have come to rest then,
/// and a crowd of gRPC's has been let go.
fn quiet(over: Protocol) -> Duration {
    Duration::from_secs(match over {
        Protocol::Http => 10,
        Protocol::Grpc => 20,
    })
}

/// The memory of a server, in bytes.
#[derive(Clone, Copy)]
pub struct Memory {
    /// Without the connections.
    pub before: u64,
    /// When each of them has just been used.
    pub used: u64,
    /// When none of them has been used for a while.
    pub idle: u64,
}

/// Connections to a server.
pub trait Lines {
    /// Opens connections until there are `count`, and gets one answer over each new one.
    ///
    /// # Errors
    /// A server that does not answer, or hangs up.
    fn open(&mut self, count: usize) -> io::Result<()>;

    /// Gets one more answer over each.
    ///
    /// # Errors
    /// A server that does not answer, or hangs up.
    fn use_all(&mut self) -> io::Result<()>;
}

/// Measures the case and prints it. Says whether Bindery is within its limit.
///
/// # Errors
/// A server that does not answer, or hangs up.
pub fn compare(case: &Case, size: &Size, over: Protocol) -> io::Result<bool> {
    let count = may_open(size.idle);
    let mut rounds = [Vec::new(), Vec::new()];
    for round in 0..size.rounds.min(5) {
        crate::progress(case, round + 1, size);
        for (kind, rounds) in [case.plain, case.bindery].into_iter().zip(&mut rounds) {
            // A fresh one each time: memory that was used once would not show a second time.
            let server = Server::start(kind, 0)?;
            let mut lines: Box<dyn Lines> = match over {
                Protocol::Http => Box::new(HttpLines::new(server.port, size.bytes)),
                Protocol::Grpc => Box::new(GrpcLines::new(server.port, size.bytes)?),
            };
            rounds.push(measure(&server, &mut *lines, size, count, quiet(over))?);
        }
    }
    let [plain, bindery] = rounds.map(median);
    report::idle(case, size, count, plain, bindery);
    Ok(report::mebibytes(bindery.idle) <= case.limit)
}

fn median(mut rounds: Vec<Memory>) -> Memory {
    rounds.sort_unstable_by_key(|memory| memory.idle);
    rounds[rounds.len() / 2]
}

/// How many of `wanted` connections this process, and a server that it starts, may have open.
fn may_open(wanted: usize) -> usize {
    let limit = getrlimit(Resource::Nofile);
    let needed = Some((wanted + OTHER_FILES) as u64);
    // `None` is no limit. Raising what nobody may exceed is for root; the rest is for everybody.
    let is_enough = |have: Option<u64>| have.is_none_or(|have| Some(have) >= needed);
    if !is_enough(limit.current) {
        let maximum = if is_enough(limit.maximum) {
            limit.maximum
        } else {
            needed
        };
        let current = needed;
        if setrlimit(Resource::Nofile, Rlimit { current, maximum }).is_err() {
            let current = limit.maximum;
            let _ = setrlimit(Resource::Nofile, Rlimit { current, ..limit });
        }
    }
    let have = getrlimit(Resource::Nofile).current;
    let have = have.and_then(|have| usize::try_from(have).ok());
    have.map_or(wanted, |have| wanted.min(have.saturating_sub(OTHER_FILES)))
}

#[expect(
    clippy::disallowed_methods,
    reason = "a bench has nothing else to do meanwhile"
)]
fn measure(
    server: &Server,
    lines: &mut dyn Lines,
    size: &Size,
    count: usize,
    quiet: Duration,
) -> io::Result<Memory> {
    // One for each worker and some more, so that what exists once is there.
    lines.open(size.connections.min(count))?;
    let before = server.usage()?.memory;
    lines.open(count)?;
    let used = server.usage()?.memory;
    thread::sleep(quiet);
    let idle = server.usage()?.memory;
    // Idle is not gone: each still answers.
    lines.use_all()?;
    Ok(Memory { before, used, idle })
}

/// Connections of HTTP/1.1.
struct HttpLines {
    port: u16,
    request: String,
    streams: Vec<TcpStream>,
}

impl HttpLines {
    fn new(port: u16, bytes: usize) -> Self {
        Self {
            port,
            request: request("echo", bytes),
            streams: Vec::new(),
        }
    }
}

impl Lines for HttpLines {
    fn open(&mut self, count: usize) -> io::Result<()> {
        while self.streams.len() < count {
            let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
            exchange(&mut stream, &self.request)?;
            self.streams.push(stream);
        }
        Ok(())
    }

    fn use_all(&mut self) -> io::Result<()> {
        let mut streams = self.streams.iter_mut();
        streams.try_for_each(|stream| exchange(stream, &self.request))
    }
}

fn exchange(stream: &mut TcpStream, request: &str) -> io::Result<()> {
    let mut buffer = Vec::new();
    let mut chunk = [0; 4096];
    stream.write_all(request.as_bytes())?;
    while whole_length(&buffer)?.is_none_or(|length| buffer.len() < length) {
        let read = stream.read(&mut chunk)?;
        if read == 0 {
            return Err(io::Error::other("the server hung up"));
        }
        buffer.extend_from_slice(&chunk[..read]);
    }
    Ok(())
}
