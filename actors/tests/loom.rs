//! The lane protocol under loom: every interleaving of push, register, wake and credit, on the
//! very source that ships (`actors/src/lane.rs`, `components/contract/src/credit.rs`).
//!
//! `RUSTFLAGS="--cfg bindery_loom" cargo test -p bindery-actors --test loom`

#![cfg(bindery_loom)]

use std::future::poll_fn;

use bindery_actors::lane::Lane;
use bindery_contract::credit::Credit;
use bindery_contract::sync::Arc;
use loom::future::block_on;
use loom::thread;

/// All interleavings with at most three preemptions: what finds nearly every fault, in seconds
/// instead of hours.
fn model(check: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(check);
}

/// Takes until `count` events have come.
fn consume<T>(lane: &Lane<T>, count: usize, mut each: impl FnMut(T)) {
    let mut taken = Vec::new();
    let mut seen = 0;
    while seen < count {
        block_on(poll_fn(|cx| lane.poll_take(cx, &mut taken)));
        seen += taken.len();
        taken.drain(..).for_each(&mut each);
    }
}

#[test]
fn no_wake_up_is_ever_missed() {
    model(|| {
        let lane = Arc::new(Lane::new(2));
        let producers: Vec<_> = (0..2)
            .map(|number| {
                let lane = Arc::clone(&lane);
                thread::spawn(move || lane.push(number))
            })
            .collect();
        let mut sum = 0;
        consume(&lane, 2, |number| sum += number);
        assert_eq!(sum, 1);
        producers
            .into_iter()
            .for_each(|producer| producer.join().unwrap());
    });
}

#[test]
fn a_producer_with_a_slot_always_finds_room_and_order_is_kept() {
    model(|| {
        let lane = Arc::new(Lane::new(1));
        let slots = Credit::new(1);
        let producer = {
            let (lane, slots) = (Arc::clone(&lane), Arc::clone(&slots));
            thread::spawn(move || {
                for number in 0..2 {
                    let slot = block_on(slots.take());
                    lane.push((number, slot));
                }
            })
        };
        let mut next = 0;
        consume(&lane, 2, |(number, slot)| {
            assert_eq!(number, next);
            next += 1;
            drop(slot);
        });
        producer.join().unwrap();
        assert_eq!(slots.free(), 1);
    });
}

#[test]
fn a_credit_goes_to_whoever_waits_and_is_never_lost() {
    model(|| {
        let credit = Credit::new(1);
        let waiters: Vec<_> = (0..2)
            .map(|_| {
                let credit = Arc::clone(&credit);
                thread::spawn(move || drop(block_on(credit.take())))
            })
            .collect();
        if let Some(credited) = credit.try_take() {
            drop(credited);
        }
        waiters
            .into_iter()
            .for_each(|waiter| waiter.join().unwrap());
        assert_eq!(credit.free(), 1);
    });
}

#[test]
fn a_waiter_that_gives_up_at_any_moment_passes_its_credit_on() {
    model(|| {
        let credit = Credit::new(1);
        let held = credit.try_take().unwrap();
        let gives_up = {
            let credit = Arc::clone(&credit);
            thread::spawn(move || {
                let mut take = credit.take();
                let mut polled = false;
                // One look, then it goes away, whatever it saw.
                block_on(poll_fn(|cx| {
                    if !std::mem::replace(&mut polled, true) {
                        let _ = std::pin::Pin::new(&mut take).poll(cx).map(drop);
                    }
                    std::task::Poll::Ready(())
                }));
            })
        };
        drop(held);
        gives_up.join().unwrap();
        drop(block_on(credit.take()));
        assert_eq!(credit.free(), 1);
    });
}
