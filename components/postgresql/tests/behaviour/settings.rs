//! Where to connect to: the forms of a connection string, the settings beside it, and what is
//! wrong with them.

use bindery_contract::OpenError;

use crate::database::{Database, server};

const WHO: &str = "SELECT current_user, current_database()";

#[tokio::test]
async fn every_form_of_address_leads_to_the_database() {
    let server = server();
    let port = server.port().to_string();
    let socket = server.socket_folder().display().to_string();
    let encoded = socket.replace('/', "%2F");
    let own = [
        ("user", "tester"),
        ("password", "secret"),
        ("database", "tester"),
    ];
    let forms: Vec<Vec<(&str, String)>> = vec![
        vec![("connectionString", server.url())],
        vec![("url", server.url())],
        vec![(
            "url",
            format!("postgresql://tester:secret@127.0.0.1:{port}/tester"),
        )],
        vec![(
            "connectionString",
            format!("host=127.0.0.1 port={port} user=tester password='secret' dbname=tester"),
        )],
        vec![(
            "connectionString",
            format!("host=127.0.0.1 port={port} user=tester password=secret database = tester"),
        )],
        vec![(
            "connectionString",
            format!("port={port} user=tester password=secret database=tester"),
        )],
        vec![(
            "connectionString",
            format!(
                "host=nowhere.invalid hostaddr=127.0.0.1 port={port} user=tester password=secret dbname=tester"
            ),
        )],
        vec![(
            "connectionString",
            format!("hostaddr=127.0.0.1 port={port} user=tester password=secret dbname=tester"),
        )],
        vec![(
            "connectionString",
            format!("host={socket} port={port} user=tester password=secret dbname=tester"),
        )],
        vec![(
            "connectionString",
            format!("postgres://tester:secret@{encoded}:{port}/tester"),
        )],
        vec![(
            "connectionString",
            format!(
                "host={socket} port={port} user=tester password=secret dbname=tester sslmode=verify-full keepalives_count=3"
            ),
        )],
        // The first of several that answers.
        vec![(
            "connectionString",
            format!("postgres://tester:secret@127.0.0.1:1,127.0.0.1:{port}/tester"),
        )],
        // Parts win over the string.
        vec![
            (
                "connectionString",
                "postgres://nobody:wrong@nowhere.invalid:1/nothing".into(),
            ),
            ("host", "127.0.0.1".into()),
            ("port", port.clone()),
        ],
        vec![
            ("connectionString", "host=nowhere.invalid port=1".into()),
            ("hostaddr", "127.0.0.1".into()),
            ("port", port.clone()),
        ],
        vec![("host", "127.0.0.1".into()), ("port", port.clone())],
        vec![("hostaddr", "127.0.0.1".into()), ("port", port.clone())],
        vec![("host", socket.clone()), ("port", port.clone())],
    ];
    for form in forms {
        let mut settings: Vec<(&str, &str)> = form
            .iter()
            .map(|(key, value)| (*key, value.as_str()))
            .collect();
        let alone = settings[0].1.contains("tester");
        if !alone {
            settings.extend(own);
        }
        let db = Database::open(&settings)
            .await
            .unwrap_or_else(|error| panic!("{settings:?}: {error}"));
        assert_eq!(
            db.rows(WHO, "").await,
            "[[\"tester\",\"tester\"]]",
            "{settings:?}"
        );
    }
}

