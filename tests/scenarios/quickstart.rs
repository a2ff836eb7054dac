//! Cron fires, a Flask app takes the event and inserts three orders into `PostgreSQL` through
//! the HTTP API; they are read back and compared.

use std::time::Duration;

use bindery_testkit::servers::Postgres;

use crate::support::{Running, resources, wait_for};
use crate::{app, python};

#[test]
fn three_orders_reach_the_database_with_every_batch() {
    let postgres = Postgres::start();
    let folder = tempfile::tempdir().unwrap();
    let components = resources(
        folder.path(),
        &[
            (
                "batch",
                "bindings.cron",
                &[("schedule", "@every 2s"), ("direction", "input")],
            ),
            (
                "sqldb",
                "bindings.postgres",
                &[("url", &postgres.url()), ("direction", "output")],
            ),
        ],
    );
    let bindery = Running::run(
        &components,
        &format!("{} {}", python(), app("quickstart.py")),
    );
    let query = |sql: &str| {
        let body = serde_json::json!({"operation": "query", "metadata": {"sql": sql}});
        bindery.invoke("sqldb", &body.to_string())
    };
    bindery.wait_until_callable();
    let create = r#"{"operation":"exec","metadata":{"sql":
        "create table orders (orderid int, customer text, price numeric(9, 2))"}}"#;
    let created = bindery.invoke("sqldb", create);
    assert_eq!(created.status, 200, "{}", created.text());
    assert_eq!(created.header("metadata.operation"), Some("exec"));

    bindery.wait_for_log("Finished processing batch");
    wait_for("two batches", Duration::from_secs(30), || {
        query("select count(*) from orders").text() == "[[6]]"
    });
    let answer = query("select distinct orderid, customer, price from orders order by orderid");
    assert_eq!(
        answer.text(),
        r#"[[1,"John Smith",100.32],[2,"Jane Bond",15.40],[3,"Tony James",35.56]]"#
    );
    assert_eq!(answer.header("metadata.operation"), Some("query"));
}
