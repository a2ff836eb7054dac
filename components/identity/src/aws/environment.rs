//! The environment that keys are looked for in.

use std::collections::HashMap;
use std::env;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use reqsign_core::Env;
use tokio::process::Command;

/// The variables of this process, or others in their place. An empty one is none.
#[derive(Clone, Default)]
pub struct Environment {
    others: Option<Arc<HashMap<String, String>>>,
}

impl Environment {
    /// These variables, and none of the process.
    pub fn of<N: Into<String>, V: Into<String>>(pairs: impl IntoIterator<Item = (N, V)>) -> Self {
        let pairs = pairs.into_iter();
        let others = pairs.map(|(name, value)| (name.into(), value.into()));
        Self {
            others: Some(Arc::new(others.collect())),
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<String> {
        let value = match &self.others {
            Some(others) => others.get(name).cloned(),
            None => env::var(name).ok(),
        };
        value.filter(|value| !value.is_empty())
    }

    /// For a program that is started.
    pub(super) fn lend(&self, command: &mut Command) {
        if let Some(others) = &self.others {
            command.env_clear().envs(others.iter());
        }
    }

    /// Where the user's files are.
    pub(super) fn home(&self) -> Option<PathBuf> {
        match &self.others {
            Some(_) => self.get("HOME").map(PathBuf::from),
            None => env::home_dir(),
        }
    }
}

/// Without values: some are secrets.
impl fmt::Debug for Environment {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self.others {
            Some(_) => "others",
            None => "of the process",
        })
    }
}

impl Env for Environment {
    fn var(&self, key: &str) -> Option<String> {
        self.get(key)
    }

    fn vars(&self) -> HashMap<String, String> {
        match &self.others {
            Some(others) => (**others).clone(),
            None => env::vars_os()
                .filter_map(|(name, value)| {
                    Some((name.into_string().ok()?, value.into_string().ok()?))
                })
                .collect(),
        }
    }

    fn home_dir(&self) -> Option<PathBuf> {
        self.home()
    }
}
