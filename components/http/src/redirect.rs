//! Where a redirect leads, by the reference's rules: the client's own differ for PUT, PATCH and
//! DELETE, and in what another host of the same domain may see.

use std::sync::Arc;

use hyper::header::{
    AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, COOKIE, HeaderMap, HeaderName, LOCATION,
    PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, WWW_AUTHENTICATE,
};
use hyper::{Method, StatusCode};
use url::Url;

use crate::address::Address;
use crate::error::{HttpError, Shown};
use crate::request::Outgoing;

/// As many requests as one call may become.
pub(crate) const MAX_REQUESTS: usize = 10;

/// What another domain may not see.
const SENSITIVE: [HeaderName; 6] = [
    AUTHORIZATION,
    COOKIE,
    HeaderName::from_static("cookie2"),
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    WWW_AUTHENTICATE,
];

/// The request that a reply redirects to; `None` when the reply is no redirect.
///
/// `origin` is where the call went at first. What was withheld from one domain stays withheld
/// on the way back.
pub(crate) fn follow(
    request: &Outgoing,
    origin: &Url,
    status: StatusCode,
    headers: &HeaderMap,
) -> Result<Option<Outgoing>, HttpError> {
    let keeps_body = match status.as_u16() {
        301..=303 => false,
        307 | 308 => true,
        _ => return Ok(None),
    };
    // There are redirects without a place to go; the caller gets them as they are.
    let location = headers
        .get(LOCATION)
        .filter(|location| !location.is_empty());
    let Some(location) = location else {
        return Ok(None);
    };
    let mut next = request.clone();
    next.to = std::str::from_utf8(location.as_bytes())
        .ok()
        .and_then(|location| request.to.url().join(location).ok())
        .filter(|url| matches!(url.scheme(), "http" | "https"))
        .and_then(|url| Address::new(url).ok())
        .map(Arc::new)
        .ok_or_else(|| HttpError::Location {
            from: Shown::from(request.to.url()),
        })?;
    if !keeps_body {
        if next.method != Method::HEAD {
            next.method = Method::GET;
        }
        next.body = None;
        next.headers.remove(CONTENT_TYPE);
        next.headers.remove(CONTENT_ENCODING);
    }
    if !is_same_domain(origin, next.to.url()) {
        withhold(&mut next.headers);
    }
    Ok(Some(next))
}

/// Whether a host is the original one or below it; the port makes no difference.
fn is_same_domain(origin: &Url, url: &Url) -> bool {
    let (Some(origin), Some(host)) = (origin.host_str(), url.host_str()) else {
        return false;
    };
    let below = host.strip_suffix(origin);
    below.is_some_and(|below| below.is_empty() || below.ends_with('.'))
}

/// Removes what the reference calls sensitive, and what is marked so: the security token.
fn withhold(headers: &mut HeaderMap) {
    let marked = headers.iter().filter(|(_, value)| value.is_sensitive());
    let marked: Vec<_> = marked.map(|(name, _)| name.clone()).collect();
    for name in marked.iter().chain(&SENSITIVE) {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    fn request(method: Method) -> Outgoing {
        let mut token = HeaderValue::from_static("hunter2");
        token.set_sensitive(true);
        let headers = [
            (AUTHORIZATION, HeaderValue::from_static("hunter2")),
            (HeaderName::from_static("x-token"), token),
            (
                HeaderName::from_static("x-other"),
                HeaderValue::from_static("1"),
            ),
            (CONTENT_TYPE, HeaderValue::from_static("text/plain")),
        ];
        Outgoing {
            body: (method == Method::POST || method == Method::PUT).then(|| "body".into()),
            method,
            to: Arc::new(Address::new(url("http://example.com/a/b?c")).unwrap()),
            headers: headers.into_iter().collect(),
        }
    }

    fn redirect(request: &Outgoing, status: u16, location: &str) -> Option<Outgoing> {
        let headers = [(LOCATION, HeaderValue::from_str(location).unwrap())];
        let status = StatusCode::from_u16(status).unwrap();
        let headers = headers.into_iter().collect();
        follow(request, &url("http://example.com"), status, &headers).unwrap()
    }

    #[test]
    fn the_status_decides_over_method_and_body() {
        for (method, status, becomes) in [
            (Method::POST, 301, Method::GET),
            (Method::PUT, 302, Method::GET),
            (Method::DELETE, 303, Method::GET),
            (Method::GET, 302, Method::GET),
            (Method::HEAD, 301, Method::HEAD),
            (Method::HEAD, 303, Method::HEAD),
        ] {
            let next = redirect(&request(method.clone()), status, "/").unwrap();
            assert_eq!(
                (&next.method, &next.body),
                (&becomes, &None),
                "{method} {status}"
            );
            assert!(
                !next.headers.contains_key(CONTENT_TYPE),
                "{method} {status}"
            );
        }
        for (method, status) in [(Method::POST, 307), (Method::PUT, 308), (Method::HEAD, 307)] {
            let before = request(method.clone());
            let next = redirect(&before, status, "/").unwrap();
            assert_eq!(
                (&next.method, &next.body),
                (&method, &before.body),
                "{method} {status}"
            );
            assert_eq!(next.headers, before.headers);
        }
        for status in [200, 300, 304, 305, 306, 400] {
            assert!(
                redirect(&request(Method::GET), status, "/").is_none(),
                "{status}"
            );
        }
    }

    #[test]
    fn a_location_counts_from_the_current_url() {
        for (location, leads_to) in [
            ("/x", "http://example.com/x"),
            ("x?y", "http://example.com/a/x?y"),
            ("//other/x", "http://other/x"),
            ("https://other:1/", "https://other:1/"),
        ] {
            let next = redirect(&request(Method::GET), 302, location).unwrap();
            assert_eq!(next.to.url().as_str(), leads_to, "{location}");
        }
        assert!(redirect(&request(Method::GET), 302, "").is_none());
    }

    #[test]
    fn a_place_that_is_no_url_is_an_error() {
        for location in [
            "http://",
            "ftp://example.com/",
            "mailto:me@example.com",
            "\u{fffd}",
        ] {
            let headers = [(
                LOCATION,
                HeaderValue::from_bytes(location.as_bytes()).unwrap(),
            )];
            let headers: HeaderMap = headers.into_iter().collect();
            let request = request(Method::GET);
            let followed = follow(&request, request.to.url(), StatusCode::FOUND, &headers);
            match location {
                // Any text is a path.
                "\u{fffd}" => assert!(followed.is_ok()),
                _ => assert!(followed.is_err(), "{location}"),
            }
        }
    }

    #[test]
    fn another_domain_does_not_see_what_is_secret() {
        let names = |request: &Outgoing| -> Vec<String> {
            let mut names: Vec<_> = request.headers.keys().map(HeaderName::to_string).collect();
            names.sort();
            names
        };
        let all = names(&request(Method::GET));
        for (location, trusted) in [
            ("http://example.com:81/", true),
            ("https://sub.example.com/", true),
            ("http://notexample.com/", false),
            ("http://com/", false),
            ("http://127.0.0.1/", false),
        ] {
            let next = redirect(&request(Method::GET), 307, location).unwrap();
            let expected: &[String] = if trusted { &all } else { &all[1..3] };
            assert_eq!(names(&next), expected, "{location}");
        }
        assert_eq!(all, ["authorization", "content-type", "x-other", "x-token"]);
        let away = redirect(&request(Method::GET), 307, "http://other/").unwrap();
        let back = redirect(&away, 307, "http://example.com/").unwrap();
        assert_eq!(names(&back), ["content-type", "x-other"]);
    }
}
