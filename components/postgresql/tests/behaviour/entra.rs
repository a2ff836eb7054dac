//! Tokens of Microsoft Entra ID as passwords.

use std::path::Path;
use std::time::Duration;

use bindery_contract::{Clock, InvokeError, OpenError, Registration, Retry, Role, Sent};
use bindery_postgresql::Postgres as Binding;
use bindery_testkit::alone::{is_alone, run_alone};
use bindery_testkit::identity::{Identity, Reply, token};
use bindery_testkit::stand::on_a_stand;
use bindery_testkit::{FailureClass, Limits};
use tokio::net::TcpListener;

use crate::database::server;
use crate::guarded::{AUTHORITY, DATABASE, Guarded, alone, alone_with, entra, free_url, open};

/// Says where a machine of Azure asks who it is.
const MACHINE: &str = "AZURE_POD_IDENTITY_AUTHORITY_HOST";

const APPLICATION: [(&str, &str); 4] = [
    ("useAzureAD", "true"),
    ("azureTenantId", "tenant"),
    ("azureClientId", "client"),
    ("azureClientSecret", "s+cret&"),
];

/// The process of the server that a connection belongs to, which is busy for a moment.
const BUSY: &str = "SELECT pg_backend_pid(), pg_sleep(0.2)";
const WHO: &str = "SELECT current_user";

fn refusal() -> Reply {
    let body = r#"{"error":"invalid_client","error_description":"the secret is wrong"}"#;
    (401, body.into())
}

#[test]
fn an_application_shows_its_secret_and_all_its_connections_the_same_token() {
    alone(
        "an_application_shows_its_secret_and_all_its_connections_the_same_token",
        async || {
            let entra = entra(|number| token(&format!("token-{number}"), 3600)).await;
            let guarded = Guarded::by("token-1").await;
            let settings = [
                ("useAzureAD", "true"),
                ("tenantId", "tenant"),
                ("spnClientId", "client"),
                ("clientSecret", "s+cret&"),
                ("maxConns", "3"),
                ("password", "of no use"),
            ];
            let db = guarded.open(&settings).await.unwrap();
            assert_eq!(db.rows(WHO, "").await, guarded.is_in());
            let calls = (0..3).map(|_| db.rows(BUSY, ""));
            let mut connections = futures_util::future::join_all(calls).await;
            connections.sort();
            connections.dedup();
            assert_eq!(connections.len(), 3);

            let questions = entra.questions();
            assert_eq!(questions.len(), 1);
            let question = &questions[0];
            assert!(
                question.head.starts_with("POST /tenant/oauth2/v2.0/token "),
                "{question:?}"
            );
            for (name, value) in [
                ("grant_type", "client_credentials"),
                ("client_id", "client"),
                ("client_secret", "s+cret&"),
                (
                    "scope",
                    "https://ossrdbms-aad.database.windows.net/.default",
                ),
            ] {
                assert_eq!(question.get(name), Some(value), "{name}");
            }
        },
    );
}

/// A file that the platform of a workload keeps fresh.
const ASSERTION: &str = "AZURE_FEDERATED_TOKEN_FILE";

#[test]
fn a_workload_gets_another_token_before_the_last_one_ends() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let environment = [
        (AUTHORITY, &*free_url()),
        (ASSERTION, file.path().to_str().unwrap()),
        ("AZURE_TENANT_ID", "tenant"),
        ("AZURE_CLIENT_ID", "client"),
    ];
    alone_with(
        "a_workload_gets_another_token_before_the_last_one_ends",
        &environment,
        async || another_token(std::env::var(ASSERTION).unwrap().as_ref()).await,
    );
}

async fn another_token(file: &Path) {
    let seconds = |number| if number == 1 { 4 } else { 3600 };
    let entra = entra(move |number| token(&format!("token-{number}"), seconds(number))).await;
    let guarded = Guarded::by("token-1").await;
    std::fs::write(file, "signed-first\n").unwrap();
    let settings = [("useAzureAD", "true"), ("maxConns", "2")];
    let db = guarded.open(&settings).await.unwrap();
    let first = db.rows(BUSY, "").await;

    // Half of its life is over, and another connection is needed.
    Clock::system().sleep(Duration::from_secs(2)).await;
    std::fs::write(file, "signed-second\n").unwrap();
    guarded.let_in("token-2").await;
    assert_eq!(db.rows(WHO, "").await, guarded.is_in());
    assert_eq!(
        entra.questions().len(),
        1,
        "a connection that is open needs no token"
    );
    let (one, two) = tokio::join!(db.rows(BUSY, ""), db.rows(BUSY, ""));
    assert_ne!(one, two);
    assert!([one, two].contains(&first), "the one that is open goes on");
    let shown: Vec<_> = entra
        .questions()
        .iter()
        .map(|question| question.get("client_assertion").unwrap().to_owned())
        .collect();
    assert_eq!(shown, ["signed-first", "signed-second"]);
    assert_eq!(db.disconnects(), [""; 0]);
}

