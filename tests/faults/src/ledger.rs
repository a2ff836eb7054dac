//! The ledger: what the app was given and what it said, written down before it answers.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// One event of a source: the key that it is in order of, and its number there, from 1.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Event {
    /// Its key.
    pub key: String,
    /// Its number within the key.
    pub number: u64,
}

impl Event {
    /// The body that carries it, with a checksum.
    pub fn body(&self) -> String {
        format!("{} {} {:016x}", self.key, self.number, self.checksum())
    }

    /// Reads a body; `None` where it is not what was sent.
    pub fn of(body: &str) -> Option<Self> {
        let mut words = body.split(' ');
        let event = Self {
            key: words.next()?.to_owned(),
            number: words.next()?.parse().ok()?,
        };
        let checksum = u64::from_str_radix(words.next()?, 16).ok()?;
        (checksum == event.checksum() && words.next().is_none()).then_some(event)
    }

    /// FNV-1a of what it says.
    fn checksum(&self) -> u64 {
        let number = self.number.to_le_bytes();
        let bytes = self.key.bytes().chain(number);
        bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        })
    }
}

/// One attempt, as the app saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What it was given.
    pub event: Event,
    /// Which reading of the source gave it, from 1: every reader begins a new one.
    pub reading: u64,
    /// Whether the app took it, or refused it.
    pub taken: bool,
}

/// All entries of one case, in the order in which the app decided.
pub struct Ledger {
    inner: Mutex<Inner>,
}

struct Inner {
    file: File,
    entries: Vec<Entry>,
    run: u64,
    corrupt: u64,
}

impl Ledger {
    /// An empty one, kept in `folder`.
    pub fn create(folder: &Path) -> Self {
        let file = File::create(folder.join("ledger")).expect("our own folder");
        Self {
            inner: Mutex::new(Inner {
                file,
                entries: Vec::new(),
                run: 0,
                corrupt: 0,
            }),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next run of the sidecar begins.
    pub fn next_run(&self) {
        self.lock().run += 1;
    }

    /// Writes an attempt down. Returns when the system has it. A reading that does not say which
    /// it is counts as one for each run of the sidecar.
    pub fn record(&self, event: Event, reading: Option<u64>, taken: bool) {
        let mut inner = self.lock();
        let reading = reading.unwrap_or(inner.run);
        let said = if taken { "taken" } else { "refused" };
        let line = format!("{} {} {reading} {said}\n", event.key, event.number);
        inner.file.write_all(line.as_bytes()).expect("our own file");
        inner.entries.push(Entry {
            event,
            reading,
            taken,
        });
    }

    /// A body was not what was sent.
    pub fn record_corrupt(&self) {
        self.lock().corrupt += 1;
    }

    /// How many bodies were not what was sent.
    pub fn corrupt(&self) -> u64 {
        self.lock().corrupt
    }

    /// How many attempts there were.
    pub fn len(&self) -> usize {
        self.lock().entries.len()
    }

    /// All attempts so far.
    pub fn entries(&self) -> Vec<Entry> {
        self.lock().entries.clone()
    }

    /// How many attempts of an event there were.
    pub fn attempts(&self, event: &Event) -> usize {
        let inner = self.lock();
        inner.entries.iter().filter(|e| e.event == *event).count()
    }
}
