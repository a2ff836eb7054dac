//! Wakes that travel together.
//!
//! To wake a thread costs a system call, and one that is awake is woken again by each event that
//! comes a moment later. So whoever has many events to pass on does it in a burst, and each of
//! those who wait for them is woken once, at its end.
//!
//! On their way to the app, events burst while their reader is polled: it sends what it can, and
//! the lanes' consumers are woken when it has nothing more to send for now. On their way back,
//! acknowledgements burst while an outbox is emptied. Outside a burst a wake is what it always is,
//! so nobody has to know of bursts to be correct: a binding may send from any thread or task.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use pin_project_lite::pin_project;

thread_local! {
    /// How many bursts this thread is in, one within the other.
    static DEPTH: Cell<usize> = const { Cell::new(0) };
    /// Whom to wake at the end of the outermost.
    static HELD: RefCell<Vec<Waker>> = const { RefCell::new(Vec::new()) };
}

/// Does `work` in a burst.
pub(crate) fn burst<R>(work: impl FnOnce() -> R) -> R {
    /// Ends the burst, also when `work` panics.
    struct End;
    impl Drop for End {
        fn drop(&mut self) {
            let depth = DEPTH.get() - 1;
            DEPTH.set(depth);
            if depth == 0
                && let Ok(held) = HELD.try_with(RefCell::take)
            {
                held.into_iter().for_each(Waker::wake);
            }
        }
    }
    DEPTH.set(DEPTH.get() + 1);
    let _end = End;
    work()
}

/// Wakes somebody: at the end of the burst, if this thread is in one.
pub(crate) fn wake(waker: &Waker) {
    let hold = |held: &RefCell<Vec<Waker>>| {
        let mut held = held.borrow_mut();
        if !held.iter().any(|known| known.will_wake(waker)) {
            held.push(waker.clone());
        }
    };
    // A thread that ends holds nobody any more.
    if DEPTH.get() == 0 || HELD.try_with(hold).is_err() {
        waker.wake_by_ref();
    }
}

pin_project! {
    /// A reader's future: what it passes on in one poll is a burst, and what comes back in one
    /// burst wakes it once.
    pub(crate) struct Bursting<F> {
        #[pin]
        reader: F,
        waker: Option<(Waker, Waker)>,
    }
}

/// Makes a reader's future one that sends and hears in bursts.
pub(crate) fn bursting<F: Future>(reader: F) -> Bursting<F> {
    Bursting {
        reader,
        waker: None,
    }
}

impl<F: Future> Future for Bursting<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let known = this.waker.take();
        let known = known.filter(|(task, _)| task.will_wake(cx.waker()));
        let (_, patient) = this.waker.insert(known.unwrap_or_else(|| {
            let task = cx.waker().clone();
            (task.clone(), Arc::new(Patient(task)).into())
        }));
        burst(|| this.reader.poll(&mut Context::from_waker(patient)))
    }
}

/// Wakes a task, at the end of the burst of whoever wakes it.
struct Patient(Waker);

impl Wake for Patient {
    fn wake(self: Arc<Self>) {
        wake(&self.0);
    }

    fn wake_by_ref(self: &Arc<Self>) {
        wake(&self.0);
    }
}

#[cfg(all(test, not(bindery_loom)))]
mod tests {
    use std::future::poll_fn;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::FutureExt;

    use super::*;

    #[derive(Default)]
    struct Counting(AtomicUsize);

    impl Counting {
        fn times(&self) -> usize {
            self.0.load(Ordering::Relaxed)
        }
    }

    impl Wake for Counting {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn who_is_woken_many_times_in_a_burst_wakes_once_at_its_end() {
        let sleeper = Arc::new(Counting::default());
        let waker = Waker::from(Arc::clone(&sleeper));
        wake(&waker);
        assert_eq!(sleeper.times(), 1);
        burst(|| {
            wake(&waker);
            burst(|| wake(&waker));
            assert_eq!(sleeper.times(), 1);
        });
        assert_eq!(sleeper.times(), 2);
        wake(&waker);
        assert_eq!(sleeper.times(), 3);
    }

    #[test]
    fn a_burst_that_ends_in_a_panic_wakes_too() {
        let sleeper = Arc::new(Counting::default());
        let waker = Waker::from(Arc::clone(&sleeper));
        let panic = std::panic::catch_unwind(|| {
            burst(|| {
                wake(&waker);
                panic!("on purpose");
            })
        });
        assert!(panic.is_err());
        assert_eq!(sleeper.times(), 1);
    }

    #[test]
    fn a_burst_from_elsewhere_wakes_a_reader_once() {
        let task = Arc::new(Counting::default());
        let waker = Waker::from(Arc::clone(&task));
        let mut reading = None;
        let mut reader = Box::pin(bursting(poll_fn(|cx| {
            reading = Some(cx.waker().clone());
            Poll::<()>::Pending
        })));
        let polled = reader.poll_unpin(&mut Context::from_waker(&waker));
        assert!(polled.is_pending());
        drop(reader);
        let reading = reading.unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| burst(|| (0..3).for_each(|_| reading.wake_by_ref())));
        });
        assert_eq!(task.times(), 1);
        (0..3).for_each(|_| reading.wake_by_ref());
        assert_eq!(task.times(), 4);
    }
}
