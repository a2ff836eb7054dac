//! Secrets that a pod has mounted: each is a folder, each of its values a file.

use std::collections::BTreeMap;
use std::fs::DirEntry;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use bindery_contract::settings::Secret;

use super::{KubernetesError, Values};

/// The folder of all of them, if it can be read.
pub(super) fn folder(path: PathBuf) -> Result<PathBuf, KubernetesError> {
    entries(&path)?;
    Ok(path)
}

/// The values of one; `None` where it is not there.
pub(super) fn secret(folder: &Path, name: &str) -> Result<Option<Values>, KubernetesError> {
    let path = folder.join(name);
    if !path.is_dir() {
        return Ok(None);
    }
    let mut values = BTreeMap::new();
    for entry in entries(&path)? {
        let (file, key) = (entry.path(), entry.file_name());
        // Follows the links that Kubernetes makes.
        if file.is_file() {
            let bytes = std::fs::read(&file).map_err(|source| unusable(&file, &source))?;
            let value = Secret::new(String::from_utf8_lossy(&bytes));
            values.insert(key.to_string_lossy().into_owned(), value);
        }
    }
    Ok(Some(values))
}

/// All of them, by their names.
pub(super) fn all(folder: &Path) -> Result<BTreeMap<String, Values>, KubernetesError> {
    let mut all = BTreeMap::new();
    for entry in entries(folder)? {
        let name = entry.file_name().to_string_lossy().into_owned();
        if let Some(values) = secret(folder, &name)? {
            all.insert(name, values);
        }
    }
    Ok(all)
}

/// What is in a folder, without what Kubernetes keeps there for itself: `..data`.
fn entries(path: &Path) -> Result<Vec<DirEntry>, KubernetesError> {
    let is_hidden = |entry: &DirEntry| entry.file_name().to_string_lossy().starts_with("..");
    let entries = std::fs::read_dir(path).map_err(|source| unusable(path, &source))?;
    let entries = entries.filter_map(Result::ok);
    Ok(entries.filter(|entry| !is_hidden(entry)).collect())
}

pub(super) fn unusable(path: &Path, source: &std::io::Error) -> KubernetesError {
    KubernetesError::File {
        path: path.to_owned(),
        reason: match source.kind() {
            ErrorKind::NotFound => "there is no such file or folder".into(),
            _ => source.to_string(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_a_folder_as_kubernetes_mounts_it() {
        let folder = tempfile::tempdir().unwrap();
        let secret_of = |name: &str| {
            let values = secret(folder.path(), name).unwrap()?;
            let shown = values
                .iter()
                .map(|(key, value)| format!("{key}={}", value.expose()));
            Some(shown.collect::<Vec<_>>())
        };
        let mount = folder.path().join("redis");
        std::fs::create_dir_all(mount.join("..2026_11_28")).unwrap();
        std::fs::write(mount.join("..2026_11_28/password"), "hunter2\n").unwrap();
        std::os::unix::fs::symlink("..2026_11_28", mount.join("..data")).unwrap();
        std::os::unix::fs::symlink("..data/password", mount.join("password")).unwrap();
        std::fs::write(folder.path().join("file"), "no Secret").unwrap();
        assert_eq!(secret_of("redis").unwrap(), ["password=hunter2\n"]);
        assert_eq!(secret_of("file"), None);
        assert_eq!(secret_of("none"), None);
        let names: Vec<String> = all(folder.path()).unwrap().into_keys().collect();
        assert_eq!(names, ["redis"]);
        let missing = super::folder(folder.path().join("none")).unwrap_err();
        assert!(
            missing
                .to_string()
                .ends_with("there is no such file or folder")
        );
    }
}
