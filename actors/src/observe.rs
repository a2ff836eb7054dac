//! Who is told what happens, to count it. The actors themselves know no metrics.

use std::time::Duration;

use crate::component::Component;
use crate::life::FailureClass;

/// Counts what it is told of. It is called on the threads where things happen, so it must neither
/// wait nor take long.
pub trait Observer: Send + Sync + 'static {
    /// One side of a component was opened: at the start, or anew.
    fn opened(&self, component: &Component);

    /// One side of a component could not be opened.
    fn open_failed(&self, component: &Component, class: FailureClass);

    /// An event has come to its end: the app took it, or its attempts are used up. `took` goes
    /// from the first attempt to the end. What was stopped on its way is not told.
    fn delivered(&self, component: &str, took: Duration, is_taken: bool);
}