#[test]
fn a_machine_is_known_to_azure_and_asks_for_the_databases_of_its_cloud() {
    let test = "a_machine_is_known_to_azure_and_asks_for_the_databases_of_its_cloud";
    alone_with(test, &[(MACHINE, &free_url())], async || {
        let url = std::env::var(MACHINE).unwrap();
        let machine = Identity::start_at(&url, None, |_| token("token-1", 3600)).await;
        let guarded = Guarded::by("token-1").await;
        for (cloud, suffix) in [
            ("", "windows.net"),
            ("AzureChinaCloud", "chinacloudapi.cn"),
            ("azureUSGovernment", "usgovcloudapi.net"),
        ] {
            let settings = [
                ("useAzureAD", "true"),
                ("entraIDAuthMethods", "mi"),
                ("azureCloud", cloud),
            ];
            let db = guarded.open(&settings).await.unwrap();
            assert_eq!(db.rows(WHO, "").await, guarded.is_in());
            let question = machine.questions().pop().unwrap();
            let resource = format!("&resource=https%3A%2F%2Fossrdbms-aad.database.{suffix} ");
            assert!(question.head.contains(&resource), "{question:?}");
        }
    });
}

#[test]
fn connections_that_grow_old_are_replaced_with_the_token_that_is_valid() {
    alone(
        "connections_that_grow_old_are_replaced_with_the_token_that_is_valid",
        async || {
            let entra = entra(|number| token(&format!("token-{number}"), 3600)).await;
            let guarded = Guarded::by("token-1").await;
            let url = guarded.url.clone()
                + "?pool_min_conns=2&pool_max_conn_lifetime=300ms&pool_health_check_period=50ms";
            let _db = open(&url, &APPLICATION).await.unwrap();
            let (count, admin) = (guarded.connections("count(*)"), &guarded.admin);
            admin.until(&count, "[[2]]").await;
            let now = admin.rows("SELECT now()::text", "").await;
            let now = now.trim_matches(['[', ']', '"']);
            let younger = format!("{count} AND backend_start > timestamptz '{now}'");
            admin.until(&younger, "[[2]]").await;
            assert_eq!(entra.questions().len(), 1);
        },
    );
}

#[test]
fn without_another_token_the_connections_that_are_open_go_on() {
    alone(
        "without_another_token_the_connections_that_are_open_go_on",
        async || {
            let entra = entra(|number| match number {
                1 => token("token-1", 1),
                _ => refusal(),
            });
            let entra = entra.await;
            let guarded = Guarded::by("token-1").await;
            let settings = [&APPLICATION[..], &[("maxConns", "2")]].concat();
            let db = guarded.open(&settings).await.unwrap();
            // The token has ended.
            Clock::system().sleep(Duration::from_secs(1)).await;
            assert_eq!(db.rows(WHO, "").await, guarded.is_in());
            let says = format!(
                "unable to connect to the DB: no token from {}/tenant/oauth2/v2.0/token: 401 \
                 Unauthorized: invalid_client: the secret is wrong",
                entra.url()
            );
            let (open, new) = tokio::join!(db.call("query", BUSY, ""), db.call("query", BUSY, ""));
            open.unwrap();
            match new {
                Err(
                    error @ InvokeError::Rejected {
                        retry: Retry::MayHelp,
                        ..
                    },
                ) => assert_eq!(error.to_string(), says),
                other => panic!("{other:?}"),
            }
            let end = guarded.connections("pg_terminate_backend(pid)");
            guarded.admin.exec(&end).await;
            let left = guarded.connections("count(*)");
            guarded.admin.until(&left, "[[0]]").await;
            // Now there is none, and the runtime has to know.
            match db.call("query", WHO, "").await {
                Err(error @ InvokeError::Disconnected { sent: Sent::No, .. }) => {
                    assert_eq!(error.to_string(), says);
                }
                other => panic!("{other:?}"),
            }
        },
    );
}

