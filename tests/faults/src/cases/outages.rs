//! A server is stopped, its connections are cut, they stall, and chance does something else to
//! each of them: the sidecar heals by itself.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bindery_contract::Clock;
use bindery_testkit::ports;
use bindery_testkit::proxy::{Fault, Proxy};
use bindery_testkit::servers::{Kafka, Outage, Postgres, Redis};
use tokio::runtime::Runtime;

use super::Over;
use super::apps::RECOVERY;
use super::calls::up;
use crate::app::Manner;
use crate::ledger::Event;
use crate::process::{Program, Running};
use crate::row::Row;
use crate::scene::Scene;

/// A proxy with the runtime that drives it.
struct Middle {
    proxy: Proxy,
    _runtime: Runtime,
}

impl Middle {
    fn to(port: u16) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("threads");
        let target = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let proxy = runtime.block_on(Proxy::to(target, &Clock::system()));
        Self {
            proxy: proxy.expect("a free port"),
            _runtime: runtime,
        }
    }

    fn port(&self) -> u16 {
        self.proxy.address().port()
    }
}

/// The calls of one caller that never gives up, by number.
#[derive(Default)]
struct Calls {
    next: AtomicU64,
    over: AtomicBool,
    /// Those that were answered with success, and when the last of them was.
    good: Mutex<(BTreeSet<u64>, Option<Instant>)>,
}

