//! What Redis says when it says no, and which class of error that is.

use std::error::Error;
use std::io;
use std::sync::Arc;

use bindery_contract::{InvokeError, OpenError, Retry, Sent};
use redis::RedisError;

/// The command was not executed, and the next time may be better.
const TRANSIENT: [&str; 4] = ["LOADING", "TRYAGAIN", "CLUSTERDOWN", "MASTERDOWN"];
/// The slots of a cluster move, or one of its masters was demoted: the client has to look where
/// they are now.
const MOVING: [&str; 3] = ["MOVED", "ASK", "READONLY"];
/// The request was well, the server is not.
const STRAINED: [&str; 6] = [
    "BUSY",
    "OOM",
    "MISCONF",
    "NOREPLICAS",
    "UNKILLABLE",
    "READONLY",
];
/// The connection has lost its authentication: the user was changed, the token has ended.
const UNAUTHENTICATED: [&str; 2] = ["NOAUTH", "WRONGPASS"];

/// An error that Redis answered with.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub(crate) struct Answer {
    code: String,
    /// Code and explanation, as they came.
    text: String,
}

/// Why a command has no result.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The server answered with an error.
    Answered(Answer),
    /// The connection is gone.
    Lost { cause: String, sent: Sent },
    /// It came to nothing, and the connection is as good as any.
    Failed(String),
}

impl Answer {
    /// The answer in an error of the library, or the error itself if it is none.
    pub(crate) fn in_error(error: RedisError) -> Result<Self, RedisError> {
        let Some(code) = error.code().map(str::to_owned) else {
            return Err(error);
        };
        let text = match error.detail() {
            Some(detail) => format!("{code} {detail}"),
            None => code.clone(),
        };
        Ok(Self { code, text })
    }

    /// Whether the command was not executed, and may be sent again.
    pub(crate) fn is_transient(&self, in_cluster: bool) -> bool {
        let code = self.code.as_str();
        TRANSIENT.contains(&code) || (in_cluster && MOVING.contains(&code))
    }

    /// Whether a server that was a master does not take writes any more.
    pub(crate) fn is_demotion(&self) -> bool {
        self.code == "READONLY"
    }

    /// What it means while a connection is being opened.
    pub(crate) fn on_open(&self, what: impl FnOnce(&str) -> String) -> OpenError {
        let too_many = self.text.contains("max number of clients");
        if self.is_transient(true) || too_many {
            OpenError::disconnected(what(&self.text))
        } else {
            OpenError::refused(what(&self.text))
        }
    }
}

impl From<Failure> for InvokeError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Lost { cause, sent } => Self::disconnected(cause, sent),
            Failure::Failed(cause) => Self::failed(cause),
            // The answer says that nothing was executed.
            Failure::Answered(answer) if UNAUTHENTICATED.contains(&answer.code.as_str()) => {
                Self::disconnected(answer, Sent::No)
            }
            Failure::Answered(answer) => {
                let code = answer.code.as_str();
                let retry = if answer.is_transient(true) || STRAINED.contains(&code) {
                    Retry::MayHelp
                } else {
                    Retry::Pointless
                };
                Self::Rejected {
                    cause: answer.into(),
                    reply: None,
                    retry,
                }
            }
        }
    }
}

/// What an error of the library means while a connection is being opened; `what` makes a
/// sentence of its text.
pub(crate) fn on_open(error: RedisError, what: impl FnOnce(&str) -> String) -> OpenError {
    match Answer::in_error(error) {
        Ok(answer) => answer.on_open(what),
        Err(error) if io_error(&error).is_some_and(is_tls) => {
            OpenError::refused(what(&error.to_string()))
        }
        Err(error) => OpenError::disconnected(what(&error.to_string())),
    }
}

/// Whether the two sides could not agree on encryption: somebody is there, and says no.
pub(crate) fn is_tls(error: &io::Error) -> bool {
    error
        .get_ref()
        .is_some_and(<dyn Error + Send + Sync>::is::<rustls::Error>)
}

fn io_error(error: &RedisError) -> Option<&io::Error> {
    type Shared = Arc<dyn Error + Send + Sync>;
    error.source()?.downcast_ref::<Shared>()?.downcast_ref()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(line: &str) -> Answer {
        let value = redis::parse_redis_value(format!("-{line}\r\n").as_bytes()).unwrap();
        Answer::in_error(value.extract_error().unwrap_err()).unwrap()
    }

    #[test]
    fn an_answer_is_shown_as_it_came() {
        for line in [
            "WRONGTYPE Operation against a key holding the wrong kind of value",
            "ERR value is not an integer or out of range",
            "NOPERM User x has no permissions to run the 'set' command",
            "READONLY You can't write against a read only replica.",
            "CUSTOM",
        ] {
            assert_eq!(answer(line).to_string(), line);
        }
    }

    #[test]
    fn an_answer_to_a_call_has_its_class() {
        let class = |line| match InvokeError::from(Failure::Answered(answer(line))) {
            InvokeError::Rejected { retry, .. } => format!("{retry:?}"),
            InvokeError::Disconnected { sent, .. } => format!("{sent:?}"),
        };
        for (line, expected) in [
            ("WRONGTYPE x", "Pointless"),
            ("ERR x", "Pointless"),
            ("NOPERM x", "Pointless"),
            ("LOADING x", "MayHelp"),
            ("CLUSTERDOWN x", "MayHelp"),
            ("MOVED 1 a:1", "MayHelp"),
            ("OOM x", "MayHelp"),
            ("BUSY x", "MayHelp"),
            ("NOAUTH x", "No"),
            ("WRONGPASS x", "No"),
        ] {
            assert_eq!(class(line), expected, "{line}");
        }
    }

    #[test]
    fn an_answer_to_the_opening_has_its_class() {
        let class = |line| answer(line).on_open(str::to_owned);
        for line in [
            "WRONGPASS x",
            "NOAUTH x",
            "NOPERM x",
            "ERR DB index is out of range",
        ] {
            assert!(matches!(class(line), OpenError::Refused(_)), "{line}");
        }
        for line in [
            "LOADING x",
            "CLUSTERDOWN x",
            "ERR max number of clients reached",
        ] {
            assert!(matches!(class(line), OpenError::Disconnected(_)), "{line}");
        }
    }

    #[test]
    fn a_failed_handshake_is_a_refusal_and_a_broken_connection_is_not() {
        let handshake = io::Error::new(
            io::ErrorKind::InvalidData,
            rustls::Error::General("no".into()),
        );
        let error = on_open(handshake.into(), str::to_owned);
        assert!(matches!(error, OpenError::Refused(_)), "{error:?}");
        let broken = io::Error::from(io::ErrorKind::ConnectionReset);
        let error = on_open(broken.into(), str::to_owned);
        assert!(matches!(error, OpenError::Disconnected(_)), "{error:?}");
    }
}
