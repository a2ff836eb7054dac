//! Memory that idle connections do not need any more goes back to the system.

use std::cell::Cell;
use std::hint::black_box;
use std::time::Duration;

use bindery_contract::Clock;

/// How long after the last connection came to rest or ended its memory is given back. Allocators
/// keep for a second what was freed.
const GIVE_BACK_AFTER: Duration = Duration::from_secs(3);
/// An allocator asks the system for as much as this alone, and looks then what it has to give back.
const LARGE: usize = 16 << 20;

thread_local! {
    /// How many connections of this thread came to rest or to their end.
    static SO_FAR: Cell<usize> = const { Cell::new(0) };
    static IS_WATCHED: Cell<bool> = const { Cell::new(false) };
}

/// One more connection of this thread, a worker's, rests or has ended. When no other follows for a
/// while, their memory is given back.
pub(crate) fn one_more(clock: &Clock) {
    SO_FAR.set(SO_FAR.get().wrapping_add(1));
    if IS_WATCHED.replace(true) {
        return;
    }
    let clock = clock.clone();
    actix_rt::spawn(async move {
        let mut seen = None;
        while seen.replace(SO_FAR.get()) != Some(SO_FAR.get()) {
            clock.sleep(GIVE_BACK_AFTER).await;
        }
        IS_WATCHED.set(false);
        give_back();
    });
}

/// Has the allocator return to the system what was freed a while ago. It does so when it is used,
/// and a worker whose connections are idle may not use it for hours.
fn give_back() {
    drop(black_box(Vec::<u8>::with_capacity(LARGE)));
}
