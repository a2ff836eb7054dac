//! The proxies that the environment names, by the reference's rules.

use hyper_util::client::proxy::matcher::Matcher;
use url::Url;

/// This machine itself is never reached through a proxy.
const THIS_MACHINE: &str = "localhost,127.0.0.0/8,::1";
/// Where a SOCKS proxy listens, unless its address says so.
const SOCKS_PORT: u16 = 1080;

/// A variable of the environment that names no proxy. Its value may hold a password.
#[derive(Debug, thiserror::Error)]
#[error(
    "the environment's {variable} is no proxy's address: write it like http://proxy.example:3128 \
     (http, https or socks5)"
)]
pub(crate) struct ProxyError {
    variable: &'static str,
}

/// The proxies of `HTTP_PROXY` and `HTTPS_PROXY`, but for the hosts in `NO_PROXY`; each name
/// also in lower case. Nothing where there is none.
pub(crate) fn from(
    environment: impl Fn(&str) -> Option<String>,
) -> Result<Option<Matcher>, ProxyError> {
    let value = |variable: &str| {
        let names = [variable.to_owned(), variable.to_lowercase()];
        names
            .iter()
            .find_map(|name| environment(name).filter(|value| !value.is_empty()))
    };
    let proxy = |variable| match value(variable) {
        Some(value) => match address_of(&value) {
            Some(address) => Ok(address),
            None => Err(ProxyError { variable }),
        },
        None => Ok(String::new()),
    };
    let (http, https) = (proxy("HTTP_PROXY")?, proxy("HTTPS_PROXY")?);
    if http.is_empty() && https.is_empty() {
        return Ok(None);
    }
    let excepted = value("NO_PROXY").unwrap_or_default();
    let excepted = format!("{THIS_MACHINE},{excepted}");
    let matcher = Matcher::builder().http(http).https(https).no(excepted);
    Ok(Some(matcher.build()))
}

/// A proxy's address; without a scheme it is `http`.
fn address_of(value: &str) -> Option<String> {
    let with_scheme = if value.contains("://") {
        Url::parse(value)
    } else {
        Url::parse(&format!("http://{value}"))
    };
    let mut url = with_scheme.ok()?;
    match url.scheme() {
        "http" | "https" => {}
        "socks5" | "socks5h" => {
            let port = url.port().unwrap_or(SOCKS_PORT);
            url.set_port(Some(port)).ok()?;
        }
        _ => return None,
    }
    url.has_host().then(|| url.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_needs_no_scheme() {
        for (value, address) in [
            ("proxy:3128", Some("http://proxy:3128/")),
            ("10.0.0.1", Some("http://10.0.0.1/")),
            ("http://me:pw@proxy", Some("http://me:pw@proxy/")),
            ("https://proxy:8443", Some("https://proxy:8443/")),
            ("socks5://proxy:1081", Some("socks5://proxy:1081")),
            ("socks5h://proxy", Some("socks5h://proxy:1080")),
            ("ftp://proxy", None),
            ("http://", None),
            (" ", None),
        ] {
            let found = address_of(value);
            assert_eq!(found.as_deref(), address, "{value}");
        }
    }

    #[test]
    fn either_case_of_a_variable_counts_and_an_empty_one_does_not() {
        let proxied = |variables: &[(&str, &str)]| {
            let found = |name: &str| {
                let found = variables.iter().find(|(variable, _)| *variable == name);
                found.map(|(_, value)| (*value).to_owned())
            };
            let matcher = from(found)?;
            let is_proxied = |url: &'static str| {
                let url = hyper::Uri::from_static(url);
                matcher
                    .as_ref()
                    .is_some_and(|it| it.intercept(&url).is_some())
            };
            Ok::<_, ProxyError>([is_proxied("http://h"), is_proxied("https://h")])
        };
        for (variables, expected) in [
            (&[] as &[_], [false, false]),
            (&[("HTTP_PROXY", "")], [false, false]),
            (&[("HTTP_PROXY", ""), ("http_proxy", "p:1")], [true, false]),
            (
                &[("HTTPS_PROXY", "p:1"), ("http_proxy", "p:1")],
                [true, true],
            ),
            (&[("HTTPS_PROXY", "p:1"), ("no_proxy", "h")], [false, false]),
        ] {
            assert_eq!(proxied(variables).unwrap(), expected, "{variables:?}");
        }
        let error = proxied(&[("https_proxy", "ftp://me:hunter2@p")])
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("HTTPS_PROXY") && !error.contains("hunter2"),
            "{error}"
        );
    }
}
