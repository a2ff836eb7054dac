//! Cases in which servers work: rounds in turn, and what each took.

use std::io;
use std::time::Duration;

use crate::Size;
use crate::cases::Case;
use crate::process::Server;
use crate::report::{self, Figures, Ratios};

/// After how many rounds the servers are started anew: which thread gets which connection is
/// chance, and stays as it is for a life.
const ROUNDS_OF_A_LIFE: usize = 5;

/// What a round looked like from outside.
pub struct Sample {
    /// How many requests or events it was.
    pub count: usize,
    /// From the first to the last.
    pub took: Duration,
    /// How long each took, the shortest first; nothing where that cannot be seen.
    pub latencies: Vec<Duration>,
}

/// Measures a case and prints it. Says whether Bindery is within its limit.
///
/// # Errors
/// A server that does not do its work.
pub fn compare(
    case: &Case,
    size: &Size,
    work: impl Fn(&mut Server) -> io::Result<Sample>,
) -> io::Result<bool> {
    let mut rounds: [Vec<Figures>; 2] = [Vec::new(), Vec::new()];
    for first in (0..size.rounds).step_by(ROUNDS_OF_A_LIFE) {
        let other_side = case.other_side.map(|kind| Server::start(kind, 0));
        let other_side = other_side.transpose()?;
        let to = other_side.as_ref().map_or(0, |server| server.port);
        let mut servers = [
            Server::start(case.plain, to)?,
            Server::start(case.bindery, to)?,
        ];
        for server in &mut servers {
            // Caches, pools and allocators reach their working size before anything is counted.
            work(server)?;
        }
        for round in first..size.rounds.min(first + ROUNDS_OF_A_LIFE) {
            crate::progress(case, round + 1, size);
            // In going first they take turns too.
            for which in [round % 2, 1 - round % 2] {
                let server = &mut servers[which];
                let before = server.usage()?;
                let sample = work(server)?;
                rounds[which].push(Figures::new(&before, &server.usage()?, &sample));
            }
        }
    }
    let [plain, bindery] = &rounds;
    let ratios = Ratios::of(plain, bindery);
    report::rounds(
        case,
        size,
        [plain, bindery].map(|rounds| Figures::median(rounds)),
        &ratios,
    );
    // As exact as it is printed.
    Ok((ratios.middle * 100.0).round() <= case.limit * 100.0)
}
