//! The load test: Bindery beside the least that could do the same, in one run, on the same cores.
//!
//! Every server is a process of its own, started anew by this program from this program, so that
//! its CPU time, memory and wake-ups are its own. The two servers of a case take turns, round by
//! round; what is reported are medians, and the median of the ratios of CPU time side by side.
//! Absolute figures of a shared machine are noise; the ratios are what counts.

mod cases;
mod client;
mod grpc;
mod idle;
mod process;
mod report;
mod rounds;
mod servers;

use std::io::{self, IsTerminal};
use std::process::ExitCode;

use clap::Parser;

use self::cases::{CASES, Case, Work};
use self::client::Load;
use self::servers::Kind;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures Bindery beside the least that could do the same.
#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  cargo run --release -p bindery-bench
  cargo run --release -p bindery-bench -- --rounds 120 invoke http
  cargo run --release -p bindery-bench -- --quick")]
struct Cli {
    /// What is measured; everything, if nothing is named.
    #[arg(value_parser = cases::parser())]
    cases: Vec<&'static Case>,
    /// A smoke test: one round of few requests. Its figures mean little, so no ratio fails it.
    #[arg(long)]
    quick: bool,
    /// How many rounds each server gets.
    #[arg(long, default_value_t = 40)]
    rounds: usize,
    /// How many requests or events make a round.
    #[arg(long, default_value_t = 40_000)]
    requests: usize,
    /// How many connections the requests go over.
    #[arg(long, default_value_t = 32)]
    connections: usize,
    /// How many bytes of data a request or an event carries.
    #[arg(long, default_value_t = 100)]
    bytes: usize,
    /// How many connections are idle.
    #[arg(long, default_value_t = 10_000)]
    idle: usize,
    /// Runs one of the servers; this program starts them itself.
    #[arg(long, hide = true)]
    serve: Option<Kind>,
    /// The port of whom that server talks to.
    #[arg(long, hide = true, default_value_t = 0)]
    to: u16,
}

/// How much is measured.
struct Size {
    rounds: usize,
    requests: usize,
    connections: usize,
    bytes: usize,
    idle: usize,
}

impl From<&Cli> for Size {
    fn from(cli: &Cli) -> Self {
        let all = Self {
            rounds: cli.rounds.max(1),
            requests: cli.requests,
            connections: cli.connections.clamp(1, cli.requests.max(1)),
            bytes: cli.bytes,
            idle: cli.idle,
        };
        if !cli.quick {
            return all;
        }
        Self {
            rounds: 1,
            requests: all.requests.min(2_000),
            idle: all.idle.min(500),
            ..all
        }
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli.serve {
        Some(kind) => servers::serve(kind, cli.to),
        None => measure(&cli),
    }
}

fn measure(cli: &Cli) -> ExitCode {
    let size = Size::from(cli);
    let is_wanted = |case: &&Case| {
        let named = || cli.cases.iter().any(|named| named.name == case.name);
        cli.cases.is_empty() || named()
    };
    report::machine();
    let mut missed = Vec::new();
    for case in CASES.iter().filter(is_wanted) {
        match run(case, &size) {
            Ok(true) => {}
            Ok(false) => missed.push(case.name),
            Err(error) => {
                eprintln!("{}: {error}", case.name);
                return ExitCode::FAILURE;
            }
        }
    }
    if missed.is_empty() || cli.quick {
        return ExitCode::SUCCESS;
    }
    eprintln!("over its limit: {}", missed.join(", "));
    ExitCode::FAILURE
}

/// Measures a case, and says whether Bindery is within its limit.
fn run(case: &Case, size: &Size) -> io::Result<bool> {
    match case.work {
        Work::Requests { output } => {
            let load = Load {
                output,
                requests: size.requests,
                connections: size.connections,
                bytes: size.bytes,
            };
            rounds::compare(case, size, |server| load.run(server.port))
        }
        Work::Events => rounds::compare(case, size, |server| {
            server.send_events(size.requests, size.bytes)
        }),
        Work::Idle { over } => idle::compare(case, size, over),
    }
}

/// Shows how far it is to whoever sits there and waits.
fn progress(case: &Case, round: usize, size: &Size) {
    if io::stderr().is_terminal() {
        eprint!("\r{}: round {round} of {}\x1b[K\r", case.name, size.rounds);
    }
}
