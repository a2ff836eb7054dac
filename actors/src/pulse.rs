//! A thread's pulse: whether it still runs its tasks, and whose code it runs now.
//!
//! A thread beats while its tasks are polled. Code that blocks it stops the beat, and the
//! watchdog, which lives on a thread without any binding's code, then reads here whose code it
//! was. It costs two stores for each poll of a binding's future.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, PoisonError, RwLock};
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

/// A number for a component, unique in the process. Zero is nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ComponentId(u32);

/// How people know each component, and how many hold its number.
static NAMES: LazyLock<RwLock<Names>> = LazyLock::new(RwLock::default);

type Names = HashMap<ComponentId, (Arc<str>, usize)>;

impl ComponentId {
    /// A new number, for a component that people know as `display`.
    pub fn next(display: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let id = Self(NEXT.fetch_add(1, Ordering::Relaxed));
        id.hold(display);
        id
    }

    /// Holds the number once more, for a component that people know as `display` now.
    pub(crate) fn hold(self, display: &str) {
        let mut names = NAMES.write().unwrap_or_else(PoisonError::into_inner);
        let (name, holders) = names.entry(self).or_insert_with(|| (display.into(), 0));
        if **name != *display {
            *name = display.into();
        }
        *holders += 1;
    }

    /// How people know the component.
    pub fn display(self) -> Arc<str> {
        let names = NAMES.read().unwrap_or_else(PoisonError::into_inner);
        names.get(&self).map_or_else(
            || "a component that is gone".into(),
            |(name, _)| Arc::clone(name),
        )
    }

    /// One who held the number is gone. With the last one, its name is forgotten.
    pub(crate) fn let_go(self) {
        let mut names = NAMES.write().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut held) = names.entry(self) {
            held.get_mut().1 -= 1;
            if held.get().1 == 0 {
                held.remove();
            }
        }
    }
}

/// The pulse of one thread.
#[derive(Default)]
pub struct Pulse {
    /// Moves on with every beat and every poll of a binding's future.
    count: AtomicU64,
    /// Whose future is being polled.
    running: AtomicU32,
}

thread_local! {
    static HERE: OnceCell<Arc<Pulse>> = const { OnceCell::new() };
}

impl Pulse {
    /// The pulse of the current thread.
    pub fn here() -> Arc<Self> {
        HERE.with(|here| Arc::clone(here.get_or_init(Arc::default)))
    }

    /// Says that the thread runs its tasks.
    pub fn beat(&self) {
        self.count.fetch_add(1, Ordering::Relaxed);
    }

    /// A number that stands still while the thread is blocked, and whose code it runs.
    pub fn read(&self) -> (u64, Option<ComponentId>) {
        let running = self.running.load(Ordering::Relaxed);
        (
            self.count.load(Ordering::Relaxed),
            (running != 0).then_some(ComponentId(running)),
        )
    }

    /// Whose code the current thread runs, for the log.
    pub fn running_here() -> Option<ComponentId> {
        HERE.with(|here| here.get().and_then(|pulse| pulse.read().1))
    }
}

pin_project! {
    /// A binding's future, marked as such on the pulse of the thread that polls it.
    pub struct Watched<F> {
        #[pin]
        future: F,
        component: ComponentId,
    }
}

/// Marks a future as code of a component.
pub fn watched<F: Future>(component: ComponentId, future: F) -> Watched<F> {
    Watched { future, component }
}

impl<F: Future> Future for Watched<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        /// Puts back who ran before, also when the future panics.
        struct Running<'a>(&'a Pulse, u32);
        impl Drop for Running<'_> {
            fn drop(&mut self) {
                self.0.running.store(self.1, Ordering::Relaxed);
            }
        }
        let this = self.project();
        HERE.with(|here| {
            let pulse = here.get_or_init(Arc::default);
            let before = pulse.running.load(Ordering::Relaxed);
            pulse.running.store(this.component.0, Ordering::Relaxed);
            // Only this thread writes the count, so a load and a store do.
            pulse
                .count
                .store(pulse.count.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
            let _running = Running(pulse, before);
            this.future.poll(cx)
        })
    }
}

#[cfg(all(test, not(bindery_loom)))]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn a_pulse_knows_whose_code_runs() {
        let component = ComponentId::next("c");
        let inner = watched(component, async { Pulse::running_here() });
        assert_eq!(inner.now_or_never(), Some(Some(component)));
        assert_eq!(Pulse::running_here(), None);
    }

    #[test]
    fn a_name_is_known_as_long_as_somebody_holds_the_number() {
        let component = ComponentId::next("before");
        component.hold("after");
        component.let_go();
        assert_eq!(&*component.display(), "after");
        component.let_go();
        assert_eq!(&*component.display(), "a component that is gone");
    }

    #[test]
    fn a_panic_does_not_leave_its_mark() {
        let future = watched(ComponentId::next("c"), async { panic!("on purpose") });
        let outcome = std::panic::AssertUnwindSafe(future)
            .catch_unwind()
            .now_or_never();
        assert!(outcome.expect("it is done").is_err());
        assert_eq!(Pulse::running_here(), None);
    }
}
