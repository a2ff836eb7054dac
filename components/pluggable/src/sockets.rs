//! The folder of sockets, and which type of binding is whose.

use std::fs::DirEntry;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bindery_contract::{OpenError, Registration, Source};

use crate::names::lasting;
use crate::{OPERATIONS, SUMMARY, open};

/// The folder in which pluggable components have their sockets (runtime §8). A component whose
/// socket is `queue.sock` is of the type `bindings.queue`.
#[derive(Clone, Debug)]
pub struct Sockets {
    folder: Arc<Path>,
}

impl Sockets {
    /// The variable that names the folder.
    pub const VARIABLE: &'static str = "DAPR_COMPONENTS_SOCKETS_FOLDER";
    /// Where the folder is when nothing names it.
    pub const FOLDER: &'static str = "/tmp/dapr-components-sockets";

    /// Those in this folder, which need not be there yet.
    pub fn of(folder: impl AsRef<Path>) -> Self {
        Self {
            folder: Arc::from(folder.as_ref()),
        }
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether there is such a folder.
    pub fn exist(&self) -> bool {
        self.folder.is_dir()
    }

    /// Whether a component of this type, in lower case, has a socket now. Whether anybody listens
    /// on it is not known.
    pub fn has(&self, type_name: &str) -> bool {
        self.find(type_name).is_ok()
    }

    /// Tells the log what in the folder is no socket (runtime §8).
    pub fn tell_others(&self) {
        for entry in std::fs::read_dir(&self.folder)
            .into_iter()
            .flatten()
            .flatten()
        {
            if !is_socket(&entry) {
                tracing::warn!(
                    target: "dapr.runtime.pluggable",
                    "could not use socket for file {}", entry.path().display()
                );
            }
        }
    }

    /// The row of a type, whether or not its socket is there yet. Both sides belong to it:
    /// which of them the component has, it says when it is asked.
    pub fn registration(&self, type_name: &str) -> Registration {
        let (sockets, own): (Self, Arc<str>) = (self.clone(), type_name.into());
        Registration::undeclared(
            lasting(type_name).unwrap_or("bindings.<pluggable>"),
            SUMMARY,
            // What becomes of an event that the app refused is the component's business.
            Some(Source::Queue),
            OPERATIONS,
            move |properties, cx| open(sockets.clone(), Arc::clone(&own), properties, cx),
        )
    }

    /// The socket of a type.
    ///
    /// # Errors
    /// When it is not there. It may come.
    pub(crate) fn find(&self, type_name: &str) -> Result<PathBuf, OpenError> {
        let folder = self.folder.display();
        let missing = |what: String| {
            OpenError::disconnected(format!("there is no component {type_name}: {what}"))
        };
        let entries = std::fs::read_dir(&self.folder)
            .map_err(|error| missing(format!("the folder {folder} cannot be read: {error}")))?;
        let mut named: Vec<DirEntry> = entries
            .filter_map(Result::ok)
            .filter(|entry| is_of(&entry.path(), type_name))
            .collect();
        named.sort_by_key(DirEntry::file_name);
        match (named.iter().find(|entry| is_socket(entry)), named.first()) {
            (Some(socket), _) => Ok(socket.path()),
            (None, Some(other)) => Err(missing(format!(
                "{} is not a socket",
                other.path().display()
            ))),
            (None, None) => Err(missing(format!("no socket of its name is in {folder} yet"))),
        }
    }
}

/// Whether it is one, or a link to one.
fn is_socket(entry: &DirEntry) -> bool {
    let kind = std::fs::metadata(entry.path()).map(|metadata| metadata.file_type());
    kind.is_ok_and(|kind| kind.is_socket())
}

/// Whether a file of this name is the socket of a type: its name without the last extension is
/// the type's (runtime §8).
fn is_of(file: &Path, type_name: &str) -> bool {
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    type_name
        .strip_prefix("bindings.")
        .is_some_and(|name| stem.to_lowercase() == name)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn a_sockets_name_without_its_extension_is_the_type() {
        let folder = tempfile::tempdir().unwrap();
        let sockets = Sockets::of(folder.path());
        let listen = |name: &str| UnixListener::bind(folder.path().join(name)).unwrap();
        let _listening = (listen("Queue.sock"), listen("my.own.sock"), listen("bare"));
        std::fs::write(folder.path().join("file.sock"), "").unwrap();
        for (type_name, is_there) in [
            ("bindings.queue", true),
            ("bindings.my.own", true),
            ("bindings.bare", true),
            ("bindings.my", false),
            ("bindings.file", false),
            ("state.queue", false),
        ] {
            assert_eq!(sockets.has(type_name), is_there, "{type_name}");
        }
        let why = |type_name| sockets.find(type_name).unwrap_err().to_string();
        assert!(why("bindings.file").ends_with("file.sock is not a socket"));
        assert!(why("bindings.nobody").ends_with("yet"));
        let gone = Sockets::of(folder.path().join("none"));
        let why = gone.find("bindings.queue").unwrap_err().to_string();
        assert!(why.contains("cannot be read"), "{why}");
    }
}
