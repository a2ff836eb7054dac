//! The load test: Bindery beside the least that could do the same, in one run, on the same cores.
//!
//! Every server is a process of its own, started anew by this program from this program, so that
//! its CPU time, memory and wake-ups are its own. The two servers of a case take turns, round by
//! round; what is reported are medians, and ratios of medians. Absolute figures of a shared
//! machine are noise; the ratios are what counts.

mod client;
mod process;
mod report;
mod servers;

use std::io::{self, IsTerminal};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use self::client::Load;
use self::process::Server;
use self::report::{Round, Summary};
use self::servers::Kind;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures Bindery beside the least that could do the same.
#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  cargo run --release -p bindery-bench
  cargo run --release -p bindery-bench -- --rounds 20 --requests 50000 invoke")]
struct Cli {
    #[command(subcommand)]
    server: Option<Command>,
    /// How many rounds each server gets.
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// How many requests make a round.
    #[arg(long, default_value_t = 20_000)]
    requests: usize,
    /// How many connections the requests go over.
    #[arg(long, default_value_t = 32)]
    connections: usize,
    /// How many bytes of data a request carries.
    #[arg(long, default_value_t = 100)]
    bytes: usize,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs one of the servers; this program starts them itself.
    #[command(hide = true)]
    Serve {
        /// Which.
        kind: Kind,
    },
}

/// A case: the least that could do the same, and Bindery.
struct Case {
    name: &'static str,
    plain: Kind,
    bindery: Kind,
    /// The ratio of CPU per request that we hold ourselves to.
    limit: f64,
}

const CASES: &[Case] = &[Case {
    name: "invoke: POST /v1.0/bindings/echo, output in the same process",
    plain: Kind::Bare,
    bindery: Kind::Bindery,
    limit: 1.3,
}];

fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli.server {
        Some(Command::Serve { kind }) => servers::serve(kind),
        None => measure(&cli),
    }
}

fn measure(cli: &Cli) -> ExitCode {
    report::machine();
    let mut met = true;
    for case in CASES {
        match run(cli, case) {
            Ok(ratio) => met &= ratio <= case.limit,
            Err(error) => {
                eprintln!("{}: {error}", case.name);
                return ExitCode::FAILURE;
            }
        }
    }
    if met {
        ExitCode::SUCCESS
    } else {
        eprintln!("a ratio of CPU per request is over its limit");
        ExitCode::FAILURE
    }
}

fn run(cli: &Cli, case: &Case) -> io::Result<f64> {
    let load = Load {
        requests: cli.requests,
        connections: cli.connections,
        bytes: cli.bytes,
    };
    let servers = [Server::start(case.plain)?, Server::start(case.bindery)?];
    for server in &servers {
        // Caches, pools and allocators reach their working size before anything is counted.
        load.run(server.port)?;
    }
    let mut rounds: [Vec<Round>; 2] = [Vec::new(), Vec::new()];
    for round in 0..cli.rounds {
        if io::stderr().is_terminal() {
            eprint!("\r{}: round {} of {}", case.name, round + 1, cli.rounds);
        }
        for (server, rounds) in servers.iter().zip(&mut rounds) {
            let before = server.usage()?;
            let sample = load.run(server.port)?;
            rounds.push(Round::new(&before, &server.usage()?, sample));
        }
    }
    let [plain, bindery] = rounds.map(|rounds| Summary::of(&rounds));
    report::table(case.name, case.limit, &plain, &bindery);
    Ok(bindery.cpu_micros / plain.cpu_micros)
}
