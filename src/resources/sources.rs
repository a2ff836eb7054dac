//! Where resources come from: folders, files, texts, code.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Inspection;
use super::Resources;
use super::configuration::Configuration;
use super::error::LoadError;
use super::loader::{Loader, Scope};
use super::manifest::Manifest;
use super::values::Surroundings;
use crate::catalogue::Catalogue;

/// Where resources are.
#[derive(Clone, Debug)]
pub enum Place {
    /// A file, or a folder with YAML files directly in it.
    Path(PathBuf),
    /// A text of YAML documents, as the bytes of a file would be.
    Text {
        /// What findings call it.
        name: PathBuf,
        /// The text.
        text: Vec<u8>,
    },
}

/// A file to be read, or one that was.
pub(super) enum File {
    Path(Arc<Path>),
    Text(Arc<Path>, Vec<u8>),
}

/// Looks at files, folders and texts without an end at the first mistake.
///
/// # Errors
/// A path that cannot be read.
pub fn inspect(
    places: Vec<Place>,
    catalogue: &Catalogue,
    surroundings: &Surroundings,
    scope: Scope,
) -> Result<Inspection, LoadError> {
    let mut listing = Listing::default();
    for place in places {
        match place {
            Place::Text { name, text } => listing.files.push(File::Text(Arc::from(name), text)),
            Place::Path(path) if path.is_file() => listing.files.push(File::Path(Arc::from(path))),
            Place::Path(folder) => listing.add(&folder)?,
        }
    }
    let loader = Loader {
        catalogue,
        surroundings,
        configuration: None,
        scope,
        inspection: Inspection::default(),
    };
    Ok(loader.inspect(listing.files, Vec::new()))
}

/// Where the resources of a sidecar come from.
pub struct Sources {
    /// Folders of YAML files.
    pub folders: Vec<PathBuf>,
    /// What is written in code.
    pub code: Vec<Manifest>,
    /// What there is.
    pub catalogue: Catalogue,
    /// What the sidecar knows of its surroundings.
    pub surroundings: Surroundings,
}

impl Sources {
    /// Loads everything for a start, and tells the log what is left out of it.
    ///
    /// # Errors
    /// A folder that cannot be read, or all resources that can never work.
    pub fn load(&self, configuration: &Configuration) -> Result<Resources, LoadError> {
        let listing = self.list()?;
        for name in &listing.others {
            tracing::warn!(
                target: "dapr.runtime.loader",
                "A non-YAML Component file {name} was detected, it will not be loaded"
            );
        }
        let inspection = self.inspect(listing, configuration);
        for error in &inspection.ignored {
            let name = error.component.as_deref().unwrap_or_default();
            tracing::error!(
                target: "dapr.runtime.processor",
                "Ignoring error processing component: process component {name} error: {error}"
            );
        }
        if inspection.errors.is_empty() {
            Ok(inspection.resources)
        } else {
            Err(LoadError::Resources(inspection.errors))
        }
    }

    /// Looks at everything without an end at the first mistake, and without a word: it is done
    /// again and again.
    ///
    /// # Errors
    /// A folder that cannot be read.
    pub fn look(&self, configuration: &Configuration) -> Result<Inspection, LoadError> {
        Ok(self.inspect(self.list()?, configuration))
    }

    fn list(&self) -> Result<Listing, LoadError> {
        let mut listing = Listing::default();
        for folder in &self.folders {
            listing.add(folder)?;
        }
        Ok(listing)
    }

    fn inspect(&self, listing: Listing, configuration: &Configuration) -> Inspection {
        let loader = Loader {
            catalogue: &self.catalogue,
            surroundings: &self.surroundings,
            configuration: Some(configuration),
            scope: Scope::App,
            inspection: Inspection::default(),
        };
        loader.inspect(listing.files, self.code.clone())
    }
}

/// What there is to be read.
#[derive(Default)]
struct Listing {
    files: Vec<File>,
    /// The names of files that are not YAML.
    others: Vec<String>,
}

impl Listing {
    /// Adds the files directly in a folder, in the order of their names.
    fn add(&mut self, folder: &Path) -> Result<(), LoadError> {
        let error = |source: &std::io::Error| LoadError::Folder {
            path: folder.to_owned(),
            reason: match source.kind() {
                std::io::ErrorKind::NotFound => "no such file or directory".into(),
                _ => source.to_string(),
            },
        };
        let mut files: Vec<Arc<Path>> = Vec::new();
        for entry in std::fs::read_dir(folder).map_err(|source| error(&source))? {
            let path = entry.map_err(|source| error(&source))?.path();
            if !path.is_file() {
                continue;
            }
            let extension = path.extension().map(std::ffi::OsStr::to_ascii_lowercase);
            if extension.is_some_and(|extension| extension == "yaml" || extension == "yml") {
                files.push(Arc::from(path));
            } else {
                let name = path.file_name().unwrap_or_default();
                self.others.push(name.to_string_lossy().into_owned());
            }
        }
        files.sort();
        self.files.extend(files.into_iter().map(File::Path));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tracing::{Event, Subscriber};
    use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

    use super::super::Env;
    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<AtomicUsize>);

    impl<S: Subscriber> Layer<S> for Lines {
        fn on_event(&self, _: &Event<'_>, _: Context<'_, S>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn what_is_left_out_is_told_at_the_start_and_not_at_every_look() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("README.txt"), "not YAML").unwrap();
        let ignored = "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {name: wrong}\n\
                       spec: {type: bindings.none, version: v1, ignoreErrors: true}\n";
        std::fs::write(folder.path().join("wrong.yaml"), ignored).unwrap();
        let sources = Sources {
            folders: vec![folder.path().to_owned()],
            code: Vec::new(),
            catalogue: Catalogue::default(),
            surroundings: Surroundings::new("app", Env::Fixed(Arc::default())),
        };
        let configuration = Configuration::default();
        let lines = Lines::default();
        let log = tracing_subscriber::registry().with(lines.clone());
        tracing::subscriber::with_default(log, || {
            sources.load(&configuration).unwrap();
            assert_eq!(lines.0.load(Ordering::Relaxed), 2);
            let looked = sources.look(&configuration).unwrap();
            assert_eq!(looked.ignored.len(), 1);
            assert_eq!(lines.0.load(Ordering::Relaxed), 2);
        });
    }
}
