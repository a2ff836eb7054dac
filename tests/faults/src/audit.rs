//! The audit: what the source gave out, beside what the app took and what became a dead letter.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::ledger::{Entry, Event};

/// What an audit found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Audit {
    /// How many events the source gave out.
    pub events: u64,
    /// How many of them nobody ever took.
    pub lost: u64,
    /// How many were taken before one of the same key that comes before them.
    pub out_of_order: u64,
    /// How many were taken again.
    pub duplicates: u64,
    /// The most that were taken again in one reading of the source: what one end of the reading
    /// before it explains.
    pub most_duplicates: u64,
    /// How many are taken or dead, and not acknowledged to the source.
    pub unacknowledged: u64,
    /// How many were acknowledged to the source, and nobody took them.
    pub too_early: u64,
}

/// Compares. `given` is how many events each key has, `acknowledged` up to which number the
/// source was told; `dead` went to the dead letter.
pub fn audit(
    given: &BTreeMap<String, u64>,
    acknowledged: &BTreeMap<String, u64>,
    entries: &[Entry],
    dead: &HashSet<Event>,
) -> Audit {
    let mut audit = Audit::default();
    for (key, count) in given {
        let taken = Taken::of(key, entries, dead);
        audit.events += count;
        audit.lost += (1..=*count).filter(|n| !taken.numbers.contains(n)).count() as u64;
        audit.out_of_order += taken.out_of_order;
        let upto = acknowledged.get(key).copied().unwrap_or(0);
        audit.unacknowledged += taken.numbers.iter().filter(|n| **n > upto).count() as u64;
        audit.too_early += (1..=upto).filter(|n| !taken.numbers.contains(n)).count() as u64;
    }
    let by_reading = duplicates(entries);
    audit.duplicates = by_reading.values().sum();
    audit.most_duplicates = by_reading.values().copied().max().unwrap_or(0);
    audit
}

/// One key's line through the ledger.
struct Taken {
    numbers: HashSet<u64>,
    out_of_order: u64,
}

impl Taken {
    fn of(key: &str, entries: &[Entry], dead: &HashSet<Event>) -> Self {
        let buried = dead.iter().filter(|event| event.key == key);
        let buried: HashSet<u64> = buried.map(|event| event.number).collect();
        let mut taken = Self {
            numbers: HashSet::new(),
            out_of_order: 0,
        };
        // The highest number of any reading, and the last of each: a new one begins again where
        // the source's position is, and from there on has to keep the order too.
        let (mut highest, mut last) = (0, HashMap::new());
        for entry in entries.iter().filter(|e| e.taken && e.event.key == key) {
            let number = entry.event.number;
            let skips_dead = |from: u64| (from + 1..number).all(|n| buried.contains(&n));
            let follows = match last.insert(entry.reading, number) {
                Some(last) => number > last && skips_dead(last),
                None => number <= highest || skips_dead(highest),
            };
            // What skips one that nobody has taken yet, or comes back behind a later one.
            if !follows {
                taken.out_of_order += 1;
            }
            taken.numbers.insert(number);
            highest = highest.max(number);
        }
        taken.numbers.extend(buried);
        taken
    }
}

