//! TLS, as `sslmode` asks for it.

use std::path::PathBuf;
use std::sync::Arc;

use bindery_contract::OpenError;
use bindery_testkit::certs::{Authority, write};
use bindery_testkit::servers::{Postgres, PostgresOptions};
use tempfile::TempDir;

use crate::database::Database;

const SECURE: &str =
    "SELECT ssl, coalesce(client_dn, '') FROM pg_stat_ssl WHERE pid = pg_backend_pid()";

struct Secured {
    server: Postgres,
    folder: TempDir,
    authority: Arc<Authority>,
}

impl Secured {
    /// A server with these lines of access control and these settings.
    fn start(access: &[&str], settings: &[&str]) -> Self {
        let authority = Arc::new(Authority::new());
        let server = Postgres::with(PostgresOptions {
            tls: Some(Arc::clone(&authority)),
            access: access.iter().map(|line| (*line).to_owned()).collect(),
            settings: settings.iter().map(|line| (*line).to_owned()).collect(),
        });
        Self {
            server,
            folder: tempfile::tempdir().unwrap(),
            authority,
        }
    }

    fn file(&self, name: &str, pem: &str) -> String {
        let path: PathBuf = write(self.folder.path(), name, pem);
        path.display().to_string()
    }

    async fn open(&self, host: &str, keys: &str) -> Result<Database, OpenError> {
        let port = self.server.port();
        let string =
            format!("host={host} port={port} user=tester password=secret dbname=tester {keys}");
        Database::open(&[("connectionString", &string)]).await
    }

    #[track_caller]
    fn is_secure(opened: Result<Database, OpenError>) -> impl Future<Output = bool> {
        let database = opened.unwrap_or_else(|error| panic!("{error}"));
        async move { database.rows(SECURE, "").await.starts_with("[[true") }
    }
}

fn refused(opened: Result<Database, OpenError>, says: &str) {
    match opened.err() {
        Some(error @ OpenError::Refused(_)) => assert!(error.to_string().contains(says), "{error}"),
        other => panic!("{other:?}, not {says}"),
    }
}

#[tokio::test]
async fn each_mode_checks_what_it_should() {
    let secured = Secured::start(&[], &[]);
    let (ours, others) = (
        secured.file("ca.pem", &secured.authority.certificate()),
        secured.file("other.pem", &Authority::new().certificate()),
    );
    for (host, keys, is_secure) in [
        ("localhost", "sslmode=disable".to_owned(), false),
        ("localhost", "sslmode=allow".to_owned(), false),
        ("localhost", String::new(), true),
        (
            "localhost",
            format!("sslmode=prefer sslrootcert={others}"),
            true,
        ),
        ("localhost", "sslmode=require".to_owned(), true),
        (
            "127.0.0.1",
            format!("sslmode=require sslrootcert={ours}"),
            true,
        ),
        (
            "localhost",
            format!("sslmode=verify-ca sslrootcert={ours}"),
            true,
        ),
        (
            "nowhere.invalid",
            format!("hostaddr=127.0.0.1 sslmode=verify-ca sslrootcert={ours}"),
            true,
        ),
        (
            "localhost",
            format!("sslmode=verify-full sslrootcert={ours}"),
            true,
        ),
        (
            "127.0.0.1",
            format!("sslmode=verify-full sslrootcert={ours} sslsni=0"),
            true,
        ),
    ] {
        let opened = secured.open(host, &keys).await;
        assert_eq!(Secured::is_secure(opened).await, is_secure, "{host} {keys}");
    }
    // The two authorities have the same name, and different keys.
    let (foreign, unknown) = (
        "invalid peer certificate: BadSignature",
        "invalid peer certificate: UnknownIssuer",
    );
    for (host, keys, says) in [
        (
            "localhost",
            format!("sslmode=require sslrootcert={others}"),
            foreign,
        ),
        (
            "localhost",
            format!("sslmode=verify-ca sslrootcert={others}"),
            foreign,
        ),
        (
            "localhost",
            format!("sslmode=verify-full sslrootcert={others}"),
            foreign,
        ),
        ("localhost", "sslmode=verify-full".to_owned(), unknown),
        (
            "nowhere.invalid",
            format!("hostaddr=127.0.0.1 sslmode=verify-full sslrootcert={ours}"),
            "certificate not valid for name \"nowhere.invalid\"",
        ),
    ] {
        refused(secured.open(host, &keys).await, says);
    }
    let port = secured.server.port().to_string();
    let beside = [
        ("host", "localhost"),
        ("port", &port),
        ("user", "tester"),
        ("password", "secret"),
        ("database", "tester"),
        ("sslRootCert", &ours),
    ];
    let db =
        Database::open(&[&beside[..], &[("connectionString", "sslmode=verify-full")]].concat())
            .await;
    assert!(Secured::is_secure(db).await);
}

#[tokio::test]
async fn a_client_certificate_is_shown_and_asked_for() {
    let secured = Secured::start(
        &[
            "hostssl all all 127.0.0.1/32 cert",
            "hostssl all all ::1/128 cert",
        ],
        &[],
    );
    let signed = secured.authority.sign("tester");
    let (certificate, key) = (
        secured.file("client.pem", &signed.certificate),
        secured.file("client.key", &signed.key),
    );
    let keys = format!("sslmode=require sslcert={certificate} sslkey={key}");
    let opened = secured.open("127.0.0.1", &keys).await;
    let rows = opened.unwrap().rows(SECURE, "").await;
    assert_eq!(rows, "[[true,\"/CN=tester\"]]");
    refused(
        secured.open("127.0.0.1", "sslmode=require").await,
        "SQLSTATE 28000",
    );
    let damaged = secured.file(
        "damaged.key",
        "-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----\n",
    );
    let keys = format!("sslmode=require sslcert={certificate} sslkey={damaged}");
    match secured.open("127.0.0.1", &keys).await.err() {
        Some(error @ OpenError::Invalid(_)) => {
            let error = error.to_string();
            assert!(
                error.contains("client key cannot be used") && !error.contains("hunter2"),
                "{error}"
            );
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_mode_that_allows_tls_uses_it_where_it_must() {
    let secured = Secured::start(&["hostssl all all 127.0.0.1/32 scram-sha-256"], &[]);
    assert!(Secured::is_secure(secured.open("127.0.0.1", "sslmode=allow").await).await);
    refused(
        secured.open("127.0.0.1", "sslmode=disable").await,
        "no encryption (SQLSTATE 28000)",
    );
    // A statement is stopped over TLS, too.
    let db = secured
        .open("127.0.0.1", "sslmode=require pool_max_conns=1")
        .await
        .unwrap();
    let deadline = bindery_contract::Clock::system().now() + std::time::Duration::from_millis(200);
    db.call_until(deadline, "exec", "SELECT pg_sleep(600)")
        .await
        .unwrap_err();
    let left = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%600%' AND pid <> pg_backend_pid()";
    db.until(left, "[[0]]").await;
}

#[tokio::test]
async fn the_mode_that_prefers_tls_does_without_where_it_fails() {
    let old = [
        "ssl_min_protocol_version=TLSv1",
        "ssl_max_protocol_version=TLSv1.1",
    ];
    let secured = Secured::start(&[], &old);
    assert!(!Secured::is_secure(secured.open("127.0.0.1", "sslmode=prefer").await).await);
    refused(
        secured.open("127.0.0.1", "sslmode=require").await,
        "TLS handshake",
    );
}
