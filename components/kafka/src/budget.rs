//! How many bytes may be under way to the app at once.
//!
//! `spec.delivery.maxInFlight` counts events, whatever their size; this bounds what they weigh.
//! The rule is that of the credit: one partition has at most a quarter, so that one that is
//! stuck leaves room for the others.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What all partitions of a reader have together.
const ALL: usize = 64 << 20;
/// What one of them has. A single record may have more: it then takes all of it.
const SHARE: u32 = 16 << 20;

/// The bytes of a reader.
pub(crate) struct Budget(Arc<Semaphore>);

/// A partition's part of it.
pub(crate) struct Share {
    all: Arc<Semaphore>,
    own: Arc<Semaphore>,
}

/// The bytes of one event. Dropping it gives them back.
pub(crate) struct Room {
    _own: OwnedSemaphorePermit,
    _all: OwnedSemaphorePermit,
}

impl Budget {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Semaphore::new(ALL)))
    }

    /// The share of one more partition.
    pub(crate) fn share(&self) -> Share {
        Share {
            all: Arc::clone(&self.0),
            own: Arc::new(Semaphore::new(SHARE as usize)),
        }
    }
}

impl Share {
    /// Waits until there is room for so many bytes.
    pub(crate) async fn room(&self, bytes: usize) -> Room {
        let bytes = u32::try_from(bytes).unwrap_or(SHARE).min(SHARE);
        let take = async |semaphore: &Arc<Semaphore>| {
            let taken = Arc::clone(semaphore).acquire_many_owned(bytes).await;
            taken.expect("nobody closes it")
        };
        Room {
            _own: take(&self.own).await,
            _all: take(&self.all).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn a_partition_that_is_stuck_leaves_room_for_others() {
        let budget = Budget::new();
        let shares = [(); 5].map(|()| budget.share());
        let room = |share: usize, mib: usize| shares[share].room(mib << 20).now_or_never();
        let stuck = (room(0, 10).unwrap(), room(0, 6).unwrap());
        assert!(room(0, 1).is_none(), "its share is used up");
        assert!(room(0, 0).is_some());
        let others = [1, 2, 3].map(|share| room(share, 900).unwrap());
        assert!(room(4, 1).is_none(), "all of it is used up");
        drop(stuck);
        assert!(room(0, 16).is_some());
        assert!(room(4, 1).is_some());
        drop(others);
    }
}
