//! How values of each type are shown. The right sides were taken from the reference's driver and
//! its JSON encoder at work on a live server; where ours differ, it is said.

use crate::database::{Database, server};

/// Expressions and their JSON.
const SHOWN: &[(&str, &str)] = &[
    // Numbers and booleans.
    ("true", "true"),
    ("1::int2", "1"),
    ("1::int4", "1"),
    ("9007199254740993::int8", "9007199254740993"),
    ("1::oid", "1"),
    ("'1'::xid", "1"),
    ("'7'::xid8", "7"),
    ("1.5::float4", "1.5"),
    ("0.1::float4", "0.1"),
    ("3.4e38::float4", "3.4e+38"),
    ("1e-7::float8", "1e-7"),
    ("1e21::float8", "1e+21"),
    ("1e20::float8", "100000000000000000000"),
    ("123456789.123::float8", "123456789.123"),
    ("'-0'::float8", "-0"),
    ("1.10::numeric", "1.10"),
    ("0.00::numeric", "0"),
    ("100::numeric", "100"),
    ("-0.05::numeric", "-0.05"),
    (
        "123456789012345678901234567890.12::numeric",
        "123456789012345678901234567890.12",
    ),
    ("'NaN'::numeric", "\"NaN\""),
    ("1e-20::numeric", "0.00000000000000000001"),
    ("1e20::numeric", "100000000000000000000"),
    ("10000.0000::numeric", "10000.0000"),
    ("12345678.9::numeric(20,5)", "12345678.90000"),
    // Text.
    (
        r#"'<a href="x">&é'::text"#,
        r#""\u003ca href=\"x\"\u003e\u0026é""#,
    ),
    ("'x'::varchar", "\"x\""),
    ("'x'::char(3)", "\"x  \""),
    ("'x'::\"char\"", "120"),
    ("'x'::name", "\"x\""),
    ("'x'", "\"x\""),
    (
        r"'a' || chr(1) || chr(8232) || E'\n\t\r\b\f'",
        r#""a\u0001\u2028\n\t\r\b\f""#,
    ),
    ("'$.a'::jsonpath", r#""$.\"a\"""#),
    ("'sad'::mood", "\"sad\""),
    ("'\\x00ff'::bytea", "\"AP8=\""),
    ("''::bytea", "\"\""),
    ("null::text", "null"),
    ("null::int4[]", "null"),
    // Days and times.
    ("'2020-09-24'::date", "\"2020-09-24T00:00:00Z\""),
    ("'infinity'::date", "1"),
    ("'-infinity'::date", "-1"),
    (
        "'2020-09-24 04:13:46'::timestamp",
        "\"2020-09-24T04:13:46Z\"",
    ),
    (
        "'2020-09-24 04:13:46.123400'::timestamp",
        "\"2020-09-24T04:13:46.1234Z\"",
    ),
    (
        "'0001-01-01 00:00:00'::timestamp",
        "\"0001-01-01T00:00:00Z\"",
    ),
    (
        "'9999-12-31 23:59:59.999999'::timestamp",
        "\"9999-12-31T23:59:59.999999Z\"",
    ),
    ("'infinity'::timestamp", "1"),
    ("'-infinity'::timestamptz", "-1"),
    (
        "'04:13:46.5'::time",
        r#"{"Microseconds":15226500000,"Valid":true}"#,
    ),
    (
        "'24:00'::time",
        r#"{"Microseconds":86400000000,"Valid":true}"#,
    ),
    ("'04:13:46+02'::timetz", "\"04:13:46+02\""),
    (
        "'1 mon 2 days 03:04:05.6'::interval",
        r#"{"Microseconds":11045600000,"Days":2,"Months":1,"Valid":true}"#,
    ),
    (
        "'-1 year'::interval",
        r#"{"Microseconds":0,"Days":0,"Months":-12,"Valid":true}"#,
    ),
    // JSON: the reference sorts the keys and turns 1.10 into 1.1; here it stays as it is.
    (
        r#"'{"b": 1.10, "a": "<é"}'::json"#,
        r#"{"b":1.10,"a":"\u003cé"}"#,
    ),
    (
        r#"'{"bb": 1.10, "a": "<é"}'::jsonb"#,
        r#"{"a":"\u003cé","bb":1.10}"#,
    ),
    ("'12345678901234567890'::jsonb", "12345678901234567890"),
    ("'null'::jsonb", "null"),
    ("'\"x\"'::json", "\"x\""),
    // Identifiers and addresses.
    (
        "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid",
        "[160,238,188,153,156,11,78,248,187,109,107,185,189,56,10,17]",
    ),
    ("'10.0.0.1'::inet", "\"10.0.0.1/32\""),
    ("'10.1.2.3/24'::inet", "\"10.1.2.3/24\""),
    ("'10.0.0.0/8'::cidr", "\"10.0.0.0/8\""),
    ("'::1'::inet", "\"::1/128\""),
    ("'2001:db8::/32'::cidr", "\"2001:db8::/32\""),
    ("'::ffff:10.0.0.1'::inet", "\"::ffff:10.0.0.1/128\""),
    ("'08:00:2b:01:02:03'::macaddr", "\"CAArAQID\""),
    ("'08:00:2b:01:02:03:04:05'::macaddr8", "\"CAArAQIDBAU=\""),
    (
        "'(0,1)'::tid",
        r#"{"BlockNumber":0,"OffsetNumber":1,"Valid":true}"#,
    ),
    (
        "'10101'::varbit",
        r#"{"Bytes":"qA==","Len":5,"Valid":true}"#,
    ),
    ("'1010'::bit(4)", r#"{"Bytes":"oA==","Len":4,"Valid":true}"#),
    ("''::varbit", r#"{"Bytes":"","Len":0,"Valid":true}"#),
    // Geometry.
    ("'(1,2.5)'::point", "\"(1,2.5)\""),
    ("'{1,2,3}'::line", r#"{"A":1,"B":2,"C":3,"Valid":true}"#),
    (
        "'[(1,2),(3,4)]'::lseg",
        r#"{"P":[{"X":1,"Y":2},{"X":3,"Y":4}],"Valid":true}"#,
    ),
    (
        "'(1,2),(3,4)'::box",
        r#"{"P":[{"X":3,"Y":4},{"X":1,"Y":2}],"Valid":true}"#,
    ),
    (
        "'[(1,2),(3,4)]'::path",
        r#"{"P":[{"X":1,"Y":2},{"X":3,"Y":4}],"Closed":false,"Valid":true}"#,
    ),
    (
        "'((1,2),(3,4))'::path",
        r#"{"P":[{"X":1,"Y":2},{"X":3,"Y":4}],"Closed":true,"Valid":true}"#,
    ),
    (
        "'((1,2),(3,4),(5,6))'::polygon",
        r#"{"P":[{"X":1,"Y":2},{"X":3,"Y":4},{"X":5,"Y":6}],"Valid":true}"#,
    ),
    (
        "'<(1,2),3>'::circle",
        r#"{"P":{"X":1,"Y":2},"R":3,"Valid":true}"#,
    ),
    // Ranges.
    (
        "'[1,5)'::int4range",
        r#"{"Lower":1,"Upper":5,"LowerType":105,"UpperType":101,"Valid":true}"#,
    ),
    (
        "'empty'::int4range",
        r#"{"Lower":null,"Upper":null,"LowerType":69,"UpperType":69,"Valid":true}"#,
    ),
    (
        "'(,5]'::int8range",
        r#"{"Lower":null,"Upper":6,"LowerType":85,"UpperType":101,"Valid":true}"#,
    ),
    (
        "'[1.5,2.50)'::numrange",
        r#"{"Lower":1.5,"Upper":2.50,"LowerType":105,"UpperType":101,"Valid":true}"#,
    ),
    (
        "'[2020-01-01,2020-02-01)'::daterange",
        r#"{"Lower":"2020-01-01T00:00:00Z","Upper":"2020-02-01T00:00:00Z","LowerType":105,"UpperType":101,"Valid":true}"#,
    ),
    (
        "'{[1,2),[5,8)}'::int4multirange",
        r#"[{"Lower":1,"Upper":2,"LowerType":105,"UpperType":101,"Valid":true},{"Lower":5,"Upper":8,"LowerType":105,"UpperType":101,"Valid":true}]"#,
    ),
    ("'{}'::int4multirange", "[]"),
    // Arrays and rows.
    ("'{1,2,null}'::int4[]", "[1,2,null]"),
    ("'{{1,2},{3,4}}'::int4[]", "[1,2,3,4]"),
    ("'{}'::int4[]", "[]"),
    ("'[0:1]={5,6}'::int4[]", "[5,6]"),
    (
        r#"'{a,"b c",null,"NULL"}'::text[]"#,
        r#"["a","b c",null,"NULL"]"#,
    ),
    ("'{1.50,2}'::numeric[]", "[1.50,2]"),
    ("array['\\x01'::bytea]", "[\"AQ==\"]"),
    (
        "array['2020-09-24'::date, 'infinity']",
        "[\"2020-09-24T00:00:00Z\",1]",
    ),
    (r#"array['{"a":1}'::jsonb]"#, r#"[{"a":1}]"#),
    ("array['10.0.0.1'::inet]", "[\"10.0.0.1/32\"]"),
    ("array['a'::\"char\"]", "[97]"),
    (
        "array['[1,5)'::int4range]",
        r#"[{"Lower":1,"Upper":5,"LowerType":105,"UpperType":101,"Valid":true}]"#,
    ),
    ("row(1,'x',null::int)", "[1,\"x\",null]"),
    ("5::posint", "5"),
    // What the reference's driver has no codec for comes as the server's own text.
    ("'$1,000.50'::money", "\"$1,000.50\""),
    ("array['$1'::money]", "\"{$1.00}\""),
    ("'a b'::tsvector", "\"'a' 'b'\""),
    ("'a & b'::tsquery", "\"'a' \\u0026 'b'\""),
    // The newest version of it shows XML as base64, which nobody can have meant.
    ("'<a/>'::xml", "\"\\u003ca/\\u003e\""),
    ("'pg_class'::regclass", "\"pg_class\""),
    ("'16/B374D848'::pg_lsn", "\"16/B374D848\""),
    ("'1 2'::int2vector", "\"1 2\""),
    ("array['sad'::mood]", "\"{sad}\""),
    ("row(1,'x')::pair", "\"(1,x)\""),
    ("array[5::posint]", "\"{5}\""),
    ("'[1.5,2)'::floatrange", "\"[1.5,2)\""),
    ("pg_sleep(0)", "\"\""),
];

/// Types that the expressions need.
const TYPES: &[&str] = &[
    "DROP TYPE IF EXISTS mood, pair, floatrange",
    "DROP DOMAIN IF EXISTS posint",
    "CREATE TYPE mood AS ENUM ('sad', 'ok')",
    "CREATE TYPE pair AS (a int, b text)",
    "CREATE TYPE floatrange AS RANGE (subtype = float8)",
    "CREATE DOMAIN posint AS int",
];

#[tokio::test]
async fn every_type_is_shown_as_the_reference_shows_it() {
    let server = server();
    let db = Database::of(&server).await;
    for sql in TYPES {
        db.exec(sql).await;
    }
    for mode in ["cache_statement", "cache_describe", "describe_exec"] {
        let db = Database::with(&server, &[("queryExecMode", mode)]).await;
        for (expression, json) in SHOWN {
            let shown = db.rows(&format!("SELECT {expression}"), "").await;
            assert_eq!(shown, format!("[[{json}]]"), "{expression} in mode {mode}");
        }
    }
}

#[tokio::test]
async fn columns_that_only_the_server_can_show_stand_beside_others() {
    let server = server();
    let db = Database::of(&server).await;
    db.exec("CREATE TABLE priced (id int, price money, note text)")
        .await;
    let sql = "INSERT INTO priced VALUES ($1, $2, $3), (2, '3', 'c') RETURNING *; -- done";
    assert_eq!(
        db.rows(sql, r#"[1, "2.5", "a;b"]"#).await,
        r#"[[1,"$2.50","a;b"],[2,"$3.00","c"]]"#
    );
    assert_eq!(
        db.rows("TABLE priced ORDER BY id DESC", "").await,
        r#"[[2,"$3.00","c"],[1,"$2.50","a;b"]]"#
    );
    assert_eq!(
        db.exec("UPDATE priced SET id = 5 RETURNING price")
            .await
            .get("rows-affected"),
        "2"
    );
    // A statement that cannot stand inside another one says so, and before it has done anything.
    db.exec("PREPARE later AS DELETE FROM priced RETURNING price")
        .await;
    let error = db.rejected("EXECUTE later", "").await;
    assert_eq!(
        error,
        "error reading result: no JSON form for a value of type money; cast it to text"
    );
    assert_eq!(db.rows("SELECT count(*) FROM priced", "").await, "[[2]]");
    db.exec("DROP TABLE priced").await;
}

#[tokio::test]
async fn what_json_has_no_word_for_is_an_error() {
    let server = server();
    let db = Database::of(&server).await;
    for (expression, says) in [
        ("'NaN'::float8", "NaN"),
        ("array[1, 'Infinity'::float4]", "+Inf"),
        ("'-Infinity'::numeric", "-Infinity"),
        ("'10000-01-01'::timestamp", "year is outside of 0 to 9999"),
        ("'0044-03-15 BC'::date", "year is outside of 0 to 9999"),
    ] {
        let sql = format!("SELECT 1, {expression} FROM generate_series(1, 3)");
        let error = db.rejected(&sql, "").await;
        assert!(
            error.starts_with("error serializing results: json: unsupported value: ")
                && error.contains(says),
            "{error}"
        );
    }
}

#[tokio::test]
async fn several_columns_and_no_columns_are_rows() {
    let server = server();
    let db = Database::of(&server).await;
    assert_eq!(db.rows("SELECT 1, 'x', null", "").await, "[[1,\"x\",null]]");
    assert_eq!(db.rows("SELECT", "").await, "[[]]");
    assert_eq!(db.rows("SHOW server_encoding", "").await, "[[\"UTF8\"]]");
    assert_eq!(db.rows("CREATE TEMP TABLE empty_result ()", "").await, "[]");
}

#[tokio::test]
async fn rows_within_rows_have_an_end() {
    let server = server();
    let db = Database::of(&server).await;
    let nested = |depth| format!("SELECT {}1{}", "ROW(".repeat(depth), ")".repeat(depth));
    let shown = format!("[[{}1{}]]", "[".repeat(60), "]".repeat(60));
    assert_eq!(db.rows(&nested(60), "").await, shown);
    for depth in [65, 1_500] {
        let error = db.rejected(&nested(depth), "").await;
        assert!(
            error.contains("more than 64 rows within one another"),
            "{error}"
        );
    }
}
