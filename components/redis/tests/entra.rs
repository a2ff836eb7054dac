//! Tokens of Microsoft Entra ID as passwords. What is not in the settings is in the environment,
//! so these tests run in processes of their own, each with an endpoint that stands for Entra ID.

mod common;

use std::io::Write;

use bindery_contract::Registration;
use bindery_contract::settings::Field;
use bindery_redis::Redis;
use bindery_testkit::FailureClass;
use bindery_testkit::alone::{is_alone, run_alone};
use bindery_testkit::identity::{Identity, Question, entra_token, token};
use bindery_testkit::stand::Stand;

use self::common::client_key::ClientKey;
use self::common::fake::Fake;
use self::common::{call, must_fail, on_stand, open, restarts};

/// The variables that say where Entra ID is.
const AUTHORITY: &str = "AZURE_AUTHORITY_HOST";
const MACHINE: &str = "AZURE_POD_IDENTITY_AUTHORITY_HOST";
const SERVICE: &str = "IDENTITY_ENDPOINT";
/// The object id of whoever asks.
const OID: &str = "0a1b2c3d-0000-4000-8000-000000000000";

fn free_url() -> String {
    format!("http://127.0.0.1:{}", bindery_testkit::ports::free())
}

async fn entra_at(variable: &str, seconds: u32) -> Identity {
    let url = std::env::var(variable).unwrap();
    let reply = move |number| token(&entra_token(OID, number), seconds);
    Identity::start_at(&url, None, reply).await
}

