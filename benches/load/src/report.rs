//! What is said of the figures.

use std::time::Duration;

use crate::Size;
use crate::cases::{Case, Work};
use crate::idle::Memory;
use crate::process::Usage;
use crate::rounds::Sample;

/// What one round of one server came to, or the medians of all its rounds.
pub struct Figures {
    per_second: f64,
    /// How long a request took, in microseconds; nothing where that cannot be seen.
    p50: Option<f64>,
    p99: Option<f64>,
    /// CPU time per request or event, in microseconds.
    cpu: f64,
    wakeups: f64,
    mebibytes: f64,
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts of a bench are far below 2^52"
)]
impl Figures {
    /// From what the server had used before and after, and what was seen of it.
    pub fn new(before: &Usage, after: &Usage, sample: &Sample) -> Self {
        let count = sample.count as f64;
        let latencies = &sample.latencies;
        let at = |percent: usize| latencies.get(latencies.len() * percent / 100).map(micros);
        Self {
            per_second: count / sample.took.as_secs_f64(),
            p50: at(50),
            p99: at(99),
            cpu: micros(&after.cpu.saturating_sub(before.cpu)) / count,
            wakeups: after.wakeups.saturating_sub(before.wakeups) as f64 / count,
            mebibytes: mebibytes(after.memory),
        }
    }

    /// The medians of all rounds; there is at least one.
    pub fn median(rounds: &[Self]) -> Self {
        let middle = |figure: fn(&Self) -> Option<f64>| {
            let figures = sorted(rounds.iter().filter_map(figure));
            figures.get(figures.len() / 2).copied()
        };
        let median = |figure| middle(figure).unwrap_or_default();
        Self {
            per_second: median(|round| Some(round.per_second)),
            p50: middle(|round| round.p50),
            p99: middle(|round| round.p99),
            cpu: median(|round| Some(round.cpu)),
            wakeups: median(|round| Some(round.wakeups)),
            mebibytes: median(|round| Some(round.mebibytes)),
        }
    }
}

/// Bindery's CPU time as a multiple of plain's in the round beside it: what makes the machine slower
/// for a while makes both slower.
pub struct Ratios {
    /// Half of the rounds are below it.
    pub middle: f64,
    /// A quarter of them.
    low: f64,
    /// Three quarters.
    high: f64,
}

impl Ratios {
    /// From the rounds of both; there is at least one of each.
    pub fn of(plain: &[Figures], bindery: &[Figures]) -> Self {
        let pairs = plain.iter().zip(bindery);
        let ratios = sorted(pairs.map(|(plain, bindery)| bindery.cpu / plain.cpu));
        let at = |quarters: usize| ratios[(ratios.len() * quarters / 4).min(ratios.len() - 1)];
        Self {
            middle: at(2),
            low: at(1),
            high: at(3),
        }
    }
}

fn sorted(figures: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_unstable_by(f64::total_cmp);
    figures
}

fn micros(time: &Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// Bytes as MiB.
#[expect(clippy::cast_precision_loss, reason = "memory is far below 2^52")]
pub fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// Says on what machine this is.
pub fn machine() {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let info = read("/proc/cpuinfo");
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name"));
    let model = model.map_or("a processor", |model| {
        model.trim_start_matches([' ', '\t', ':'])
    });
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let kernel = read("/proc/sys/kernel/osrelease");
    println!("{cores} x {model}, Linux {}\n", kernel.trim());
}

/// The figures of servers that worked, as a table.
pub fn rounds(case: &Case, size: &Size, [plain, bindery]: [Figures; 2], ratios: &Ratios) {
    let Size {
        rounds,
        requests,
        connections,
        bytes,
        ..
    } = size;
    let (one, how) = match case.work {
        Work::Events => ("event", String::new()),
        _ => ("request", format!(" over {connections} connections")),
    };
    head(case);
    println!("{rounds} rounds of {requests} {one}s{how}, {bytes} bytes of data in each.\n");
    columns();
    row(
        &format!("{one}s per second"),
        plain.per_second,
        bindery.per_second,
        0,
    );
    for (what, a, b) in [
        ("p50, µs", plain.p50, bindery.p50),
        ("p99, µs", plain.p99, bindery.p99),
    ] {
        if let (Some(a), Some(b)) = (a, b) {
            row(what, a, b, 0);
        }
    }
    let cpu = format!("CPU per {one}, µs");
    line(&cpu, plain.cpu, bindery.cpu, 2, ratios.middle);
    row(
        &format!("wake-ups per {one}"),
        plain.wakeups,
        bindery.wakeups,
        3,
    );
    row("memory, MiB", plain.mebibytes, bindery.mebibytes, 1);
    println!(
        "\nLimit: {} times the CPU of plain. The ratio is of rounds side by side; in half of them \
         it is from {:.2} to {:.2}.\n",
        case.limit, ratios.low, ratios.high
    );
}

/// The memory of servers whose connections are idle, as a table.
pub fn idle(case: &Case, size: &Size, count: usize, plain: Memory, bindery: Memory) {
    head(case);
    if count < size.idle {
        println!(
            "Not {} connections: this process may not open more files.",
            size.idle
        );
    }
    println!();
    columns();
    let row = |what: &str, figure: fn(Memory) -> u64| {
        row(
            what,
            mebibytes(figure(plain)),
            mebibytes(figure(bindery)),
            1,
        );
    };
    row(
        &format!("MiB with {} connections", size.connections),
        |memory| memory.before,
    );
    row(&format!("MiB with {count}, just used"), |memory| {
        memory.used
    });
    row(&format!("MiB with {count}, idle"), |memory| memory.idle);
    println!("\nLimit: {} MiB.\n", case.limit);
}

fn head(case: &Case) {
    println!("### {}: {}\n", case.name, case.title);
    println!("Plain: {}.", case.plain_is);
}

fn columns() {
    println!("| | plain | Bindery | ratio |\n|---|--:|--:|--:|");
}

fn row(what: &str, plain: f64, bindery: f64, digits: usize) {
    line(what, plain, bindery, digits, bindery / plain);
}

fn line(what: &str, plain: f64, bindery: f64, digits: usize, ratio: f64) {
    println!("| {what} | {plain:.digits$} | {bindery:.digits$} | {ratio:.2} |");
}