#[test]
fn a_wrong_secret_is_a_refusal() {
    alone("a_wrong_secret_is_a_refusal", async || {
        let entra = entra(|_| refusal()).await;
        let guarded = Guarded::by("token-1").await;
        match guarded.open(&APPLICATION).await.err() {
            Some(error @ OpenError::Refused(_)) => {
                let error = error.to_string();
                let says = format!(
                    "unable to connect to the DB: no token from {}/tenant/oauth2/v2.0/token: 401 \
                     Unauthorized: invalid_client: the secret is wrong",
                    entra.url()
                );
                assert_eq!(error, says);
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(
            entra.questions()[0].get("client_secret"),
            Some("s+cret&"),
            "it was shown"
        );
    });
}

#[test]
fn a_token_that_the_database_does_not_take_is_a_refusal() {
    alone(
        "a_token_that_the_database_does_not_take_is_a_refusal",
        async || {
            let _entra = entra(|_| token("token-of-another", 3600)).await;
            let guarded = Guarded::by("token-1").await;
            match guarded.open(&APPLICATION).await.err() {
                Some(error @ OpenError::Refused(_)) => {
                    let error = error.to_string();
                    assert!(
                        error.contains("(SQLSTATE 28P01)") && !error.contains("token-of"),
                        "{error}"
                    );
                }
                other => panic!("{other:?}"),
            }
        },
    );
}

#[test]
fn an_entra_id_that_is_away_is_a_disconnect_and_found_when_it_is_back() {
    let test = "entra::an_entra_id_that_is_away_is_a_disconnect_and_found_when_it_is_back";
    if !is_alone(test) {
        let server = server();
        let environment = [(AUTHORITY, &*free_url()), (DATABASE, &server.url())];
        return run_alone(test, &environment);
    }
    on_a_stand(Limits::default(), async |stand| {
        let guarded = Guarded::by("token-1").await;
        let settings = [&[("url", &*guarded.url)], &APPLICATION[..]].concat();
        let settings = settings.into_iter().collect();
        stand.load("subject", &Registration::of::<Binding>(), &settings);
        let failed = || {
            let side = stand.side("subject", Role::Output)?;
            side.failure.is_some().then_some(side)
        };
        let side = stand.until("it to fail", failed).await;
        let error = side.last_error.unwrap_or_default();
        assert_eq!(side.failure, Some(FailureClass::Disconnected), "{error}");
        let says = format!(
            "unable to connect to the DB: no token from {}/tenant/",
            std::env::var(AUTHORITY).unwrap()
        );
        assert!(error.starts_with(&says), "{error}");
        let _entra = entra(|_| token("token-1", 3600)).await;
        stand.until_state("subject", Role::Output, "Running").await;
        let rows = stand.invoke("subject", "query", "", &[("sql", WHO)]).await;
        assert_eq!(rows.unwrap().unwrap().text(), guarded.is_in());
    });
}

#[test]
fn an_entra_id_that_says_nothing_is_told_apart_from_a_database_that_says_nothing() {
    alone(
        "an_entra_id_that_says_nothing_is_told_apart_from_a_database_that_says_nothing",
        async || {
            let url = std::env::var(AUTHORITY).unwrap();
            let silent = TcpListener::bind(url.trim_start_matches("http://")).await;
            let _silent = silent.unwrap();
            let settings = [&APPLICATION[..], &[("timeout", "1s")]].concat();
            match open("postgres://app@127.0.0.1:1/x", &settings).await.err() {
                Some(error @ OpenError::Disconnected(_)) => assert_eq!(
                    error.to_string(),
                    "unable to connect to the DB: the identity provider did not answer within the \
                     component's timeout"
                ),
                other => panic!("{other:?}"),
            }
        },
    );
}

#[tokio::test]
async fn what_can_never_work_is_said_without_the_network_and_names_its_setting() {
    let address = "postgres://u@127.0.0.1:1/x";
    for (url, setting, says) in [
        (
            "postgres://127.0.0.1:1/x",
            ("maxConns", "1"),
            "setting \"useAzureAD\": needs a user",
        ),
        (
            address,
            ("useAWSIAM", "true"),
            "setting \"useAzureAD\": cannot be used with useAWSIAM",
        ),
        (
            address,
            ("azureADAuthMethods", "none"),
            "setting \"azureAuthMethods\": all Azure auth methods have been disabled",
        ),
        (
            address,
            ("azureAuthMethods", "creds"),
            "setting \"azureAuthMethods\": no suitable token provider for Azure AD",
        ),
        (
            address,
            ("azureCloud", "Moon"),
            "setting \"azureEnvironment\": \"Moon\" is no cloud",
        ),
        (
            address,
            ("spnCertificate", "hunter2"),
            "setting \"azureCertificate\": is neither PEM nor PKCS#12 (PFX)",
        ),
    ] {
        match open(url, &[("useAzureAD", "true"), setting]).await.err() {
            Some(error @ OpenError::Invalid(_)) => {
                let error = error.to_string();
                assert!(
                    error.contains(says) && !error.contains("hunter2"),
                    "{setting:?}: {error}"
                );
            }
            other => panic!("{setting:?}: {other:?}"),
        }
    }
}
