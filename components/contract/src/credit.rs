//! Credit: how many may be under way, handed out in order of asking.
//!
//! A small semaphore of our own rather than a library's, because loom checks it together with
//! the lane (`actors/tests/loom.rs`): the waiters and the count are one state machine behind one
//! lock, and a release hands its credit to the first waiter instead of letting all of them race.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use crate::mutation::{Mechanism, is_off};
use crate::sync::{Arc, Mutex, lock};

/// A number of credits that callers wait for.
pub struct Credit {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    free: usize,
    /// Who waits, first come first served. Their numbers only grow, so the queue is sorted.
    queue: VecDeque<Turn>,
    next_turn: u64,
}

struct Turn {
    number: u64,
    waker: Waker,
}

/// One credit. Dropping it gives it back.
pub struct Credited {
    credit: Arc<Credit>,
}

impl Credit {
    /// `capacity` credits, all free.
    pub fn new(capacity: usize) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                free: capacity,
                ..State::default()
            }),
        })
    }

    /// Takes a credit if one is free and nobody waits for it.
    pub fn try_take(self: &Arc<Self>) -> Option<Credited> {
        let mut state = lock(&self.state);
        if state.free == 0 || !state.queue.is_empty() {
            return None;
        }
        state.free -= 1;
        Some(Credited {
            credit: Arc::clone(self),
        })
    }

    /// Waits for a credit. Dropping the future gives up the place in the queue.
    pub fn take(self: &Arc<Self>) -> Take {
        Take {
            credit: Arc::clone(self),
            turn: None,
        }
    }

    /// How many credits are free now.
    pub fn free(&self) -> usize {
        lock(&self.state).free
    }

    fn give_back(&self) {
        let mut state = lock(&self.state);
        match state.queue.pop_front() {
            // The credit goes to the first in the queue and never becomes free.
            Some(turn) => {
                drop(state);
                turn.waker.wake();
            }
            None => state.free += 1,
        }
    }
}

impl State {
    fn turn(&self, number: u64) -> Option<usize> {
        self.queue
            .binary_search_by_key(&number, |turn| turn.number)
            .ok()
    }
}

impl Drop for Credited {
    fn drop(&mut self) {
        if !is_off(Mechanism::PermitReturn) {
            self.credit.give_back();
        }
    }
}

/// Waiting for a credit; see [`Credit::take`].
pub struct Take {
    credit: Arc<Credit>,
    /// Our number in the queue. In the queue: still waiting. Not in it: the credit is ours.
    turn: Option<u64>,
}

impl Future for Take {
    type Output = Credited;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Credited> {
        let this = &mut *self;
        let mut state = lock(&this.credit.state);
        match this.turn {
            None if state.free > 0 && state.queue.is_empty() => state.free -= 1,
            None => {
                let number = state.next_turn;
                state.next_turn += 1;
                state.queue.push_back(Turn {
                    number,
                    waker: cx.waker().clone(),
                });
                this.turn = Some(number);
                return Poll::Pending;
            }
            Some(number) => {
                if let Some(at) = state.turn(number) {
                    state.queue[at].waker.clone_from(cx.waker());
                    return Poll::Pending;
                }
                this.turn = None;
            }
        }
        drop(state);
        Poll::Ready(Credited {
            credit: Arc::clone(&this.credit),
        })
    }
}

impl Drop for Take {
    fn drop(&mut self) {
        let Some(number) = self.turn else { return };
        let mut state = lock(&self.credit.state);
        if let Some(at) = state.turn(number) {
            state.queue.remove(at);
        } else {
            // It was handed to us and we never took it: pass it on.
            drop(state);
            self.credit.give_back();
        }
    }
}

#[cfg(all(test, not(bindery_loom)))]
mod tests {
    use futures_util::FutureExt;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn whoever_asks_first_gets_it_first() {
        let credit = Credit::new(1);
        let held = credit.try_take().unwrap();
        let mut first = credit.take();
        let mut second = credit.take();
        assert!((&mut first).now_or_never().is_none());
        assert!((&mut second).now_or_never().is_none());
        drop(held);
        assert!(
            credit.try_take().is_none(),
            "the credit went to the first waiter"
        );
        assert!((&mut second).now_or_never().is_none());
        drop(
            (&mut first)
                .now_or_never()
                .expect("the first waiter's turn"),
        );
        assert!((&mut second).now_or_never().is_some());
    }

    #[test]
    fn a_waiter_that_gives_up_passes_its_credit_on() {
        let credit = Credit::new(1);
        let held = credit.try_take().unwrap();
        let mut gives_up = credit.take();
        let mut patient = credit.take();
        assert!((&mut gives_up).now_or_never().is_none());
        assert!((&mut patient).now_or_never().is_none());
        drop(held);
        drop(gives_up);
        assert!((&mut patient).now_or_never().is_some());
        assert_eq!(credit.free(), 1);
    }

    proptest! {
        /// Whatever order of taking, giving back and giving up: no credit is ever lost or made.
        #[test]
        fn no_credit_is_ever_lost(capacity in 1usize..5, steps in prop::collection::vec((0u8..4, 0usize..8), 0..200)) {
            let credit = Credit::new(capacity);
            let mut held: Vec<Credited> = Vec::new();
            let mut waiting: Vec<Take> = Vec::new();
            for (step, at) in steps {
                match step {
                    0 => waiting.push(credit.take()),
                    1 if !held.is_empty() => drop(held.swap_remove(at % held.len())),
                    2 if !waiting.is_empty() => drop(waiting.swap_remove(at % waiting.len())),
                    _ => waiting.retain_mut(|take| match take.now_or_never() {
                        Some(credited) => { held.push(credited); false }
                        None => true,
                    }),
                }
                prop_assert!(held.len() <= capacity);
            }
            drop(waiting);
            drop(held);
            prop_assert_eq!(credit.free(), capacity);
        }
    }
}