impl Calls {
    fn run(&self, sidecar: &Running, body: impl Fn(u64) -> String) {
        while !self.over.load(Ordering::Relaxed) {
            let number = self.next.fetch_add(1, Ordering::Relaxed) + 1;
            let answer = sidecar.invoke("output", &body(number));
            if answer.is_ok_and(|answer| matches!(answer.status, 200 | 204)) {
                let mut good = self.good.lock().expect("nobody panics with it");
                good.0.insert(number);
                good.1 = Some(Instant::now());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn good_since(&self, when: Instant) -> bool {
        let good = self.good.lock().expect("nobody panics with it");
        good.1.is_some_and(|at| at > when)
    }

    fn numbers(&self) -> BTreeSet<u64> {
        self.good.lock().expect("nobody panics with it").0.clone()
    }
}

/// One server behind a proxy, and a sidecar that calls it.
struct Theatre<'a> {
    server: &'a mut dyn Outage,
    middle: &'a Middle,
    sidecar: &'a Running,
}

impl Theatre<'_> {
    /// All four faults, one after the other; what was accepted in all that time. `also` is
    /// what has to come back too.
    fn play(
        self,
        scene: &mut Scene,
        row: &mut Row,
        body: impl Fn(u64) -> String + Sync,
        also: impl Fn(Instant) -> bool,
    ) -> BTreeSet<u64> {
        let stopped = scene.scaled(Duration::from_secs(10), Duration::from_secs(60));
        let broken = scene.scaled(Duration::from_secs(4), Duration::from_secs(60));
        let calls = Calls::default();
        let Self {
            server,
            middle,
            sidecar,
        } = self;
        std::thread::scope(|scope| {
            scope.spawn(|| calls.run(sidecar, &body));
            // However this ends, the caller has to.
            let _over = Over(&calls.over);
            let began = Instant::now();
            let well = scene.until("all is well", RECOVERY, || {
                calls.good_since(began) && also(began)
            });
            row.must(well, || "it did not work before anything was broken".into());
            let mut said = Vec::new();
            for what in ["stopped", "cut", "stalled", "unsteady"] {
                let long = if what == "stopped" { stopped } else { broken };
                // With calls on their way.
                scene.pass("all is well", Duration::from_secs(1));
                match what {
                    "stopped" => server.stop(),
                    "cut" => middle.proxy.set(Fault::Cut),
                    "stalled" => middle.proxy.set(Fault::Stall),
                    _ => middle.proxy.set_by_chance(scene.rng.u64(..)),
                }
                scene.pass(what, long);
                match what {
                    "stopped" => server.start(),
                    _ => middle.proxy.set(Fault::None),
                }
                let back = Instant::now();
                let heals = scene.until(&format!("it was {what}"), RECOVERY, || {
                    calls.good_since(back) && also(back)
                });
                row.must(heals, || {
                    format!("{what}: no success within {RECOVERY:?} of its return")
                });
                let took = back.elapsed();
                row.recovered = row.recovered.max(Some(took));
                said.push(format!("{what} {:.1} s", took.as_secs_f64()));
            }
            row.done = format!(
                "10 s stopped, 4 s cut, stalled and unsteady; back after: {}",
                said.join(", ")
            );
            if scene.is_full {
                row.done = format!("60 s each; back after: {}", said.join(", "));
            }
        });
        calls.numbers()
    }
}

/// Kafka, output and input: what the caller publishes comes back to the app.
pub(super) fn kafka(scene: &mut Scene) -> Row {
    let port = ports::free();
    let middle = Middle::to(port);
    scene.tell("starting Kafka");
    let mut kafka = Kafka::behind(port, middle.port());
    let brokers = format!("127.0.0.1:{}", middle.port());
    let common = [("brokers", brokers.as_str()), ("authType", "none")];
    let output = [("publishTopic", "outage"), ("direction", "output")];
    scene.component("output", "bindings.kafka", &[common, output].concat(), "");
    let input = [
        ("topics", "outage"),
        ("consumerGroup", "faults"),
        ("initialOffset", "oldest"),
        ("direction", "input"),
    ];
    scene.component(
        "numbers",
        "bindings.kafka",
        &[&common[..], &input].concat(),
        "",
    );
    let app = scene.app(Manner::default());
    let sidecar = scene.sidecar(Program::Bindery, Some(&app));
    let mut row = Row::default();
    let theatre = Theatre {
        server: &mut kafka,
        middle: &middle,
        sidecar: &sidecar,
    };
    let body = |number| format!(r#"{{"operation":"create","data":"{}"}}"#, of(number).body());
    let arrived = |since| app.last_begun().is_some_and(|begun| begun > since);
    let accepted = theatre.play(scene, &mut row, body, arrived);
    let missing = || {
        let entries = app.ledger.entries();
        let taken: BTreeSet<u64> = entries.iter().map(|entry| entry.event.number).collect();
        accepted.difference(&taken).count()
    };
    scene.until("the rest of the events", RECOVERY, || missing() == 0);
    account(&mut row, accepted.len(), missing());
    row
}

fn of(number: u64) -> Event {
    Event {
        key: "outage".into(),
        number,
    }
}

/// PostgreSQL: rows that were accepted are there.
pub(super) fn postgresql(scene: &mut Scene) -> Row {
    scene.tell("starting PostgreSQL");
    let mut server = Postgres::start();
    let middle = Middle::to(server.port());
    let connection = format!(
        "host=127.0.0.1 port={} user=tester password=secret dbname=tester sslmode=disable",
        middle.port()
    );
    scene.component(
        "output",
        "bindings.postgresql",
        &[("connectionString", &connection)],
        "",
    );
    let sidecar = up(scene, Program::Bindery);
    let sql = |operation: &str, sql: &str| {
        format!(r#"{{"operation":"{operation}","metadata":{{"sql":"{sql}"}}}}"#)
    };
    let made = sidecar.invoke(
        "output",
        &sql("exec", "CREATE TABLE t (n BIGINT PRIMARY KEY)"),
    );
    assert!(
        made.is_ok_and(|answer| answer.status == 200),
        "the table was not made"
    );
    let mut row = Row::default();
    let theatre = Theatre {
        server: &mut server,
        middle: &middle,
        sidecar: &sidecar,
    };
    let body = |number| sql("exec", &format!("INSERT INTO t VALUES ({number})"));
    let accepted = theatre.play(scene, &mut row, body, |_| true);
    let rows = sidecar.invoke("output", &sql("query", "SELECT n FROM t"));
    let rows = rows.map(|answer| answer.body).unwrap_or_default();
    let rows: Vec<(u64,)> = serde_json::from_slice(&rows).unwrap_or_default();
    let there: BTreeSet<u64> = rows.into_iter().map(|(number,)| number).collect();
    account(
        &mut row,
        accepted.len(),
        accepted.difference(&there).count(),
    );
    row
}

/// Redis: keys that were accepted are there.
pub(super) fn redis(scene: &mut Scene) -> Row {
    scene.tell("starting Redis");
    let mut server = Redis::start();
    let middle = Middle::to(server.port());
    let host = format!("127.0.0.1:{}", middle.port());
    scene.component("output", "bindings.redis", &[("redisHost", &host)], "");
    let sidecar = up(scene, Program::Bindery);
    let mut row = Row::default();
    let theatre = Theatre {
        server: &mut server,
        middle: &middle,
        sidecar: &sidecar,
    };
    let body =
        |number| format!(r#"{{"operation":"create","metadata":{{"key":"n{number}"}},"data":"x"}}"#);
    let accepted = theatre.play(scene, &mut row, body, |_| true);
    let keys = server.cli(&["--raw", "KEYS", "*n*"]);
    let number = |key: &str| {
        key.rsplit('n')
            .next()
            .and_then(|number| number.parse().ok())
    };
    let there: BTreeSet<u64> = keys.lines().filter_map(number).collect();
    account(
        &mut row,
        accepted.len(),
        accepted.difference(&there).count(),
    );
    row
}

/// What was accepted is not lost.
fn account(row: &mut Row, accepted: usize, missing: usize) {
    row.must(accepted > 0, || {
        "no call was accepted: nothing was proved".into()
    });
    row.must(missing == 0, || {
        format!("{missing} of {accepted} accepted calls are lost")
    });
    row.done = format!("{}; {accepted} accepted, {missing} lost", row.done);
}
