//! The ways to be let in, each against a broker that asks for it.

mod support;

use bindery_contract::Role;
use bindery_kafka::Kafka;
use bindery_testkit::FailureClass;
use bindery_testkit::certs::Authority;
use bindery_testkit::conformance::{Emitted, NAME, Suite};
use bindery_testkit::servers::{Kafka as Broker, KafkaSecurity};
use rdkafka::producer::FutureRecord;
use support::Client;

const NATIVE_TLS: &str = "enable.ssl.certificate.verification";

/// What the binding is given in all suites of this file.
const BASE: [(&str, &str); 4] = [
    ("topics", "in"),
    ("publishTopic", "out"),
    ("consumerGroup", "g"),
    ("initialOffset", "oldest"),
];

/// A suite that reads and writes; `native` lets the tests' own client in.
fn suite(settings: &[(&str, &str)], brokers: &str, native: &[(&str, &str)]) -> Suite {
    let client = std::sync::Arc::new(Client::with(brokers, native));
    Suite::of::<Kafka>(settings)
        .output(|stand| {
            Box::pin(async move {
                let answer = stand.invoke(NAME, "create", "1", &[]).await;
                assert_eq!(answer.unwrap(), None);
            })
        })
        .input(move |number| {
            let client = client.clone();
            async move {
                let value = number.to_string();
                client
                    .write(FutureRecord::to("in").payload(value.as_bytes()))
                    .await;
                Emitted {
                    data: value.into_bytes(),
                    metadata: Vec::new(),
                }
            }
        })
}

/// Both sides are refused with these settings.
fn refused(suite: Suite, what: &str, settings: &[(&str, &str)], says: &str) -> Suite {
    [Role::Input, Role::Output]
        .into_iter()
        .fold(suite, |suite, role| {
            suite.fails(
                &format!("{what}: {role}"),
                role,
                settings,
                FailureClass::Refused,
                says,
            )
        })
}

fn with<'a>(
    settings: &[(&'a str, &'a str)],
    more: &[(&'a str, &'a str)],
) -> Vec<(&'a str, &'a str)> {
    let kept = settings
        .iter()
        .filter(|(key, _)| !more.iter().any(|(other, _)| other == key));
    kept.chain(more).copied().collect()
}

#[test]
fn a_plain_password() {
    let broker = Broker::with(KafkaSecurity::SaslPlain, None);
    let brokers = broker.brokers();
    let settings = with(
        &BASE,
        &[
            ("brokers", &brokers),
            ("authType", "password"),
            ("saslUsername", "tester"),
            ("saslPassword", "secret"),
            ("disableTls", "true"),
        ],
    );
    let native = [
        ("security.protocol", "sasl_plaintext"),
        ("sasl.mechanism", "PLAIN"),
        ("sasl.username", "tester"),
        ("sasl.password", "secret"),
    ];
    let suite = suite(&settings, &brokers, &native);
    let wrong = with(&settings, &[("saslPassword", "hunter2")]);
    let suite = refused(
        suite,
        "wrong password",
        &wrong,
        "Invalid username or password",
    );
    let wrong = with(&settings, &[("saslMechanism", "SHA-512")]);
    let suite = refused(
        suite,
        "wrong mechanism",
        &wrong,
        "Unsupported SASL mechanism",
    );
    let none = with(&settings, &[("authType", "none")]);
    suite
        .fails(
            "no password",
            Role::Input,
            &none,
            FailureClass::Disconnected,
            "check brokers, authType",
        )
        .run();
}

