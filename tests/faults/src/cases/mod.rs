//! The cases.

mod actors;
mod apps;
mod calls;
mod kafka;
mod kills;
mod numbers;
mod outages;
mod reloads;
mod soak;
mod stops;

use std::sync::atomic::{AtomicBool, Ordering};

use self::numbers::Numbers;
use crate::row::Row;
use crate::scene::Scene;

/// A case.
pub struct Case {
    /// What it is called on the command line.
    pub name: &'static str,
    /// What it does, in a line.
    pub summary: &'static str,
    /// Does it.
    pub run: fn(&mut Scene) -> Row,
}

/// Says that it is over when it goes: however a case ends, what it started has to end too.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// All of them, in the order in which they run.
pub const ALL: &[Case] = &[
    Case {
        name: "kill-9-log",
        summary: "SIGKILL at random instants, with a source of numbered files and 1 % app errors",
        run: kills::log,
    },
    Case {
        name: "kill-9-kafka",
        summary: "SIGKILL of bindery at random instants, with Kafka and 1 % app errors",
        run: kafka::kills,
    },
    Case {
        name: "outage-kafka",
        summary: "Kafka is stopped, cut, stalled and made unsteady, under an output and an input",
        run: outages::kafka,
    },
    Case {
        name: "outage-postgresql",
        summary: "PostgreSQL is stopped, cut, stalled and made unsteady under an output",
        run: outages::postgresql,
    },
    Case {
        name: "outage-redis",
        summary: "Redis is stopped, cut, stalled and made unsteady under an output",
        run: outages::redis,
    },
    Case {
        name: "sigterm",
        summary: "SIGTERM under load: readers stop, running events finish, nothing comes twice",
        run: stops::sigterm,
    },
    Case {
        name: "actor-dies",
        summary: "delivery actors die with events under way",
        run: actors::deaths,
    },
    Case {
        name: "thread-frozen",
        summary: "a reader blocks its thread, is replaced, and wakes up late",
        run: actors::frozen,
    },
    Case {
        name: "app-down",
        summary: "nobody listens at the app's port for a while",
        run: apps::down,
    },
    Case {
        name: "app-hangs",
        summary: "the app takes events and does not answer",
        run: apps::hangs,
    },
    Case {
        name: "app-hangs-timeout",
        summary: "the app does not answer, and a Resiliency timeout ends each attempt",
        run: apps::hangs_with_timeout,
    },
    Case {
        name: "app-slow",
        summary: "the app takes its time with each event",
        run: apps::slow,
    },
    Case {
        name: "app-refuses",
        summary: "the app refuses one event for a while; the others flow",
        run: apps::refuses,
    },
    Case {
        name: "app-poison",
        summary: "the app refuses one event for good; the dead letter takes it",
        run: apps::poison_to_dead_letter,
    },
    Case {
        name: "panics",
        summary: "one binding panics again and again while its sibling is called",
        run: calls::panics,
    },
    Case {
        name: "big-posts",
        summary: "300 posts of 3 MiB, and the memory after them",
        run: calls::big_posts,
    },
    Case {
        name: "reloads",
        summary: "hot reloads of an output and an input, under load on them and on another",
        run: reloads::plain,
    },
    Case {
        name: "reloads-mounted",
        summary: "the same with a mounted folder, whose ..data link is swapped",
        run: reloads::mounted,
    },
    Case {
        name: "soak",
        summary: "all of it at random in one life of one sidecar",
        run: soak::soak,
    },
];

/// The cheapest case that shows that a mechanism is off.
pub fn showing(mechanism: &str) -> Option<&'static Case> {
    let name = match mechanism {
        "drain" => "sigterm",
        "drop-guard" => "actor-dies",
        "fencing" => "thread-frozen",
        "backoff" => "app-refuses",
        _ => "kill-9-log",
    };
    ALL.iter().find(|case| case.name == name)
}
