//! The fault suite: kills, cuts and stalls Bindery while a ledger keeps count of every event.
//!
//! `docs/faults.md` says what each case proves. People start it by
//! `cargo run -p bindery-testkit -- faults`.
#![expect(
    clippy::disallowed_methods,
    reason = "it measures the machine's time and waits for other processes"
)]

mod app;
mod audit;
mod cases;
mod ledger;
mod process;
mod row;
mod scene;
mod sidecar;
mod source;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::atomic::Ordering;

use bindery_contract::{mutation, panic_text};
use clap::{Parser, Subcommand};

use self::cases::Case;
use self::row::Row;
use self::scene::{INTERRUPTED, Scene};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Kills, cuts and stalls Bindery while a ledger keeps count of every event.
#[derive(Debug, Parser)]
#[command(
    name = "faults",
    args_conflicts_with_subcommands = true,
    after_help = "\
Examples:
  cargo run -p bindery-testkit -- faults
  cargo run -p bindery-testkit -- faults kill-9-log sigterm --seed 7
  cargo run -p bindery-testkit -- faults --full
  cargo run -p bindery-testkit -- faults --mutate ack-after-app"
)]
struct Cli {
    #[command(subcommand)]
    own: Option<Own>,
    /// The cases; all of them without any.
    #[arg(value_parser = cases::ALL.iter().map(|case| case.name).collect::<Vec<_>>())]
    cases: Vec<String>,
    /// Where chances come from: the same seed makes the same decisions again.
    #[arg(long)]
    seed: Option<u64>,
    /// The short values, as CI has time for; this is the default.
    #[arg(long, conflicts_with = "full")]
    ci: bool,
    /// The values of the promises: a thousand kills, an hour's soak.
    #[arg(long)]
    full: bool,
    /// Switches a mechanism off, which must turn the table red.
    #[arg(long, value_parser = mutation::ALL.map(|(name, _)| name))]
    mutate: Option<String>,
    /// Switches off all of them, one after the other, each under the cheapest case that shows it.
    #[arg(long, conflicts_with_all = ["mutate", "cases", "full"])]
    check_mutations: bool,
    /// Lists the cases.
    #[arg(long)]
    list: bool,
}

#[derive(Debug, Subcommand)]
enum Own {
    /// The suite's own sidecar.
    #[command(hide = true)]
    Sidecar(sidecar::SidecarArgs),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Some(Own::Sidecar(args)) = &cli.own {
        return sidecar::serve(args);
    }
    if cli.list {
        for case in cases::ALL {
            println!("{:<20} {}", case.name, case.summary);
        }
        return ExitCode::SUCCESS;
    }
    if let Err(error) = watch_signals() {
        eprintln!("signals cannot be watched: {error}");
        return ExitCode::FAILURE;
    }
    let seed = cli.seed.unwrap_or_else(|| fastrand::u64(..1_000_000));
    let met = if cli.check_mutations {
        check_mutations(seed)
    } else {
        check(&cli, seed)
    };
    if met {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Runs the cases; whether all of them passed.
fn check(cli: &Cli, seed: u64) -> bool {
    let mutate = cli.mutate.as_deref().and_then(mechanism);
    let is_wanted = |case: &&Case| match (cli.cases.as_slice(), mutate) {
        ([], None) => true,
        ([], Some(name)) => cases::showing(name).is_some_and(|shows| shows.name == case.name),
        (names, _) => names.iter().any(|name| name == case.name),
    };
    let wanted = cases::ALL.iter().filter(is_wanted);
    let rows: Vec<Row> = wanted
        .map(|case| play(case, seed, cli.full, mutate))
        .collect();
    row::print(&rows);
    rows.iter().all(Row::is_green)
}

/// Switches off one mechanism after the other; whether the table turned red each time.
fn check_mutations(seed: u64) -> bool {
    let mut rows = Vec::new();
    let mut unnoticed = Vec::new();
    for (name, _) in mutation::ALL {
        let Some(case) = cases::showing(name) else {
            continue;
        };
        let mut row = play(case, seed, false, Some(name));
        if row.is_green() {
            unnoticed.push(name);
        }
        row.name = format!("{} without {name}", row.name);
        rows.push(row);
    }
    row::print(&rows);
    match unnoticed.as_slice() {
        [] => println!("each of the {} mutations turned the table red", rows.len()),
        names => println!("nobody noticed that these were off: {}", names.join(", ")),
    }
    unnoticed.is_empty()
}

fn mechanism(wanted: &str) -> Option<&'static str> {
    let names = mutation::ALL.iter().map(|(name, _)| *name);
    names.into_iter().find(|name| *name == wanted)
}

/// Runs one case. One that panics has failed, and has let go of all that it started.
fn play(case: &Case, seed: u64, is_full: bool, mutate: Option<&'static str>) -> Row {
    let mut scene = Scene::new(case.name, seed, is_full, mutate);
    let played = catch_unwind(AssertUnwindSafe(|| (case.run)(&mut scene)));
    Scene::end_line();
    let mut row = played.unwrap_or_else(|panic| {
        let mut row = Row::done("it broke off");
        row.wrong.push(panic_text(panic.as_ref()));
        row
    });
    row.name = case.name.into();
    row.seed = seed;
    if !row.is_green() {
        row.wrong
            .push(format!("the sidecar's last words:\n{}", scene.log_tail()));
    }
    let verdict = if row.is_green() { "passed" } else { "FAILED" };
    eprintln!("{} {verdict}", case.name);
    row
}

/// A signal ends the case that runs, and with it everything that it started.
fn watch_signals() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    std::thread::spawn(move || {
        runtime.block_on(async {
            let signals = (
                signal(SignalKind::interrupt()),
                signal(SignalKind::terminate()),
            );
            let (Ok(mut interrupt), Ok(mut terminate)) = signals else {
                return;
            };
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            INTERRUPTED.store(true, Ordering::Relaxed);
        });
    });
    Ok(())
}
