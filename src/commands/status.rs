//! `bindery status`: a table of the bindings of a running sidecar.

use std::collections::HashMap;
use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use bindery_contract::Clock;
use http::Method;
use jiff::Timestamp;
use serde::Deserialize;

use super::find::Place;
use super::{client, find};

/// Arguments of `bindery status`.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  bindery status
  bindery status orders --app-id shop
  bindery status --once

On a terminal the table refreshes until Ctrl-C; elsewhere, and with --once, it is printed once.
Rates are per second since the line before. The token is taken from DAPR_API_TOKEN.")]
pub(super) struct StatusArgs {
    /// The component's name; all of them without it.
    name: Option<String>,
    /// Prints the table once.
    #[arg(long)]
    once: bool,
    /// How many seconds lie between two tables.
    #[arg(long, value_name = "SECONDS", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    every: u64,
    #[command(flatten)]
    sidecar: find::SidecarAt,
}

/// A binding, as the API tells of it.
#[derive(Debug, Deserialize)]
struct Binding {
    name: String,
    sides: Vec<Side>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Side {
    direction: String,
    state: String,
    since: Option<Timestamp>,
    last_error: Option<String>,
    pending: Option<String>,
    next_try: Option<Timestamp>,
    restarts: u64,
    in_flight: u64,
    last_event: Option<Timestamp>,
    taken: u64,
    refused: u64,
    dead_letters: u64,
    blocked: Vec<Blocked>,
    calls: u64,
    failed: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Blocked {
    key: Option<String>,
    since: Option<Timestamp>,
    attempts: u64,
    error: String,
    hint: Option<String>,
}

impl Side {
    /// How many events or calls there were.
    fn count(&self) -> u64 {
        self.taken + self.calls
    }
}

/// What was counted at a moment, by name and side.
struct Counts {
    at: Timestamp,
    counts: HashMap<(String, String), u64>,
}

/// Prints the table, once or again and again.
pub(super) fn run(arguments: &StatusArgs) -> ExitCode {
    let place = match arguments.sidecar.place() {
        Ok(place) => place,
        Err(problem) => return fail(&problem, 2),
    };
    let refreshes = !arguments.once && std::io::stdout().is_terminal();
    actix_rt::System::new().block_on(async {
        let clock = Clock::system();
        let mut before = None;
        loop {
            let bindings = match ask(&place, arguments.name.as_deref()).await {
                Ok(bindings) => bindings,
                Err(problem) => return fail(&problem, 1),
            };
            let now = Timestamp::try_from(clock.wall()).unwrap_or_default();
            let table = table(&bindings, before.as_ref(), now);
            let mut out = std::io::stdout().lock();
            if refreshes {
                // To the upper left corner, and nothing of the last table below.
                let _ = out.write_all(b"\x1b[H\x1b[2J");
            }
            let _ = out.write_all(table.as_bytes());
            let _ = out.flush();
            drop(out);
            if !refreshes {
                return ExitCode::SUCCESS;
            }
            before = Some(counts(&bindings, now));
            clock.sleep(Duration::from_secs(arguments.every)).await;
        }
    })
}

fn fail(problem: &str, code: u8) -> ExitCode {
    eprintln!("error: {problem}");
    ExitCode::from(code)
}

async fn ask(place: &Place, name: Option<&str>) -> Result<Vec<Binding>, String> {
    let path = match name {
        Some(name) => format!("/v1.0-alpha1/bindings/{}", client::encoded(name)),
        None => "/v1.0-alpha1/bindings".to_owned(),
    };
    let answer = client::ask(place, Method::GET, &path, "").await?;
    if !answer.status.is_success() {
        return Err(answer.problem());
    }
    let read = match name {
        Some(_) => serde_json::from_slice(&answer.data).map(|one| vec![one]),
        None => serde_json::from_slice(&answer.data),
    };
    read.map_err(|error| format!("what answers on {place} is no sidecar of this version: {error}"))
}

fn counts(bindings: &[Binding], at: Timestamp) -> Counts {
    let sides = bindings.iter().flat_map(|binding| {
        let sides = binding.sides.iter();
        sides.map(|side| ((binding.name.clone(), side.direction.clone()), side.count()))
    });
    Counts {
        at,
        counts: sides.collect(),
    }
}

const HEAD: [&str; 10] = [
    "BINDING",
    "SIDE",
    "STATE",
    "SINCE",
    "LAST EVENT",
    "IN FLIGHT",
    "RATE",
    "FAILED",
    "BLOCKED",
    "RESTARTS",
];

/// The table, and below each side that is in trouble what the trouble is.
fn table(bindings: &[Binding], before: Option<&Counts>, now: Timestamp) -> String {
    let mut rows: Vec<(Vec<String>, Vec<String>)> = Vec::new();
    for binding in bindings {
        for side in &binding.sides {
            let cells = vec![
                binding.name.clone(),
                side.direction.clone(),
                side.state.clone(),
                age(side.since, now),
                age(side.last_event, now),
                side.in_flight.to_string(),
                rate(binding, side, before, now),
                (side.refused + side.failed).to_string(),
                side.blocked.len().to_string(),
                side.restarts.to_string(),
            ];
            rows.push((cells, troubles(side, now)));
        }
    }
    let widths: Vec<usize> = (0..HEAD.len())
        .map(|column| {
            let cells = rows.iter().map(|(cells, _)| cells[column].chars().count());
            cells.chain([HEAD[column].len()]).max().unwrap_or(0)
        })
        .collect();
    let mut table = String::new();
    push_row(&mut table, HEAD.map(String::from).as_ref(), &widths);
    for (cells, troubles) in &rows {
        push_row(&mut table, cells, &widths);
        for trouble in troubles {
            table.push_str("  ");
            table.push_str(trouble);
            table.push('\n');
        }
    }
    table
}

fn push_row(table: &mut String, cells: &[String], widths: &[usize]) {
    let mut line = String::new();
    for (column, (cell, width)) in cells.iter().zip(widths).enumerate() {
        if column > 0 {
            line.push_str("  ");
        }
        // Words to the left, numbers to the right.
        if column < 5 {
            line.push_str(&format!("{cell:<width$}"));
        } else {
            line.push_str(&format!("{cell:>width$}"));
        }
    }
    table.push_str(line.trim_end());
    table.push('\n');
}

fn troubles(side: &Side, now: Timestamp) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(error) = &side.last_error {
        let next = side.next_try.map_or_else(String::new, |next| {
            let wait = next.duration_since(now).as_secs_f32().max(0.0);
            format!(" (next try in {wait:.0} s)")
        });
        lines.push(format!("last error: {}{next}", one_line(error)));
    }
    if let Some(pending) = &side.pending {
        let pending = one_line(pending);
        lines.push(format!(
            "its new version does not open, the old one goes on: {pending}"
        ));
    }
    for blocked in side.blocked.iter().take(3) {
        let key = blocked.key.as_deref().unwrap_or("(no key)");
        let (since, error) = (age(blocked.since, now), one_line(&blocked.error));
        let hint = blocked.hint.as_ref();
        let hint = hint.map_or_else(String::new, |hint| format!("; {hint}"));
        lines.push(format!(
            "blocked: {key} for {since}, {} attempts: {error}{hint}",
            blocked.attempts
        ));
    }
    if side.blocked.len() > 3 {
        lines.push(format!("and {} more blocked", side.blocked.len() - 3));
    }
    if side.dead_letters > 0 {
        lines.push(format!("dead letters: {}", side.dead_letters));
    }
    lines
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn rate(binding: &Binding, side: &Side, before: Option<&Counts>, now: Timestamp) -> String {
    let known = before.and_then(|before| {
        let key = (binding.name.clone(), side.direction.clone());
        Some((before.at, *before.counts.get(&key)?))
    });
    let Some((at, count)) = known else {
        return "-".into();
    };
    let seconds = now.duration_since(at).as_secs_f64();
    if seconds <= 0.0 {
        return "-".into();
    }
    #[expect(
        clippy::cast_precision_loss,
        reason = "a rate is shown with one digit behind the point"
    )]
    let rate = side.count().saturating_sub(count) as f64 / seconds;
    format!("{rate:.1}/s")
}

