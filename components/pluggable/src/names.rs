//! Names that a component gives, and that have to live as long as the process: the runtime
//! compares operations without copying them.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

/// How long a name may be, in bytes, and how many there may be: a component that always thinks of
/// new ones must not fill the memory.
const LONGEST: usize = 256;
const MOST: usize = 10_000;

static KEPT: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());

/// The name, for ever; nothing for one that is too long or one too many.
pub(crate) fn lasting(name: &str) -> Option<&'static str> {
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(name) = kept.get(name) {
        return Some(name);
    }
    if name.len() > LONGEST || kept.len() >= MOST {
        return None;
    }
    let name: &'static str = Box::leak(name.into());
    kept.insert(name);
    Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_kept_once() {
        let (one, two) = (lasting("create"), lasting(&String::from("create")));
        assert!(std::ptr::eq(one.unwrap(), two.unwrap()));
        assert_eq!(lasting(&"x".repeat(LONGEST + 1)), None);
    }
}
