//! The synchronisation primitives of the event path.
//!
//! Credit and lanes are written against this module instead of `std`, so that loom can run the
//! very source we ship: built with `--cfg bindery_loom`, the same names are loom's models.

// Counting references is the standard library's own affair in both worlds.
pub use std::sync::{Arc, PoisonError};

#[cfg(not(bindery_loom))]
pub use std::sync::{Mutex, MutexGuard};

#[cfg(bindery_loom)]
pub use loom::sync::{Mutex, MutexGuard};

/// Locks, and goes on when another holder panicked.
///
/// The data behind our locks is changed in steps that cannot panic halfway, so a poisoned lock
/// still guards a whole value; refusing it would turn one panic into many.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
