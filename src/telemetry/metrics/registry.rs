//! What is counted, on each thread apart: a thread that counts shares no memory with another, so
//! counting costs the same however many threads there are. Reading adds up what the threads have.
//!
//! A thread looks a series up by the values of its labels as they are; only the first time are
//! they written out, in full, and made known to those who read.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasher;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use foldhash::fast::RandomState;

use super::families::{Family, GROUPS, Group, Kind};
use super::rules::Rules;
use super::series::{Series, Sum, Value};
use super::text::{Distribution, Text, number, push_label};

/// How many series of one group a thread has before values that come from outside (paths,
/// operations) are counted together, with an empty label: callers must not fill the memory.
const MOST: usize = 1000;

/// The reference's bounds, in milliseconds and in bytes.
pub(super) const LATENCY_BOUNDS: &[u64] = &[
    1, 2, 3, 4, 5, 6, 8, 10, 13, 16, 20, 25, 30, 40, 50, 65, 80, 100, 130, 160, 200, 250, 300, 400,
    500, 650, 800, 1000, 2000, 5000, 10_000, 20_000, 50_000, 100_000,
];
const SIZE_BOUNDS: &[u64] = &[
    1 << 10,
    2 << 10,
    4 << 10,
    16 << 10,
    64 << 10,
    256 << 10,
    1 << 20,
    4 << 20,
    16 << 20,
    64 << 20,
    256 << 20,
    1 << 30,
    4 << 30,
];

/// What a sidecar counts by.
pub(super) struct Settings {
    pub(super) app_id: String,
    pub(super) namespace: String,
    /// In milliseconds, growing.
    pub(super) latency_bounds: Vec<u64>,
    pub(super) rules: Rules,
}

/// All that a sidecar counts.
pub(super) struct Registry {
    app_id: String,
    namespace: String,
    /// In microseconds.
    latency_bounds: Arc<[u64]>,
    size_bounds: Arc<[u64]>,
    rules: Rules,
    series: Mutex<Vec<Arc<Series>>>,
}

impl Registry {
    pub(super) fn new(settings: Settings) -> Arc<Self> {
        let Settings {
            app_id,
            namespace,
            latency_bounds,
            rules,
        } = settings;
        let micros = latency_bounds.iter().map(|bound| bound * 1000);
        Arc::new(Self {
            app_id,
            namespace,
            latency_bounds: micros.collect(),
            size_bounds: SIZE_BOUNDS.into(),
            rules,
            series: Mutex::default(),
        })
    }

    pub(super) fn app_id(&self) -> &str {
        &self.app_id
    }

    /// Counts on the current thread: `amounts` are those of the group's metrics, `values` those
    /// of its labels.
    pub(super) fn note(self: &Arc<Self>, group: &'static Group, values: &[&str], amounts: &[u64]) {
        HERE.with_borrow_mut(|here| {
            let known = here
                .iter()
                .position(|local| local.registry.as_ptr() == Arc::as_ptr(self));
            let index = known.unwrap_or_else(|| {
                // Those of sidecars that have ended.
                here.retain(|local| local.registry.strong_count() > 0);
                self.fold();
                here.push(Local::new(self));
                here.len() - 1
            });
            let local = &mut here[index];
            let series = local.series(self, group, values);
            for (series, amount) in series.iter().zip(amounts) {
                series.value.note(*amount);
            }
        });
    }

