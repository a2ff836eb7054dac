//! What is known of statements by their text, for the mode that keeps it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio_postgres::types::Type;

use crate::statement::Wants;

/// At most this many statements, or descriptions of some, are kept.
pub(crate) const KEPT: usize = 512;

/// What is known of a statement.
pub(crate) struct Described {
    /// The text to send, which may differ from that of the request.
    pub(crate) sql: String,
    /// The types of its arguments.
    pub(crate) types: Vec<Type>,
}

/// Descriptions by the text of the request. They are true on every connection.
#[derive(Default)]
pub(crate) struct Descriptions {
    for_count: Mutex<HashMap<String, Arc<Described>>>,
    for_rows: Mutex<HashMap<String, Arc<Described>>>,
}

impl Descriptions {
    pub(crate) fn get(&self, wants: Wants, sql: &str) -> Option<Arc<Described>> {
        self.lock(wants).get(sql).cloned()
    }

    /// Keeps a description; all others are dropped when there are too many.
    pub(crate) fn keep(&self, wants: Wants, sql: &str, described: Described) -> Arc<Described> {
        let described = Arc::new(described);
        let mut known = self.lock(wants);
        if known.len() >= KEPT {
            known.clear();
        }
        known.insert(sql.to_owned(), Arc::clone(&described));
        described
    }

    pub(crate) fn forget(&self, wants: Wants, sql: &str) {
        self.lock(wants).remove(sql);
    }

    fn lock(&self, wants: Wants) -> std::sync::MutexGuard<'_, HashMap<String, Arc<Described>>> {
        let known = match wants {
            Wants::Count => &self.for_count,
            Wants::Rows => &self.for_rows,
        };
        known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_descriptions_is_limited() {
        let known = Descriptions::default();
        for number in 0..=KEPT {
            let described = Described {
                sql: String::new(),
                types: Vec::new(),
            };
            known.keep(Wants::Rows, &number.to_string(), described);
        }
        assert!(known.get(Wants::Rows, "0").is_none());
        let last = KEPT.to_string();
        assert!(known.get(Wants::Rows, &last).is_some());
        assert!(known.get(Wants::Count, &last).is_none());
        known.forget(Wants::Rows, &last);
        assert!(known.get(Wants::Rows, &last).is_none());
    }
}
