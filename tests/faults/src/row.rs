//! A row of the table: what a case did, what it counted, and what it found wrong.

use std::time::Duration;

use crate::audit::Audit;
use crate::process::Usage;

/// What became of a case.
#[derive(Clone, Debug, Default)]
pub struct Row {
    /// The case.
    pub name: String,
    /// What its chances came from.
    pub seed: u64,
    /// What was done.
    pub done: String,
    /// What the ledger says.
    pub audit: Option<Audit>,
    /// How many duplicates one kill may explain.
    pub allowed: u64,
    /// How long it took until all was well again, at the longest.
    pub recovered: Option<Duration>,
    /// What the sidecar used before and after.
    pub usage: Option<(Usage, Usage)>,
    /// What is wrong, in sentences. Nothing: the case has passed.
    pub wrong: Vec<String>,
}

impl Row {
    /// A row for what was done.
    pub fn done(done: impl Into<String>) -> Self {
        Self {
            done: done.into(),
            ..Self::default()
        }
    }

    /// What must hold; said where it does not.
    pub fn must(&mut self, holds: bool, wrong: impl FnOnce() -> String) {
        if !holds {
            self.wrong.push(wrong());
        }
    }

    /// Judges a ledger: nothing lost, nothing out of order, everything told to its source, and
    /// not more duplicates for each reading than `allowed`.
    pub fn judge(&mut self, audit: Audit, corrupt: u64, allowed: u64) {
        let zero = [
            (audit.lost, "lost"),
            (audit.out_of_order, "out of order"),
            (audit.too_early, "acknowledged before the app took them"),
            (audit.unacknowledged, "taken and not acknowledged"),
            (corrupt, "not what was sent"),
        ];
        for (count, what) in zero {
            self.must(count == 0, || format!("{count} events {what}"));
        }
        let most = audit.most_duplicates;
        self.must(most <= allowed, || {
            format!("{most} events came again in one reading; {allowed} were in flight at most")
        });
        self.must(audit.events > 0, || "no events: nothing was proved".into());
        self.allowed = allowed;
        self.audit = Some(audit);
    }

    /// Whether it passed.
    pub fn is_green(&self) -> bool {
        self.wrong.is_empty()
    }
}

const HEADS: [&str; 13] = [
    "case",
    "done",
    "events",
    "lost",
    "out of order",
    "duplicates",
    "most at once",
    "allowed",
    "recovered in",
    "memory, MiB",
    "descriptors",
    "threads",
    "verdict",
];

/// Prints the table.
pub fn print(rows: &[Row]) {
    if let Some(row) = rows.first() {
        println!("\nseed {}\n", row.seed);
    }
    println!("| {} |", HEADS.join(" | "));
    println!("|{}", "---|".repeat(HEADS.len()));
    for row in rows {
        println!("| {} |", cells(row).join(" | "));
    }
    println!();
    for row in rows.iter().filter(|row| !row.is_green()) {
        println!("{}, seed {}:", row.name, row.seed);
        for wrong in &row.wrong {
            println!("  {}", wrong.replace('\n', "\n  "));
        }
    }
}

fn cells(row: &Row) -> Vec<String> {
    let count = |figure: fn(&Audit) -> u64| {
        row.audit
            .as_ref()
            .map_or_else(String::new, |audit| figure(audit).to_string())
    };
    let both = |figure: fn(&Usage) -> u64| {
        row.usage
            .as_ref()
            .map_or_else(String::new, |(before, after)| {
                format!("{} → {}", figure(before), figure(after))
            })
    };
    let allowed = if row.audit.is_some() {
        row.allowed.to_string()
    } else {
        String::new()
    };
    let recovered = row
        .recovered
        .map(|time| format!("{:.1} s", time.as_secs_f64()));
    vec![
        row.name.clone(),
        row.done.clone(),
        count(|audit| audit.events),
        count(|audit| audit.lost),
        count(|audit| audit.out_of_order),
        count(|audit| audit.duplicates),
        count(|audit| audit.most_duplicates),
        allowed,
        recovered.unwrap_or_default(),
        both(|usage| usage.memory >> 20),
        both(|usage| usage.descriptors),
        both(|usage| usage.threads),
        if row.is_green() { "passed" } else { "FAILED" }.into(),
    ]
}