    fn create(&self, family: &'static Family, group: &Group, values: &[&str]) -> Arc<Series> {
        let mut labels = String::new();
        for name in family.labels {
            let given = group.labels.iter().position(|label| label == name);
            let value = match (given, *name) {
                (Some(at), _) => values.get(at).copied().unwrap_or_default(),
                (None, "app_id") => &self.app_id,
                (None, "namespace") => &self.namespace,
                (None, _) => "",
            };
            let value = self.rules.apply(family.name, name, value);
            push_label(&mut labels, name, value);
        }
        Arc::new(Series {
            family,
            labels,
            value: match family.kind {
                Kind::Latency => Value::histogram(&self.latency_bounds),
                Kind::Size => Value::histogram(&self.size_bounds),
                Kind::Counter | Kind::Gauge => Value::Count(0.into()),
            },
        })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Series>>> {
        self.series.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes one series of those that threads have left behind. Nobody else writes to them.
    fn fold(&self) {
        let mut all = self.lock();
        let mut kept: HashMap<(&'static str, String), Arc<Series>> = HashMap::new();
        all.retain(|series| {
            if Arc::strong_count(series) > 1 {
                return true;
            }
            let key = (series.family.name, series.labels.clone());
            match kept.get(&key) {
                Some(first) => {
                    first.value.take(&series.value);
                    false
                }
                None => {
                    kept.insert(key, Arc::clone(series));
                    true
                }
            }
        });
    }

    /// Writes everything that was counted.
    pub(super) fn write(&self, text: &mut Text) {
        let mut sums: BTreeMap<&'static str, (&'static Family, BTreeMap<&str, Sum>)> =
            BTreeMap::new();
        let all = self.lock();
        for series in all.iter() {
            let (_, of_family) = sums
                .entry(series.family.name)
                .or_insert_with(|| (series.family, BTreeMap::new()));
            of_family.entry(&series.labels).or_default().add(series);
        }
        for (family, series) in sums.values() {
            text.family(family);
            for (labels, sum) in series {
                match sum.bounds {
                    None => text.sample(family, labels, number(sum.total)),
                    Some(bounds) => text.histogram(
                        family,
                        labels,
                        &Distribution {
                            bounds,
                            counts: &sum.counts,
                            sum: sum.total,
                        },
                    ),
                }
            }
        }
    }
}

thread_local! {
    /// What this thread counts for each sidecar.
    static HERE: RefCell<Vec<Local>> = const { RefCell::new(Vec::new()) };
}

/// What one thread counts for one sidecar.
struct Local {
    registry: Weak<Registry>,
    /// Quick rather than safe from callers who choose their labels to collide: there are a
    /// thousand of them at most.
    hasher: RandomState,
    known: [OfGroup; GROUPS],
}

/// The series of one group.
#[derive(Default)]
struct OfGroup {
    all: Vec<Known>,
    /// Where they are, by the hash of their values.
    places: HashMap<u64, Vec<usize>, RandomState>,
    /// Which was asked for last: most likely it is asked for again.
    last: usize,
}

/// The series of one set of values.
struct Known {
    values: Box<[Box<str>]>,
    series: Box<[Arc<Series>]>,
}

impl Known {
    fn is_of(&self, values: &[&str]) -> bool {
        let mut pairs = self.values.iter().zip(values);
        pairs.all(|(known, value)| **known == **value)
    }
}

impl Local {
    fn new(registry: &Arc<Registry>) -> Self {
        Self {
            registry: Arc::downgrade(registry),
            hasher: RandomState::default(),
            known: std::array::from_fn(|_| OfGroup::default()),
        }
    }

    fn series(
        &mut self,
        registry: &Registry,
        group: &'static Group,
        values: &[&str],
    ) -> &[Arc<Series>] {
        let known = &mut self.known[group.index];
        let is_last = |last: &Known| last.is_of(values);
        if !known.all.get(known.last).is_some_and(is_last) {
            let hash = |values: &[&str]| self.hasher.hash_one(values);
            let mut counted_together: Vec<&str>;
            let mut values = values;
            let mut at = known.find(hash(values), values);
            if at.is_none() && !group.open.is_empty() && known.all.len() >= MOST {
                counted_together = values.to_vec();
                for open in group.open {
                    counted_together[*open] = "";
                }
                values = &counted_together;
                at = known.find(hash(values), values);
            }
            known.last = at.unwrap_or_else(|| {
                let create = |family: &&'static Family| registry.create(family, group, values);
                let series: Box<[Arc<Series>]> = group.families.iter().map(create).collect();
                registry.lock().extend(series.iter().cloned());
                known.add(hash(values), values, series)
            });
        }
        &known.all[known.last].series
    }
}

impl OfGroup {
    fn find(&self, hash: u64, values: &[&str]) -> Option<usize> {
        let mut places = self.places.get(&hash)?.iter().copied();
        places.find(|at| self.all[*at].is_of(values))
    }

    fn add(&mut self, hash: u64, values: &[&str], series: Box<[Arc<Series>]>) -> usize {
        let values = values.iter().map(|value| Box::from(*value)).collect();
        self.all.push(Known { values, series });
        let at = self.all.len() - 1;
        self.places.entry(hash).or_default().push(at);
        at
    }
}

#[cfg(test)]
mod tests {
    use super::super::families;
    use super::*;

    fn registry() -> Arc<Registry> {
        Registry::new(Settings {
            app_id: "shop".into(),
            namespace: "n".into(),
            latency_bounds: vec![1, 10],
            rules: Rules::default(),
        })
    }

    fn text(registry: &Registry) -> String {
        let mut text = Text::default();
        registry.write(&mut text);
        text.finish()
    }

    #[test]
    fn threads_count_apart_and_are_read_together() {
        let registry = registry();
        let count = |registry: &Arc<Registry>| {
            for micros in [500, 1000, 1001, 99_000] {
                registry.note(&families::INPUT, &["orders", "true"], &[1, micros]);
            }
        };
        count(&registry);
        for _ in 0..3 {
            let registry = Arc::clone(&registry);
            std::thread::spawn(move || count(&registry)).join().unwrap();
        }
        let text = text(&registry);
        let labels = r#"app_id="shop",component="orders",namespace="n",success="true""#;
        for line in [
            format!("dapr_component_input_binding_count{{{labels}}} 16"),
            format!("dapr_component_input_binding_latencies_bucket{{{labels},le=\"1\"}} 8"),
            format!("dapr_component_input_binding_latencies_bucket{{{labels},le=\"10\"}} 12"),
            format!("dapr_component_input_binding_latencies_bucket{{{labels},le=\"+Inf\"}} 16"),
            format!("dapr_component_input_binding_latencies_sum{{{labels}}} 406.004"),
        ] {
            assert!(text.contains(&line), "{line} in\n{text}");
        }
        assert!(
            registry.lock().len() <= 6,
            "what threads left behind is folded into one"
        );
    }

    #[test]
    fn two_sidecars_of_one_process_count_apart() {
        let (one, other) = (registry(), registry());
        one.note(&families::OPENED, &["bindings.cron"], &[1]);
        assert!(text(&one).contains("} 1\n"));
        assert_eq!(text(&other), "");
    }

    #[test]
    fn callers_cannot_fill_the_memory() {
        let registry = registry();
        for number in 0..3 * MOST {
            let path = format!("/{number}");
            registry.note(&families::HTTP_SERVER, &["GET", &path, "404"], &[1, 1]);
        }
        let text = text(&registry);
        let together = 2 * MOST;
        let line = format!(
            "dapr_http_server_request_count{{app_id=\"shop\",method=\"GET\",path=\"\",\
             status=\"404\"}} {together}\n"
        );
        assert!(text.contains(&line), "{line}");
    }
}