#[test]
fn a_password_that_is_not_shown() {
    let broker = Broker::with(KafkaSecurity::SaslScram, None);
    let brokers = broker.brokers();
    let settings = with(
        &BASE,
        &[
            ("brokers", &brokers),
            ("authType", "password"),
            ("saslUsername", "tester"),
            ("saslPassword", "secret"),
            ("saslMechanism", "SHA-512"),
            ("disableTls", "true"),
        ],
    );
    let native = [
        ("security.protocol", "sasl_plaintext"),
        ("sasl.mechanism", "SCRAM-SHA-256"),
        ("sasl.username", "tester"),
        ("sasl.password", "secret"),
    ];
    let wrong = with(&settings, &[("saslPassword", "hunter2")]);
    let says = "invalid credentials with SASL mechanism SCRAM-SHA-512";
    refused(
        suite(&settings, &brokers, &native),
        "wrong password",
        &wrong,
        says,
    )
    .run();
    // The group has read what the first suite sent; this is another one.
    let settings = with(
        &settings,
        &[("saslMechanism", "SHA-256"), ("consumerGroup", "h")],
    );
    let wrong = with(&settings, &[("saslPassword", "hunter2")]);
    let says = "invalid credentials with SASL mechanism SCRAM-SHA-256";
    let suite = Suite::of::<Kafka>(&settings).output(|stand| {
        Box::pin(async move {
            let answer = stand.invoke(NAME, "create", "1", &[]).await;
            assert_eq!(answer.unwrap(), None);
        })
    });
    refused(suite, "wrong password", &wrong, says).run();
}

#[test]
fn a_client_certificate() {
    let authority = Authority::new();
    let broker = Broker::with(KafkaSecurity::Mtls, Some(&authority));
    let (brokers, ca) = (broker.brokers(), authority.certificate());
    let (ours, stranger) = (authority.sign("tester"), Authority::new());
    let theirs = stranger.sign("tester");
    let settings = with(
        &BASE,
        &[
            ("brokers", &brokers),
            ("authType", "mtls"),
            ("caCert", &ca),
            ("clientCert", &ours.certificate),
            ("clientKey", &ours.key),
        ],
    );
    let native = [
        ("security.protocol", "ssl"),
        ("ssl.ca.pem", &ca),
        ("ssl.certificate.pem", &ours.certificate),
        ("ssl.key.pem", &ours.key),
    ];
    let suite = suite(&settings, &brokers, &native);
    let none = with(&settings, &[("authType", "certificate")]);
    let suite = refused(
        suite,
        "no certificate",
        &none,
        "check clientCert and clientKey",
    );
    let other = [
        ("clientCert", theirs.certificate.as_str()),
        ("clientKey", &theirs.key),
    ];
    let other = with(&settings, &other);
    let suite = refused(
        suite,
        "a stranger's certificate",
        &other,
        "check clientCert and clientKey",
    );
    let stranger = stranger.certificate();
    let unknown = with(&settings, &[("caCert", &stranger)]);
    let suite = refused(suite, "an unknown authority", &unknown, "check caCert");
    let mixed = with(&settings, &[("clientKey", &theirs.key)]);
    suite
        .fails(
            "a key of another certificate",
            Role::Input,
            &mixed,
            FailureClass::Invalid,
            "clientKey",
        )
        .run();
}

#[test]
fn a_password_over_tls_which_is_the_default() {
    let authority = Authority::new();
    let broker = Broker::with(KafkaSecurity::SaslTls, Some(&authority));
    let (brokers, ca) = (broker.brokers(), authority.certificate());
    let settings = with(
        &BASE,
        &[
            ("brokers", &brokers),
            ("authType", "password"),
            ("saslUsername", "tester"),
            ("saslPassword", "secret"),
            ("skipVerify", "true"),
        ],
    );
    let native = [
        ("security.protocol", "sasl_ssl"),
        (NATIVE_TLS, "false"),
        ("sasl.mechanism", "PLAIN"),
        ("sasl.username", "tester"),
        ("sasl.password", "secret"),
    ];
    let suite = suite(&settings, &brokers, &native);
    let unverified = with(&settings, &[("skipVerify", "false")]);
    let suite = refused(
        suite,
        "the system's authorities",
        &unverified,
        "check caCert",
    );
    let wrong = with(
        &settings,
        &[
            ("skipVerify", "false"),
            ("caCert", &ca),
            ("saslPassword", "x"),
        ],
    );
    let suite = refused(
        suite,
        "wrong password",
        &wrong,
        "Invalid username or password",
    );
    let plain = with(&settings, &[("disableTls", "true")]);
    suite
        .fails(
            "no TLS",
            Role::Output,
            &plain,
            FailureClass::Disconnected,
            "disableTls",
        )
        .run();
}
