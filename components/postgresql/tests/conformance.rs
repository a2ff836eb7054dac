//! `bindings.postgresql` under the conformance suite.

use std::time::Duration;

use bindery_contract::{Registration, Role};
use bindery_postgresql::Postgres as Binding;
use bindery_testkit::conformance::{NAME, Suite};
use bindery_testkit::servers::Postgres;
use bindery_testkit::stand::{Stand, on_a_stand};
use bindery_testkit::{FailureClass, Limits};

#[test]
fn conformance() {
    let server = Postgres::start();
    let (url, port) = (server.url(), server.port());
    let wrong_password = format!("postgres://tester:wrong@127.0.0.1:{port}/tester");
    let no_database = format!("postgres://tester:secret@127.0.0.1:{port}/nothing");
    let mut suite = Suite::of::<Binding>(&[("connectionString", &url)])
        .output(|stand| Box::pin(exercise(stand)))
        .outage(server);
    for (what, url, class, says) in [
        (
            "a wrong password",
            &*wrong_password,
            FailureClass::Refused,
            "28P01",
        ),
        (
            "a missing database",
            &no_database,
            FailureClass::Refused,
            "3D000",
        ),
        (
            "nobody there",
            "postgres://u:p@127.0.0.1:1/x",
            FailureClass::Disconnected,
            "refused",
        ),
        (
            "a connection string that is none",
            "hunter2",
            FailureClass::Invalid,
            "without '='",
        ),
    ] {
        suite = suite.fails(
            what,
            Role::Output,
            &[("connectionString", url)],
            class,
            says,
        );
    }
    suite.run();
}

async fn exercise(stand: &Stand) {
    let call = async |operation: &str, sql: &str, params: &str| {
        let metadata = [("sql", sql), ("params", params)];
        stand.invoke(NAME, operation, "", &metadata).await
    };
    call(
        "exec",
        "CREATE TABLE IF NOT EXISTS foo (id bigint, c1 text, ts timestamp)",
        "",
    )
    .await
    .unwrap();
    let params = r#"[9007199254740993, "<ü>", "2020-09-24T04:13:46Z"]"#;
    let inserted = call("exec", "INSERT INTO foo VALUES ($1, $2, $3)", params)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (inserted.text(), inserted.get("rows-affected")),
        (String::new(), Some("1"))
    );
    let read = call(
        "query",
        "SELECT * FROM foo WHERE id = $1",
        "[9007199254740993]",
    )
    .await
    .unwrap()
    .unwrap();
    assert_eq!(
        read.text(),
        r#"[[9007199254740993,"\u003cü\u003e","2020-09-24T04:13:46Z"]]"#
    );
    let deleted = call("exec", "DELETE FROM foo", "").await.unwrap().unwrap();
    assert_eq!(deleted.get("rows-affected"), Some("1"));
    assert_eq!(
        call("query", "SELECT * FROM foo", "")
            .await
            .unwrap()
            .unwrap()
            .text(),
        "[]"
    );
    let error = call("query", "SELECT 1/0", "")
        .await
        .unwrap_err()
        .to_string();
    assert_eq!(
        error,
        "error executing query: ERROR: division by zero (SQLSTATE 22012)"
    );
}

#[test]
fn no_call_makes_the_runtime_open_it_anew_and_close_is_not_a_failure() {
    let server = Postgres::start();
    on_a_stand(Limits::default(), async move |stand| {
        let settings = [("url", server.url())].into_iter().collect();
        stand.load(NAME, &Registration::of::<Binding>(), &settings);
        stand.until_state(NAME, Role::Output, "Running").await;
        for sql in [
            "SELECT 1/0",
            "nonsense",
            "SELECT pg_terminate_backend(pg_backend_pid())",
            "COPY (SELECT 1) TO STDOUT",
        ] {
            stand
                .invoke(NAME, "exec", "", &[("sql", sql)])
                .await
                .unwrap_err();
        }
        assert_eq!(stand.invoke(NAME, "close", "", &[]).await.unwrap(), None);
        let error = stand
            .invoke(NAME, "query", "", &[("sql", "SELECT 1")])
            .await
            .unwrap_err();
        assert_eq!(error.to_string(), "component is closed");
        let side = stand.side(NAME, Role::Output).unwrap();
        assert_eq!(
            (side.state, side.restarts, side.last_error),
            ("Running", 0, None)
        );
        // Loaded anew, it is open again.
        stand.load(NAME, &Registration::of::<Binding>(), &settings);
        let deadline = stand.clock().now() + Duration::from_secs(20);
        loop {
            match stand
                .invoke(NAME, "query", "", &[("sql", "SELECT 1")])
                .await
            {
                Ok(rows) => break assert_eq!(rows.unwrap().text(), "[[1]]"),
                Err(error) => assert_eq!(error.to_string(), "component is closed"),
            }
            assert!(stand.clock().now() < deadline, "it stayed closed");
            stand.clock().sleep(Duration::from_millis(10)).await;
        }
    });
}
