//! Passwords from AWS IAM. No database here can check them: one that is curious tells what it got.
//! The environment says where AWS is, so these tests run in processes of their own.

use bindery_contract::OpenError;
use bindery_testkit::alone::{is_alone, run_alone};
use bindery_testkit::servers::Moto;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::database::Database;

const STS: &str = "AWS_ENDPOINT_URL_STS";

/// Where no keys are to be found: without files, and on no instance.
const NOWHERE: [(&str, &str); 8] = [
    ("HOME", "/nowhere"),
    ("AWS_EC2_METADATA_DISABLED", "true"),
    ("AWS_ACCESS_KEY_ID", ""),
    ("AWS_PROFILE", ""),
    ("AWS_WEB_IDENTITY_TOKEN_FILE", ""),
    ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", ""),
    ("AWS_CONTAINER_CREDENTIALS_FULL_URI", ""),
    ("AWS_ENDPOINT_URL", ""),
];

fn alone(test: &str, environment: &[(&str, &str)], body: impl AsyncFnOnce()) {
    let test = format!("aws::{test}");
    if !is_alone(&test) {
        return run_alone(&test, &[&NOWHERE, environment].concat());
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(body());
}

/// A server that asks for the password in the clear, tells it, and says no.
async fn curious() -> (std::net::SocketAddr, tokio::sync::oneshot::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, password) = tokio::sync::oneshot::channel();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let length = stream.read_u32().await.unwrap();
        let mut startup = vec![0; length as usize - 4];
        stream.read_exact(&mut startup).await.unwrap();
        stream.write_all(b"R\0\0\0\x08\0\0\0\x03").await.unwrap();
        assert_eq!(stream.read_u8().await.unwrap(), b'p');
        let length = stream.read_u32().await.unwrap();
        let mut password = vec![0; length as usize - 4];
        stream.read_exact(&mut password).await.unwrap();
        let fields = b"SFATAL\0VFATAL\0C28P01\0Mno\0\0";
        stream.write_u8(b'E').await.unwrap();
        stream
            .write_u32(4 + u32::try_from(fields.len()).unwrap())
            .await
            .unwrap();
        stream.write_all(fields).await.unwrap();
        let password = String::from_utf8(password).unwrap();
        tell.send(password.trim_end_matches('\0').to_owned())
            .unwrap();
    });
    (address, password)
}

/// The password that a connection is made with.
async fn password(settings: &[(&str, &str)]) -> (u16, String) {
    let (address, password) = curious().await;
    let port = address.port();
    let url = format!("postgres://dapr:unused@127.0.0.1:{port}/x?sslmode=disable");
    let always = [
        ("url", &*url),
        ("useAWSIAM", "true"),
        ("region", "eu-west-1"),
    ];
    match Database::open(&[&always, settings].concat()).await.err() {
        Some(error @ OpenError::Refused(_)) => {
            assert_eq!(
                error.to_string(),
                "unable to connect to the DB: FATAL: no (SQLSTATE 28P01)"
            );
        }
        other => panic!("{other:?}"),
    }
    (port, password.await.unwrap())
}

async fn failure(settings: &[(&str, &str)]) -> OpenError {
    let url = "postgres://dapr@127.0.0.1:1/x?sslmode=disable";
    let always = [("url", url), ("useAWSIAM", "true"), ("region", "eu-west-1")];
    match Database::open(&[&always, settings].concat()).await {
        Ok(_) => panic!("{settings:?}: it was opened"),
        Err(error) => error,
    }
}

#[tokio::test]
async fn keys_of_the_settings_make_the_password() {
    let (port, password) = password(&[
        ("awsAccessKey", "AKIDEXAMPLE"),
        ("awsSecretKey", "hunter2"),
        ("awsSessionToken", "a/b"),
    ])
    .await;
    let begins = format!(
        "127.0.0.1:{port}?Action=connect&DBUser=dapr&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIDEXAMPLE%2F"
    );
    assert!(password.starts_with(&begins), "{password}");
    for part in [
        "%2Feu-west-1%2Frds-db%2Faws4_request&",
        "&X-Amz-Security-Token=a%2Fb&",
        "&X-Amz-Signature=",
    ] {
        assert!(password.contains(part), "{password}");
    }
}

#[test]
fn keys_of_the_environment_make_the_password() {
    let keys = [
        ("AWS_ACCESS_KEY_ID", "AKIDPROCESS"),
        ("AWS_SECRET_ACCESS_KEY", "hunter2"),
    ];
    alone(
        "keys_of_the_environment_make_the_password",
        &keys,
        async || {
            let (_, password) = password(&[]).await;
            assert!(
                password.contains("&X-Amz-Credential=AKIDPROCESS%2F"),
                "{password}"
            );
            assert!(!password.contains("Security-Token"), "{password}");
        },
    );
}

#[test]
fn a_role_that_an_sts_gives_makes_the_password() {
    let test = "a_role_that_an_sts_gives_makes_the_password";
    // The process of its own is told where moto is, and does not start another.
    let moto = (!is_alone(&format!("aws::{test}"))).then(Moto::start);
    let url = moto.as_ref().map(Moto::url).unwrap_or_default();
    let (id, secret) = moto.as_ref().map_or(("", ""), Moto::key);
    let environment = [(STS, &*url), ("ID", id), ("SECRET", secret)];
    alone(test, &environment, async || {
        let [id, secret] = ["ID", "SECRET"].map(|name| std::env::var(name).unwrap());
        let role = |secret| {
            [
                ("accessKey", &*id),
                ("secretKey", secret),
                ("assumeRoleArn", Moto::ROLE),
            ]
        };
        let (_, password) = password(&role(&secret)).await;
        for part in ["&X-Amz-Credential=ASIA", "&X-Amz-Security-Token="] {
            assert!(password.contains(part), "{password}");
        }

        let error = failure(&role("hunter2")).await;
        assert!(matches!(error, OpenError::Refused(_)), "{error:?}");
        let error = error.to_string();
        let begins = format!(
            "unable to connect to the DB: useAWSIAM: assumeRoleArn {}: no keys from {}/: 403 \
             Forbidden: SignatureDoesNotMatch: ",
            Moto::ROLE,
            std::env::var(STS).unwrap()
        );
        assert!(
            error.starts_with(&begins) && !error.contains("hunter2"),
            "{error}"
        );
    });
}

#[test]
fn without_keys_there_is_no_password() {
    alone("without_keys_there_is_no_password", &[], async || {
        let error = failure(&[]).await;
        assert!(matches!(error, OpenError::Invalid(_)), "{error:?}");
        let says = "useAWSIAM: there are no AWS keys: set accessKey and secretKey, or give";
        assert!(error.to_string().contains(says), "{error}");
    });
}

#[test]
fn an_sts_that_is_away_is_no_wrong_setting() {
    let away = [(STS, "http://127.0.0.1:1")];
    alone(
        "an_sts_that_is_away_is_no_wrong_setting",
        &away,
        async || {
            let settings = [
                ("accessKey", "AKIDEXAMPLE"),
                ("secretKey", "hunter2"),
                ("assumeRoleArn", Moto::ROLE),
            ];
            let error = failure(&settings).await;
            assert!(matches!(error, OpenError::Disconnected(_)), "{error:?}");
            let says = "no keys from http://127.0.0.1:1/: ";
            assert!(error.to_string().contains(says), "{error}");
        },
    );
}
