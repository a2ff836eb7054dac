//! The operations and what they answer.

use std::time::Duration;

use bindery_contract::{Invocation, InvokeError, Retry};

use crate::database::{Database, server};

#[tokio::test]
async fn the_documented_table_is_made_filled_read_changed_and_emptied() {
    let server = server();
    let db = Database::of(&server).await;
    db.exec("CREATE TABLE foo (id bigint, c1 text, ts timestamp)")
        .await;
    let sql = "INSERT INTO foo (id, c1, ts) VALUES ($1, $2, $3)";
    for (params, expected) in [
        (r#"[0, "a", "2020-09-24T04:13:46Z"]"#, "1"),
        (r#"[1, "<b>", "2020-09-24 04:13:46.12"]"#, "1"),
        ("[2, null, null]", "1"),
    ] {
        let inserted = db.call("exec", sql, params).await.unwrap();
        assert_eq!(inserted.get("rows-affected"), expected);
    }
    assert_eq!(
        db.rows("SELECT * FROM foo WHERE id < $1 ORDER BY id", "[3]")
            .await,
        r#"[[0,"a","2020-09-24T04:13:46Z"],[1,"\u003cb\u003e","2020-09-24T04:13:46.12Z"],[2,null,null]]"#
    );
    let updated = db
        .call(
            "exec",
            "UPDATE foo SET ts = $1 WHERE id > $2",
            r#"["2021-01-01T00:00:00Z", 0]"#,
        )
        .await;
    assert_eq!(updated.unwrap().get("rows-affected"), "2");
    assert_eq!(db.exec("DELETE FROM foo").await.get("rows-affected"), "3");
    assert_eq!(db.rows("SELECT * FROM foo", "").await, "[]");
    assert_eq!(db.exec("DROP TABLE foo").await.get("rows-affected"), "0");
}

#[tokio::test]
async fn a_reply_says_what_was_done_and_how_long_it_took() {
    let server = server();
    let db = Database::of(&server).await;
    let sql = "SELECT generate_series(1, 3) FROM (SELECT pg_sleep(0.05)) AS s";
    let executed = db.exec(sql).await;
    assert_eq!(executed.text, "");
    assert_eq!(
        executed.keys(),
        [
            "duration",
            "end-time",
            "operation",
            "rows-affected",
            "sql",
            "start-time"
        ]
    );
    assert_eq!(
        (
            executed.get("operation"),
            executed.get("sql"),
            executed.get("rows-affected")
        ),
        ("exec", sql, "3")
    );
    let queried = db.call("query", sql, "").await.unwrap();
    assert_eq!(queried.text, "[[1],[2],[3]]");
    assert_eq!(
        queried.keys(),
        ["duration", "end-time", "operation", "sql", "start-time"]
    );
    assert_eq!(queried.get("operation"), "query");
    for answer in [executed, queried] {
        let time = |key| answer.get(key).parse::<jiff::Timestamp>().unwrap();
        let took = time("start-time").duration_until(time("end-time"));
        let took = Duration::try_from(took).unwrap();
        assert!(
            took >= Duration::from_millis(50) && took < Duration::from_secs(20),
            "{took:?}"
        );
        let duration =
            bindery_contract::settings::GoDuration::parse(answer.get("duration")).unwrap();
        assert_eq!(duration.positive(), Some(took));
        assert!(answer.get("start-time").ends_with('Z'));
    }
}

#[tokio::test]
async fn a_request_that_lacks_something_is_told_what() {
    let server = server();
    let db = Database::of(&server).await;
    let fails = async |call: Invocation| db.invoke(call).await.unwrap_err().to_string();
    assert_eq!(fails(Invocation::new("exec")).await, "metadata required");
    assert_eq!(
        fails(Invocation::new("query").with("params", "[]")).await,
        "required metadata not set: sql"
    );
    let error = db.rejected("SELECT 1", "{}").await;
    assert!(
        error
            .starts_with("invalid metadata property params: failed to unserialize into an array: "),
        "{error}"
    );
    assert_eq!(
        fails(Invocation::new("get").with("sql", "SELECT 1")).await,
        "invalid operation type: get. Expected exec, query, or close"
    );
}

#[tokio::test]
async fn the_servers_errors_are_shown_as_the_reference_shows_them() {
    let server = server();
    let db = Database::of(&server).await;
    db.exec("CREATE TABLE once (id int PRIMARY KEY)").await;
    db.exec("INSERT INTO once VALUES (1)").await;
    for (sql, says) in [
        (
            "SELECT * FROM nowhere",
            "error executing query: ERROR: relation \"nowhere\" does not exist (SQLSTATE 42P01)",
        ),
        (
            "SELEC 1",
            "error executing query: ERROR: syntax error at or near \"SELEC\" (SQLSTATE 42601)",
        ),
        (
            "SELECT 1; SELECT 2",
            "error executing query: ERROR: cannot insert multiple commands into a prepared statement (SQLSTATE 42601)",
        ),
        (
            "SELECT 1/0",
            "error executing query: ERROR: division by zero (SQLSTATE 22012)",
        ),
        (
            "INSERT INTO once VALUES (1)",
            "error executing query: ERROR: duplicate key value violates unique constraint \"once_pkey\" (SQLSTATE 23505)",
        ),
        (
            "SELECT $1::int, $2::int",
            "error executing query: expected 2 arguments, got 0",
        ),
        (
            "SELECT 'a\0b'",
            "error executing query: error encoding message to server: string contains embedded null",
        ),
    ] {
        for operation in ["exec", "query"] {
            match db.call(operation, sql, "").await {
                Err(
                    error @ InvokeError::Rejected {
                        retry: Retry::Pointless,
                        ..
                    },
                ) => assert_eq!(error.to_string(), says),
                other => panic!("{operation} {sql}: {other:?}"),
            }
        }
    }
    db.exec("DROP TABLE once").await;
    assert_eq!(db.disconnects(), [""; 0]);
}

#[tokio::test]
async fn an_error_in_a_later_row_is_an_error_and_never_a_shorter_result() {
    let server = server();
    let db = Database::of(&server).await;
    let sql = "SELECT 1000 / (5000 - n) FROM generate_series(1, 6000) AS n";
    assert_eq!(
        db.rejected(sql, "").await,
        "error executing query: ERROR: division by zero (SQLSTATE 22012)"
    );
    // The connection is as good as before: of its 5000 rows nothing is left over.
    assert_eq!(db.rows("SELECT 7", "").await, "[[7]]");
}

#[tokio::test]
async fn a_large_result_is_complete() {
    let server = server();
    let db = Database::of(&server).await;
    let rows = db
        .rows(
            "SELECT n, repeat('x', 100) FROM generate_series(1, 20000) AS n",
            "",
        )
        .await;
    let rows: Vec<(u32, String)> = serde_json::from_str(&rows).unwrap();
    assert_eq!(rows.len(), 20_000);
    assert!(
        rows.iter()
            .zip(1..)
            .all(|((number, text), expected)| *number == expected && text.len() == 100)
    );
}

#[tokio::test]
async fn after_close_every_call_fails_until_it_is_opened_anew() {
    let server = server();
    let db = Database::of(&server).await;
    db.exec("SELECT 1").await;
    for _ in 0..2 {
        assert!(db.invoke(Invocation::new("close")).await.unwrap().is_none());
    }
    for operation in ["exec", "query"] {
        match db.call(operation, "SELECT 1", "").await {
            Err(error @ InvokeError::Rejected { .. }) => {
                assert_eq!(error.to_string(), "component is closed");
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(db.disconnects(), [""; 0]);
    assert_eq!(
        Database::of(&server).await.rows("SELECT 1", "").await,
        "[[1]]"
    );
}

#[tokio::test]
async fn a_statement_that_runs_when_it_is_closed_ends_in_peace() {
    let server = server();
    let db = Database::of(&server).await;
    let closing = async {
        // Only once the statement runs.
        let watcher = Database::of(&server).await;
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%in peace%' AND pid <> pg_backend_pid()";
        watcher.until(sql, "[[1]]").await;
        db.invoke(Invocation::new("close")).await.unwrap();
    };
    let running = db.rows("SELECT 'in peace' FROM (SELECT pg_sleep(1)) AS s", "");
    let (rows, ()) = tokio::join!(running, closing);
    assert_eq!(rows, "[[\"in peace\"]]");
}
