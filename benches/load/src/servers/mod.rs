//! The servers that are measured, and those that they talk to.

mod bindery;
mod grpc;
mod log;
mod plain;
mod poster;

use std::io::{self, Read};
use std::process::ExitCode;

use rustix::process::{Signal, set_parent_process_death_signal};
use tokio::io::{AsyncBufReadExt, BufReader, Lines, Stdin};

/// How many keys events have.
const KEYS: usize = 8;

/// A server.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub enum Kind {
    /// A bare actix-web handler that answers what Bindery's echo answers.
    Bare,
    /// The sidecar, with an output that lives in the same process.
    BinderyEcho,
    /// The least that answers over gRPC what Bindery's echo answers.
    BareGrpc,
    /// The sidecar with that output, over gRPC.
    BinderyGrpc,
    /// An actix-web handler that posts data to the upstream.
    Forwarder,
    /// The sidecar, with `bindings.http` to the upstream.
    BinderyHttp,
    /// Whom those two talk to.
    Upstream,
    /// Tasks that post events to the app.
    Poster,
    /// The sidecar, with an input that sends events to the app.
    BinderyLog,
    /// Whom those two talk to.
    App,
}

/// Runs a server that talks to the port `to`, until whoever started it is gone.
pub fn serve(kind: Kind, to: u16) -> ExitCode {
    // Most hear it from their closed input; one that waits for an app which is gone too does not.
    let _ = set_parent_process_death_signal(Some(Signal::TERM));
    let served = actix_rt::System::new().block_on(async {
        match kind {
            Kind::Bare => plain::bare().await,
            Kind::BinderyEcho => bindery::echo().await,
            Kind::BareGrpc => grpc::bare().await,
            Kind::BinderyGrpc => bindery::echo_over_grpc().await,
            Kind::Forwarder => plain::forwarder(to).await,
            Kind::BinderyHttp => bindery::http(to).await,
            Kind::Upstream => plain::upstream().await,
            Kind::Poster => poster::post(to).await,
            Kind::BinderyLog => bindery::log(to).await,
            Kind::App => plain::app().await,
        }
    });
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Says where it listens, and sleeps until nobody wants it any more.
async fn until_unwanted(port: u16) {
    println!("{port}");
    let waiting = tokio::task::spawn_blocking(|| io::stdin().read_to_end(&mut Vec::new()));
    let _ = waiting.await;
}

fn workers() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Events that somebody wants sent.
#[derive(Clone, Copy)]
struct Order {
    count: usize,
    bytes: usize,
}

impl Order {
    /// How many of the events have a key.
    fn of_key(self, key: usize) -> usize {
        self.count / KEYS + usize::from(key < self.count % KEYS)
    }

    /// What is in each.
    fn data(self) -> bytes::Bytes {
        format!("\"{}\"", "x".repeat(self.bytes)).into()
    }
}

/// The orders of whoever started this server, one a line.
struct Orders(Lines<BufReader<Stdin>>);

impl Orders {
    fn new() -> Self {
        Self(BufReader::new(tokio::io::stdin()).lines())
    }

    /// The next one; nothing when nobody wants anything any more.
    async fn next(&mut self) -> Option<Order> {
        let line = self.0.next_line().await.ok().flatten()?;
        let (count, bytes) = line.split_once(' ')?;
        Some(Order {
            count: count.parse().ok()?,
            bytes: bytes.parse().ok()?,
        })
    }
}

/// Says that the last order is carried out.
fn done() {
    println!("done");
}
