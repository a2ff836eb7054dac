//! What is wrong with a resource, and where: file, line, component, key.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::yaml::Position;

/// Something in a file that can never work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourceError {
    /// The file.
    pub file: Arc<Path>,
    /// Where in it.
    pub at: Option<Position>,
    /// The component, where its name is known.
    pub component: Option<String>,
    /// The setting, where it is about one.
    pub key: Option<String>,
    /// What is wrong, and what would be right.
    pub problem: String,
}

impl ResourceError {
    /// About a whole file.
    pub fn in_file(file: &Arc<Path>, problem: impl fmt::Display) -> Self {
        Self {
            file: Arc::clone(file),
            at: None,
            component: None,
            key: None,
            problem: problem.to_string(),
        }
    }

    /// At a place.
    pub fn at(mut self, at: Position) -> Self {
        self.at = Some(at);
        self
    }

    /// Of a component.
    pub fn of(mut self, component: &str) -> Self {
        self.component = Some(component.to_owned());
        self
    }

    /// About a setting.
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }
}

impl fmt::Display for ResourceError {
    /// `file:line:column: component "x": setting "y": …`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(at) = self.at {
            write!(f, ":{at}")?;
        }
        if let Some(component) = &self.component {
            write!(f, ": component \"{component}\"")?;
        }
        if let Some(key) = &self.key {
            write!(f, ": setting \"{key}\"")?;
        }
        write!(f, ": {}", self.problem)
    }
}

impl std::error::Error for ResourceError {}

/// Why resources could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A folder is not there, or cannot be read. The wording is the reference's.
    #[error("failed to load components: open {}: {reason}", .path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why, in the operating system's words.
        reason: String,
    },
    /// Resources that can never work: all of them, so that they can be mended in one go.
    #[error("failed to load components: {}", join(.0))]
    Resources(Vec<ResourceError>),
}

fn join(errors: &[ResourceError]) -> String {
    errors
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("\n")
}
