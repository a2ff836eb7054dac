//! The pool: how many connections there are, how long they live, and what happens when one
//! breaks or nobody waits for its statement any more.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bindery_contract::{Clock, InvokeError, Retry, Sent};
use bindery_testkit::servers::{Outage, Postgres};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};

use crate::database::{Database, server};

/// The URL of the shared server with a name by which a watcher can tell our connections.
fn named(server: &Postgres, name: &str, more: &str) -> String {
    format!("{}?application_name={name}{more}", server.url())
}

fn connections(name: &str) -> String {
    format!("SELECT count(*) FROM pg_stat_activity WHERE application_name = '{name}'")
}

fn running(name: &str) -> String {
    format!("{} AND state = 'active'", connections(name))
}

#[tokio::test]
async fn a_call_that_finds_all_connections_busy_waits() {
    let server = server();
    let url = named(&server, "busy", "&pool_max_conns=7");
    let db = Database::open(&[("url", &url), ("maxConns", "2")])
        .await
        .unwrap();
    let sql = connections("busy").replace("count(*)", "count(*), pg_sleep(0.1)");
    let calls = (0..6).map(|_| db.call("query", &sql, ""));
    for answer in futures_util::future::join_all(calls).await {
        let rows = answer.unwrap().text;
        assert!(rows == "[[1,\"\"]]" || rows == "[[2,\"\"]]", "{rows}");
    }
}

