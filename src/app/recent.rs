//! What was made for the last keys: most come again with the next event.

use std::cell::RefCell;

/// How many keys are held: each is looked at until the one that is asked for is found.
const MOST: usize = 32;

/// Values by their keys, at most [`MOST`], for one thread.
pub(super) struct Recent<K, V>(RefCell<Vec<(K, V)>>);

impl<K, V> Default for Recent<K, V> {
    fn default() -> Self {
        Self(RefCell::default())
    }
}

impl<K, V: Clone> Recent<K, V> {
    /// The value whose key it is, or the one that is made now.
    pub(super) fn find<E>(
        &self,
        is_it: impl Fn(&K) -> bool,
        make: impl FnOnce() -> Result<(K, V), E>,
    ) -> Result<V, E> {
        let mut held = self.0.borrow_mut();
        if let Some((_, value)) = held.iter().find(|(key, _)| is_it(key)) {
            return Ok(value.clone());
        }
        let (key, value) = make()?;
        if held.len() == MOST {
            held.clear();
        }
        held.push((key, value.clone()));
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_made_once_and_not_kept_without_end() {
        let recent = Recent::default();
        let find = |key: usize| recent.find(|known| *known == key, || Ok::<_, ()>((key, key + 1)));
        assert_eq!(find(7), Ok(8));
        let again = recent.find(|known| *known == 7, || Err("made again"));
        assert_eq!(again, Ok(8));
        assert!((0..1000).all(|key| find(key) == Ok(key + 1)));
        assert!(recent.0.borrow().len() <= MOST);
        assert_eq!(
            recent.find(|_| false, || Err("cannot be made")),
            Err("cannot be made")
        );
    }
}
