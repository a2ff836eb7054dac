//! The settings of `bindings.http`.

use bindery_contract::settings::{ByteSize, GoDuration, Secret, SettingsError, pem_or_file};
use bindery_contract::tls::{ClientTls, TlsError};
use hyper::header::{HeaderName, HeaderValue};
use schemars::JsonSchema;
use serde::Deserialize;
use url::Url;

use crate::address::Address;

/// Settings of `bindings.http`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HttpSettings {
    /// The upstream's base URL, `http` or `https`. A request's `path` is appended to it. A user
    /// and a password in it are sent as basic authentication. Reached through the proxy that the
    /// environment names (`HTTP_PROXY`, `HTTPS_PROXY`, `NO_PROXY`), but this machine never is.
    #[schemars(extend("examples" = ["https://api.example.com/v1"]))]
    pub url: String,
    /// How long a request may take, from connecting to the last byte of the reply. Without it,
    /// or when it is not above zero, there is no limit but 15 s to connect, TLS included.
    #[serde(default)]
    pub response_timeout: Option<GoDuration>,
    /// How many bytes of a reply's body are passed on, after decompression; the rest is cut off,
    /// with a warning in the log. Zero or less is no limit.
    #[serde(default = "hundred_mebibytes")]
    pub max_response_body_size: ByteSize,
    /// The authorities to trust, as PEM or the path of a PEM file, in place of the system's.
    #[serde(default, rename = "MTLSRootCA")]
    pub mtls_root_ca: Option<String>,
    /// The client's certificate, as PEM or the path of a PEM file. Used only together with
    /// `MTLSClientKey`.
    #[serde(default, rename = "MTLSClientCert")]
    pub mtls_client_cert: Option<String>,
    /// The key of the client's certificate, as PEM or the path of a PEM file. Used only together
    /// with `MTLSClientCert`.
    #[serde(default, rename = "MTLSClientKey")]
    pub mtls_client_key: Option<Secret>,
    /// Whether the server may ask for TLS to be renegotiated. The TLS library has no
    /// renegotiation, so each value means `RenegotiateNever`; the others give a warning.
    #[serde(default, rename = "MTLSRenegotiation")]
    pub mtls_renegotiation: Renegotiation,
    /// A token that goes out with each request, in the header that `securityTokenHeader` names.
    /// Not sent without that, nor to another domain that the upstream redirects to.
    #[serde(default)]
    pub security_token: Option<Secret>,
    /// The name of the header that carries `securityToken`.
    #[serde(default)]
    #[schemars(extend("examples" = ["X-Security-Token"]))]
    pub security_token_header: Option<String>,
    /// Whether a status other than 2xx is an error; a request may decide otherwise by its
    /// metadata `errorIfNot2XX`. The case of the name matters.
    #[serde(default = "yes", rename = "errorIfNot2XX")]
    #[schemars(extend("x-exact-case" = true))]
    pub error_if_not_2xx: bool,
}

/// Whether the server may ask for TLS to be renegotiated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum Renegotiation {
    /// It may not.
    #[default]
    #[serde(rename = "RenegotiateNever")]
    Never,
    /// Once for each connection. Not available: means never.
    #[serde(rename = "RenegotiateOnceAsClient")]
    OnceAsClient,
    /// As often as it likes. Not available: means never.
    #[serde(rename = "RenegotiateFreelyAsClient")]
    FreelyAsClient,
}

const fn hundred_mebibytes() -> ByteSize {
    ByteSize(100 << 20)
}

const fn yes() -> bool {
    true
}

const ROOTS: &str = "MTLSRootCA";
const CERTIFICATE: &str = "MTLSClientCert";
const KEY: &str = "MTLSClientKey";