/// How many events each reading took that were taken before.
fn duplicates(entries: &[Entry]) -> HashMap<u64, u64> {
    let mut seen = HashSet::new();
    let mut by_reading = HashMap::new();
    for entry in entries.iter().filter(|entry| entry.taken) {
        if !seen.insert(&entry.event) {
            *by_reading.entry(entry.reading).or_insert(0) += 1;
        }
    }
    by_reading
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::Index;

    use super::*;

    fn entry(key: &str, number: u64, reading: u64, taken: bool) -> Entry {
        let key = key.to_owned();
        let event = Event { key, number };
        Entry {
            event,
            reading,
            taken,
        }
    }

    fn took(numbers: impl IntoIterator<Item = u64>, reading: u64) -> Vec<Entry> {
        let numbers = numbers.into_iter();
        numbers
            .map(|number| entry("k", number, reading, true))
            .collect()
    }

    fn of(count: u64) -> BTreeMap<String, u64> {
        BTreeMap::from([("k".into(), count)])
    }

    fn judge(count: u64, entries: &[Entry]) -> Audit {
        audit(&of(count), &of(count), entries, &HashSet::new())
    }

    #[test]
    fn a_body_says_what_it_was() {
        let event = Event {
            key: "k3".into(),
            number: 17,
        };
        let body = event.body();
        assert_eq!(Event::of(&body), Some(event));
        assert_eq!(Event::of(&body.replace("17", "18")), None);
        assert_eq!(Event::of(&body[..body.len() - 1]), None);
    }

    #[test]
    fn a_dead_letter_is_neither_lost_nor_out_of_order() {
        let entries = took([1, 2, 4], 1);
        let dead = HashSet::from([Event {
            key: "k".into(),
            number: 3,
        }]);
        let audit = audit(&of(4), &of(4), &entries, &dead);
        assert_eq!(
            audit,
            Audit {
                events: 4,
                ..Audit::default()
            }
        );
        assert_eq!(judge(4, &entries).lost, 1);
    }

    #[test]
    fn an_acknowledgement_before_the_app_is_found() {
        let audit = audit(&of(3), &of(3), &took([1, 2], 1), &HashSet::new());
        assert_eq!((audit.lost, audit.too_early), (1, 1));
    }

    #[test]
    fn what_the_source_was_not_told_is_found() {
        let audit = audit(&of(3), &of(1), &took(1..=3, 1), &HashSet::new());
        assert_eq!((audit.lost, audit.unacknowledged), (0, 2));
    }

    #[test]
    fn a_replay_out_of_its_order_is_found() {
        let mut entries = took(1..=5, 1);
        entries.extend(took([3, 5, 4, 6], 2));
        assert_eq!(judge(6, &entries).out_of_order, 3);
    }

    proptest! {
        /// Runs that end anywhere and go on at most so far back are duplicates, and nothing else.
        #[test]
        fn an_honest_ledger_is_clean_but_for_its_duplicates(
            runs in prop::collection::vec((1u64..20, 0u64..6), 1..20),
            refused in prop::collection::vec(any::<Index>(), 0..20),
        ) {
            let (mut entries, mut at, mut again, mut most) = (Vec::new(), 0u64, 0, 0);
            for (run, (forward, back)) in (1..).zip(&runs) {
                let from = at.saturating_sub(*back);
                let upto = (from + forward).max(1);
                let twice = at.min(upto) - from.min(at);
                (again, most) = (again + twice, twice.max(most));
                entries.extend(took(from + 1..=upto, run));
                at = at.max(upto);
            }
            for index in refused {
                let at = index.index(entries.len());
                let mut refused = entries[at].clone();
                refused.taken = false;
                entries.insert(at, refused);
            }
            let found = judge(at, &entries);
            prop_assert_eq!(found, Audit {
                events: at, duplicates: again, most_duplicates: most, ..Audit::default()
            });
        }

        /// One event is missing, wherever: it is found.
        #[test]
        fn a_lost_event_is_found(count in 2u64..50, at in any::<Index>()) {
            let mut entries = took(1..=count, 1);
            let missing = entries.remove(at.index(entries.len()));
            let found = judge(count, &entries);
            prop_assert_eq!((found.lost, found.too_early), (1, 1));
            // Only the last leaves no gap for the one behind it.
            prop_assert_eq!(found.out_of_order, u64::from(missing.event.number != count));
        }

        /// Two neighbours change places, wherever: it is found.
        #[test]
        fn an_event_that_overtakes_is_found(count in 2u64..50, at in any::<Index>()) {
            let mut entries = took(1..=count, 1);
            let at = at.index(entries.len() - 1);
            entries.swap(at, at + 1);
            let found = judge(count, &entries);
            prop_assert!(found.out_of_order > 0);
            prop_assert_eq!((found.lost, found.duplicates), (0, 0));
        }

        /// Keys do not disturb each other.
        #[test]
        fn keys_are_told_apart(order in prop::collection::vec(0u8..3, 1..60)) {
            let (mut given, mut entries) = (BTreeMap::new(), Vec::new());
            for key in order {
                let key = format!("k{key}");
                let count = given.entry(key.clone()).or_insert(0);
                *count += 1;
                entries.push(entry(&key, *count, 1, true));
            }
            let found = audit(&given, &given, &entries, &HashSet::new());
            let events = entries.len() as u64;
            prop_assert_eq!(found, Audit { events, ..Audit::default() });
        }
    }
}
