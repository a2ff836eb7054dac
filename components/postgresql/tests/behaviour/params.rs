//! Arguments: from JSON to the types of the database.

use crate::database::{Database, server};

#[tokio::test]
async fn arguments_fit_the_types_they_are_meant_for() {
    let server = server();
    for mode in [
        "cache_statement",
        "cache_describe",
        "describe_exec",
        "exec",
        "simple_protocol",
    ] {
        let db = Database::with(&server, &[("queryExecMode", mode)]).await;
        for (ty, argument, shown) in [
            ("int2", "-7", "-7"),
            ("int4", "42", "42"),
            ("int8", "9007199254740993", "9007199254740993"),
            (
                "numeric",
                "12345678901234567890.12345678901234567890",
                "12345678901234567890.12345678901234567890",
            ),
            ("float8", "1.5", "1.5"),
            ("float8", "2", "2"),
            ("bool", "false", "false"),
            (
                "text",
                "\"it's \\\\ <\\\" $1 é\"",
                "\"it's \\\\ \\u003c\\\" $1 é\"",
            ),
            ("int4", "\"17\"", "17"),
            ("numeric", "\"1.10\"", "1.10"),
            (
                "timestamp",
                "\"2020-09-24T04:13:46Z\"",
                "\"2020-09-24T04:13:46Z\"",
            ),
            ("date", "\"2020-09-24\"", "\"2020-09-24T00:00:00Z\""),
            (
                "uuid",
                "\"00000000-0000-0000-0000-000000000001\"",
                "[0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,1]",
            ),
            ("bytea", "\"\\\\x00ff\"", "\"AP8=\""),
            ("inet", "\"10.0.0.1\"", "\"10.0.0.1/32\""),
            ("int4[]", "\"{1,2}\"", "[1,2]"),
            (
                "jsonb",
                "{\"a\": [1.10, \"it's\"]}",
                "{\"a\":[1.10,\"it's\"]}",
            ),
            ("json", "[1, 2]", "[1,2]"),
            ("text", "null", "null"),
            ("int4", "null", "null"),
        ] {
            let rows = db
                .rows(&format!("SELECT $1::{ty}"), &format!("[{argument}]"))
                .await;
            assert_eq!(
                rows,
                format!("[[{shown}]]"),
                "{argument} as {ty} in mode {mode}"
            );
        }
    }
}

