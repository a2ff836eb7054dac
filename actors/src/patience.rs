//! Patience with the app: an event that it neither takes nor refuses is told of from time to time.
//!
//! Nearly all are answered at once, and a timer for each would cost more than the rest of what is
//! done here. So there is one for all events of a thread: it sleeps until the eldest is due.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use bindery_contract::{Clock, Instant};
use slab::Slab;

/// After how long without an answer an event is told of, and again each time.
const SILENCE: Duration = Duration::from_secs(60);

/// Those who wait for the app on one thread.
pub(crate) struct Patience {
    clock: Clock,
    waiting: RefCell<Slab<Waiting>>,
    /// Whether the timer runs.
    is_watched: Cell<bool>,
}

struct Waiting {
    since: Instant,
    /// When it is told of next.
    due: Instant,
    /// Whether that time has come.
    is_due: bool,
    waker: Waker,
}

impl Patience {
    pub(crate) fn new(clock: Clock) -> Rc<Self> {
        Rc::new(Self {
            clock,
            waiting: RefCell::default(),
            is_watched: Cell::new(false),
        })
    }

    /// Waits for an answer, and tells from time to time how long it has waited.
    pub(crate) async fn wait<F: Future>(
        self: &Rc<Self>,
        answer: F,
        mut tell: impl FnMut(Duration),
    ) -> F::Output {
        let mut answer = pin!(answer);
        let mut place = None;
        poll_fn(|cx| {
            if let Poll::Ready(answer) = answer.as_mut().poll(cx) {
                return Poll::Ready(answer);
            }
            let place = place.get_or_insert_with(|| self.enter(cx.waker()));
            if let Some(silent) = place.silent(cx.waker()) {
                tell(silent);
            }
            Poll::Pending
        })
        .await
    }

    fn enter<'a>(self: &'a Rc<Self>, waker: &Waker) -> Place<'a> {
        let since = self.clock.now();
        let due = since + SILENCE;
        if !self.is_watched.replace(true) {
            actix_rt::spawn(watch(Rc::downgrade(self), self.clock.clone(), due));
        }
        let number = self.waiting.borrow_mut().insert(Waiting {
            since,
            due,
            is_due: false,
            waker: waker.clone(),
        });
        Place {
            patience: self,
            number,
        }
    }

    /// Wakes those whose time has come; when the next one's comes, if anybody waits.
    fn look(&self) -> Option<Instant> {
        let now = self.clock.now();
        let mut waiting = self.waiting.borrow_mut();
        for (_, it) in waiting.iter_mut().filter(|(_, it)| it.due <= now) {
            it.is_due = true;
            it.due = now + SILENCE;
            it.waker.wake_by_ref();
        }
        let next = waiting.iter().map(|(_, it)| it.due).min();
        self.is_watched.set(next.is_some());
        next
    }
}

/// Looks after those who wait, as long as there are any.
async fn watch(patience: std::rc::Weak<Patience>, clock: Clock, first: Instant) {
    let mut next = Some(first);
    while let Some(due) = next {
        clock.sleep_until(due).await;
        next = patience.upgrade().and_then(|patience| patience.look());
    }
}

/// The place of one who waits; left when this is dropped.
struct Place<'a> {
    patience: &'a Patience,
    number: usize,
}

impl Place<'_> {
    /// How long it has waited, if that is to be told now.
    fn silent(&self, waker: &Waker) -> Option<Duration> {
        let mut waiting = self.patience.waiting.borrow_mut();
        let it = &mut waiting[self.number];
        it.waker.clone_from(waker);
        let is_due = std::mem::take(&mut it.is_due);
        is_due.then(|| {
            self.patience
                .clock
                .now()
                .saturating_duration_since(it.since)
        })
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let left = self.patience.waiting.borrow_mut().remove(self.number);
        drop(left);
    }
}

#[cfg(all(test, not(bindery_loom)))]
mod tests {
    use futures_util::future::join_all;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_long_is_told_of_each_minute_and_the_others_are_not() {
        let local = tokio::task::LocalSet::new();
        let told = RefCell::new(Vec::new());
        let work = async {
            let clock = Clock::system();
            let patience = Patience::new(clock.clone());
            let wait = |name: &'static str, before: u64, long: u64| {
                let (patience, clock, told) = (&patience, &clock, &told);
                async move {
                    clock.sleep(Duration::from_secs(before)).await;
                    let answer = clock.sleep(Duration::from_secs(long));
                    let tell = |silent: Duration| told.borrow_mut().push((name, silent.as_secs()));
                    patience.wait(answer, tell).await;
                }
            };
            join_all([
                wait("long", 0, 130),
                wait("short", 10, 59),
                wait("late", 30, 61),
            ])
            .await;
            // The timer ended with them, and begins again with the next one.
            wait("again", 100, 70).await;
            assert!(patience.waiting.borrow().is_empty());
        };
        local.run_until(work).await;
        let expected = [("long", 60), ("late", 60), ("long", 120), ("again", 60)];
        assert_eq!(told.into_inner(), expected);
    }
}
