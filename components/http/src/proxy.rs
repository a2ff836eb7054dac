//! The proxies that the environment names, by the reference's rules.

use reqwest::{NoProxy, Proxy, Url};

/// This machine itself is never reached through a proxy.
const THIS_MACHINE: &str = "localhost,127.0.0.0/8,::1";

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
/// also in lower case.
pub(crate) fn from(environment: impl Fn(&str) -> Option<String>) -> Result<Vec<Proxy>, ProxyError> {
    let value = |variable: &str| {
        let names = [variable.to_owned(), variable.to_lowercase()];
        names
            .iter()
            .find_map(|name| environment(name).filter(|value| !value.is_empty()))
    };
    let excepted = value("NO_PROXY").unwrap_or_default();
    let excepted = NoProxy::from_string(&format!("{THIS_MACHINE},{excepted}"));
    let proxy = |variable, through: fn(Url) -> reqwest::Result<Proxy>| {
        let Some(address) = value(variable) else {
            return Ok(None);
        };
        let proxy = address_of(&address).and_then(|address| through(address).ok());
        let proxy = proxy.ok_or(ProxyError { variable })?;
        Ok(Some(proxy.no_proxy(excepted.clone())))
    };
    let proxies = [
        proxy("HTTP_PROXY", Proxy::http)?,
        proxy("HTTPS_PROXY", Proxy::https)?,
    ];
    Ok(proxies.into_iter().flatten().collect())
}

/// A proxy's address; without a scheme it is `http`.
fn address_of(value: &str) -> Option<Url> {
    let with_scheme = if value.contains("://") {
        Url::parse(value)
    } else {
        Url::parse(&format!("http://{value}"))
    };
    let url = with_scheme.ok()?;
    match url.scheme() {
        "http" | "https" | "socks5h" => Some(url),
        // The reference lets the proxy resolve names; here the scheme says who does.
        "socks5" => Url::parse(&url.as_str().replacen("socks5", "socks5h", 1)).ok(),
        _ => None,
    }
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
            ("socks5://proxy:1080", Some("socks5h://proxy:1080")),
            ("ftp://proxy", None),
            ("http://", None),
            (" ", None),
        ] {
            let found = address_of(value);
            assert_eq!(found.as_ref().map(Url::as_str), address, "{value}");
        }
    }

    #[test]
    fn either_case_of_a_variable_counts_and_an_empty_one_does_not() {
        let count = |variables: &[(&str, &str)]| {
            let found = |name: &str| {
                let found = variables.iter().find(|(variable, _)| *variable == name);
                found.map(|(_, value)| (*value).to_owned())
            };
            from(found).map(|proxies| proxies.len())
        };
        assert_eq!(count(&[]).unwrap(), 0);
        assert_eq!(count(&[("HTTP_PROXY", "")]).unwrap(), 0);
        assert_eq!(
            count(&[("HTTP_PROXY", ""), ("http_proxy", "p:1")]).unwrap(),
            1
        );
        assert_eq!(
            count(&[("HTTPS_PROXY", "p:1"), ("http_proxy", "p:1")]).unwrap(),
            2
        );
        let error = count(&[("https_proxy", "ftp://me:hunter2@p")])
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("HTTPS_PROXY") && !error.contains("hunter2"),
            "{error}"
        );
    }
}
