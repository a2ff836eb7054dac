//! What is wrong with a resource, and where: file, line, component, key.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::yaml::Position;

/// Something in a file that can never work, or that is probably a mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The file.
    pub file: Arc<Path>,
    /// Where in it.
    pub at: Option<Position>,
    /// The component, where its name is known.
    pub component: Option<Box<str>>,
    /// The setting, where it is about one.
    pub key: Option<Box<str>>,
    /// What is wrong.
    pub problem: Box<str>,
    /// What to do about it, where that is not plain from the problem.
    pub hint: Option<Box<str>>,
}

impl Finding {
    /// About a whole file.
    pub fn in_file(file: &Arc<Path>, problem: impl fmt::Display) -> Self {
        Self {
            file: Arc::clone(file),
            at: None,
            component: None,
            key: None,
            problem: problem.to_string().into(),
            hint: None,
        }
    }

    /// At a place.
    pub fn at(mut self, at: Position) -> Self {
        self.at = Some(at);
        self
    }

    /// Of a component.
    pub fn of(mut self, component: &str) -> Self {
        self.component = Some(component.into());
        self
    }

    /// About a setting.
    pub fn key(mut self, key: impl Into<Box<str>>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Says what to do about it.
    pub fn hint(mut self, hint: impl Into<Box<str>>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// `component "x": setting "y": …`, without the place and the hint.
    pub fn message(&self) -> String {
        let part = |what: &str, name: &Option<Box<str>>| {
            name.as_ref()
                .map(|name| format!("{what} \"{name}\": "))
                .unwrap_or_default()
        };
        let (component, key) = (
            part("component", &self.component),
            part("setting", &self.key),
        );
        format!("{component}{key}{}", self.problem)
    }
}

impl fmt::Display for Finding {
    /// `file:line:column: component "x": setting "y": …; hint`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(at) = self.at {
            write!(f, ":{at}")?;
        }
        write!(f, ": {}", self.message())?;
        match &self.hint {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Finding {}

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
    Resources(Vec<Finding>),
}

fn join(errors: &[Finding]) -> String {
    errors
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("\n")
}
