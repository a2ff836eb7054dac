//! Encrypted connections.

mod common;

use std::sync::Arc;

use bindery_testkit::FailureClass;
use bindery_testkit::alone::{is_alone, run_alone};
use bindery_testkit::certs::{Authority, write};
use bindery_testkit::servers::{Redis, RedisCluster, RedisOptions};

use self::common::{call, must_fail, on_stand, with_binding};

const K: [(&str, &str); 1] = [("key", "k")];
/// Names the servers that a test finds when it runs in a process of its own.
const SERVER: &str = "BINDERY_TEST_REDIS_SERVER";

fn options(client_certificates: bool) -> RedisOptions {
    RedisOptions {
        tls: Some(Arc::new(Authority::new())),
        client_certificates,
        ..RedisOptions::default()
    }
}

/// Runs a test where the system trusts the authority.
fn run_trusting(authority: &Authority, test: &str, host: &str) {
    let folder = tempfile::tempdir().unwrap();
    let certificate = write(folder.path(), "authority.pem", &authority.certificate());
    let certificate = certificate.to_str().unwrap();
    run_alone(test, &[("SSL_CERT_FILE", certificate), (SERVER, host)]);
}

#[test]
fn a_server_whose_authority_the_system_trusts_is_trusted() {
    let test = "a_server_whose_authority_the_system_trusts_is_trusted";
    if !is_alone(test) {
        let options = options(false);
        let server = Redis::with(options.clone());
        let host = format!("localhost:{}", server.port());
        return run_trusting(&options.tls.unwrap(), test, &host);
    }
    let host = std::env::var(SERVER).unwrap();
    with_binding(
        &[("redisHost", &host), ("enableTLS", "true")],
        async |stand| {
            call(stand, "create", "1", &K).await.unwrap();
            assert_eq!(call(stand, "get", "", &K).await, Ok(Some("1".into())));
        },
    );
}

#[test]
fn a_cluster_whose_authority_the_system_trusts_is_trusted() {
    let test = "a_cluster_whose_authority_the_system_trusts_is_trusted";
    if !is_alone(test) {
        let options = options(false);
        let cluster = RedisCluster::with(&options);
        return run_trusting(&options.tls.unwrap(), test, &cluster.addresses());
    }
    let hosts = std::env::var(SERVER).unwrap();
    let settings = [
        ("redisHost", hosts.as_str()),
        ("redisType", "cluster"),
        ("enableTLS", "1"),
    ];
    with_binding(&settings, async |stand| {
        for key in ["a", "b", "c", "d", "e", "f"] {
            call(stand, "create", key, &[("key", key)]).await.unwrap();
            let read = call(stand, "get", "", &[("key", key)]).await;
            assert_eq!(read, Ok(Some(key.into())));
        }
    });
}

#[test]
fn a_server_that_nobody_vouches_for_is_refused_unless_told_otherwise() {
    on_stand(async |stand| {
        let server = Redis::with(options(false));
        let host = server.address();
        let settings = [("redisHost", host.as_str()), ("enableTLS", "true")];
        must_fail(
            stand,
            &settings,
            FailureClass::Refused,
            "invalid peer certificate",
        )
        .await;
    });
    let server = Redis::with(options(false));
    let host = server.address();
    let settings = [
        ("redisHost", host.as_str()),
        ("enableTLS", "true"),
        ("insecureSkipTLSVerify", "true"),
    ];
    with_binding(&settings, async |stand| {
        assert_eq!(call(stand, "create", "1", &K).await, Ok(None));
    });
}

#[test]
fn a_client_certificate_is_shown_where_the_server_wants_one() {
    let options = options(true);
    let server = Redis::with(options.clone());
    let client = options.tls.unwrap().sign("client");
    let host = server.address();
    let settings = [
        ("redisHost", host.as_str()),
        ("enableTLS", "true"),
        ("insecureSkipTLSVerify", "true"),
        ("clientCert", client.certificate.as_str()),
        ("clientKey", client.key.as_str()),
    ];
    with_binding(&settings, async |stand| {
        assert_eq!(call(stand, "create", "1", &K).await, Ok(None));
    });
    let without = host.clone();
    on_stand(async move |stand| {
        let settings = [
            ("redisHost", without.as_str()),
            ("enableTLS", "true"),
            ("insecureSkipTLSVerify", "true"),
        ];
        must_fail(
            stand,
            &settings,
            FailureClass::Refused,
            "CertificateRequired",
        )
        .await;
    });
    let stranger = Authority::new().sign("client");
    on_stand(async move |stand| {
        let settings = [
            ("redisHost", host.as_str()),
            ("enableTLS", "true"),
            ("insecureSkipTLSVerify", "true"),
            ("clientCert", stranger.certificate.as_str()),
            ("clientKey", stranger.key.as_str()),
        ];
        must_fail(stand, &settings, FailureClass::Refused, "fatal alert").await;
    });
}

#[test]
fn the_nodes_of_a_cluster_are_shown_the_client_certificate_too() {
    let options = options(true);
    let cluster = RedisCluster::with(&options);
    let client = options.tls.unwrap().sign("client");
    let hosts = cluster.addresses();
    let settings = [
        ("redisHost", hosts.as_str()),
        ("redisType", "cluster"),
        ("enableTLS", "true"),
        ("insecureSkipTLSVerify", "true"),
        ("clientCert", client.certificate.as_str()),
        ("clientKey", client.key.as_str()),
    ];
    with_binding(&settings, async |stand| {
        for key in ["a", "b", "c"] {
            assert_eq!(call(stand, "create", "1", &[("key", key)]).await, Ok(None));
        }
    });
}

#[test]
fn certificates_and_keys_that_are_none_are_invalid() {
    let pair = Authority::new().sign("client");
    let other = Authority::new().sign("client");
    for (certificate, key, says) in [
        (
            "rubbish",
            pair.key.as_str(),
            "setting \"clientCert\": the client certificate",
        ),
        (
            &pair.certificate,
            "rubbish",
            "setting \"clientKey\": the client key",
        ),
        (
            &pair.certificate,
            &other.key,
            "setting \"clientKey\": the client key",
        ),
    ] {
        let (certificate, key) = (certificate.to_owned(), key.to_owned());
        on_stand(async move |stand| {
            let settings = [
                ("redisHost", "localhost"),
                ("enableTLS", "true"),
                ("clientCert", &certificate),
                ("clientKey", &key),
            ];
            must_fail(stand, &settings, FailureClass::Invalid, says).await;
        });
    }
}

#[test]
fn a_server_that_does_not_encrypt_is_not_talked_to() {
    on_stand(async |stand| {
        let server = Redis::start();
        let host = server.address();
        let settings = [
            ("redisHost", host.as_str()),
            ("enableTLS", "true"),
            ("dialTimeout", "300ms"),
        ];
        let says = "no connection within 300ms";
        must_fail(stand, &settings, FailureClass::Disconnected, says).await;
    });
}
