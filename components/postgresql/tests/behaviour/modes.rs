//! The ways in which statements are sent, also through a pooler.

use bindery_testkit::servers::PgBouncer;

use crate::database::{Database, server};

const ALL: [&str; 5] = [
    "cache_statement",
    "cache_describe",
    "describe_exec",
    "exec",
    "simple_protocol",
];

#[tokio::test]
async fn only_the_first_mode_leaves_prepared_statements_behind() {
    let server = server();
    for mode in ALL {
        let db = Database::with(&server, &[("queryExecMode", mode), ("maxConns", "1")]).await;
        for _ in 0..3 {
            assert_eq!(db.rows("SELECT $1::int", "[1]").await, "[[1]]");
        }
        let asked = db
            .rows(
                "SELECT count(*) FROM pg_prepared_statements WHERE statement = 'SELECT $1::int'",
                "",
            )
            .await;
        let expected = if mode == "cache_statement" {
            "[[1]]"
        } else {
            "[[0]]"
        };
        assert_eq!(asked, expected, "{mode}");
    }
}

#[tokio::test]
async fn kept_statements_are_limited_in_number() {
    let server = server();
    let db = Database::with(&server, &[("maxConns", "1")]).await;
    for number in 0..600 {
        assert_eq!(
            db.rows(&format!("SELECT {number}"), "").await,
            format!("[[{number}]]")
        );
        // Wrong ones leave nothing behind.
        if number % 100 == 0 {
            db.rejected(&format!("SELECT nothing{number}"), "").await;
        }
    }
    let kept = db
        .rows("SELECT count(*) < 512 FROM pg_prepared_statements", "")
        .await;
    assert_eq!(kept, "[[true]]");
}

#[tokio::test]
async fn a_table_that_changes_does_not_fail_a_statement_that_is_kept() {
    let server = server();
    let db = Database::with(&server, &[("maxConns", "1")]).await;
    let other = Database::of(&server).await;
    other.exec("DROP TABLE IF EXISTS changing").await;
    other.exec("CREATE TABLE changing (a int)").await;
    other.exec("INSERT INTO changing VALUES (1)").await;
    assert_eq!(db.rows("SELECT * FROM changing", "").await, "[[1]]");
    other
        .exec("ALTER TABLE changing ADD COLUMN b money DEFAULT '2'")
        .await;
    assert_eq!(
        db.rows("SELECT * FROM changing", "").await,
        "[[1,\"$2.00\"]]"
    );
    db.exec("DISCARD ALL").await;
    assert_eq!(
        db.rows("SELECT * FROM changing", "").await,
        "[[1,\"$2.00\"]]"
    );
    assert_eq!(
        db.exec("SELECT * FROM changing").await.get("rows-affected"),
        "1"
    );
    other.exec("DROP TABLE changing").await;
    assert!(
        db.rejected("SELECT * FROM changing", "")
            .await
            .contains("42P01")
    );
}

#[tokio::test]
async fn a_description_that_is_kept_is_asked_for_anew_after_it_failed() {
    let server = server();
    let db = Database::with(&server, &[("queryExecMode", "cache_describe")]).await;
    db.exec("DROP TABLE IF EXISTS described").await;
    db.exec("CREATE TABLE described (a int)").await;
    let sql = "INSERT INTO described VALUES ($1) RETURNING a";
    assert_eq!(db.rows(sql, "[1]").await, "[[1]]");
    db.exec("ALTER TABLE described ALTER COLUMN a TYPE boolean USING true")
        .await;
    // The type of its argument is known from before.
    assert!(db.rejected(sql, "[1]").await.contains("SQLSTATE 42804"));
    assert_eq!(db.rows(sql, "[true]").await, "[[true]]");
    db.exec("DROP TABLE described").await;
}

