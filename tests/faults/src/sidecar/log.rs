//! `bindings.faults.log`: reads the numbered source, and keeps what was acknowledged in files
//! that outlive this process.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bindery_contract::acks::{InOrder, Progress};
use bindery_contract::{
    Binding, Cause, Event, EventSink, Input, Key, Metadata, Nack, OpenContext, OpenError, Opened,
    ReadError, Source,
};
use bytes::Bytes;
use futures_util::{FutureExt, future};

use crate::source::{BLOCK, EVENTS, LATE, POSITION, READERS, READING, number_in};

/// How often a file is looked at whose end was reached.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// How much room a reader keeps for the lines of a key, in bytes.
const KEPT: usize = 64 << 10;
/// How long a reader blocks its thread when it is told to: longer than the watchdog's patience.
const BLOCKED: Duration = Duration::from_secs(8);

/// The settings.
#[derive(serde::Deserialize, schemars::JsonSchema)]
pub struct LogSettings {
    /// The folder of the source.
    folder: String,
}

/// The input: every file of events in the folder is a key of its own.
pub struct Log {
    folder: PathBuf,
    cx: OpenContext,
}

impl Binding for Log {
    const TYPE: &'static str = "bindings.faults.log";
    const SUMMARY: &'static str = "Reads numbered events from files.";
    const INPUT: Option<Source> = Some(Source::Log);
    type Settings = LogSettings;

    async fn open(settings: LogSettings, cx: OpenContext) -> Result<Opened, OpenError> {
        let folder = settings.folder.into();
        Ok(Opened::input(Self { folder, cx }))
    }
}

impl Input for Log {
    async fn read(&mut self, events: EventSink) -> Result<(), ReadError> {
        let folder = self.folder.clone();
        let found = self.cx.blocking(move || partitions(&folder));
        let (reader, keys) = flat(found.await)?;
        // An event is in flight until its position is written down, which is after the runtime has
        // done with it: the limit of all is kept by each key keeping its part.
        let limit = (events.max_in_flight() / keys.len().max(1)).max(1);
        let partitions = keys.into_iter().map(|key| Partition {
            store: Arc::new(Store {
                folder: self.folder.clone(),
                key,
                reader,
            }),
            cx: self.cx.clone(),
            tracker: InOrder::new(),
            limit,
        });
        let reading = partitions.map(|partition| partition.read(events.clone()));
        future::try_join_all(reading).await.map(drop)
    }
}

/// Counts itself as the newest reader, and lists the keys.
fn partitions(folder: &Path) -> io::Result<(u64, Vec<String>)> {
    let reader = number_in(&folder.join(READERS)) + 1;
    replace(&folder.join(READERS), reader)?;
    let mut keys = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let name = entry?.file_name();
        let key = name.to_str().and_then(|name| name.strip_suffix(EVENTS));
        keys.extend(key.and_then(|key| key.strip_suffix('.')).map(str::to_owned));
    }
    Ok((reader, keys))
}

/// One key of the source, being read.
struct Partition {
    store: Arc<Store>,
    cx: OpenContext,
    tracker: InOrder<(), u64>,
    /// How many events may be sent and not acknowledged.
    limit: usize,
}

impl Partition {
    async fn read(mut self, events: EventSink) -> Result<(), ReadError> {
        let key = Key::new(self.store.key.as_str());
        let metadata = Metadata::new().with(READING, self.store.reader.to_string());
        let store = Arc::clone(&self.store);
        let mut lines = flat(self.cx.blocking(move || Lines::open(&store)).await)?;
        loop {
            if lines.ready.is_empty() {
                // What is there, from the cache: a thread for each look would be counted as a
                // thread of the sidecar's.
                lines.more().map_err(ReadError::disconnected)?;
            }
            tokio::select! {
                biased;
                progress = self.tracker.next() => self.commit(progress).await?,
                permit = events.ready_for(&key),
                    if !lines.ready.is_empty() && self.tracker.held_back(&()) < self.limit =>
                {
                    let Ok(permit) = permit else { break };
                    let Some((number, body)) = lines.ready.pop_front() else { continue };
                    let event = Event::new(body).with_metadata(metadata.clone());
                    let event = event.in_order_of(key.clone());
                    self.tracker.track((), number, permit.send(event));
                    self.store.block_if_told();
                }
                () = events.stopped() => break,
                () = self.cx.clock().sleep(LOOK_AGAIN), if lines.ready.is_empty() => {}
            }
        }
        while !self.tracker.is_empty() {
            let progress = self.tracker.next().await;
            self.commit(progress).await?;
        }
        Ok(())
    }

