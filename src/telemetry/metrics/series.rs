//! One series: a count or a histogram, written by one thread and read by any.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::families::Family;

/// One series, as one thread has counted it.
pub(super) struct Series {
    pub(super) family: &'static Family,
    /// As the text has them.
    pub(super) labels: String,
    pub(super) value: Value,
}

/// Written by one thread only.
pub(super) enum Value {
    Count(AtomicU64),
    Histogram {
        bounds: Arc<[u64]>,
        counts: Box<[AtomicU64]>,
        sum: AtomicU64,
    },
}

/// Adds where nobody else does: cheaper than an addition that is atomic as a whole.
fn add(to: &AtomicU64, amount: u64) {
    to.store(
        to.load(Ordering::Relaxed).wrapping_add(amount),
        Ordering::Relaxed,
    );
}

impl Value {
    /// An empty one with these bounds.
    pub(super) fn histogram(bounds: &Arc<[u64]>) -> Self {
        Self::Histogram {
            bounds: Arc::clone(bounds),
            counts: (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect(),
            sum: AtomicU64::new(0),
        }
    }

    pub(super) fn note(&self, amount: u64) {
        match self {
            Self::Count(count) => add(count, amount),
            Self::Histogram {
                bounds,
                counts,
                sum,
            } => {
                // From the first, since most is quick and short; what is neither can afford it.
                let bucket = bounds.iter().position(|bound| amount <= *bound);
                if let Some(count) = counts.get(bucket.unwrap_or(bounds.len())) {
                    add(count, 1);
                }
                add(sum, amount);
            }
        }
    }

    /// Takes what another series has counted.
    pub(super) fn take(&self, other: &Self) {
        match (self, other) {
            (Self::Count(count), Self::Count(other)) => add(count, other.load(Ordering::Relaxed)),
            (
                Self::Histogram { counts, sum, .. },
                Self::Histogram {
                    counts: others,
                    sum: other,
                    ..
                },
            ) => {
                for (count, other) in counts.iter().zip(others) {
                    add(count, other.load(Ordering::Relaxed));
                }
                add(sum, other.load(Ordering::Relaxed));
            }
            _ => {}
        }
    }
}

/// What all threads together have counted of one series.
#[derive(Default)]
pub(super) struct Sum<'a> {
    pub(super) total: u64,
    pub(super) bounds: Option<&'a [u64]>,
    pub(super) counts: Vec<u64>,
}

impl<'a> Sum<'a> {
    pub(super) fn add(&mut self, series: &'a Series) {
        match &series.value {
            Value::Count(count) => self.total += count.load(Ordering::Relaxed),
            Value::Histogram {
                bounds,
                counts,
                sum,
            } => {
                self.bounds = Some(bounds);
                self.counts.resize(counts.len(), 0);
                for (total, count) in self.counts.iter_mut().zip(counts) {
                    *total += count.load(Ordering::Relaxed);
                }
                self.total += sum.load(Ordering::Relaxed);
            }
        }
    }
}