#[tokio::test]
async fn the_simple_protocol_takes_several_statements_at_once() {
    let server = server();
    let db = Database::with(&server, &[("queryExecMode", "simple_protocol")]).await;
    let sql = "DROP TABLE IF EXISTS several; CREATE TABLE several (a int, b text); INSERT INTO several VALUES ($1, $2), (2, ';')";
    let executed = db.call("exec", sql, r#"[1, "x;y"]"#).await.unwrap();
    assert_eq!(executed.get("rows-affected"), "2");
    // One statement keeps its types; of several, the first rows count, as text.
    assert_eq!(
        db.rows("SELECT * FROM several ORDER BY a; ", "").await,
        r#"[[1,"x;y"],[2,";"]]"#
    );
    let sql = "SET search_path = public; SELECT a, b, null FROM several ORDER BY a; SELECT 5";
    assert_eq!(
        db.rows(sql, "").await,
        r#"[["1","x;y",null],["2",";",null]]"#
    );
    assert_eq!(
        db.rows("SET search_path = public; SET search_path = public", "")
            .await,
        "[]"
    );
    // All of them or none.
    let error = db
        .call("exec", "DELETE FROM several; SELECT 1/0", "")
        .await
        .unwrap_err()
        .to_string();
    assert_eq!(
        error,
        "error executing query: ERROR: division by zero (SQLSTATE 22012)"
    );
    assert_eq!(db.rows("SELECT count(*) FROM several", "").await, "[[2]]");
    db.exec("DROP TABLE several").await;
}

#[tokio::test]
async fn a_column_without_a_json_form_must_be_cast_in_the_mode_that_does_not_ask_first() {
    let server = server();
    let db = Database::with(&server, &[("queryExecMode", "exec")]).await;
    let error = db.rejected("SELECT '1'::money", "").await;
    assert_eq!(
        error,
        "error reading result: no JSON form for a value of type money; cast it to text"
    );
    assert_eq!(
        db.rows("SELECT '1'::money::text", "").await,
        "[[\"$1.00\"]]"
    );
}

#[tokio::test]
async fn a_transaction_that_is_left_open_ends_with_its_call() {
    let server = server();
    let watcher = Database::of(&server).await;
    watcher.exec("DROP TABLE IF EXISTS left_open").await;
    watcher.exec("CREATE TABLE left_open (a int)").await;
    let db = Database::with(
        &server,
        &[("maxConns", "1"), ("queryExecMode", "simple_protocol")],
    )
    .await;
    db.exec("BEGIN; INSERT INTO left_open VALUES (1)").await;
    db.exec("INSERT INTO left_open VALUES (2)").await;
    db.exec("BEGIN; INSERT INTO left_open VALUES (3); COMMIT")
        .await;
    let error = db
        .call("exec", "BEGIN; SELECT 1/0", "")
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("22012"), "{error}");
    assert_eq!(
        db.rows("SELECT a FROM left_open ORDER BY a", "").await,
        "[[2],[3]]"
    );
    let db = Database::with(&server, &[("maxConns", "1")]).await;
    db.exec("BEGIN").await;
    db.exec("INSERT INTO left_open VALUES (4)").await;
    assert_eq!(
        watcher.rows("SELECT a FROM left_open ORDER BY a", "").await,
        "[[2],[3],[4]]"
    );
    watcher.exec("DROP TABLE left_open").await;
}

/// Two connections behind the pooler, more than two in front of it: a statement that was
/// prepared on one of them is soon missing on the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_a_pooler_two_modes_never_fail() {
    let server = server();
    let pooler = PgBouncer::in_front_of(&server, 2);
    for mode in ["exec", "simple_protocol"] {
        let url = pooler.url();
        let settings = [
            ("connectionString", url.as_str()),
            ("queryExecMode", mode),
            ("maxConns", "8"),
        ];
        let db = std::sync::Arc::new(Database::open(&settings).await.unwrap());
        let mut calls = tokio::task::JoinSet::new();
        for number in 0..200 {
            let db = std::sync::Arc::clone(&db);
            calls.spawn(async move {
                let rows = db
                    .rows("SELECT $1::int, $2::text", &format!("[{number}, \"x\"]"))
                    .await;
                assert_eq!(rows, format!("[[{number},\"x\"]]"));
                let executed = db
                    .call("exec", "SELECT $1::int", &format!("[{number}]"))
                    .await
                    .unwrap();
                assert_eq!(executed.get("rows-affected"), "1");
            });
        }
        while let Some(call) = calls.join_next().await {
            call.unwrap_or_else(|error| panic!("{mode}: {error}"));
        }
    }
}

/// What the two modes are for: the default does fail there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_a_pooler_kept_statements_are_not_found() {
    let server = server();
    let pooler = PgBouncer::in_front_of(&server, 2);
    let url = pooler.url();
    let db = Database::open(&[("connectionString", url.as_str()), ("maxConns", "8")])
        .await
        .unwrap();
    let calls = (0..50).map(|_| db.call("query", "SELECT 1 FROM (SELECT pg_sleep(0.01)) AS s", ""));
    let answers = futures_util::future::join_all(calls).await;
    let failed = answers
        .iter()
        .find_map(|answer| answer.as_ref().err())
        .unwrap();
    assert!(
        failed.to_string().contains("prepared statement"),
        "{failed}"
    );
}
