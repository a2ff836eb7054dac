//! Tokens of an identity provider as passwords.

mod common;

use std::time::{Duration, UNIX_EPOCH};

use bindery_contract::Role;
use bindery_testkit::FailureClass;
use bindery_testkit::certs::Authority;
use bindery_testkit::identity::{Identity, token};
use bindery_testkit::servers::Redis;

use self::common::client_key::ClientKey;
use self::common::fake::Fake;
use self::common::{NAME, call, client, must_fail, on_stand, open, restarts};

const K: [(&str, &str); 1] = [("key", "k")];

type Settings<'a> = Vec<(&'a str, &'a str)>;

fn settings<'a>(host: &'a str, url: &'a str, key: &'a ClientKey) -> Settings<'a> {
    vec![
        ("redisHost", host),
        ("useOIDC", "true"),
        ("oidcTokenEndpoint", url),
        ("oidcClientID", "bindery-test"),
        ("oidcClientAssertionCert", &key.certificate),
        ("oidcClientAssertionKey", key.key),
    ]
}

#[test]
fn a_token_is_asked_for_with_a_signature_and_is_the_users_password() {
    on_stand(async |stand| {
        let server = Redis::start();
        server.cli(&["ACL", "SETUSER", "app", "on", ">token-1", "~*", "+@all"]);
        let (key, authority) = (ClientKey::new(), Authority::new());
        let identity = Identity::start(Some(&authority), |_| token("token-1", 3600)).await;
        let (host, url) = (server.address(), identity.url() + "/oauth2/token");
        let trusted = authority.certificate();
        let mut settings = settings(&host, &url, &key);
        settings.extend([
            ("redisUsername", "app"),
            ("oidcScopes", "redis, other ,"),
            ("oidcResource", "urn:redis"),
            ("oidcKid", "key-7"),
            ("oidcCACert", &trusted),
        ]);
        open(stand, &settings).await;
        assert_eq!(call(stand, "create", "1", &K).await, Ok(None));

        let questions = identity.questions();
        assert_eq!(
            questions.len(),
            1,
            "one token is enough for all connections"
        );
        let question = &questions[0];
        assert!(
            question.head.starts_with("POST /oauth2/token HTTP/1.1"),
            "{question:?}"
        );
        for (name, value) in [
            ("grant_type", Some("client_credentials")),
            ("client_id", Some("bindery-test")),
            (
                "client_assertion_type",
                Some("urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
            ),
            ("scope", Some("redis other")),
            ("resource", Some("urn:redis")),
            ("audience", None),
        ] {
            assert_eq!(question.get(name), value, "{name}");
        }
        let (header, claims) = key.verify(question.get("client_assertion").unwrap());
        assert_eq!(
            header,
            serde_json::json!({ "alg": "RS256", "typ": "JWT", "kid": "key-7" })
        );
        for (claim, value) in [
            ("iss", "bindery-test"),
            ("sub", "bindery-test"),
            ("aud", &url),
        ] {
            assert_eq!(claims[claim], value);
        }
        let now = stand
            .clock()
            .wall()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_secs();
        let issued = claims["iat"].as_u64().unwrap();
        assert!(issued <= now && now - issued < 30);
        assert_eq!(claims["nbf"], claims["iat"]);
        assert_eq!(claims["exp"], issued + 60);
        assert!(claims["jti"].as_str().unwrap().len() > 30);
    });
}

#[test]
fn without_a_user_the_password_stands_alone() {
    on_stand(async |stand| {
        let (fake, key) = (Fake::start([]).await, ClientKey::new());
        let identity = Identity::start(None, |_| token("token-1", 3600)).await;
        let (host, url) = (fake.address(), identity.url());
        let mut settings = settings(&host, &url, &key);
        settings.push(("oidcAudience", "https://redis.example.com"));
        open(stand, &settings).await;
        call(stand, "increment", "", &K).await.unwrap();
        let logins: Vec<_> = fake
            .seen()
            .into_iter()
            .filter(|line| line.starts_with("AUTH"))
            .collect();
        assert_eq!(
            logins,
            ["AUTH token-1", "AUTH token-1"],
            "once to see, once on the thread"
        );
        let question = &identity.questions()[0];
        assert_eq!(question.get("scope"), Some("openid"));
        assert_eq!(question.get("audience"), Some("https://redis.example.com"));
        let (header, claims) = key.verify(question.get("client_assertion").unwrap());
        assert_eq!(header.get("kid"), None);
        assert_eq!(claims["aud"], "https://redis.example.com");
    });
}

#[test]
fn a_token_is_replaced_before_it_ends_on_the_connections_that_are_open() {
    on_stand(async |stand| {
        let server = Redis::start();
        for password in [">token-1", ">token-2"] {
            server.cli(&["ACL", "SETUSER", "app", "on", password, "~*", "+@all"]);
        }
        let key = ClientKey::new();
        let seconds = |number| if number == 1 { 2 } else { 3600 };
        let identity = Identity::start(None, move |number| {
            token(&format!("token-{number}"), seconds(number))
        });
        let identity = identity.await;
        let (host, url) = (server.address(), identity.url());
        let mut settings = settings(&host, &url, &key);
        settings.push(("redisUsername", "app"));
        open(stand, &settings).await;
        call(stand, "create", "1", &K).await.unwrap();
        let mut other = client(&host).await;
        let logins = async |other: &mut redis::aio::MultiplexedConnection| {
            let text: String = redis::cmd("INFO")
                .arg("commandstats")
                .query_async(other)
                .await
                .unwrap();
            let calls = text.split("cmdstat_auth:calls=").nth(1).unwrap();
            calls.split(',').next().unwrap().parse::<u32>().unwrap()
        };
        let connections = || server.cli(&["CLIENT", "LIST"]).matches("user=app").count();
        assert_eq!((logins(&mut other).await, connections()), (2, 1));

        stand
            .until("another token", || {
                (identity.questions().len() == 2).then_some(())
            })
            .await;
        let deadline = stand.clock().now() + Duration::from_secs(30);
        while logins(&mut other).await < 3 {
            assert!(stand.clock().now() < deadline, "nobody logged in anew");
            stand.clock().sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(connections(), 1, "no connection was opened for it");
        assert_eq!(restarts(stand), 0);
        assert_eq!(call(stand, "get", "", &K).await, Ok(Some("1".into())));
        assert_eq!(stand.side(NAME, Role::Output).unwrap().failure, None);
    });
}

#[test]
fn a_cluster_gets_each_token() {
    on_stand(async |stand| {
        let (fake, key) = (Fake::start([]).await, ClientKey::new());
        let identity = Identity::start(None, |number| token(&format!("token-{number}"), 2)).await;
        let (host, url) = (fake.address(), identity.url());
        let mut settings = settings(&host, &url, &key);
        settings.extend([("redisType", "cluster"), ("redisUsername", "app")]);
        open(stand, &settings).await;
        call(stand, "increment", "", &K).await.unwrap();
        let first = Some("AUTH app token-1".to_owned());
        assert_eq!(fake.login_of("INCR"), first);
        let deadline = stand.clock().now() + Duration::from_secs(30);
        while fake.login_of("INCR") == first {
            assert!(
                stand.clock().now() < deadline,
                "calls go on with the first token"
            );
            call(stand, "increment", "", &K).await.unwrap();
            stand.clock().sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(restarts(stand), 0);
    });
}

#[test]
fn a_token_that_ended_without_another_is_a_refusal_that_says_why() {
    on_stand(async |stand| {
        let (fake, key) = (Fake::start([]).await, ClientKey::new());
        let refusal = r#"{"error":"invalid_client","error_description":"the key was revoked"}"#;
        let identity = Identity::start(None, move |number| match number {
            1 => token("token-1", 2),
            _ => (401, refusal.to_owned()),
        });
        let identity = identity.await;
        let (host, url) = (fake.address(), identity.url());
        open(stand, &settings(&host, &url, &key)).await;
        call(stand, "increment", "", &K).await.unwrap();
        let refused = || {
            let side = stand.side(NAME, Role::Output)?;
            (side.failure == Some(FailureClass::Refused)).then_some(side)
        };
        let side = stand.until("it to be refused", refused).await;
        let error = side.last_error.unwrap();
        let says =
            format!("no token from {url}/: 401 Unauthorized: invalid_client: the key was revoked");
        assert!(error.contains(&says), "{error}");
    });
}

#[test]
fn an_endpoint_that_gives_no_token_has_its_class() {
    on_stand(async |stand| {
        let key = ClientKey::new();
        let url = format!("http://127.0.0.1:{}", bindery_testkit::ports::free());
        let says = format!("no token from {url}/: ");
        must_fail(
            stand,
            &settings("h", &url, &key),
            FailureClass::Disconnected,
            &says,
        )
        .await;
    });
    for (status, class) in [
        (400, FailureClass::Refused),
        (403, FailureClass::Refused),
        (500, FailureClass::Disconnected),
        (429, FailureClass::Disconnected),
        (302, FailureClass::Refused),
    ] {
        on_stand(async move |stand| {
            let key = ClientKey::new();
            let identity = Identity::start(None, move |_| (status, String::new())).await;
            let url = identity.url();
            must_fail(
                stand,
                &settings("h", &url, &key),
                class,
                &status.to_string(),
            )
            .await;
        });
    }
    on_stand(async |stand| {
        let (key, authority) = (ClientKey::new(), Authority::new());
        let identity = Identity::start(Some(&authority), |_| token("t", 60)).await;
        let url = identity.url();
        let says = "invalid peer certificate: UnknownIssuer";
        must_fail(
            stand,
            &settings("h", &url, &key),
            FailureClass::Disconnected,
            says,
        )
        .await;
    });
}

#[test]
fn settings_that_cannot_work_are_invalid() {
    let other = Authority::new().sign("ecdsa");
    for (name, value, says) in [
        (
            "redisPassword",
            "x",
            "setting \"redisPassword\": cannot be used with useOIDC",
        ),
        (
            "oidcTokenEndpoint",
            "",
            "setting \"oidcTokenEndpoint\": is needed",
        ),
        (
            "oidcTokenEndpoint",
            "ftp://x",
            "setting \"oidcTokenEndpoint\": is no http or https URL",
        ),
        ("oidcClientID", "", "setting \"oidcClientID\": is needed"),
        (
            "oidcClientAssertionCert",
            "",
            "setting \"oidcClientAssertionCert\": is needed",
        ),
        (
            "oidcClientAssertionKey",
            "",
            "setting \"oidcClientAssertionKey\": is needed",
        ),
        (
            "oidcClientAssertionCert",
            "x",
            "setting \"oidcClientAssertionCert\": holds no certificate",
        ),
        (
            "oidcClientAssertionKey",
            "x",
            "setting \"oidcClientAssertionKey\": holds no RSA key",
        ),
        (
            "oidcClientAssertionCert",
            &other.certificate,
            "setting \"oidcClientAssertionKey\": does not belong to the certificate",
        ),
        (
            "oidcCACert",
            "x",
            "setting \"oidcCACert\": the root certificate cannot be used",
        ),
    ] {
        let value = value.to_owned();
        on_stand(async move |stand| {
            let key = ClientKey::new();
            let mut settings = settings("h", "http://localhost/", &key);
            settings.push((name, &value));
            must_fail(stand, &settings, FailureClass::Invalid, says).await;
        });
    }
    on_stand(async move |stand| {
        let key = ClientKey::new();
        let mut settings = settings("h", "http://localhost/", &key);
        settings.push(("oidcClientAssertionCert", &other.certificate));
        settings.push(("oidcClientAssertionKey", &other.key));
        must_fail(stand, &settings, FailureClass::Invalid, "holds no RSA key").await;
    });
}
