//! The numbered source: for each key a file of events, and beside it the number up to which they
//! are acknowledged. `bindings.faults.log` reads it; this end writes the events and looks.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use crate::ledger::Event;

/// What the file of a key's events ends with.
pub const EVENTS: &str = "events";
/// What the file of a key's position ends with.
pub const POSITION: &str = "position";
/// The metadata of an event that says which reading of the source it is from.
pub const READING: &str = "reading";
/// Counts the readers; the last is the one that may acknowledge.
pub const READERS: &str = "readers";
/// Where acknowledgements of readers that are not the last any more are written down.
pub const LATE: &str = "late";
/// A reader that finds it blocks its thread, once.
pub const BLOCK: &str = "block";

/// A numbered source.
pub struct Numbered {
    folder: PathBuf,
    given: BTreeMap<String, u64>,
}

impl Numbered {
    /// A source of this many keys, without events yet.
    pub fn create(folder: &Path, keys: usize) -> Self {
        let folder = folder.join("source");
        std::fs::create_dir(&folder).expect("our own folder");
        let given = (0..keys).map(|key| (format!("k{key}"), 0)).collect();
        let mut source = Self { folder, given };
        source.give(0);
        source
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Gives out this many more events of each key.
    pub fn give(&mut self, each: u64) {
        for (key, count) in &mut self.given {
            let path = self.folder.join(format!("{key}.{EVENTS}"));
            let mut lines = String::new();
            for number in *count + 1..=*count + each {
                let key = key.clone();
                lines.push_str(&Event { key, number }.body());
                lines.push('\n');
            }
            let file = OpenOptions::new().append(true).create(true).open(path);
            let written = file.and_then(|mut file| file.write_all(lines.as_bytes()));
            written.expect("our own file");
            *count += each;
        }
    }

    /// How many events each key has.
    pub fn given(&self) -> &BTreeMap<String, u64> {
        &self.given
    }

    /// Up to which number each key is acknowledged.
    pub fn acknowledged(&self) -> BTreeMap<String, u64> {
        let keys = self.given.keys();
        keys.map(|key| {
            let path = self.folder.join(format!("{key}.{POSITION}"));
            (key.clone(), number_in(&path))
        })
        .collect()
    }

    /// Whether everything is acknowledged.
    pub fn is_done(&self) -> bool {
        self.acknowledged() == self.given
    }

    /// How many acknowledgements came from readers that had been given up.
    pub fn late(&self) -> u64 {
        let text = std::fs::read_to_string(self.folder.join(LATE)).unwrap_or_default();
        text.lines().count() as u64
    }

    /// Has the reader block its thread.
    pub fn block_reader(&self) {
        std::fs::write(self.folder.join(BLOCK), "").expect("our own folder");
    }

    /// Whether the reader has found out.
    pub fn is_blocking(&self) -> bool {
        !self.folder.join(BLOCK).exists()
    }
}

/// The number that a file holds; 0 where there is none.
pub fn number_in(path: &Path) -> u64 {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.trim().parse().unwrap_or(0)
}
