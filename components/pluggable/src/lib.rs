//! Pluggable components: bindings in processes of their own, beside the sidecar, that speak gRPC
//! over a socket in a folder (runtime §8). Dapr's SDKs for components make them.
//!
//! A component's process may come after the sidecar, crash, and come back: a connection is made
//! anew, and the component prepared anew, like every binding's.

mod error;
mod input;
mod link;
mod names;
mod output;
mod proto;
mod sockets;

use std::sync::Arc;

use bindery_contract::settings::Properties;
use bindery_contract::{OpenContext, OpenError, Opened, Operation, Role};

use self::link::Link;
pub use self::sockets::Sockets;

const SUMMARY: &str = "A component of your own, in a process of its own.";

/// What stands for the operations that a component lists when it is asked.
const OPERATIONS: &[Operation] = &[Operation {
    name: "create",
    summary: "What the component makes of it. Which operations there are, it says itself.",
}];

/// Connects to the component of a type and prepares the side that the context names. A side that
/// the component does not have rests.
async fn open(
    sockets: Sockets,
    type_name: Arc<str>,
    properties: Properties,
    cx: OpenContext,
) -> Result<Opened, OpenError> {
    let link = Link::open(&sockets, &type_name, &cx).await?;
    let settings = properties
        .iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let metadata = proto::MetadataRequest {
        properties: settings,
    };
    let has_it = link.offers(cx.role());
    Ok(match cx.role() {
        Role::Input if has_it => Opened::input(input::Reader::open(link, metadata, &cx).await?),
        Role::Input => Opened::input(input::Resting(link)),
        Role::Output if has_it => Opened::shared(output::Outlet::open(link, metadata).await?),
        Role::Output => Opened::shared(output::Nothing(link)),
    })
}
