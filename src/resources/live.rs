//! What runs, and what has changed in its files: the decision, without files and actors.
//!
//! A component that its file describes wrongly, or that was in a file that cannot be read now,
//! goes on as it is (DESIGN, "Where we differ").

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use bindery_actors::{Component, Policies};

use super::{Finding, Inspection, Inventory, Resiliency, Resources, SecretStores, Version};

/// What runs.
pub struct Live {
    versions: HashMap<String, Version>,
    resiliency: Resiliency,
    stores: Arc<SecretStores>,
    inventory: Inventory,
    /// Files that were empty when they were last looked at.
    empty: HashSet<Arc<Path>>,
    /// What was wrong when it was last looked at, in words.
    wrong: Vec<String>,
    /// What was odd when it was last looked at, in words.
    odd: Vec<String>,
}

/// What is to be done.
#[derive(Default)]
pub struct Changes {
    /// Components that are gone.
    pub removed: Vec<String>,
    /// Components that are new, or have changed.
    pub put: Vec<Component>,
    /// The policies, where they have changed.
    pub policies: Option<Option<Policies>>,
    /// The secret stores, where they were looked at.
    pub stores: Option<Arc<SecretStores>>,
    /// What the metadata lists now, where that has changed.
    pub inventory: Option<Inventory>,
    /// What is wrong and was not wrong before, in words.
    pub wrong: Vec<String>,
    /// What is no error, probably a mistake, and was not there before, in words.
    pub odd: Vec<String>,
    /// Whether to look again soon: a file is empty, as it is while it is being written.
    pub look_again: bool,
}

impl Live {
    /// What was started from files.
    pub fn new(resources: &mut Resources) -> Self {
        Self {
            versions: std::mem::take(&mut resources.versions),
            inventory: resources.inventory(),
            stores: Arc::clone(&resources.stores),
            resiliency: std::mem::take(&mut resources.resiliency),
            empty: HashSet::new(),
            wrong: Vec::new(),
            odd: words(&resources.warnings),
        }
    }

    /// Takes in what the files say now.
    pub fn update(&mut self, inspection: Inspection) -> Changes {
        let Inspection {
            resources,
            mut errors,
            ignored,
            empty,
            ..
        } = inspection;
        errors.extend(ignored);
        let mut changes = Changes::default();
        let unsettled: HashSet<Arc<Path>> = empty
            .into_iter()
            .filter(|file| !self.empty.contains(file) && self.is_in(file))
            .collect();
        changes.look_again = !unsettled.is_empty();
        let unreadable = |file: &Path| {
            let mut broken = errors.iter().filter(|error| error.component.is_none());
            unsettled.contains(file) || broken.any(|error| *error.file == *file)
        };
        let is_wrong = |name: &str| {
            let mut errors = errors.iter();
            errors.any(|error| error.component.as_deref() == Some(name))
        };

        let policies_stay = !resources.mistakes.is_empty()
            || errors
                .iter()
                .any(|error| self.resiliency.is_in(&error.file))
            || unsettled.iter().any(|file| self.resiliency.is_in(file));
        let mut inventory = resources.inventory();
        if policies_stay {
            inventory
                .resiliencies
                .clone_from(&self.inventory.resiliencies);
        } else if !self.resiliency.says_the_same(&resources.resiliency) {
            changes.policies = Some(resources.resiliency.policies());
        }

        self.versions.retain(|name, version| {
            let stays = resources.versions.contains_key(name)
                || is_wrong(name)
                || unreadable(&version.file);
            if !stays {
                changes.removed.push(name.clone());
            }
            stays
        });
        for component in resources.components {
            let name = &*component.name;
            // The first of two namesakes counts at the start; while it runs, neither does.
            let Some(version) = resources.versions.get(name).filter(|_| !is_wrong(name)) else {
                continue;
            };
            let before = self.versions.insert(name.to_owned(), version.clone());
            if before.is_none_or(|before| before.fingerprint != version.fingerprint) {
                changes.put.push(component);
            }
        }
        self.empty = unsettled;

        // What is wrong may be about a store: it goes on as it was.
        self.stores = if errors.is_empty() && self.empty.is_empty() {
            resources.stores
        } else {
            Arc::new(resources.stores.over(&self.stores))
        };
        changes.stores = Some(Arc::clone(&self.stores));

        errors.extend(resources.mistakes);
        self.show(inventory, words(&errors), &mut changes);
        let odd = words(&resources.warnings);
        let new = odd.iter().filter(|warning| !self.odd.contains(warning));
        changes.odd = new.cloned().collect();
        self.odd = odd;
        if !policies_stay {
            self.resiliency = resources.resiliency;
        }
        changes
    }

