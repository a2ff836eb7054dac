//! What a failed call of a component means.

use std::error::Error;

use bindery_contract::{Chain, InvokeError, OpenError, Sent};
use tonic::{Code, Status};

use crate::link::Link;

/// A failure as the reference writes it (runtime §8), and what it came from.
pub(crate) fn shown(status: &Status) -> String {
    let code = match status.code() {
        Code::Ok => "OK".to_owned(),
        // The reference's library calls a connection that is lost so; ours does not say.
        Code::Unknown | Code::Cancelled if is_of_connection(status) => "Unavailable".to_owned(),
        Code::Cancelled => "Canceled".to_owned(),
        other => format!("{other:?}"),
    };
    let text = match status.source() {
        Some(source) => Chain(source).to_string(),
        None => status.message().to_owned(),
    };
    format!("rpc error: code = {code} desc = {text}")
}

/// Whether it is about the connection, and nothing that the component has said.
fn is_of_connection(status: &Status) -> bool {
    status.source().is_some() && (status.code() == Code::Unknown || was_not_sent(status))
}

/// A call while the component is opened failed.
pub(crate) fn while_opening(what: &str, status: &Status) -> OpenError {
    let text = format!("{what}: {}", shown(status));
    // What the component itself said came over the wire; what has a source is our side's.
    if status.source().is_some() {
        OpenError::disconnected(text)
    } else {
        OpenError::refused(text)
    }
}

/// A call of an open output failed.
pub(crate) fn while_calling(link: &Link, status: &Status) -> InvokeError {
    if was_not_sent(status) {
        InvokeError::disconnected(shown(status), Sent::No)
    } else if link.is_lost() {
        InvokeError::disconnected(shown(status), Sent::Perhaps)
    } else {
        InvokeError::failed(shown(status))
    }
}

/// Whether the connection was gone before the call could be written to it.
fn was_not_sent(status: &Status) -> bool {
    let mut next = status.source();
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<hyper::Error>() {
            return error.is_canceled() || error.is_closed();
        }
        next = error.source();
    }
    false
}
