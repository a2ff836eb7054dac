//! Metadata: the string pairs that travel with a request, a reply and an event.

use std::borrow::Cow;

/// A map from string to string, small and cheap to build.
///
/// Most requests carry fewer than ten entries, so the pairs live in one sorted vector. Keys that
/// are known at compile time cost no allocation. Keys are case-sensitive (R1 of the
/// catalogue); a later value for the same key replaces the earlier one.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Metadata {
    entries: Vec<(Cow<'static, str>, String)>,
}

impl Metadata {
    /// No entries.
    pub const fn new() -> Self {
        Self {
            entries: Vec::new(),
        }
    }

    /// The value of `key`, compared exactly.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.position(key)
            .ok()
            .map(|at| self.entries[at].1.as_str())
    }

    /// The value of the first key that equals `key` without regard to ASCII case.
    pub fn get_any_case(&self, key: &str) -> Option<&str> {
        self.get(key).or_else(|| {
            self.entries
                .iter()
                .find(|(name, _)| name.eq_ignore_ascii_case(key))
                .map(|(_, value)| value.as_str())
        })
    }

    /// Whether `key` has a value, compared exactly.
    pub fn contains(&self, key: &str) -> bool {
        self.position(key).is_ok()
    }

    /// Sets `key` and returns the value it replaces.
    pub fn insert(
        &mut self,
        key: impl Into<Cow<'static, str>>,
        value: impl Into<String>,
    ) -> Option<String> {
        let key = key.into();
        match self.position(&key) {
            Ok(at) => Some(std::mem::replace(&mut self.entries[at].1, value.into())),
            Err(at) => {
                self.entries.insert(at, (key, value.into()));
                None
            }
        }
    }

    /// Sets `key` and returns the whole map: for building one in an expression.
    pub fn with(mut self, key: impl Into<Cow<'static, str>>, value: impl Into<String>) -> Self {
        self.insert(key, value);
        self
    }

    /// Removes `key` and returns its value.
    pub fn remove(&mut self, key: &str) -> Option<String> {
        self.position(key).ok().map(|at| self.entries.remove(at).1)
    }

    /// All pairs, in byte order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.entries
            .iter()
            .map(|(key, value)| (key.as_ref(), value.as_str()))
    }

    /// How many pairs there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn position(&self, key: &str) -> Result<usize, usize> {
        self.entries
            .binary_search_by(|(name, _)| name.as_ref().cmp(key))
    }
}

impl<K: Into<Cow<'static, str>>, V: Into<String>> FromIterator<(K, V)> for Metadata {
    /// Sorts once, so that a request with very many entries stays linear-logarithmic.
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        let mut entries: Vec<(Cow<'static, str>, String)> = pairs
            .into_iter()
            .map(|(key, value)| (key.into(), value.into()))
            .collect();
        // Stable, so among equal keys the last one given is the last of its run.
        entries.sort_by(|a, b| a.0.cmp(&b.0));
        entries.dedup_by(|later, earlier| {
            let same = later.0 == earlier.0;
            if same {
                std::mem::swap(later, earlier);
            }
            same
        });
        Self { entries }
    }
}

impl Extend<(Cow<'static, str>, String)> for Metadata {
    fn extend<I: IntoIterator<Item = (Cow<'static, str>, String)>>(&mut self, pairs: I) {
        let old = std::mem::take(&mut self.entries);
        *self = old.into_iter().chain(pairs).collect();
    }
}

impl IntoIterator for Metadata {
    type Item = (Cow<'static, str>, String);
    type IntoIter = std::vec::IntoIter<Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.entries.into_iter()
    }
}

impl std::fmt::Debug for Metadata {
    /// Keys only: values may be what a caller would not want in a log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set()
            .entries(self.entries.iter().map(|(key, _)| key))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_value_replaces_an_earlier_one() {
        let metadata: Metadata = [("b", "1"), ("a", "2"), ("b", "3")].into_iter().collect();
        assert_eq!(
            metadata.iter().collect::<Vec<_>>(),
            [("a", "2"), ("b", "3")]
        );
        assert_eq!(metadata.clone().with("a", "4").get("a"), Some("4"));
    }

    #[test]
    fn keys_are_case_sensitive_unless_asked_otherwise() {
        let metadata = Metadata::new().with("ttlInSeconds", "1");
        assert_eq!(metadata.get("ttlinseconds"), None);
        assert_eq!(metadata.get_any_case("TTLINSECONDS"), Some("1"));
    }

    #[test]
    fn values_stay_out_of_the_debug_text() {
        let text = format!(
            "{:?}",
            Metadata::new().with("Authorization", "Bearer hunter2")
        );
        assert!(
            text.contains("Authorization") && !text.contains("hunter2"),
            "{text}"
        );
    }
}
