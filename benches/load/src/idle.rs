//! Connections that are open and not used: what they cost in memory.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpStream};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::Size;
use crate::cases::Case;
use crate::client::{request, whole_length};
use crate::process::Server;
use crate::report;

/// Files that are open besides the connections.
const OTHER_FILES: usize = 200;

/// The memory of a server, in bytes.
#[derive(Clone, Copy)]
pub struct Memory {
    /// Without the connections.
    pub before: u64,
    /// With all of them.
    pub with_all: u64,
}

/// Measures the case and prints it. Says whether Bindery is within its limit.
///
/// # Errors
/// A server that does not answer, or hangs up.
pub fn compare(case: &Case, size: &Size) -> io::Result<bool> {
    let count = may_open(size.idle);
    let mut rounds = [Vec::new(), Vec::new()];
    for round in 0..size.rounds.min(5) {
        crate::progress(case, round + 1, size);
        for (kind, rounds) in [case.plain, case.bindery].into_iter().zip(&mut rounds) {
            // A fresh one each time: memory that was used once would not show a second time.
            let server = Server::start(kind, 0)?;
            rounds.push(measure(&server, size, count)?);
        }
    }
    let [plain, bindery] = rounds.map(median);
    report::idle(case, size, count, plain, bindery);
    Ok(report::mebibytes(bindery.with_all) <= case.limit)
}

fn median(mut rounds: Vec<Memory>) -> Memory {
    rounds.sort_unstable_by_key(|memory| memory.with_all);
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

fn measure(server: &Server, size: &Size, count: usize) -> io::Result<Memory> {
    let request = request("echo", size.bytes);
    // One for each worker and some more, so that what exists once is there.
    let first = connect(server, &request, size.connections)?;
    let before = server.usage()?.memory;
    let rest = connect(server, &request, count.saturating_sub(first.len()))?;
    let with_all = server.usage()?.memory;
    for mut stream in first.into_iter().chain(rest) {
        stream.set_nonblocking(true)?;
        match stream.read(&mut [0]) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            _ => return Err(io::Error::other("the server hung up on an idle connection")),
        }
    }
    Ok(Memory { before, with_all })
}

/// Opens connections, and gets one answer over each.
fn connect(server: &Server, request: &str, count: usize) -> io::Result<Vec<TcpStream>> {
    let mut streams = Vec::with_capacity(count);
    let mut buffer = Vec::new();
    for _ in 0..count {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, server.port))?;
        stream.write_all(request.as_bytes())?;
        buffer.clear();
        while whole_length(&buffer)?.is_none_or(|length| buffer.len() < length) {
            let mut chunk = [0; 4096];
            let read = stream.read(&mut chunk)?;
            if read == 0 {
                return Err(io::Error::other("the server hung up"));
            }
            buffer.extend_from_slice(&chunk[..read]);
        }
        streams.push(stream);
    }
    Ok(streams)
}