/// How long ago something was, in the two largest units.
fn age(then: Option<Timestamp>, now: Timestamp) -> String {
    let Some(then) = then else {
        return "-".into();
    };
    let seconds = now.duration_since(then).as_secs().max(0);
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, minutes) => format!("{minutes}m{}s", seconds % 60),
        (0, hours, minutes) => format!("{hours}h{}m", minutes % 60),
        (days, hours, _) => format!("{days}d{}h", hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &str = r#"[
        {"name": "orders", "type": "bindings.kafka", "sides": [
            {"direction": "input", "state": "Degraded", "since": "2026-01-01T00:00:00Z",
             "lastError": "connection\n refused", "nextTry": "2026-01-01T01:02:15Z", "restarts": 2,
             "panics": 0, "inFlight": 3, "subscribed": true, "lastEvent": "2026-01-01T01:01:03Z",
             "taken": 70, "refused": 4, "deadLetters": 1,
             "blocked": [{"key": "a-7", "since": "2026-01-01T01:00:00Z", "attempts": 9,
                          "error": "500", "hint": "set deadLetter"}]},
            {"direction": "output", "state": "Running", "since": "2025-12-30T00:00:00Z",
             "restarts": 0, "panics": 0, "inFlight": 0, "calls": 12, "failed": 1}]}]"#;

    fn show(before: Option<u64>) -> String {
        let bindings: Vec<Binding> = serde_json::from_str(ANSWER).unwrap();
        let now: Timestamp = "2026-01-01T01:02:03Z".parse().unwrap();
        let before = before.map(|count| Counts {
            at: "2026-01-01T01:02:01Z".parse().unwrap(),
            counts: [(("orders".into(), "input".into()), count)].into(),
        });
        table(&bindings, before.as_ref(), now)
    }

    #[test]
    fn the_table_shows_each_side_and_its_troubles() {
        let lines = [
            "BINDING  SIDE    STATE     SINCE  LAST EVENT  IN FLIGHT  RATE  FAILED  BLOCKED  RESTARTS",
            "orders   input   Degraded  1h2m   1m0s                3     -       4        1         2",
            "  last error: connection refused (next try in 12 s)",
            "  blocked: a-7 for 2m3s, 9 attempts: 500; set deadLetter",
            "  dead letters: 1",
            "orders   output  Running   2d1h   -                   0     -       1        0         0",
            "",
        ];
        assert_eq!(show(None), lines.join("\n"));
    }

    #[test]
    fn a_rate_is_what_came_since_the_table_before() {
        let table = show(Some(60));
        let line = table.lines().nth(1).unwrap();
        assert!(line.contains("  5.0/s  "), "{table}");
    }
}
