//! The way of acknowledgements back to the reader: they wait a moment for each other.
//!
//! A reader that sleeps has to be woken, and to wake a thread for each event costs more than all
//! else that is done for it. So while most of an input's events are still under way, those that
//! are settled wait for company, but only for a moment. Where one event at a time is under way,
//! nothing waits.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use bindery_contract::sink::Delivery;
use bindery_contract::{Clock, Nack};
use bytes::Bytes;

use crate::burst::burst;

/// How many acknowledgements travel together at most.
const BATCH: usize = 32;
/// How long the first of them waits at most.
const MOMENT: Duration = Duration::from_millis(1);

type Outcome = Result<Bytes, Nack>;

/// The outbox of one delivery thread.
pub(crate) struct Outbox {
    clock: Clock,
    settled: RefCell<Vec<(Delivery, Outcome)>>,
    /// Whether somebody will see to what is in here.
    is_watched: Cell<bool>,
}

impl Outbox {
    pub(crate) fn new(clock: Clock) -> Rc<Self> {
        Rc::new(Self {
            clock,
            settled: RefCell::default(),
            is_watched: Cell::new(false),
        })
    }

    /// An event is settled: its reader hears it now, or in a moment.
    pub(crate) fn put(self: &Rc<Self>, delivery: Delivery, outcome: Outcome) {
        let enough = delivery.in_flight().div_ceil(2).min(BATCH);
        let mut settled = self.settled.borrow_mut();
        settled.push((delivery, outcome));
        let is_enough = settled.len() >= enough;
        drop(settled);
        if is_enough {
            self.send();
        } else if !self.is_watched.replace(true) {
            let outbox = Rc::clone(self);
            actix_rt::spawn(async move {
                outbox.clock.sleep(MOMENT).await;
                outbox.is_watched.set(false);
                outbox.send();
            });
        }
    }

    /// Tells the readers of everything that is settled.
    pub(crate) fn send(&self) {
        // Taken out first: what hears of it may come back here.
        let settled = std::mem::take(&mut *self.settled.borrow_mut());
        burst(|| {
            for (delivery, outcome) in settled {
                match outcome {
                    Ok(reply) => delivery.ack(reply),
                    Err(nack) => delivery.nack(nack),
                }
            }
        });
    }
}
