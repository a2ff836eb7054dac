//! Why a request got no reply.

use std::error::Error;
use std::{fmt, io};

use bindery_contract::InvokeError;
use hyper::Method;
use url::Url;

/// Why a request got no reply. Never shows a URL's password or query, nor a header's value.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HttpError {
    #[error("invalid operation: {0}")]
    Operation(&'static str),
    #[error("metadata.path cannot be appended to the url: {0}")]
    Path(String),
    #[error("metadata key {0:?} is no header's name")]
    HeaderName(String),
    #[error("metadata {0:?} holds a character that a header cannot carry")]
    HeaderValue(String),
    #[error("{from} redirects to a place that is no http or https URL")]
    Location { from: Shown },
    #[error("stopped after {after} redirects, at {at}")]
    Redirects { after: usize, at: Shown },
    #[error("{method} {url}")]
    Transport {
        method: Method,
        url: Shown,
        source: Box<dyn Error + Send + Sync>,
    },
    #[error("the reply broke off")]
    Body { source: io::Error },
}

/// The time that a request and its reply may take is over.
pub(crate) fn timed_out() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "timed out")
}

impl From<HttpError> for InvokeError {
    /// There is no session that could be opened anew: the next request connects by itself.
    fn from(error: HttpError) -> Self {
        match error {
            HttpError::Transport { .. } | HttpError::Body { .. } => Self::failed(error),
            _ => Self::bad_request(error),
        }
    }
}

/// A URL as it may be shown: without what may be secret.
#[derive(Debug)]
pub(crate) struct Shown(String);

impl From<&Url> for Shown {
    fn from(url: &Url) -> Self {
        let origin = url.origin().ascii_serialization();
        Self(format!("{origin}{}", url.path()))
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shown_url_has_neither_user_nor_query() {
        let url = Url::parse("https://me:hunter2@example.com:8443/a/b?code=hunter2#x").unwrap();
        assert_eq!(
            Shown::from(&url).to_string(),
            "https://example.com:8443/a/b"
        );
    }
}