#[tokio::test]
async fn other_keys_are_parameters_of_the_server() {
    let server = server();
    let url = format!(
        "{}?application_name=it%20is+me&search_path=a,b&statement_timeout=5s&options=-c%20work_mem=1MB",
        server.url()
    );
    let db = Database::open(&[("url", &url)]).await.unwrap();
    let sql = "SELECT current_setting('application_name'), current_setting('search_path'), current_setting('statement_timeout'), current_setting('work_mem')";
    assert_eq!(db.rows(sql, "").await, r#"[["it is me","a,b","5s","1MB"]]"#);
    let url = format!("{}?nonsense=1", server.url());
    match Database::open(&[("url", &url)]).await.err() {
        Some(error @ OpenError::Refused(_)) => assert!(
            error
                .to_string()
                .contains("unrecognized configuration parameter \"nonsense\""),
            "{error}"
        ),
        other => panic!("{other:?}"),
    }
}

const ADDRESS: (&str, &str) = ("connectionString", "postgres://u:hunter2@127.0.0.1:1/x");

/// Settings that can never work, and what is said of them.
const IMPOSSIBLE: &[(&[(&str, &str)], &str)] = &[
    (&[], "missing connection string: set connectionString"),
    (&[("connectionString", " ")], "missing connection string"),
    (
        &[("user", "u"), ("password", "hunter2")],
        "missing connection string",
    ),
    (
        &[("connectionString", "hunter2")],
        "failed to parse connection string: a keyword without '='",
    ),
    (
        &[("url", "postgres://u:hunter2@h:port/x")],
        "invalid value for option `port`",
    ),
    (
        &[("url", "postgres://u:hunter2@h:70000/x")],
        "invalid value for option `port`",
    ),
    (
        &[("host", "h"), ("port", "x")],
        "invalid value for option `port`",
    ),
    (
        &[("host", "h"), ("hostaddr", "h")],
        "invalid value for option `hostaddr`",
    ),
    (
        &[("host", "a,b"), ("hostaddr", "127.0.0.1")],
        "hostaddr is a list of 1, and host is one of 2",
    ),
    (
        &[("host", "a,b,c"), ("port", "1,2")],
        "port is a list of 2, and host is one of 3",
    ),
    (
        &[("connectionString", "host=h password='hunter2")],
        "the quoted value of password has no end",
    ),
    (
        &[("connectionString", "host=h sslmode=yes")],
        "sslmode is \"yes\": it is one of disable, allow",
    ),
    (
        &[("connectionString", "host=h sslcert=/x")],
        "sslcert and sslkey need each other",
    ),
    (
        &[("connectionString", "host=h service=x")],
        "service is not supported",
    ),
    (
        &[("connectionString", "host=h sslpassword=hunter2")],
        "sslpassword is not supported",
    ),
    (
        &[("connectionString", "host=h pool_max_conns=0")],
        "pool_max_conns is \"0\": it is a whole number of 1 or more",
    ),
    (
        &[("connectionString", "host=h pool_min_conns=-1")],
        "pool_min_conns",
    ),
    (
        &[("connectionString", "host=h pool_max_conn_lifetime=1")],
        "pool_max_conn_lifetime is wrong: \"1\" is not a duration",
    ),
    (
        &[("connectionString", "host=h pool_health_check_period=0s")],
        "pool_health_check_period is \"0s\": it is more than 0",
    ),
    (
        &[("connectionString", "host=h default_query_exec_mode=fast")],
        "default_query_exec_mode is \"fast\"",
    ),
    (
        &[("connectionString", "host=h ünknown=1")],
        "a key is neither libpq's nor the name of a server parameter",
    ),
    (
        &[ADDRESS, ("timeout", "500ms")],
        "invalid value for 'timeout': must be 1s or more",
    ),
    (
        &[ADDRESS, ("timeoutInSeconds", "0")],
        "invalid value for 'timeout'",
    ),
    (&[ADDRESS, ("timeout", "soon")], "is not a duration"),
    (&[ADDRESS, ("maxConns", "many")], "setting \"maxConns\""),
    (
        &[ADDRESS, ("queryExecMode", "fast")],
        "invalid queryExecMode metadata value: fast; it is one of cache_statement",
    ),
    (
        &[ADDRESS, ("useAWSIAM", "yes")],
        "setting \"region\": is needed with AWS",
    ),
    (
        &[
            ("host", "a,b"),
            ("user", "u"),
            ("useAWSIAM", "1"),
            ("awsRegion", "eu-west-1"),
        ],
        "setting \"useAWSIAM\": needs exactly one host",
    ),
    (
        &[
            ("host", "a"),
            ("useAWSIAM", "1"),
            ("awsRegion", "eu-west-1"),
        ],
        "setting \"useAWSIAM\": needs a user",
    ),
    (
        &[
            ADDRESS,
            ("useAWSIAM", "1"),
            ("region", "eu-west-1"),
            ("secretKey", "hunter2"),
        ],
        "setting \"accessKey\": is needed with secretKey",
    ),
    (
        &[
            ("connectionString", "host=h sslmode=verify-full"),
            ("sslRootCert", "/no/such/file"),
        ],
        "sslrootcert \"/no/such/file\" cannot be read",
    ),
];

#[tokio::test]
async fn what_can_never_work_is_said_without_the_network_and_without_secrets() {
    for (settings, says) in IMPOSSIBLE {
        match Database::open(settings).await.err() {
            Some(error @ OpenError::Invalid(_)) => {
                let error = error.to_string();
                assert!(
                    error.contains(says) && !error.contains("hunter2"),
                    "{settings:?}: {error}"
                );
            }
            other => panic!("{settings:?}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn who_says_no_and_who_is_not_there_are_told_apart() {
    let server = server();
    let port = server.port();
    for (url, says) in [
        (
            format!("postgres://tester:hunter2@127.0.0.1:{port}/tester"),
            "password authentication failed for user \"tester\" (SQLSTATE 28P01)",
        ),
        (
            format!("postgres://tester@127.0.0.1:{port}/tester"),
            "password missing",
        ),
        (
            format!("postgres://nobody:hunter2@127.0.0.1:{port}/tester"),
            "(SQLSTATE 28P01)",
        ),
        (
            format!("postgres://tester:secret@127.0.0.1:{port}/nothing"),
            "database \"nothing\" does not exist (SQLSTATE 3D000)",
        ),
        (
            format!("postgres://tester:secret@127.0.0.1:{port}/tester?sslmode=require"),
            "server does not support TLS",
        ),
    ] {
        match Database::open(&[("url", &url)]).await.err() {
            Some(error @ OpenError::Refused(_)) => {
                let error = error.to_string();
                assert!(
                    error.starts_with("unable to connect to the DB: ")
                        && error.contains(says)
                        && !error.contains("hunter2"),
                    "{error}"
                );
            }
            other => panic!("{url}: {other:?}"),
        }
    }
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = silent.local_addr().unwrap();
    for (url, says) in [
        (
            "postgres://tester:secret@127.0.0.1:1/tester".to_owned(),
            "Connection refused",
        ),
        (
            "postgres://tester:secret@nowhere.invalid/tester".to_owned(),
            "error connecting to server",
        ),
        (
            format!("postgres://tester:secret@{silent}/tester"),
            "no answer within the component's timeout",
        ),
    ] {
        match Database::open(&[("url", &url), ("timeout", "1s")])
            .await
            .err()
        {
            Some(error @ OpenError::Disconnected(_)) => {
                assert!(error.to_string().contains(says), "{error}");
            }
            other => panic!("{url}: {other:?}"),
        }
    }
}
