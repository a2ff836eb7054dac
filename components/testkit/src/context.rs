//! What a test opens a binding with that it opens itself, without actors.

use std::sync::Arc;

use bindery_contract::{Clock, ContextParts, Host, Role};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

/// The parts of a context of an output, `subject`, on the current runtime and the machine's clock.
/// Others are put in their places by struct update.
///
/// # Panics
/// Outside of a runtime.
pub fn parts(host: Arc<dyn Host>) -> ContextParts {
    ContextParts {
        component: "subject".into(),
        role: Role::Output,
        identity: Arc::default(),
        clock: Clock::system(),
        runtime: Handle::current(),
        closing: CancellationToken::new(),
        workers: 1,
        host,
    }
}
