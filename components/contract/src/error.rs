//! What can go wrong in a binding, in the words the supervisor needs.
//!
//! An error's class decides what happens next, so a binding chooses it with care:
//!
//! | class | meaning | what the runtime does |
//! |---|---|---|
//! | *Invalid* | can never work as configured | at start: exit 1. While running: the last good one stays |
//! | *Refused* | the other side answered, and said no: password, permission, missing topic | Degraded, tried again every 30 s with credentials read anew |
//! | *Disconnected* | nobody there, or the connection broke | reconnect for ever, full jitter, 100 ms → 30 s |
//! | *Rejected* | this request only | the caller gets the error; nothing else happens |

use std::fmt;

use crate::binding::Reply;

/// Any error, for a chain of causes. Built from an error, a `String` or a `&str`.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why a binding could not be opened.
#[derive(Debug)]
pub enum OpenError {
    /// It can never work as configured. Decided without the network.
    Invalid(Cause),
    /// The other side answered and refused: credentials, permission, a missing resource.
    Refused(Cause),
    /// Nobody answered, or the connection broke.
    Disconnected(Cause),
}

/// Why a reader ended.
#[derive(Debug)]
pub enum ReadError {
    /// The other side answered and refused: credentials, permission, a missing resource.
    Refused(Cause),
    /// The connection broke, or what was read has to be read again.
    Disconnected(Cause),
}

/// Why an invocation failed.
#[derive(Debug)]
pub enum InvokeError {
    /// The binding works; this request does not.
    Rejected {
        /// What the caller is told.
        cause: Cause,
        /// What the upstream answered, where it did: its metadata reaches the caller with the
        /// error (runtime §1.1.2).
        reply: Option<Box<Reply>>,
        /// Whether the same request may succeed another time.
        retry: Retry,
    },
    /// The binding lost its connection: the runtime opens it anew.
    Disconnected {
        /// What the caller is told.
        cause: Cause,
        /// Whether the request may have reached the other side.
        sent: Sent,
    },
}

/// Whether the same request may succeed another time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// The upstream was busy, a lock was held, a timeout passed.
    MayHelp,
    /// The request itself is wrong.
    Pointless,
}

/// Whether a request may have reached the other side before the connection broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// Certainly not: the runtime may send it again over the next connection.
    No,
    /// It may have; only the caller can decide to send it again.
    Perhaps,
}

impl OpenError {
    /// It can never work as configured.
    pub fn invalid(cause: impl Into<Cause>) -> Self {
        Self::Invalid(cause.into())
    }

    /// The other side answered and refused.
    pub fn refused(cause: impl Into<Cause>) -> Self {
        Self::Refused(cause.into())
    }

    /// Nobody answered, or the connection broke.
    pub fn disconnected(cause: impl Into<Cause>) -> Self {
        Self::Disconnected(cause.into())
    }

    /// An error of the same class, with another cause.
    pub fn with_cause(&self, cause: impl Into<Cause>) -> Self {
        match self {
            Self::Invalid(_) => Self::invalid(cause),
            Self::Refused(_) => Self::refused(cause),
            Self::Disconnected(_) => Self::disconnected(cause),
        }
    }

    fn cause(&self) -> &Cause {
        match self {
            Self::Invalid(cause) | Self::Refused(cause) | Self::Disconnected(cause) => cause,
        }
    }
}

impl ReadError {
    /// The other side answered and refused.
    pub fn refused(cause: impl Into<Cause>) -> Self {
        Self::Refused(cause.into())
    }

    /// The connection broke, or what was read has to be read again.
    pub fn disconnected(cause: impl Into<Cause>) -> Self {
        Self::Disconnected(cause.into())
    }

    fn cause(&self) -> &Cause {
        match self {
            Self::Refused(cause) | Self::Disconnected(cause) => cause,
        }
    }
}

impl InvokeError {
    /// The request itself is wrong: sending it again cannot help.
    pub fn bad_request(cause: impl Into<Cause>) -> Self {
        Self::Rejected {
            cause: cause.into(),
            reply: None,
            retry: Retry::Pointless,
        }
    }

    /// The upstream did not do it, and may do it another time.
    pub fn failed(cause: impl Into<Cause>) -> Self {
        Self::Rejected {
            cause: cause.into(),
            reply: None,
            retry: Retry::MayHelp,
        }
    }

    /// The upstream answered with an error; `reply` is what it said.
    pub fn answered(cause: impl Into<Cause>, reply: Reply, retry: Retry) -> Self {
        Self::Rejected {
            cause: cause.into(),
            reply: Some(Box::new(reply)),
            retry,
        }
    }

    /// The connection is gone.
    pub fn disconnected(cause: impl Into<Cause>, sent: Sent) -> Self {
        Self::Disconnected {
            cause: cause.into(),
            sent,
        }
    }

    fn cause(&self) -> &Cause {
        match self {
            Self::Rejected { cause, .. } | Self::Disconnected { cause, .. } => cause,
        }
    }
}

macro_rules! error_by_cause {
    ($($error:ty),*) => {$(
        impl fmt::Display for $error {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&Chain(self.cause().as_ref()), f)
            }
        }
        impl std::error::Error for $error {}
    )*};
}

error_by_cause!(OpenError, ReadError, InvokeError);

/// Shows an error with everything that caused it, each cause once.
///
/// Many libraries put the text of the cause into their own; a cause that the text before it
/// already contains is left out.
pub struct Chain<'a>(pub &'a (dyn std::error::Error + 'static));

impl<'a> From<&'a Cause> for Chain<'a> {
    fn from(cause: &'a Cause) -> Self {
        Chain(cause.as_ref())
    }
}

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = self.0.to_string();
        let mut next = self.0.source();
        while let Some(error) = next {
            let cause = error.to_string();
            if !text.contains(&cause) {
                text.push_str(": ");
                text.push_str(&cause);
            }
            next = error.source();
        }
        f.write_str(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot reach {host}")]
    struct Unreachable {
        host: &'static str,
        source: std::io::Error,
    }

    #[test]
    fn an_error_shows_what_caused_it_once() {
        let error = Unreachable {
            host: "db",
            source: std::io::Error::other("refused"),
        };
        assert_eq!(
            OpenError::disconnected(error).to_string(),
            "cannot reach db: refused"
        );
        let error = Unreachable {
            host: "refused",
            source: std::io::Error::other("refused"),
        };
        assert_eq!(
            OpenError::disconnected(error).to_string(),
            "cannot reach refused"
        );
    }
}
