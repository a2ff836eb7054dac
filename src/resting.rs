//! Memory that nobody needs any more goes back to the system.
//!
//! An allocator keeps for a while what was freed, and looks at it again when it is used. A thread
//! that rests does not use it, maybe for hours; so it is used here, when a worker comes to rest and
//! now and then on behalf of the threads that have ended.

use std::cell::Cell;
use std::hint::black_box;
use std::time::Duration;

use bindery_contract::Clock;

/// How long after the last connection came to rest or ended its memory is given back. Allocators
/// keep for a second what was freed.
const GIVE_BACK_AFTER: Duration = Duration::from_secs(3);
/// How often what threads left behind is looked at, and how long after its first look a worker
/// looks again: threads that did work for it aside end ten seconds after that.
const LOOK: Duration = Duration::from_secs(10);
/// An allocator asks the system for as much as this alone, and then looks at what all threads have
/// freed.
const LARGE: usize = 16 << 20;
/// It looks at what a thread keeps for later once this thread has asked it for something many
/// times. That takes about a millisecond.
const MIDDLE: usize = 64 << 10;
const MANY: usize = 16_000;

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
        look_through_this_thread();
        clock.sleep(LOOK).await;
        look_through_this_thread();
    });
}

fn look_through_this_thread() {
    (0..MANY).for_each(|_| use_allocator(MIDDLE));
}

/// Gives back what threads have left behind that have ended.
pub(crate) async fn give_back_now_and_then(clock: Clock) {
    loop {
        clock.sleep(LOOK).await;
        use_allocator(LARGE);
    }
}

fn use_allocator(bytes: usize) {
    drop(black_box(Vec::<u8>::with_capacity(bytes)));
}
