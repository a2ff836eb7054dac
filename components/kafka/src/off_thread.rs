//! A value whose drop may block.

use std::ops::Deref;

use tokio::runtime::Handle;

/// Drops what it holds on a thread where that may block: librdkafka joins its threads then.
pub(crate) struct OffThread<T: Send + 'static> {
    value: Option<T>,
    runtime: Handle,
}

impl<T: Send> OffThread<T> {
    pub(crate) fn new(value: T, runtime: &Handle) -> Self {
        Self {
            value: Some(value),
            runtime: runtime.clone(),
        }
    }
}

impl<T: Send> Deref for OffThread<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.value.as_ref().expect("only the drop takes it")
    }
}

impl<T: Send> Drop for OffThread<T> {
    fn drop(&mut self) {
        if let Some(value) = self.value.take() {
            self.runtime.spawn_blocking(move || drop(value));
        }
    }
}