#[tokio::test]
async fn arguments_reach_columns_of_a_table() {
    let server = server();
    for mode in [
        "cache_statement",
        "cache_describe",
        "describe_exec",
        "exec",
        "simple_protocol",
    ] {
        let db = Database::with(&server, &[("queryExecMode", mode)]).await;
        db.exec("DROP TABLE IF EXISTS taken").await;
        db.exec("CREATE TABLE taken (id int4, big int8, at timestamptz, doc jsonb, flag bool, note text)").await;
        let params = r#"[1, 9007199254740993, "2020-09-24T04:13:46Z", {"a": 1}, true, "x"]"#;
        let inserted = db
            .call(
                "exec",
                "INSERT INTO taken VALUES ($1, $2, $3, $4, $5, $6)",
                params,
            )
            .await;
        assert_eq!(inserted.unwrap().get("rows-affected"), "1", "{mode}");
        let rows = db.rows("SELECT id, big, doc, flag, note FROM taken WHERE id = $1 AND big = $2 AND note = $3", r#"[1, 9007199254740993, "x"]"#).await;
        assert_eq!(rows, r#"[[1,9007199254740993,{"a":1},true,"x"]]"#, "{mode}");
        let error = db
            .call("exec", "UPDATE taken SET id = $1", "[1.5]")
            .await
            .unwrap_err()
            .to_string();
        let expected = match mode {
            "exec" | "simple_protocol" => "invalid input syntax for type integer: \"1.5\"",
            _ => "failed to encode args[0]: unable to encode a fraction into int4 (OID 23)",
        };
        assert!(error.contains(expected), "{mode}: {error}");
    }
}

#[tokio::test]
async fn an_argument_that_does_not_fit_is_named_and_nothing_is_done() {
    let server = server();
    for mode in ["cache_statement", "cache_describe", "describe_exec"] {
        let db = Database::with(&server, &[("queryExecMode", mode)]).await;
        for (sql, params, says) in [
            (
                "SELECT $1::text",
                "[1]",
                "failed to encode args[0]: unable to encode a number into text (OID 25); send it as a string",
            ),
            (
                "SELECT $1::int, $2::bool",
                "[1, 1]",
                "failed to encode args[1]: unable to encode a number into bool (OID 16)",
            ),
            (
                "SELECT $1::int",
                "[2147483648]",
                "failed to encode args[0]: a number is out of range for int4",
            ),
            ("SELECT $1::int", "[1, 2]", "expected 1 arguments, got 2"),
            (
                "SELECT $1::uuid",
                "[\"x\"]",
                "ERROR: invalid input syntax for type uuid: \"x\" (SQLSTATE 22P02)",
            ),
        ] {
            let error = db.rejected(sql, params).await;
            assert!(
                error.starts_with("error executing query: ") && error.contains(says),
                "{mode}: {error}"
            );
        }
        assert_eq!(db.rows("SELECT 1", "").await, "[[1]]");
    }
    for mode in ["exec", "simple_protocol"] {
        let db = Database::with(&server, &[("queryExecMode", mode)]).await;
        let error = db.rejected("SELECT $1::int, '$2'", "[1, 2]").await;
        assert_eq!(error, "error executing query: expected 1 arguments, got 2");
    }
}

#[tokio::test]
async fn arrays_reach_arrays() {
    let server = server();
    let db = Database::of(&server).await;
    for (ty, argument, shown) in [
        ("int4[]", "[1, null, -2]", "[1,null,-2]"),
        ("int4[]", "[]", "[]"),
        (
            "text[]",
            r#"["a,b", "c\"d", "\\", "", "NULL", null, "{}"]"#,
            r#"["a,b","c\"d","\\","","NULL",null,"{}"]"#,
        ),
        ("numeric[]", "[1.10]", "[1.10]"),
        ("bool[]", "[true, false]", "[true,false]"),
        (
            "jsonb[]",
            r#"[{"a": [1]}, [2], "\"x\""]"#,
            r#"[{"a":[1]},[2],"x"]"#,
        ),
        ("date[]", r#"["2020-09-24"]"#, r#"["2020-09-24T00:00:00Z"]"#),
    ] {
        let rows = db
            .rows(&format!("SELECT $1::{ty}"), &format!("[{argument}]"))
            .await;
        assert_eq!(rows, format!("[[{shown}]]"), "{argument} as {ty}");
    }
    let rows = db
        .rows("SELECT array_dims($1::int4[])", "[[[1,2],[3,4]]]")
        .await;
    assert_eq!(rows, "[[\"[1:2][1:2]\"]]");
    let rows = db
        .rows(
            "SELECT n FROM generate_series(1, 5) AS n WHERE n = ANY($1)",
            "[[2, 4, 9]]",
        )
        .await;
    assert_eq!(rows, "[[2],[4]]");
    let error = db.rejected("SELECT $1::int4[]", "[[1, 1.5]]").await;
    assert!(
        error.contains("failed to encode args[0]: unable to encode a fraction into int4 (OID 23)"),
        "{error}"
    );
}

#[tokio::test]
async fn no_argument_can_be_more_than_a_value() {
    let server = server();
    for mode in ["cache_statement", "exec", "simple_protocol"] {
        let db = Database::with(&server, &[("queryExecMode", mode)]).await;
        for text in [
            "'; DROP TABLE x; --",
            "\\'; SELECT 1; --",
            "$1",
            "\u{e9}\\",
            "''",
            "\n/*",
        ] {
            let params = serde_json::json!([text, -1]).to_string();
            let rows = db.rows("SELECT $1::text, 1-$2::int", &params).await;
            let rows: Vec<(String, i32)> = serde_json::from_str(&rows).unwrap();
            assert_eq!(rows, [(text.to_owned(), 2)], "{mode}");
        }
    }
}
