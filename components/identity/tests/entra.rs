//! What becomes of the ways to a token of Entra ID. What is asked on each way is tested where the
//! tokens are shown.

mod common;

use std::time::SystemTime;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bindery_contract::settings::Secret;
use bindery_contract::{Clock, OpenError};
use bindery_identity::{Token, object_id};
use bindery_testkit::identity::{Reply, entra_token, token};
use tokio::net::TcpListener;

use self::common::{AUTHORITY, MACHINE, alone, alone_with, provider};

const APPLICATION: [(&str, &str); 3] = [
    ("azureTenantId", "tenant"),
    ("azureClientId", "client"),
    ("azureClientSecret", "secret"),
];

async fn ask(methods: &str) -> Result<Token, OpenError> {
    let methods = [("azureAuthMethods", methods)];
    common::ask(&[&APPLICATION[..], &methods].concat()).await
}

fn refusal() -> Reply {
    (401, r#"{"error":"invalid_client"}"#.into())
}

#[test]
fn a_machine_that_is_no_azure_machine_leaves_it_to_the_next_way() {
    alone(
        "a_machine_that_is_no_azure_machine_leaves_it_to_the_next_way",
        async || {
            let _authority = provider(AUTHORITY, token("of-the-application", 60)).await;
            let given = ask("mi,creds").await.unwrap();
            assert_eq!(given.pass.expose(), "of-the-application");
        },
    );
}

#[test]
fn the_first_way_that_gives_a_token_is_the_last_that_is_gone() {
    alone(
        "the_first_way_that_gives_a_token_is_the_last_that_is_gone",
        async || {
            let machine = provider(MACHINE, token("of-the-machine", 60)).await;
            let authority = provider(AUTHORITY, token("of-the-application", 60)).await;
            let given = ask("mi,creds").await.unwrap();
            assert_eq!(given.pass.expose(), "of-the-machine");
            // One asks whether it is there, and then for the token.
            assert_eq!(
                (machine.questions().len(), authority.questions().len()),
                (2, 0)
            );
            let given = ask("").await.unwrap();
            assert_eq!(given.pass.expose(), "of-the-application");
            assert_eq!(
                (machine.questions().len(), authority.questions().len()),
                (2, 1)
            );
        },
    );
}

#[test]
fn an_application_that_is_refused_does_not_become_somebody_else() {
    alone(
        "an_application_that_is_refused_does_not_become_somebody_else",
        async || {
            let machine = provider(MACHINE, token("of-the-machine", 60)).await;
            let authority = provider(AUTHORITY, refusal()).await;
            let error = ask("").await.unwrap_err();
            assert!(matches!(error, OpenError::Refused(_)), "{error:?}");
            let says = format!(
                "no token from {}/tenant/oauth2/v2.0/token: 401 Unauthorized: invalid_client",
                authority.url()
            );
            assert_eq!(error.to_string(), says);
            assert_eq!(machine.questions().len(), 0);
        },
    );
}

#[test]
fn when_no_way_leads_to_a_token_all_are_told() {
    alone("when_no_way_leads_to_a_token_all_are_told", async || {
        let both = |error: &OpenError| {
            let error = error.to_string();
            assert!(
                error.starts_with(
                    "no suitable token provider for Azure AD; errors: no token from http://"
                ) && error.contains("/metadata/identity/oauth2/token: ")
                    && error.contains("; no token from http://")
                    && error.contains("/tenant/oauth2/v2.0/token: "),
                "{error}"
            );
        };
        let error = ask("mi,creds").await.unwrap_err();
        assert!(matches!(error, OpenError::Disconnected(_)), "{error:?}");
        both(&error);
        let _authority = provider(AUTHORITY, refusal()).await;
        let error = ask("mi,creds").await.unwrap_err();
        assert!(matches!(error, OpenError::Refused(_)), "{error:?}");
        both(&error);
        // A workload identity has nothing in this environment.
        let error = ask("wi").await.unwrap_err();
        assert!(matches!(error, OpenError::Invalid(_)), "{error:?}");
        assert_eq!(
            error.to_string(),
            "no suitable token provider for Azure AD; errors: workloadidentity needs \
             AZURE_FEDERATED_TOKEN_FILE, which is not set"
        );
    });
}

#[test]
fn a_way_that_lacks_a_setting_or_a_variable_says_which() {
    let test = "a_way_that_lacks_a_setting_or_a_variable_says_which";
    let variables = [
        ("AZURE_FEDERATED_TOKEN_FILE", "/nowhere"),
        ("PATH", "/nowhere"),
    ];
    alone_with(test, &variables, async || {
        let error = common::ask(&[]).await.unwrap_err();
        assert!(matches!(error, OpenError::Disconnected(_)), "{error:?}");
        let error = error.to_string();
        let mut rest = &*error;
        for next in [
            "no suitable token provider for Azure AD; errors: clientcredentials needs azureTenantId",
            "; clientcertificate needs azureTenantId",
            "; workloadidentity needs azureTenantId or AZURE_TENANT_ID, which is not set",
            "; spiffeworkloadidentity needs a SPIFFE identity",
            "; no token from http://",
            "; no token from az: there is no such program on the PATH",
        ] {
            let found = rest.find(next);
            rest = &rest[found.unwrap_or_else(|| panic!("{next}: {error}"))..];
        }
        let error = common::ask(&[("azureTenantId", "t")]).await.unwrap_err();
        let says = "; workloadidentity needs azureClientId or AZURE_CLIENT_ID, which is not set";
        assert!(error.to_string().contains(says), "{error}");
        let settings = [("azureTenantId", "t"), ("azureClientId", "c")];
        let error = common::ask(&settings).await.unwrap_err().to_string();
        assert!(error.starts_with("/nowhere cannot be read: "), "{error}");
    });
}

#[test]
fn a_machine_that_says_nothing_leaves_it_to_the_next_way() {
    let test = "a_machine_that_says_nothing_leaves_it_to_the_next_way";
    alone(test, async || {
        let url = std::env::var(MACHINE).unwrap();
        let silent = TcpListener::bind(url.trim_start_matches("http://")).await;
        let _silent = silent.unwrap();
        let _authority = provider(AUTHORITY, token("of-the-application", 60)).await;
        let given = ask("mi,creds").await.unwrap();
        assert_eq!(given.pass.expose(), "of-the-application");
    });
}

#[test]
fn a_token_says_itself_when_it_ends_if_nobody_else_does() {
    alone(
        "a_token_says_itself_when_it_ends_if_nobody_else_does",
        async || {
            let now = Clock::system().wall();
            let ends = now
                .duration_since(SystemTime::UNIX_EPOCH)
                .unwrap()
                .as_secs()
                + 900;
            let claims = format!(r#"{{"exp":{ends},"oid":"me"}}"#);
            let given = format!("e30.{}.unsigned", BASE64_URL_SAFE_NO_PAD.encode(claims));
            let reply = (200, format!(r#"{{"access_token":"{given}"}}"#));
            let _authority = provider(AUTHORITY, reply).await;
            let token = ask("creds").await.unwrap();
            let left = token.lifetime.as_secs();
            assert!((880..=900).contains(&left), "{left}");
            assert_eq!(object_id(&token.pass).as_deref(), Some("me"));
        },
    );
}

#[test]
fn who_a_token_is_about_is_read_from_it() {
    let read = |token: &str| object_id(&Secret::new(token));
    assert_eq!(read(&entra_token("me", 1)).as_deref(), Some("me"));
    for nobody in ["", "opaque", "a.!.c", "a.e30.c", &entra_token("", 1)] {
        assert_eq!(read(nobody), None, "{nobody}");
    }
}
