//! What is said of the figures.

use std::time::Duration;

use crate::client::Sample;
use crate::process::Usage;

/// One round of one server.
pub struct Round {
    per_second: f64,
    p50: Duration,
    p99: Duration,
    cpu_micros: f64,
    wakeups: f64,
    memory: u64,
}

/// The medians of all rounds of one server.
pub struct Summary {
    per_second: f64,
    p50_micros: f64,
    p99_micros: f64,
    /// CPU time per request, in microseconds.
    pub cpu_micros: f64,
    wakeups: f64,
    memory: f64,
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts of a bench are far below 2^52"
)]
impl Round {
    /// From what the server had used before and after, and what the load saw.
    pub fn new(before: &Usage, after: &Usage, sample: Sample) -> Self {
        let count = sample.latencies.len();
        let at = |part: usize| sample.latencies[(count * part / 100).min(count - 1)];
        Self {
            per_second: count as f64 / sample.took.as_secs_f64(),
            p50: at(50),
            p99: at(99),
            cpu_micros: after.cpu.saturating_sub(before.cpu).as_secs_f64() * 1e6 / count as f64,
            wakeups: (after.wakeups - before.wakeups) as f64 / count as f64,
            memory: after.memory,
        }
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "bytes of a bench are far below 2^52"
)]
impl Summary {
    /// The medians.
    pub fn of(rounds: &[Round]) -> Self {
        let median = |figure: fn(&Round) -> f64| {
            let mut figures: Vec<f64> = rounds.iter().map(figure).collect();
            figures.sort_unstable_by(f64::total_cmp);
            figures[figures.len() / 2]
        };
        Self {
            per_second: median(|round| round.per_second),
            p50_micros: median(|round| round.p50.as_secs_f64() * 1e6),
            p99_micros: median(|round| round.p99.as_secs_f64() * 1e6),
            cpu_micros: median(|round| round.cpu_micros),
            wakeups: median(|round| round.wakeups),
            memory: median(|round| round.memory as f64),
        }
    }
}

/// Says on what machine this is.
pub fn machine() {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name"));
    let model = model.map_or("a processor", |model| {
        model.trim_start_matches([' ', '\t', ':'])
    });
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    println!("{cores} x {model}\n");
}

/// The figures of one case, as a table.
pub fn table(name: &str, limit: f64, plain: &Summary, bindery: &Summary) {
    println!("{name}\n");
    println!("| | plain | Bindery | ratio |\n|---|--:|--:|--:|");
    let row = |what: &str, figure: fn(&Summary) -> f64, scale: f64, digits: usize| {
        let (a, b) = (figure(plain) / scale, figure(bindery) / scale);
        println!("| {what} | {a:.digits$} | {b:.digits$} | {:.2} |", b / a);
    };
    row("requests per second", |s| s.per_second, 1.0, 0);
    row("p50, µs", |s| s.p50_micros, 1.0, 0);
    row("p99, µs", |s| s.p99_micros, 1.0, 0);
    row("CPU per request, µs", |s| s.cpu_micros, 1.0, 2);
    row("wake-ups per request", |s| s.wakeups, 1.0, 3);
    row("memory, MiB", |s| s.memory, f64::from(1 << 20), 1);
    println!("\nCPU per request: at most {limit} of plain\n");
}
