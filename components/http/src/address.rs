//! A URL, taken apart once for all the requests that go to it.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hyper::Uri;
use hyper::header::HeaderValue;
use hyper::http::uri::InvalidUri;
use percent_encoding::percent_decode_str;
use url::Url;

/// Where a request goes.
pub(crate) struct Address {
    url: Url,
    uri: Uri,
    authorization: Option<HeaderValue>,
}

impl Address {
    /// # Errors
    /// A URL that no request can be sent to: it is longer than 64 KiB.
    pub(crate) fn new(url: Url) -> Result<Self, InvalidUri> {
        let authorization = authorization(&url);
        let uri = if authorization.is_some() {
            let mut shown = url.clone();
            // Only a URL without a host could refuse that, and http and https ones have one.
            let _ = shown.set_username("");
            let _ = shown.set_password(None);
            shown.as_str().parse()?
        } else {
            url.as_str().parse()?
        };
        Ok(Self {
            url,
            uri,
            authorization,
        })
    }

    /// As it was written, a user and a password included.
    pub(crate) fn url(&self) -> &Url {
        &self.url
    }

    /// What a request asks for, without user and password.
    pub(crate) fn uri(&self) -> &Uri {
        &self.uri
    }

    /// Basic authentication with the URL's user.
    pub(crate) fn authorization(&self) -> Option<&HeaderValue> {
        self.authorization.as_ref()
    }
}

fn authorization(url: &Url) -> Option<HeaderValue> {
    if url.username().is_empty() && url.password().is_none() {
        return None;
    }
    let mut user: Vec<u8> = percent_decode_str(url.username()).collect();
    user.push(b':');
    user.extend(percent_decode_str(url.password().unwrap_or_default()));
    let value = format!("Basic {}", BASE64_STANDARD.encode(user));
    let mut value = HeaderValue::from_str(&value).ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_becomes_a_header_and_leaves_the_uri() {
        for (url, uri, user) in [
            ("http://h/a?b=c#d", "http://h/a?b=c", None),
            ("http://me:p%40w@h:81/", "http://h:81/", Some("me:p@w")),
            ("https://me@h/", "https://h/", Some("me:")),
            ("https://:pw@h/", "https://h/", Some(":pw")),
        ] {
            let address = Address::new(url.parse().unwrap()).unwrap();
            assert_eq!(address.uri().to_string(), uri);
            let expected = user.map(|user| format!("Basic {}", BASE64_STANDARD.encode(user)));
            let value = address.authorization();
            assert_eq!(
                value.map(|value| value.to_str().unwrap().to_owned()),
                expected
            );
            assert!(value.is_none_or(HeaderValue::is_sensitive));
        }
    }

    #[test]
    fn an_endless_url_is_an_error() {
        let url = format!("http://h/{}", "x".repeat(70_000));
        assert!(Address::new(url.parse().unwrap()).is_err());
    }
}
