//! Where the lines of an app and of its sidecar go: the console, a file, or both.

use std::collections::VecDeque;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::lines;

/// How many of the last lines are kept, to be shown when something goes wrong.
const KEPT: usize = 10;

/// Where lines go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Destination {
    /// The console, with a prefix.
    Console,
    /// A file.
    File,
    /// Both.
    FileAndConsole,
}

impl Destination {
    /// Their names in a run file.
    pub(super) const NAMES: [&str; 3] = ["console", "file", "fileAndConsole"];

    /// By its name in a run file.
    pub(super) fn named(name: &str) -> Option<Self> {
        match name {
            "console" => Some(Self::Console),
            "file" => Some(Self::File),
            "fileAndConsole" => Some(Self::FileAndConsole),
            _ => None,
        }
    }
}

/// The folder of an app's log files.
pub(super) fn folder(app: &Path) -> PathBuf {
    app.join(".dapr/logs")
}

/// When it was started, as it stands in the names of log files.
pub(super) fn stamp(now: std::time::SystemTime) -> String {
    let now = Timestamp::try_from(now).unwrap_or_default();
    let here = now.to_zoned_datetime(TimeZone::system());
    here.strftime("%Y%m%d%H%M%S").to_string()
}

/// The lines of one process.
pub(super) struct Log {
    /// What stands before them on the console; `None` where they are not shown there.
    console: Option<String>,
    file: Option<File>,
    recent: VecDeque<Vec<u8>>,
}

impl Log {
    /// Opens it; `name` is that of its file in `folder`.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(super) fn open(
        destination: Destination,
        prefix: String,
        folder: &Path,
        name: &str,
    ) -> io::Result<Self> {
        let file = if destination == Destination::Console {
            None
        } else {
            let path = folder.join(name);
            let opened = DirBuilder::new()
                .recursive(true)
                .create(folder)
                .and_then(|()| OpenOptions::new().create(true).append(true).open(&path));
            Some(opened.map_err(|error| {
                let problem = format!("the log file {}: {error}", path.display());
                io::Error::new(error.kind(), problem)
            })?)
        };
        Ok(Self {
            console: (destination != Destination::File).then_some(prefix),
            file,
            recent: VecDeque::new(),
        })
    }

    /// Takes a line.
    pub(super) fn take(&mut self, line: &[u8]) {
        if let Some(prefix) = &self.console {
            lines::print(prefix, line);
        } else {
            self.recent.truncate(KEPT - 1);
            self.recent.push_front(line.to_vec());
        }
        let written = self
            .file
            .as_mut()
            .map(|file| file.write_all(&[line, b"\n"].concat()));
        if let Some(Err(error)) = written {
            self.file = None;
            eprintln!("warning: a log file is written no further: {error}");
        }
    }

    /// Shows the last lines, unless they are on the console already.
    pub(super) fn show_recent(&mut self, prefix: &str) {
        for line in self.recent.drain(..).rev() {
            lines::print(prefix, &line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_to_a_file_only_is_kept_for_when_something_goes_wrong() {
        let folder = tempfile::tempdir().unwrap();
        let open = |destination| Log::open(destination, String::new(), folder.path(), "log");
        let mut log = open(Destination::File).unwrap();
        for number in 0..20 {
            log.take(number.to_string().as_bytes());
        }
        let kept: Vec<_> = log.recent.iter().rev().map(Vec::as_slice).collect();
        assert_eq!((kept.len(), kept[0], kept[9]), (10, &b"10"[..], &b"19"[..]));
        let text = std::fs::read_to_string(folder.path().join("log")).unwrap();
        assert_eq!(text.lines().count(), 20);
        let mut log = open(Destination::Console).unwrap();
        log.take(b"shown");
        assert!(log.recent.is_empty() && log.file.is_none());
    }

    #[test]
    fn a_log_file_is_named_by_the_second_it_was_begun_in() {
        let stamp = stamp(std::time::SystemTime::UNIX_EPOCH);
        assert_eq!(stamp.len(), 14, "{stamp}");
        assert!(stamp.bytes().all(|byte| byte.is_ascii_digit()), "{stamp}");
    }
}