    /// Takes in that the files cannot be looked at: all that runs goes on.
    pub fn fail(&mut self, error: impl ToString) -> Changes {
        let mut changes = Changes::default();
        self.show(
            self.inventory.clone(),
            vec![error.to_string()],
            &mut changes,
        );
        changes
    }

    /// What was wrong when it was last looked at.
    pub fn errors(&self) -> Vec<String> {
        self.wrong.clone()
    }

    fn show(&mut self, mut inventory: Inventory, errors: Vec<String>, changes: &mut Changes) {
        let new = errors.iter().filter(|error| !self.wrong.contains(error));
        changes.wrong = new.cloned().collect();
        inventory.errors.clone_from(&errors);
        self.wrong = errors;
        if inventory != self.inventory {
            self.inventory = inventory.clone();
            changes.inventory = Some(inventory);
        }
    }

    fn is_in(&self, file: &Path) -> bool {
        let mut versions = self.versions.values();
        versions.any(|version| *version.file == *file) || self.resiliency.is_in(file)
    }
}

fn words(findings: &[Finding]) -> Vec<String> {
    findings.iter().map(ToString::to_string).collect()
}

impl Changes {
    /// Whether there is nothing to be done.
    pub fn is_empty(&self) -> bool {
        self.removed.is_empty() && self.put.is_empty() && self.policies.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Env, Place, Scope, Surroundings, inspect};
    use super::*;
    use crate::catalogue::Catalogue;

    const BROKEN: &str = "kind: Component\n\tbroken";
    const RULES: &str = "kind: Resiliency\nmetadata: {name: rules}\nspec:\n  policies:\n    \
                         timeouts: {DefaultTimeoutPolicy: 5s}\n";

    fn cron(name: &str, schedule: &str) -> String {
        format!(
            "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata:\n  name: {name}\nspec:\n  \
             type: bindings.cron\n  version: v1\n  metadata:\n  - {{name: schedule, value: \
             \"{schedule}\"}}\n---\n"
        )
    }

    fn look(files: &[(&str, &str)]) -> Inspection {
        let places = files.iter().map(|(name, text)| Place::Text {
            name: (*name).into(),
            text: text.as_bytes().to_owned(),
        });
        let surroundings = Surroundings::new("app", Env::Fixed(Arc::default()));
        let catalogue = Catalogue::default();
        inspect(places.collect(), &catalogue, &surroundings, Scope::App).unwrap()
    }

    fn live(files: &[(&str, &str)]) -> Live {
        Live::new(&mut look(files).resources)
    }

    fn names(changes: &Changes) -> (Vec<&str>, Vec<&str>) {
        let put = changes.put.iter().map(|component| &*component.name);
        let mut removed: Vec<&str> = changes.removed.iter().map(String::as_str).collect();
        removed.sort_unstable();
        (put.collect(), removed)
    }

    #[test]
    fn only_what_has_changed_is_touched() {
        let both = cron("a", "@every 1s") + &cron("b", "@every 1s");
        let mut live = live(&[("x", &both)]);
        assert!(live.update(look(&[("x", &both)])).is_empty());
        // Moved to other lines and another file, with a label: nothing that it depends on.
        let moved = format!("# a comment\n{}", cron("a", "@every 1s"));
        let labelled = cron("b", "@every 1s").replace("name: b", "name: b\n  labels: {x: y}");
        assert!(
            live.update(look(&[("x", &moved), ("y", &labelled)]))
                .is_empty()
        );
        let changes = live.update(look(&[("x", &cron("a", "@every 2s")), ("y", &labelled)]));
        assert_eq!(names(&changes), (vec!["a"], vec![]));
        let changes = live.update(look(&[("y", &(labelled + &cron("c", "@every 1s")))]));
        assert_eq!(names(&changes), (vec!["c"], vec!["a"]));
    }