    /// Writes down how far it has come, together with whatever else is answered already.
    async fn commit(&mut self, first: Progress<(), u64>) -> Result<(), ReadError> {
        let (mut upto, mut next) = (None, Some(first));
        let mut stuck = None;
        while let Some(progress) = next {
            match progress {
                Progress::Upto { position, .. } => upto = Some(position),
                Progress::Stuck { reason, .. } => stuck = Some(reason),
            }
            next = self.tracker.next().now_or_never();
        }
        if let Some(upto) = upto {
            let store = Arc::clone(&self.store);
            let writing = self.cx.blocking(move || store.acknowledge(upto));
            flat(writing.await)?;
        }
        match stuck {
            // What was not taken is read again by the next reader.
            None | Some(Nack::Stopped | Nack::Fenced) => Ok(()),
            Some(reason) => Err(ReadError::disconnected(reason)),
        }
    }
}

/// The lines of a file, as far as they are there.
struct Lines {
    file: File,
    rest: String,
    ready: VecDeque<(u64, Bytes)>,
    /// The number of the last line that was read.
    number: u64,
    /// Up to where they are acknowledged.
    skip: u64,
}

impl Lines {
    fn open(store: &Store) -> io::Result<Self> {
        let mut file = File::open(store.path(EVENTS))?;
        file.seek(SeekFrom::Start(0))?;
        Ok(Self {
            file,
            rest: String::new(),
            ready: VecDeque::new(),
            number: 0,
            skip: number_in(&store.path(POSITION)),
        })
    }

    fn more(&mut self) -> io::Result<()> {
        self.file.read_to_string(&mut self.rest)?;
        // A line without its end is still being written.
        let whole = self.rest.rfind('\n').map_or(0, |end| end + 1);
        for line in self.rest[..whole].lines() {
            self.number += 1;
            if self.number > self.skip {
                let body = Bytes::copy_from_slice(line.as_bytes());
                self.ready.push_back((self.number, body));
            }
        }
        self.rest.drain(..whole);
        // A new reader has begun with all that was ever given, which would count as the sidecar's
        // memory.
        self.rest.shrink_to(KEPT);
        Ok(())
    }
}

/// Where a key's position is kept.
struct Store {
    folder: PathBuf,
    key: String,
    reader: u64,
}

impl Store {
    fn path(&self, kind: &str) -> PathBuf {
        self.folder.join(format!("{}.{kind}", self.key))
    }

    fn acknowledge(&self, upto: u64) -> io::Result<()> {
        if number_in(&self.folder.join(READERS)) != self.reader {
            let path = self.folder.join(LATE);
            let mut late = File::options().append(true).create(true).open(path)?;
            writeln!(late, "{} {upto} by {}", self.key, self.reader)?;
        }
        replace(&self.path(POSITION), upto)
    }

    #[expect(clippy::disallowed_methods, reason = "it blocks its thread on purpose")]
    fn block_if_told(&self) {
        if std::fs::remove_file(self.folder.join(BLOCK)).is_ok() {
            std::thread::sleep(BLOCKED);
        }
    }
}

/// Replaces the number in a file in one step that survives this process, and the machine.
fn replace(path: &Path, number: u64) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut file = File::create(&new)?;
    writeln!(file, "{number}")?;
    file.sync_all()?;
    std::fs::rename(&new, path)
}

fn flat<T>(outcome: Result<io::Result<T>, Cause>) -> Result<T, ReadError> {
    let outcome = outcome.map_err(ReadError::disconnected)?;
    outcome.map_err(ReadError::disconnected)
}
