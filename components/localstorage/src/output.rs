//! The operations. Everything that touches a file runs on a thread made for it.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bindery_contract::request::unquote;
use bindery_contract::{Invocation, InvokeError, Output, Payload, ReplicaContext, Reply, Retry};
use bytes::Bytes;
use tokio_util::io::ReaderStream;

use crate::root::Root;

/// Files up to this size are read at once, larger ones as a stream.
const READ_AT_ONCE: u64 = 256 << 10;
/// Begins the name of a file that is still being written.
const UNFINISHED: &str = ".bindery-unfinished-";

/// The files below the root.
pub(crate) struct Files {
    root: Root,
    cx: ReplicaContext,
}

impl Files {
    pub(crate) fn new(root: Root, cx: ReplicaContext) -> Self {
        Self { root, cx }
    }
}

type Outcome<T> = Result<T, InvokeError>;

impl Output for Files {
    async fn invoke(&self, call: Invocation) -> Outcome<Option<Reply>> {
        let root = self.root.clone();
        let work = move || match call.operation {
            "create" => create(&root, &call).map(Some),
            "get" => get(&root, &call).map(Some),
            "list" => list(&root, &call).map(Some),
            "delete" => delete(&root, &call).map(|()| None),
            other => Err(InvokeError::bad_request(format!(
                "unsupported operation {other}"
            ))),
        };
        self.cx.blocking(work).await.map_err(InvokeError::failed)?
    }
}

/// Where `fileName` leads; nothing is the root itself.
fn target(root: &Root, call: &Invocation) -> Outcome<PathBuf> {
    let name = call.metadata.get("fileName").unwrap_or_default();
    root.join(name)
        .map_err(|error| InvokeError::bad_request(format!("{name}: {error}")))
}

fn failed(what: &str, path: &Path, error: &io::Error) -> InvokeError {
    InvokeError::failed(format!("{what} {}: {error}", path.display()))
}

fn create(root: &Root, call: &Invocation) -> Outcome<Reply> {
    let named = call
        .metadata
        .get("fileName")
        .is_some_and(|name| !name.is_empty());
    let path = if named {
        target(root, call)?
    } else {
        root.path().join(uuid::Uuid::new_v4().to_string())
    };
    if path == root.path() {
        let path = path.display();
        return Err(InvokeError::bad_request(format!(
            "error creating file {path}: is a directory"
        )));
    }
    let data = decode(&call.data);
    let folder = path.parent().unwrap_or(root.path());
    fs::create_dir_all(folder)
        .map_err(|error| failed("error creating directory", folder, &error))?;
    write(folder, &path, &data)?;
    let answer = serde_json::json!({ "fileName": root.relative(&path) });
    Ok(Reply::new(answer.to_string()))
}

/// Writes beside the target and then takes its place, so that nobody ever reads half a file.
fn write(folder: &Path, path: &Path, data: &[u8]) -> Outcome<()> {
    // The mode of any new file; the process's umask takes its part away.
    let mut file = tempfile::Builder::new()
        .prefix(UNFINISHED)
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(folder)
        .map_err(|error| failed("error creating file", path, &error))?;
    file.write_all(data)
        .map_err(|error| failed("error writing to file", path, &error))?;
    file.persist(path)
        .map_err(|error| failed("error creating file", path, &error.error))?;
    Ok(())
}

/// The quotes of a JSON string come off; a text that is base64 as a whole is decoded.
fn decode(data: &[u8]) -> Vec<u8> {
    let text = unquote(data);
    // As in the reference's decoder, line breaks are no part of the text.
    let joined: Vec<u8> = text
        .iter()
        .copied()
        .filter(|c| !matches!(c, b'\r' | b'\n'))
        .collect();
    BASE64_STANDARD
        .decode(&joined)
        .unwrap_or_else(|_| text.into_owned())
}

fn get(root: &Root, call: &Invocation) -> Outcome<Reply> {
    let path = target(root, call)?;
    let file = File::open(&path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => not_found(&path),
        _ => failed("error opening path", &path, &error),
    })?;
    let about = file
        .metadata()
        .map_err(|error| failed("error reading file", &path, &error))?;
    if about.is_dir() {
        let error = io::Error::from(io::ErrorKind::IsADirectory);
        return Err(failed("error reading file", &path, &error));
    }
    if about.len() <= READ_AT_ONCE {
        let bytes = fs::read(&path).map_err(|error| failed("error reading file", &path, &error))?;
        return Ok(Reply::new(bytes));
    }
    // What is appended while we read is not part of the answer that was begun.
    let chunks = ReaderStream::new(tokio::io::AsyncReadExt::take(
        tokio::fs::File::from_std(file),
        about.len(),
    ));
    Ok(Reply::new(Payload::stream(Some(about.len()), chunks)))
}

fn not_found(path: &Path) -> InvokeError {
    InvokeError::Rejected {
        cause: format!("file not found: {}", path.display()).into(),
        reply: None,
        retry: Retry::Pointless,
    }
}

fn list(root: &Root, call: &Invocation) -> Outcome<Reply> {
    let folder = target(root, call)?;
    let about = fs::symlink_metadata(&folder)
        .map_err(|error| failed("error getting stats for path", &folder, &error))?;
    if !about.is_dir() {
        return Err(InvokeError::bad_request(format!(
            "unable to list files as the file specified is not a directory: {}",
            folder.display()
        )));
    }
    let mut paths = Vec::new();
    walk(&folder, &mut paths).map_err(|error| failed("error listing files in", &folder, &error))?;
    let listed = if paths.is_empty() {
        "null".into()
    } else {
        serde_json::Value::from(paths).to_string()
    };
    Ok(Reply::new(Bytes::from(listed)))
}

/// Everything below a folder that is not a folder itself, in the order of the names.
fn walk(folder: &Path, paths: &mut Vec<String>) -> io::Result<()> {
    let mut todo = vec![folder.to_owned()];
    while let Some(path) = todo.pop() {
        if !fs::symlink_metadata(&path)?.is_dir() {
            paths.push(path.to_string_lossy().into_owned());
            continue;
        }
        let mut entries: Vec<PathBuf> = fs::read_dir(&path)?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<io::Result<_>>()?;
        entries.retain(|entry| {
            !entry
                .file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with(UNFINISHED))
        });
        entries.sort();
        todo.extend(entries.into_iter().rev());
    }
    Ok(())
}

fn delete(root: &Root, call: &Invocation) -> Outcome<()> {
    let path = target(root, call)?;
    if path == root.path() {
        let path = path.display();
        return Err(InvokeError::bad_request(format!(
            "error deleting file {path}: it is the root; name a file with metadata.fileName"
        )));
    }
    let removed = match fs::symlink_metadata(&path) {
        Ok(about) if about.is_dir() => fs::remove_dir(&path),
        _ => fs::remove_file(&path),
    };
    removed.map_err(|error| failed("error deleting file", &path, &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_decoded_only_when_all_of_it_is_base64() {
        for (data, stored) in [
            ("\"aGVsbG8=\"", "hello"),
            ("aGVs\nbG8=", "hello"),
            ("\"hello, world\"", "hello, world"),
            ("{\"a\":1}", "{\"a\":1}"),
            ("\"aGVsbG8\"", "aGVsbG8"),
        ] {
            assert_eq!(
                String::from_utf8(decode(data.as_bytes())).unwrap(),
                stored,
                "{data}"
            );
        }
        assert_eq!(
            decode(b"abcd").len(),
            3,
            "the known trap: this text is base64"
        );
    }
}
