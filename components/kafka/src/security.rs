//! How the client is let in: from `authType` and its companions to librdkafka's properties.

use bindery_contract::settings::{SettingsError, is_pem, parse_bool};

use crate::settings::{AuthType, KafkaSettings};

/// Properties of librdkafka. Never printed: there is a password or a key among them.
pub(crate) type Properties = Vec<(&'static str, String)>;

/// What lets the client in.
///
/// # Errors
/// The setting that is missing, makes no sense, or that this build does not support.
pub(crate) fn properties(settings: &KafkaSettings) -> Result<Properties, SettingsError> {
    if !settings.ca_cert.is_empty() && !is_pem(&settings.ca_cert) {
        return Err(SettingsError::new(
            "caCert",
            "invalid ca certificate: it is no PEM",
        ));
    }
    match auth_type(settings)? {
        AuthType::None => Ok(vec![("security.protocol", "plaintext".into())]),
        AuthType::Password => password(settings),
        AuthType::Mtls => mtls(settings),
        AuthType::Certificate => certificate(settings),
        AuthType::Oidc | AuthType::OidcPrivateKeyJwt => Err(unsupported("OIDC")),
        AuthType::Awsiam => Err(unsupported("AWS IAM")),
    }
}

fn unsupported(what: &str) -> SettingsError {
    SettingsError::new(
        "authType",
        format!("this build does not support {what}; write none, password, mtls or certificate"),
    )
}

/// `authType`, or what the deprecated `authRequired` says in its place.
fn auth_type(settings: &KafkaSettings) -> Result<AuthType, SettingsError> {
    if let Some(auth_type) = settings.auth_type {
        return Ok(auth_type);
    }
    if settings.auth_required.is_empty() {
        return Err(SettingsError::new(
            "authType",
            "'authType' attribute was missing or empty; write none, password, mtls or certificate",
        ));
    }
    match parse_bool(&settings.auth_required) {
        Some(false) => Ok(AuthType::None),
        Some(true) if settings.sasl_password.is_empty() => Ok(AuthType::Mtls),
        Some(true) => Ok(AuthType::Password),
        None => Err(SettingsError::new(
            "authRequired",
            "invalid value for 'authRequired' attribute: write true or false, or better authType",
        )),
    }
}

fn password(settings: &KafkaSettings) -> Result<Properties, SettingsError> {
    for (key, missing, what) in [
        (
            "saslUsername",
            settings.sasl_username.is_empty(),
            "SASL Username",
        ),
        (
            "saslPassword",
            settings.sasl_password.is_empty(),
            "SASL Password",
        ),
    ] {
        if missing {
            let problem = format!("missing {what} for authType 'password'");
            return Err(SettingsError::new(key, problem));
        }
    }
    let mechanism = match settings.sasl_mechanism.as_str() {
        "SHA-256" => "SCRAM-SHA-256",
        "SHA-512" => "SCRAM-SHA-512",
        _ => "PLAIN",
    };
    let mut properties = tls(settings);
    let protocol = if settings.disable_tls {
        "sasl_plaintext"
    } else {
        "sasl_ssl"
    };
    properties.extend([
        ("security.protocol", protocol.to_owned()),
        ("sasl.mechanism", mechanism.into()),
        ("sasl.username", settings.sasl_username.clone()),
        ("sasl.password", settings.sasl_password.expose().into()),
    ]);
    Ok(properties)
}

fn mtls(settings: &KafkaSettings) -> Result<Properties, SettingsError> {
    let (certificate, key) = (&settings.client_cert, settings.client_key.expose());
    for (name, text, what) in [
        ("clientCert", certificate.as_str(), "client certificate"),
        ("clientKey", key, "client key"),
    ] {
        if text.is_empty() {
            return Err(SettingsError::new(
                name,
                "clientKey or clientCert is missing",
            ));
        }
        if !is_pem(text) {
            return Err(SettingsError::new(
                name,
                format!("invalid {what}: it is no PEM"),
            ));
        }
    }
    if settings.disable_tls {
        return Err(SettingsError::new(
            "disableTls",
            "without TLS there is no client certificate, which authType mtls asks for",
        ));
    }
    let mut properties = tls(settings);
    properties.extend([
        ("security.protocol", "ssl".to_owned()),
        ("ssl.certificate.pem", certificate.clone()),
        ("ssl.key.pem", key.into()),
    ]);
    Ok(properties)
}

fn certificate(settings: &KafkaSettings) -> Result<Properties, SettingsError> {
    if settings.ca_cert.is_empty() {
        return Err(SettingsError::new(
            "caCert",
            "missing CA certificate property 'caCert' for authType 'certificate'",
        ));
    }
    let mut properties = tls(settings);
    let protocol = if settings.disable_tls {
        "plaintext"
    } else {
        "ssl"
    };
    properties.push(("security.protocol", protocol.into()));
    Ok(properties)
}

/// Whose certificates are believed.
fn tls(settings: &KafkaSettings) -> Properties {
    if settings.disable_tls {
        return Vec::new();
    }
    let verify = !settings.skip_verify;
    let mut properties = vec![("enable.ssl.certificate.verification", verify.to_string())];
    if settings.ca_cert.is_empty() {
        // OpenSSL is linked in and does not know where this system keeps its authorities.
        properties.push(("ssl.ca.location", "probe".into()));
    } else {
        properties.push(("ssl.ca.pem", settings.ca_cert.clone()));
    }
    properties
}

#[cfg(test)]
mod tests {
    use bindery_contract::settings::Secret;

    use super::*;
    use crate::config::tests::settings;

    const PEM: &str = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";

    fn value(settings: &[(&str, &str)], key: &str) -> Option<String> {
        let properties = properties(&self::settings(settings)).unwrap();
        let found = properties.into_iter().find(|(name, _)| *name == key);
        found.map(|(_, value)| value)
    }

    fn problem(settings: &[(&str, &str)]) -> String {
        properties(&self::settings(settings))
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn tls_is_on_for_every_way_but_none() {
        let protocol = |settings: &[(&str, &str)]| value(settings, "security.protocol").unwrap();
        let password = [
            ("authType", "Password"),
            ("saslUsername", "u"),
            ("saslPassword", "p"),
        ];
        let mtls = [
            ("authType", "mtls"),
            ("clientCert", PEM),
            ("clientKey", PEM),
        ];
        let certificate = [("authType", "CERTIFICATE"), ("caCert", PEM)];
        assert_eq!(
            protocol(&[("authType", "none"), ("caCert", PEM)]),
            "plaintext"
        );
        assert_eq!(protocol(&password), "sasl_ssl");
        assert_eq!(protocol(&mtls), "ssl");
        assert_eq!(protocol(&certificate), "ssl");
        let off = ("disableTls", "true");
        assert_eq!(
            protocol(&[&password[..], &[off]].concat()),
            "sasl_plaintext"
        );
        assert_eq!(protocol(&[&certificate[..], &[off]].concat()), "plaintext");
        assert!(problem(&[&mtls[..], &[off]].concat()).contains("disableTls"));
    }

    #[test]
    fn the_authority_is_the_configured_one_or_the_systems() {
        let password = [
            ("authType", "password"),
            ("saslUsername", "u"),
            ("saslPassword", "p"),
        ];
        assert_eq!(
            value(&password, "ssl.ca.location").as_deref(),
            Some("probe")
        );
        let with = [&password[..], &[("caCert", PEM), ("skipVerify", "yes")]].concat();
        assert_eq!(value(&with, "ssl.ca.pem").as_deref(), Some(PEM));
        assert_eq!(value(&with, "ssl.ca.location"), None);
        let verification = value(&with, "enable.ssl.certificate.verification");
        assert_eq!(verification.as_deref(), Some("false"));
    }

    #[test]
    fn a_mechanism_is_scram_only_where_it_says_so() {
        for (says, means) in [
            ("SHA-256", "SCRAM-SHA-256"),
            ("SHA-512", "SCRAM-SHA-512"),
            ("PLAINTEXT", "PLAIN"),
            ("sha-512", "PLAIN"),
            ("anything", "PLAIN"),
        ] {
            let settings = [
                ("authType", "password"),
                ("saslUsername", "u"),
                ("saslPassword", "p"),
                ("saslMechanism", says),
            ];
            assert_eq!(
                value(&settings, "sasl.mechanism").as_deref(),
                Some(means),
                "{says}"
            );
        }
    }

    #[test]
    fn the_old_setting_counts_when_the_new_one_is_empty() {
        let protocol = |settings: &[(&str, &str)]| value(settings, "security.protocol");
        let old = ("authRequired", "true");
        let password = [("saslUsername", "u"), ("saslPassword", "p"), old];
        let mtls = [("clientCert", PEM), ("clientKey", PEM), old];
        assert_eq!(protocol(&password).as_deref(), Some("sasl_ssl"));
        assert_eq!(protocol(&mtls).as_deref(), Some("ssl"));
        assert_eq!(
            protocol(&[("authRequired", "F")]).as_deref(),
            Some("plaintext")
        );
        let both = [("authRequired", "true"), ("authType", "none")];
        assert_eq!(protocol(&both).as_deref(), Some("plaintext"));
        let empty = [("authRequired", "0"), ("authType", "")];
        assert_eq!(protocol(&empty).as_deref(), Some("plaintext"));
        assert!(problem(&[("authRequired", "yes")]).contains("'authRequired'"));
    }

    #[test]
    fn what_is_missing_or_not_supported_is_named() {
        for (settings, says) in [
            (&[][..], "'authType' attribute was missing or empty"),
            (&[("authType", "password")], "missing SASL Username"),
            (
                &[("authType", "password"), ("saslUsername", "u")],
                "missing SASL Password",
            ),
            (
                &[("authType", "mtls"), ("clientKey", PEM)],
                "clientKey or clientCert is missing",
            ),
            (
                &[("authType", "mtls"), ("clientCert", PEM)],
                "clientKey or clientCert is missing",
            ),
            (
                &[
                    ("authType", "mtls"),
                    ("clientCert", PEM),
                    ("clientKey", "hunter2"),
                ],
                "invalid client key",
            ),
            (
                &[
                    ("authType", "mtls"),
                    ("clientCert", "x"),
                    ("clientKey", "hunter2"),
                ],
                "invalid client certificate",
            ),
            (&[("authType", "certificate")], "missing CA certificate"),
            (
                &[("authType", "none"), ("caCert", "x")],
                "invalid ca certificate",
            ),
            (&[("authType", "oidc")], "does not support OIDC"),
            (
                &[("authType", "oidc_private_key_jwt")],
                "does not support OIDC",
            ),
            (&[("authType", "awsIAM")], "does not support AWS IAM"),
        ] {
            let problem = problem(settings);
            assert!(
                problem.contains(says) && !problem.contains("hunter2"),
                "{problem}"
            );
        }
    }

    #[test]
    fn a_password_is_not_in_the_settings_debug_text() {
        let settings = KafkaSettings {
            sasl_password: Secret::new("hunter2"),
            ..settings(&[("authType", "none")])
        };
        assert!(!format!("{settings:?}").contains("hunter2"));
    }
}
