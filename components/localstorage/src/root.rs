//! The folder that all files are in, and paths that cannot leave it.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io;
use std::path::{Component, Path, PathBuf};

use bindery_contract::settings::SettingsError;

/// Folders that no root may be in.
const FORBIDDEN: [&str; 4] = ["/proc", "/sys", "/boot", "/var/run/secrets"];
/// As many links as the system itself would follow.
const MAX_LINKS: usize = 40;

/// A folder, absolute and without links in its path.
#[derive(Clone, Debug)]
pub(crate) struct Root(PathBuf);

impl Root {
    /// Checks a `rootPath`, without changing anything.
    pub(crate) fn resolve(root_path: &str) -> Result<Self, SettingsError> {
        let problem = |what: &str| Err(SettingsError::new("rootPath", what));
        if root_path.is_empty() {
            return problem("property rootPath must not be empty");
        }
        let absolute = std::path::absolute(root_path)
            .map_err(|error| SettingsError::new("rootPath", error))?;
        let resolved = resolve_existing(&absolute);
        if resolved.is_file() {
            return problem("property rootPath represents a file and not a directory");
        }
        let forbidden = FORBIDDEN.iter().any(|folder| {
            let folder = Path::new(folder);
            resolved.starts_with(folder) || resolved.starts_with(resolve_existing(folder))
        });
        if forbidden {
            return problem("property rootPath points to a disallowed location");
        }
        Ok(Self(resolved))
    }

    /// Makes the folder if it is missing.
    pub(crate) fn create(&self) -> Result<(), String> {
        std::fs::create_dir_all(&self.0).map_err(|error| {
            let path = self.0.display();
            format!("unable to create directory specified by 'rootPath' {path}: {error}")
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Where a name leads when the root is all there is: `..` and absolute paths stay inside,
    /// and so do the targets of links, as if the root were `/`.
    pub(crate) fn join(&self, name: &str) -> io::Result<PathBuf> {
        let mut inside = PathBuf::new();
        let mut links = 0;
        let mut todo: VecDeque<OsString> = parts(Path::new(name));
        while let Some(part) = todo.pop_front() {
            if part == ".." {
                inside.pop();
                continue;
            }
            inside.push(&part);
            let Ok(target) = std::fs::read_link(self.0.join(&inside)) else {
                continue;
            };
            links += 1;
            if links > MAX_LINKS {
                return Err(io::Error::other("too many levels of symbolic links"));
            }
            inside.pop();
            if target.has_root() {
                inside.clear();
            }
            for part in parts(&target).into_iter().rev() {
                todo.push_front(part);
            }
        }
        Ok(self.0.join(inside))
    }

    /// A path below the root, as the caller knows it.
    pub(crate) fn relative(&self, path: &Path) -> String {
        path.strip_prefix(&self.0)
            .unwrap_or(path)
            .to_string_lossy()
            .into_owned()
    }
}

fn parts(path: &Path) -> VecDeque<OsString> {
    path.components()
        .filter_map(|component| match component {
            Component::Normal(part) => Some(part.to_owned()),
            Component::ParentDir => Some("..".into()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
        })
        .collect()
}

/// Resolves the links of the longest part of a path that exists; the rest is taken as it is.
fn resolve_existing(path: &Path) -> PathBuf {
    let mut missing = Vec::new();
    let mut existing = path.to_owned();
    loop {
        if let Ok(resolved) = existing.canonicalize() {
            return missing
                .iter()
                .rev()
                .fold(resolved, |path, part| path.join(part));
        }
        match (existing.file_name(), existing.parent()) {
            (Some(name), Some(parent)) => {
                missing.push(name.to_owned());
                existing = parent.to_owned();
            }
            _ => return path.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn root() -> (tempfile::TempDir, Root) {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::resolve(folder.path().to_str().unwrap()).unwrap();
        (folder, root)
    }

    #[test]
    fn no_name_leads_outside() {
        let (_folder, root) = root();
        for (name, inside) in [
            ("a/b", "a/b"),
            ("../../etc/passwd", "etc/passwd"),
            ("/etc/passwd", "etc/passwd"),
            ("a/../../b", "b"),
            ("./a//b/.", "a/b"),
            ("..", ""),
            ("", ""),
        ] {
            assert_eq!(root.join(name).unwrap(), root.path().join(inside), "{name}");
        }
    }

    #[test]
    fn no_link_leads_outside() {
        let (_folder, root) = root();
        symlink("/etc", root.path().join("absolute")).unwrap();
        symlink("../../../etc", root.path().join("relative")).unwrap();
        symlink("loop", root.path().join("loop")).unwrap();
        for link in ["absolute", "relative"] {
            let joined = root.join(&format!("{link}/passwd")).unwrap();
            assert_eq!(joined, root.path().join("etc/passwd"), "{link}");
        }
        assert!(
            root.join("loop")
                .unwrap_err()
                .to_string()
                .contains("symbolic links")
        );
    }

    #[test]
    fn a_root_is_a_folder_and_not_one_of_the_systems() {
        let (folder, _) = root();
        let file = folder.path().join("file");
        std::fs::write(&file, "x").unwrap();
        symlink("/proc", folder.path().join("link")).unwrap();
        for (path, problem) in [
            ("", "must not be empty"),
            (file.to_str().unwrap(), "represents a file"),
            ("/proc/self", "disallowed location"),
            ("/sys", "disallowed location"),
            ("/boot/x/y", "disallowed location"),
            ("/var/run/secrets/kubernetes.io", "disallowed location"),
            ("/var/../proc", "disallowed location"),
            (
                folder.path().join("link/1").to_str().unwrap(),
                "disallowed location",
            ),
        ] {
            let error = Root::resolve(path).unwrap_err();
            assert!(error.problem.contains(problem), "{path}: {error}");
        }
        assert!(Root::resolve(folder.path().join("new/one").to_str().unwrap()).is_ok());
    }
}