impl HttpSettings {
    /// The base URL, parsed.
    pub(crate) fn base(&self) -> Result<Address, SettingsError> {
        let problem = |what: &str| {
            let problem = format!("{what}: write it like https://api.example.com/v1");
            SettingsError::new("url", problem)
        };
        let url = Url::parse(&self.url).map_err(|error| problem(&error.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(problem("it is neither http nor https"));
        }
        Address::new(url).map_err(|error| problem(&error.to_string()))
    }

    /// The header with the security token, if there is one.
    pub(crate) fn token(&self) -> Result<Option<(HeaderName, HeaderValue)>, SettingsError> {
        let (Some(token), Some(name)) = (self.security_token(), self.security_token_header())
        else {
            return Ok(None);
        };
        let name: HeaderName = name.parse().map_err(|_| {
            SettingsError::new(
                "securityTokenHeader",
                format!("{name:?} is no header's name"),
            )
        })?;
        let mut value = HeaderValue::from_str(token.expose().trim()).map_err(|_| {
            let problem = "holds a character that a header cannot carry";
            SettingsError::new("securityToken", problem)
        })?;
        value.set_sensitive(true);
        Ok(Some((name, value)))
    }

    /// What is trusted and shown over TLS. Reads files, and the system's certificates when there
    /// are no others.
    pub(crate) fn tls(&self) -> Result<rustls::ClientConfig, SettingsError> {
        let read = |key: &str, value: &str| {
            pem_or_file(value).map_err(|error| SettingsError::new(key, error))
        };
        let roots = not_empty(self.mtls_root_ca.as_ref());
        let roots = roots.map(|value| read(ROOTS, value)).transpose()?;
        let identity = match (self.client_certificate(), self.client_key()) {
            (Some(certificate), Some(key)) => {
                Some((read(CERTIFICATE, certificate)?, read(KEY, key.expose())?))
            }
            _ => None,
        };
        let tls = ClientTls {
            roots: roots.as_deref(),
            identity: identity
                .as_ref()
                .map(|(certificate, key)| (&**certificate, &**key)),
            insecure: false,
        };
        tls.config().map_err(|error| {
            let key = match error {
                TlsError::Roots(_) => ROOTS,
                TlsError::Certificate(_) => CERTIFICATE,
                TlsError::Key(_) => KEY,
            };
            SettingsError::new(key, error)
        })
    }

    /// What is set and has no effect, in a sentence each.
    pub(crate) fn remarks(&self) -> Vec<&'static str> {
        let certificate = self.client_certificate().is_some();
        let token = self.security_token().is_some();
        let remarks = [
            (
                self.mtls_renegotiation != Renegotiation::Never,
                "MTLSRenegotiation has no effect: TLS is never renegotiated",
            ),
            (
                certificate != self.client_key().is_some(),
                "MTLSClientCert and MTLSClientKey have no effect without each other",
            ),
            (
                token != self.security_token_header().is_some(),
                "securityToken and securityTokenHeader have no effect without each other",
            ),
        ];
        let applies = remarks.into_iter().filter(|(applies, _)| *applies);
        applies.map(|(_, remark)| remark).collect()
    }

    fn client_certificate(&self) -> Option<&String> {
        not_empty(self.mtls_client_cert.as_ref())
    }

    fn client_key(&self) -> Option<&Secret> {
        self.mtls_client_key.as_ref().filter(|key| !key.is_empty())
    }

    fn security_token(&self) -> Option<&Secret> {
        self.security_token
            .as_ref()
            .filter(|token| !token.is_empty())
    }

    fn security_token_header(&self) -> Option<&String> {
        not_empty(self.security_token_header.as_ref())
    }
}

fn not_empty(value: Option<&String>) -> Option<&String> {
    value.filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use bindery_contract::settings::{Conventions, Properties, decode};

    use super::*;

    fn decoded(settings: &[(&str, &str)]) -> HttpSettings {
        let url = [("url", "http://localhost")];
        let properties: Properties = url.iter().chain(settings).copied().collect();
        decode(&properties, Conventions::Usual).unwrap()
    }

    #[test]
    fn the_url_is_all_that_is_required() {
        let settings = decoded(&[]);
        assert_eq!(settings.max_response_body_size, ByteSize(104_857_600));
        assert_eq!(settings.response_timeout, None);
        assert_eq!(settings.mtls_renegotiation, Renegotiation::Never);
        assert!(settings.error_if_not_2xx && settings.remarks().is_empty());
    }

    #[test]
    fn names_are_read_in_any_case_but_for_one() {
        let settings = decoded(&[
            ("RESPONSETIMEOUT", "5"),
            ("mtlsrenegotiation", "RenegotiateOnceAsClient"),
            ("ERRORIFNOT2XX", "false"),
        ]);
        assert_eq!(settings.response_timeout, Some(GoDuration::from_secs(5)));
        assert_eq!(settings.mtls_renegotiation, Renegotiation::OnceAsClient);
        assert!(settings.error_if_not_2xx);
        assert!(!decoded(&[("errorIfNot2XX", "0")]).error_if_not_2xx);
    }

    #[test]
    fn half_a_pair_has_no_effect_and_is_remarked_on() {
        for half in [
            ("MTLSClientCert", "no pem"),
            ("MTLSClientKey", "no pem"),
            ("securityToken", "hunter2"),
            ("securityTokenHeader", "X-Token"),
        ] {
            let settings = decoded(&[half]);
            assert_eq!(settings.remarks().len(), 1, "{half:?}");
            assert!(
                settings.tls().is_ok() && settings.token().unwrap().is_none(),
                "{half:?}"
            );
        }
        assert!(
            decoded(&[("MTLSClientKey", ""), ("securityToken", "")])
                .remarks()
                .is_empty()
        );
    }

    #[test]
    fn a_secret_that_cannot_be_used_is_not_shown() {
        let settings = decoded(&[
            ("securityToken", "hunter2\0"),
            ("securityTokenHeader", "X-Token"),
            ("MTLSClientCert", "-----BEGIN A-----\nAAAA\n-----END A-----"),
            ("MTLSClientKey", "hunter2"),
        ]);
        let token = settings.token().unwrap_err();
        assert_eq!(token.key.as_deref(), Some("securityToken"));
        let key = settings.tls().unwrap_err();
        assert_eq!(key.key.as_deref(), Some("MTLSClientKey"));
        assert!(!format!("{token} {key} {settings:?}").contains("hunter2"));
    }
}