    #[test]
    fn a_component_that_is_wrong_now_goes_on_and_the_others_change() {
        let text = |b: &str| cron("a", "@every 1s") + &cron("b", b);
        let mut live = live(&[("x", &text("@every 1s"))]);
        let wrong = look(&[("x", &(cron("a", "@every 2s") + &cron("b", "never")))]);
        let changes = live.update(wrong);
        assert_eq!(names(&changes), (vec!["a"], vec![]));
        assert_eq!(changes.wrong.len(), 1);
        let shown = changes.inventory.expect("it is shown").errors;
        assert!(shown[0].contains("component \"b\""), "{shown:?}");
        let changes = live.update(look(&[(
            "x",
            &(cron("a", "@every 2s") + &cron("b", "never")),
        )]));
        assert!(
            changes.is_empty() && changes.wrong.is_empty(),
            "it is said once"
        );
        let changes = live.update(look(&[(
            "x",
            &(cron("a", "@every 2s") + &cron("b", "@every 3s")),
        )]));
        assert_eq!(names(&changes), (vec!["b"], vec![]));
        assert_eq!(changes.inventory.expect("it is mended").errors, [""; 0]);
    }

    #[test]
    fn what_is_odd_is_said_once() {
        let nameless = "kind: Component\nmetadata: {name: a}\n";
        let mut resources = look(&[("x", nameless)]).resources;
        let mut live = Live::new(&mut resources);
        let changes = live.update(look(&[("x", nameless)]));
        assert_eq!(changes.odd, [""; 0], "it was said at the start");
        let changes = live.update(look(&[("x", nameless), ("y", nameless)]));
        assert_eq!(changes.odd.len(), 1);
        assert!(changes.odd[0].starts_with("y:1:7"), "{:?}", changes.odd);
        assert!(changes.wrong.is_empty() && changes.is_empty());
    }

    #[test]
    fn what_was_in_a_file_that_cannot_be_read_goes_on() {
        let mut live = live(&[
            ("x", &cron("a", "@every 1s")),
            ("y", &cron("b", "@every 1s")),
        ]);
        let changes = live.update(look(&[("x", BROKEN)]));
        assert_eq!(
            names(&changes),
            (vec![], vec!["b"]),
            "only the file that is gone"
        );
        assert_eq!(changes.wrong.len(), 1);
    }

    #[test]
    fn a_file_that_is_empty_for_a_moment_changes_nothing() {
        let one = cron("a", "@every 1s");
        let mut live = live(&[("x", &one), ("y", RULES)]);
        let changes = live.update(look(&[("x", ""), ("y", "")]));
        assert!(changes.is_empty() && changes.look_again);
        assert!(live.update(look(&[("x", &one), ("y", RULES)])).is_empty());
        live.update(look(&[("x", ""), ("y", RULES)]));
        let changes = live.update(look(&[("x", ""), ("y", RULES)]));
        assert_eq!(names(&changes), (vec![], vec!["a"]), "it is meant");
    }

    #[test]
    fn files_that_cannot_be_looked_at_change_nothing_and_are_told_of_once() {
        let one = cron("a", "@every 1s");
        let mut live = live(&[("x", &one)]);
        let changes = live.fail("no such folder");
        assert!(changes.is_empty());
        assert_eq!(changes.wrong, ["no such folder"]);
        assert_eq!(
            changes.inventory.expect("it is shown").errors,
            live.errors()
        );
        assert!(live.fail("no such folder").wrong.is_empty());
        let changes = live.update(look(&[("x", &one)]));
        assert!(changes.is_empty());
        assert_eq!(changes.inventory.expect("it is mended").errors, [""; 0]);
    }

    #[test]
    fn two_of_one_name_change_nothing() {
        let mut live = live(&[("x", &cron("a", "@every 1s"))]);
        let twice = look(&[
            ("w", &cron("a", "@every 5s")),
            ("x", &cron("a", "@every 1s")),
        ]);
        let changes = live.update(twice);
        assert!(changes.is_empty());
        assert!(changes.wrong[0].contains("duplicate definition"));
    }

    #[test]
    fn policies_change_as_a_whole_or_not_at_all() {
        let mut live = live(&[("y", RULES)]);
        assert!(
            live.update(look(&[("z", RULES)])).is_empty(),
            "another file"
        );
        let wrong = RULES.replace("5s", "soon");
        let changes = live.update(look(&[("z", &wrong)]));
        assert!(changes.is_empty() && changes.wrong.len() == 1);
        let changes = live.update(look(&[("z", BROKEN)]));
        assert!(changes.is_empty());
        let changes = live.update(look(&[("z", &RULES.replace("5s", "6s"))]));
        assert!(matches!(changes.policies, Some(Some(_))));
        let changes = live.update(look(&[]));
        assert!(matches!(changes.policies, Some(None)));
        assert_eq!(changes.inventory.expect("it is gone").resiliencies, [""; 0]);
    }
}