#[tokio::test]
async fn a_call_that_waits_for_a_connection_waits_no_longer_than_its_caller() {
    let server = server();
    let db = Database::with(&server, &[("maxConns", "1")]).await;
    let now = Clock::system().now();
    let long = db.call_until(now + Duration::from_secs(2), "exec", "SELECT pg_sleep(60)");
    let waiting = async {
        tokio::task::yield_now().await;
        db.call_until(now + Duration::from_millis(300), "query", "SELECT 1")
            .await
    };
    let (long, waiting) = tokio::join!(long, waiting);
    for (answer, says) in [
        (waiting, "no connection became free"),
        (long, "the statement was cancelled"),
    ] {
        match answer {
            Err(
                error @ InvokeError::Rejected {
                    retry: Retry::MayHelp,
                    ..
                },
            ) => assert!(error.to_string().contains(says), "{error}"),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(db.rows("SELECT 1", "").await, "[[1]]");
}

#[tokio::test]
async fn a_statement_that_nobody_waits_for_is_stopped() {
    let server = server();
    let url = named(&server, "nobody", "");
    let watcher = Database::of(&server).await;
    let db = Database::open(&[("url", &url), ("maxConns", "1")])
        .await
        .unwrap();
    for sql in [
        "SELECT pg_sleep(600)",
        "SELECT n, repeat('x', 1000) FROM generate_series(1, 100000000) AS n",
    ] {
        let gone = async { watcher.until(&running("nobody"), "[[1]]").await };
        tokio::select! {
            answer = db.call("query", sql, "") => panic!("{answer:?}"),
            () = gone => {}
        }
        watcher.until(&running("nobody"), "[[0]]").await;
        // The only connection there may be is free again.
        assert_eq!(db.rows("SELECT 1", "").await, "[[1]]");
    }
}

#[tokio::test]
async fn a_call_that_breaks_its_own_connection_is_its_own_failure_only() {
    let server = server();
    let db = Database::with(&server, &[("maxConns", "2")]).await;
    for _ in 0..3 {
        match db
            .call("exec", "SELECT pg_terminate_backend(pg_backend_pid())", "")
            .await
        {
            Err(error @ InvokeError::Rejected { .. }) => assert_eq!(
                error.to_string(),
                "error executing query: FATAL: terminating connection due to administrator command (SQLSTATE 57P01); \
                 it is not known whether the statement was executed"
            ),
            other => panic!("{other:?}"),
        }
        assert_eq!(db.rows("SELECT 1", "").await, "[[1]]");
    }
    assert_eq!(db.disconnects(), [""; 0]);
}

#[tokio::test]
async fn a_copy_that_wants_data_fails_and_its_connection_is_not_used_again() {
    let server = server();
    let db = Database::with(&server, &[("maxConns", "1")]).await;
    db.exec("CREATE TABLE copied (a int)").await;
    for sql in ["COPY copied FROM STDIN", "COPY (SELECT 1) TO STDOUT"] {
        for operation in ["exec", "query"] {
            match db.call(operation, sql, "").await {
                Err(
                    error @ InvokeError::Rejected {
                        retry: Retry::Pointless,
                        ..
                    },
                ) => assert!(error.to_string().contains("unexpected message"), "{error}"),
                other => panic!("{other:?}"),
            }
            assert_eq!(db.rows("SELECT 1", "").await, "[[1]]");
        }
    }
    db.exec("DROP TABLE copied").await;
}

#[tokio::test]
async fn a_server_without_room_for_another_connection_is_not_a_server_that_is_away() {
    let server = server();
    let watcher = Database::of(&server).await;
    watcher
        .exec("CREATE ROLE single LOGIN PASSWORD 'secret' CONNECTION LIMIT 1")
        .await;
    let url = server.url().replace("tester:secret", "single:secret");
    let db = Database::open(&[("url", &url), ("maxConns", "2")])
        .await
        .unwrap();
    let (first, second) = tokio::join!(
        db.call("query", "SELECT pg_sleep(0.5)", ""),
        db.call("query", "SELECT pg_sleep(0.5)", ""),
    );
    first.unwrap();
    match second {
        Err(
            error @ InvokeError::Rejected {
                retry: Retry::MayHelp,
                ..
            },
        ) => assert!(error.to_string().contains("SQLSTATE 53300"), "{error}"),
        other => panic!("{other:?}"),
    }
    drop(db);
    watcher
        .until(
            "SELECT count(*) FROM pg_stat_activity WHERE usename = 'single'",
            "[[0]]",
        )
        .await;
    watcher.exec("DROP ROLE single").await;
}

#[tokio::test]
async fn connections_live_as_long_as_they_should() {
    let server = server();
    let watcher = Database::of(&server).await;
    let url = named(
        &server,
        "idle",
        "&pool_health_check_period=50ms&pool_max_conn_idle_time=1h",
    );
    let _idle = Database::open(&[("url", &url), ("connectionMaxIdleTime", "500ms")])
        .await
        .unwrap();
    watcher.until(&connections("idle"), "[[0]]").await;

    // Those that are too many for what is left of the work are closed, too.
    let url = named(
        &server,
        "spare",
        "&pool_health_check_period=50ms&pool_max_conn_idle_time=1s&pool_max_conns=4",
    );
    let spare = Database::open(&[("url", &url)]).await.unwrap();
    let many = (0..4).map(|_| spare.call("exec", "SELECT pg_sleep(0.2)", ""));
    futures_util::future::join_all(many).await;
    let working = async {
        loop {
            spare.exec("SELECT 1").await;
            Clock::system().sleep(Duration::from_millis(20)).await;
        }
    };
    let only_one = connections("spare");
    tokio::select! {
        () = working => {}
        () = watcher.until(&only_one, "[[1]]") => {}
    }

    let url = named(
        &server,
        "reserve",
        "&pool_min_conns=3&pool_health_check_period=50ms&pool_max_conns=5",
    );
    let reserve = Database::open(&[("url", &url)]).await.unwrap();
    watcher.until(&connections("reserve"), "[[3]]").await;
    drop(reserve);
    watcher.until(&connections("reserve"), "[[0]]").await;

    let url = named(
        &server,
        "old",
        "&pool_max_conn_lifetime=300ms&pool_max_conns=1",
    );
    let old = Database::open(&[("url", &url)]).await.unwrap();
    let first = old.rows("SELECT pg_backend_pid()", "").await;
    assert_eq!(old.rows("SELECT pg_backend_pid()", "").await, first);
    let clock = Clock::system();
    let deadline = clock.now() + Duration::from_secs(10);
    while old.rows("SELECT pg_backend_pid()", "").await == first {
        assert!(clock.now() < deadline, "it was not replaced");
        clock.sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_driven_by_another_thread_than_the_calls() {
    let server = server();
    let (handle, stop) = (std::sync::mpsc::channel(), watch::channel(()));
    let (sender, mut stopped) = (handle.0, stop.1);
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        sender.send(runtime.handle().clone()).unwrap();
        runtime
            .block_on(async move { stopped.changed().await })
            .unwrap_err();
    });
    let bindings = handle.1.recv().unwrap();
    let url = server.url();
    let settings = [("url", url.as_str()), ("timeout", "1s")];
    let db = Arc::new(Database::open_on(bindings, &settings).await.unwrap());
    let mut calls = tokio::task::JoinSet::new();
    for number in 0..100 {
        let db = Arc::clone(&db);
        calls.spawn(async move { db.rows("SELECT $1::int", &format!("[{number}]")).await });
    }
    assert_eq!(calls.join_all().await.len(), 100);
    // With that thread, they are gone, and there are no others.
    drop(stop.0);
    thread.join().unwrap();
    match db.call("query", "SELECT 1", "").await {
        Err(InvokeError::Disconnected { sent: Sent::No, .. }) => {}
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn after_a_restart_of_the_server_the_first_call_succeeds() {
    let mut server = Postgres::start();
    let db = Database::with(&server, &[("maxConns", "3")]).await;
    let calls = (0..3).map(|_| db.call("query", "SELECT pg_sleep(0.1)", ""));
    futures_util::future::join_all(calls).await;
    for _ in 0..2 {
        server = tokio::task::spawn_blocking(move || {
            server.stop();
            server.start();
            server
        })
        .await
        .unwrap();
        // It listens before it lets anybody in.
        while let Err(error) = Database::open(&[("url", &server.url())]).await {
            assert!(error.to_string().contains("57P03"), "{error}");
        }
        for _ in 0..4 {
            assert_eq!(db.rows("SELECT 1", "").await, "[[1]]");
        }
    }
}

#[tokio::test]
async fn a_server_that_is_away_is_a_disconnect_and_says_what_was_sent() {
    let mut server = Postgres::start();
    let db = Database::of(&server).await;
    let stopping = async {
        let watcher = Database::with(&server, &[("maxConns", "1")]).await;
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%600%' AND state = 'active' AND pid <> pg_backend_pid()";
        watcher.until(sql, "[[1]]").await;
    };
    let mut long = std::pin::pin!(db.call("exec", "SELECT pg_sleep(600)", ""));
    tokio::select! {
        answer = &mut long => panic!("{answer:?}"),
        () = stopping => {}
    }
    let stopped = tokio::task::spawn_blocking(move || {
        server.stop();
        server
    });
    match long.await {
        Err(InvokeError::Disconnected {
            sent: Sent::Perhaps,
            ..
        }) => {}
        other => panic!("{other:?}"),
    }
    let _server = stopped.await.unwrap();
    match db.call("query", "SELECT 1", "").await {
        Err(error @ InvokeError::Disconnected { sent: Sent::No, .. }) => assert!(
            error
                .to_string()
                .starts_with("unable to connect to the DB: "),
            "{error}"
        ),
        other => panic!("{other:?}"),
    }
}

/// What a relay does to the connections that it has when it is told.
#[derive(Clone, Copy)]
enum Then {
    /// They stay open, and nothing more passes.
    Forget,
    /// They are closed as soon as the client sends something.
    Close,
}

/// Passes connections on, until it is told otherwise; then only new ones.
struct Relay {
    url: String,
    tell: watch::Sender<()>,
    heard: mpsc::UnboundedReceiver<()>,
}

impl Relay {
    async fn to(server: &Postgres, then: Then) -> Self {
        let target = SocketAddr::from(([127, 0, 0, 1], server.port()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (tell, told) = watch::channel(());
        let (hear, heard) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let mut told = told.clone();
                told.mark_unchanged();
                tokio::spawn(pass(client, target, told, hear.clone(), then));
            }
        });
        let url = format!("postgres://tester:secret@{address}/tester");
        Self { url, tell, heard }
    }

    /// Tells the one connection that there is, and waits until it has heard.
    async fn tell(&mut self) {
        self.tell.send(()).unwrap();
        self.heard.recv().await.unwrap();
    }
}

async fn pass(
    mut client: TcpStream,
    target: SocketAddr,
    mut told: watch::Receiver<()>,
    hear: mpsc::UnboundedSender<()>,
    then: Then,
) {
    let mut server = TcpStream::connect(target).await.unwrap();
    tokio::select! {
        _ = copy_bidirectional(&mut client, &mut server) => return,
        changed = told.changed() => if changed.is_err() { return },
    }
    // A test that is over does not listen.
    let _ = hear.send(());
    match then {
        Then::Forget => std::future::pending().await,
        Then::Close => client.readable().await.unwrap(),
    }
}

#[tokio::test]
async fn a_connection_that_died_without_a_word_is_not_handed_out_after_a_rest() {
    let server = server();
    let mut relay = Relay::to(&server, Then::Forget).await;
    let db = Database::open(&[("url", &relay.url), ("maxConns", "1")])
        .await
        .unwrap();
    let clock = Clock::system();
    relay.tell().await;
    clock.sleep(Duration::from_millis(1_100)).await;
    let answer = clock
        .timeout(Duration::from_secs(10), db.call("query", "SELECT 1", ""))
        .await;
    assert_eq!(answer.expect("an answer").unwrap().text, "[[1]]");
}

#[tokio::test]
async fn a_connection_that_breaks_before_the_statement_was_sent_is_replaced_without_a_word() {
    let server = server();
    let mut relay = Relay::to(&server, Then::Close).await;
    let db = Database::open(&[("url", &relay.url), ("maxConns", "1")])
        .await
        .unwrap();
    db.exec("SELECT 1").await;
    relay.tell().await;
    // It has to be prepared first.
    assert_eq!(db.rows("SELECT 2", "").await, "[[2]]");
    relay.tell().await;
    // It is prepared.
    match db.call("query", "SELECT 2", "").await {
        Err(error @ InvokeError::Rejected { .. }) => assert!(
            error
                .to_string()
                .ends_with("it is not known whether the statement was executed"),
            "{error}"
        ),
        other => panic!("{other:?}"),
    }
    assert_eq!(db.disconnects(), [""; 0]);
}