/// Opens the binding and calls it, and returns what was asked at Entra ID.
async fn question(stand: &Stand, entra: &Identity, settings: &[(&str, &str)]) -> Question {
    let fake = Fake::start([]).await;
    let host = fake.address();
    let settings = [
        &[("redisHost", host.as_str()), ("useEntraID", "true")],
        settings,
    ]
    .concat();
    open(stand, &settings).await;
    call(stand, "increment", "", &[("key", "k")]).await.unwrap();
    let login = format!("AUTH {OID} {}", entra_token(OID, 1));
    assert!(fake.seen().contains(&login), "{:?}", fake.seen());
    let questions = entra.questions();
    assert_eq!(questions.len(), 1);
    questions[0].clone()
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

const APPLICATION: [(&str, &str); 2] = [("azureTenantId", "tenant"), ("azureClientId", "client")];

#[test]
fn an_application_shows_its_secret() {
    let test = "an_application_shows_its_secret";
    if !is_alone(test) {
        return run_alone(test, &[(AUTHORITY, &free_url())]);
    }
    on_stand(async |stand| {
        let entra = entra_at(AUTHORITY, 3600).await;
        let settings = [&APPLICATION[..], &[("azureClientSecret", "s+cret&")]].concat();
        let question = question(stand, &entra, &settings).await;
        assert!(
            question.head.starts_with("POST /tenant/oauth2/v2.0/token "),
            "{question:?}"
        );
        for (name, value) in [
            ("grant_type", "client_credentials"),
            ("client_id", "client"),
            ("client_secret", "s+cret&"),
            ("scope", "https://redis.azure.com/.default"),
        ] {
            assert_eq!(question.get(name), Some(value), "{name}");
        }
    });
}

#[test]
fn an_application_signs_with_its_certificate() {
    let test = "an_application_signs_with_its_certificate";
    if !is_alone(test) {
        return run_alone(test, &[(AUTHORITY, &free_url())]);
    }
    on_stand(async |stand| {
        let key = ClientKey::new();
        let pem = key.certificate.clone() + key.key;
        signs(stand, &key, ("azureCertificate", &pem)).await;
    });
}

#[test]
fn an_application_signs_with_its_certificate_from_a_file() {
    let test = "an_application_signs_with_its_certificate_from_a_file";
    if !is_alone(test) {
        return run_alone(test, &[(AUTHORITY, &free_url())]);
    }
    on_stand(async |stand| {
        let key = ClientKey::new();
        let file = file(&(key.key.to_owned() + &key.certificate));
        signs(
            stand,
            &key,
            ("azureCertificateFile", file.path().to_str().unwrap()),
        )
        .await;
    });
}

async fn signs(stand: &Stand, key: &ClientKey, setting: (&str, &str)) {
    let entra = entra_at(AUTHORITY, 3600).await;
    let settings = [&APPLICATION[..], &[setting]].concat();
    let question = question(stand, &entra, &settings).await;
    assert_eq!(
        question.get("client_assertion_type"),
        Some("urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
    );
    let (header, claims) = key.verify(question.get("client_assertion").unwrap());
    assert_eq!(header["alg"], "PS256");
    assert_eq!(header["x5t#S256"], key.thumbprint());
    assert_eq!(claims["iss"], "client");
    assert_eq!(
        claims["aud"],
        format!("{}/tenant/oauth2/v2.0/token", entra.url())
    );
}

#[test]
fn a_workload_shows_what_its_platform_signed() {
    let test = "a_workload_shows_what_its_platform_signed";
    if !is_alone(test) {
        let file = file("signed-by-the-platform\n");
        let environment = [
            (AUTHORITY, &*(free_url() + "/")),
            ("AZURE_FEDERATED_TOKEN_FILE", file.path().to_str().unwrap()),
            ("AZURE_TENANT_ID", "tenant"),
            ("AZURE_CLIENT_ID", "client"),
        ];
        return run_alone(test, &environment);
    }
    on_stand(async |stand| {
        let entra = entra_at(AUTHORITY, 3600).await;
        let question = question(stand, &entra, &[]).await;
        assert!(
            question.head.starts_with("POST /tenant/oauth2/v2.0/token "),
            "{question:?}"
        );
        assert_eq!(question.get("client_id"), Some("client"));
        assert_eq!(
            question.get("client_assertion"),
            Some("signed-by-the-platform")
        );
        assert!(question.get("client_assertion_type").is_some());
    });
}

#[test]
fn a_machine_is_known_to_azure() {
    let test = "a_machine_is_known_to_azure";
    if !is_alone(test) {
        return run_alone(test, &[(MACHINE, &free_url())]);
    }
    on_stand(async |stand| {
        let entra = entra_at(MACHINE, 3600).await;
        let settings = [("azureClientId", "mine"), ("azureAuthMethods", "mi")];
        let question = question(stand, &entra, &settings).await;
        let line = "GET /metadata/identity/oauth2/token?api-version=2018-02-01&\
                    resource=https%3A%2F%2Fredis.azure.com&client_id=mine ";
        assert!(question.head.starts_with(line), "{question:?}");
        assert!(question.head.contains("metadata: true\r\n"), "{question:?}");
    });
}

#[test]
fn an_app_service_says_where_to_ask() {
    let test = "an_app_service_says_where_to_ask";
    if !is_alone(test) {
        let url = free_url() + "/msi/token";
        return run_alone(test, &[(SERVICE, &url), ("IDENTITY_HEADER", "only-here")]);
    }
    on_stand(async |stand| {
        let entra = entra_at(SERVICE, 3600).await;
        let question = question(stand, &entra, &[("azureAuthMethods", "mi")]).await;
        let line = "GET /msi/token?api-version=2019-08-01&resource=https%3A%2F%2Fredis.azure.com ";
        assert!(question.head.starts_with(line), "{question:?}");
        assert!(
            question.head.contains("x-identity-header: only-here\r\n"),
            "{question:?}"
        );
    });
}

#[test]
fn a_token_is_replaced_before_it_ends() {
    let test = "a_token_is_replaced_before_it_ends";
    if !is_alone(test) {
        return run_alone(test, &[(AUTHORITY, &free_url())]);
    }
    on_stand(async |stand| {
        let entra = entra_at(AUTHORITY, 2).await;
        let settings = [&APPLICATION[..], &[("azureClientSecret", "s")]].concat();
        let fake = Fake::start([]).await;
        let host = fake.address();
        open(
            stand,
            &[
                &[("redisHost", &*host), ("useEntraID", "true")],
                &settings[..],
            ]
            .concat(),
        )
        .await;
        call(stand, "increment", "", &[("key", "k")]).await.unwrap();
        let next = format!("AUTH {OID} {}", entra_token(OID, 2));
        stand
            .until("the next token", || {
                fake.seen().contains(&next).then_some(())
            })
            .await;
        assert_eq!(restarts(stand), 0);
        assert!(entra.questions().len() >= 2);
    });
}

#[test]
fn a_token_that_names_nobody_is_a_refusal() {
    let test = "a_token_that_names_nobody_is_a_refusal";
    if !is_alone(test) {
        return run_alone(test, &[(AUTHORITY, &free_url())]);
    }
    on_stand(async |stand| {
        let url = std::env::var(AUTHORITY).unwrap();
        let _entra = Identity::start_at(&url, None, |_| token("opaque", 60)).await;
        let settings = [
            ("redisHost", "h"),
            ("useEntraID", "true"),
            ("azureTenantId", "tenant"),
            ("azureClientId", "client"),
            ("azureClientSecret", "s"),
        ];
        must_fail(
            stand,
            &settings,
            FailureClass::Refused,
            "names no object id",
        )
        .await;
    });
}

#[test]
fn the_settings_of_entra_id_have_no_other_names_here() {
    let row = Registration::of::<Redis>();
    let names = |field: &Field| field.name.starts_with("azure") && field.aliases.is_empty();
    assert_eq!(
        (row.settings)().iter().filter(|field| names(field)).count(),
        8
    );
    let settings = [
        ("redisHost", "h"),
        ("spnTenantId", "t"),
        ("azureTenantID", "t"),
    ];
    let remarks = row.remarks(&settings.into_iter().collect());
    let unknown: Vec<_> = remarks.iter().map(|remark| remark.key.as_str()).collect();
    assert_eq!(unknown, ["spnTenantId"]);
}

#[test]
fn what_does_not_go_together_is_invalid() {
    for (settings, says) in [
        (
            [("useEntraID", "true"), ("redisPassword", "p")],
            "setting \"redisPassword\": cannot be used",
        ),
        (
            [("useEntraID", "true"), ("useOIDC", "true")],
            "setting \"useOIDC\": cannot be used",
        ),
        (
            [("useEntraID", "true"), ("azureAuthMethods", "none")],
            "have been disabled",
        ),
    ] {
        on_stand(async move |stand| {
            let settings = [&[("redisHost", "h")], &settings[..]].concat();
            must_fail(stand, &settings, FailureClass::Invalid, says).await;
        });
    }
}
