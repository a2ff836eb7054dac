//! What the client library's errors mean for us.

use std::error::Error as StdError;
use std::io;

use bindery_contract::{Chain, InvokeError, OpenError, Retry, Sent};
use deadpool::managed;
use tokio_postgres::error::{DbError, Severity};
use tokio_postgres::{Client, Error};

use crate::json::ValueError;

/// Why a statement failed, and whether its connection may be used again.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) error: InvokeError,
    pub(crate) connection: Condition,
}

/// What is known of a connection after a statement failed on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    /// It waits for the next statement.
    Good,
    /// Something may still be under way on it.
    Unclear,
}

impl Fault {
    /// The request is wrong, and nothing was sent.
    pub(crate) fn unsent(error: InvokeError) -> Self {
        Self {
            error,
            connection: Condition::Good,
        }
    }

    /// The server, or the way to it, failed. `sent` says whether the statement itself was.
    pub(crate) fn of(error: Error, client: &Client, sent: Sent) -> Self {
        let cause = format!("error executing query: {}", text(&error));
        match error.as_db_error() {
            Some(answer) if !ends_the_connection(answer) => Self {
                error: InvokeError::Rejected {
                    cause: cause.into(),
                    reply: None,
                    retry: retry(answer),
                },
                connection: Condition::Good,
            },
            None if !error.is_closed() && !client.is_closed() => Self {
                error: InvokeError::bad_request(cause),
                connection: Condition::Unclear,
            },
            _ => Self {
                error: InvokeError::disconnected(cause, sent),
                connection: Condition::Unclear,
            },
        }
    }

    /// A value of a row cannot be written. More rows may be on their way.
    pub(crate) fn value(error: ValueError) -> Self {
        let cause = match error {
            ValueError::NoWord(_) => format!("error serializing results: {error}"),
            ValueError::NoForm(_) | ValueError::TooDeep | ValueError::Malformed(_) => {
                format!("error reading result: {error}")
            }
        };
        Self {
            error: InvokeError::bad_request(cause),
            connection: Condition::Unclear,
        }
    }
}

/// An answer of the server as the reference's driver shows it, anything else with its causes.
pub(crate) fn text(error: &Error) -> String {
    match error.as_db_error() {
        Some(answer) => {
            let (severity, code) = (answer.severity(), answer.code().code());
            format!("{severity}: {} (SQLSTATE {code})", answer.message())
        }
        None => Chain(error).to_string(),
    }
}

/// The server closes the connection after such an answer.
fn ends_the_connection(answer: &DbError) -> bool {
    matches!(
        answer.parsed_severity(),
        Some(Severity::Fatal | Severity::Panic)
    )
}

/// Whether the same statement may succeed another time.
fn retry(answer: &DbError) -> Retry {
    let code = answer.code().code();
    // Transaction rolled back, resources, lock not available, cancelled.
    let passing = ["40", "53", "55P03", "57"];
    if passing.iter().any(|class| code.starts_with(class)) {
        Retry::MayHelp
    } else {
        Retry::Pointless
    }
}

/// Whether the server said that it would not have us now, but may another time.
fn is_passing(code: &str) -> bool {
    // Connection exceptions, resources (too many connections), operator (starting up, shutting
    // down), system (what a pooler says whose server is away).
    let classes = ["53", "57", "58"];
    classes.iter().any(|class| code.starts_with(class))
        || matches!(code, "08000" | "08001" | "08006")
}

/// Whether the server has no room for one more connection.
fn is_full(code: &str) -> bool {
    code.starts_with("53")
}

/// Why a connection could not be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    /// There is no password.
    #[error("{0}")]
    SignIn(OpenError),
    /// The server, or the way to it, failed.
    #[error("{}", text(.0))]
    Server(Error),
    #[error("no answer within the component's timeout")]
    Silent,
}

/// Why there is no connection.
pub(crate) type PoolError = managed::PoolError<ConnectError>;

/// Why no connection could be made when the binding was opened.
pub(crate) fn open_error(what: &str, error: PoolError) -> OpenError {
    let cause = connect_cause(what, &error);
    match &error {
        PoolError::Backend(ConnectError::SignIn(error)) => error.with_cause(cause),
        PoolError::Backend(ConnectError::Server(error)) if refused(error) => {
            OpenError::refused(cause)
        }
        _ => OpenError::disconnected(cause),
    }
}

/// Why no connection could be had for a call, while there are `others` or there is none. Nothing
/// was sent.
pub(crate) fn acquire_error(error: PoolError, others: bool) -> InvokeError {
    let cause = connect_cause("unable to connect to the DB", &error);
    match &error {
        PoolError::Closed => closed(),
        // Others have connections, and this one comes when there is room again.
        PoolError::Backend(ConnectError::Server(error))
            if error.code().is_some_and(|code| is_full(code.code())) =>
        {
            InvokeError::failed(cause)
        }
        // Connections that were made with the last token go on with it.
        PoolError::Backend(ConnectError::SignIn(_)) if others => InvokeError::failed(cause),
        _ => InvokeError::disconnected(cause, Sent::No),
    }
}

/// What a call is told after `close`.
pub(crate) fn closed() -> InvokeError {
    InvokeError::bad_request("component is closed")
}

fn connect_cause(what: &str, error: &PoolError) -> String {
    match error {
        PoolError::Backend(error) => format!("{what}: {error}"),
        PoolError::Timeout(_) => format!("{what}: {}", ConnectError::Silent),
        other => format!("{what}: {other}"),
    }
}

/// Whether the other side answered and refused: a password, a missing database, a certificate.
fn refused(error: &Error) -> bool {
    if let Some(code) = error.code() {
        return !is_passing(code.code());
    }
    // Where neither a socket failed nor the connection ended, the two sides could not agree.
    failed_in_tls(error) || (io_cause(error).is_none() && !error.is_closed())
}

/// Whether TLS failed on a connection that was made.
pub(crate) fn failed_in_tls(error: &Error) -> bool {
    let inner = io_cause(error).and_then(io::Error::get_ref);
    inner.is_some_and(<dyn StdError + Send + Sync>::is::<rustls::Error>)
}

fn io_cause(error: &Error) -> Option<&io::Error> {
    error.source().and_then(<dyn StdError>::downcast_ref)
}
