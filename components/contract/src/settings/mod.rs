//! A binding's settings: from the strings of its YAML to a typed struct.
//!
//! One declaration, the settings struct, is the parser, the JSON schema, the documentation and
//! the redaction. It derives [`serde::Deserialize`] and [`schemars::JsonSchema`]; its doc
//! comments are the documentation; what serde cannot say is said in schema extensions:
//!
//! | on a field | meaning | rule |
//! |---|---|---|
//! | `#[schemars(extend("x-aliases" = ["url"]))]` | other names, used when the field's own is absent | M4 |
//! | `#[schemars(extend("x-exact-case" = true))]` | the name is compared exactly | M3 |
//! | `#[schemars(extend("x-prefix" = true))]` | the field is a struct, made of all settings that begin with its name | RT |
//! | `#[schemars(extend("x-flatten" = true))]` | the field is a struct whose fields stand beside the others, under their own names: a piece that several bindings share | – |
//! | `#[schemars(extend("x-example" = "localhost:6379"))]` | what it looks like in an example of the whole component | – |
//! | `#[schemars(extend("x-role" = "input"))]` | read by this side of the binding only | – |
//! | type [`Secret`] | never printed | – |
//! | types [`GoDuration`], [`ByteSize`] | `1h30m` or seconds, `10Mi` | M6, M8 |
//!
//! The codes are those of the catalogue, Part 4. Values are put into the map by the resource
//! loader, which has done M1 and M2 before.

mod decode;
mod duration;
mod fields;
mod number;
mod pem;
mod retry;
mod secret;
mod size;

use std::fmt;

pub use self::decode::{Conventions, Remark, decode, remarks};
pub use self::duration::GoDuration;
pub(crate) use self::fields::fields_under;
pub use self::fields::{Field, fields};
pub use self::number::{parse_bool, truthy};
pub use self::pem::{PemError, is_pem, pem_or_file};
pub use self::retry::{RetryPolicy, RetrySettings};
pub use self::secret::Secret;
pub use self::size::ByteSize;

/// What a settings struct must be able to do.
pub trait Settings: serde::de::DeserializeOwned + schemars::JsonSchema + Send + 'static {}

impl<T: serde::de::DeserializeOwned + schemars::JsonSchema + Send + 'static> Settings for T {}

/// The settings of one component as text: names and values in the order of its YAML.
#[derive(Clone, Default)]
pub struct Properties {
    entries: Vec<Property>,
}

#[derive(Clone)]
struct Property {
    name: String,
    value: String,
    /// It comes from a secret store: whatever setting it is for, it is never shown.
    secret: bool,
}

impl Properties {
    /// No settings.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a setting. The same name again replaces the value (M1: the last one wins).
    pub fn set(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.put(name.into(), value.into(), false);
    }

    /// Adds a setting whose value is a secret, whatever it is for: no error shows it.
    pub fn set_secret(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.put(name.into(), value.into(), true);
    }

    fn put(&mut self, name: String, value: String, secret: bool) {
        let property = Property {
            name,
            value,
            secret,
        };
        let mut entries = self.entries.iter_mut();
        match entries.find(|entry| entry.name == property.name) {
            Some(entry) => *entry = property,
            None => self.entries.push(property),
        }
    }

    /// Takes a setting out, its name compared without regard to ASCII case. Says whether there was
    /// one.
    pub fn remove_any_case(&mut self, name: &str) -> bool {
        let before = self.entries.len();
        self.entries
            .retain(|entry| !entry.name.eq_ignore_ascii_case(name));
        self.entries.len() < before
    }

    /// The value of `name`, compared exactly.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.entries
            .iter()
            .find(|entry| entry.name == name)
            .map(|entry| entry.value.as_str())
    }

    /// The value of the first name that equals `name` without regard to ASCII case.
    pub fn get_any_case(&self, name: &str) -> Option<&str> {
        self.iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    /// All names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.entries
            .iter()
            .map(|entry| (entry.name.as_str(), entry.value.as_str()))
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Properties {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        let mut properties = Self::new();
        for (name, value) in pairs {
            properties.set(name, value);
        }
        properties
    }
}

impl fmt::Debug for Properties {
    /// Names only: any value may be a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set()
            .entries(self.entries.iter().map(|entry| &entry.name))
            .finish()
    }
}

/// A setting that cannot work.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{}{problem}{}",
    .key.as_ref().map(|key| format!("setting \"{key}\": ")).unwrap_or_default(),
    .hint.as_ref().map(|hint| format!("; {hint}")).unwrap_or_default()
)]
pub struct SettingsError {
    /// The setting, as it is written in the YAML, or as it should be where it is missing.
    pub key: Option<String>,
    /// What is wrong. Never contains the value of a secret.
    pub problem: String,
    /// What to do about it, where that is not plain from the problem.
    pub hint: Option<String>,
}

impl SettingsError {
    /// Something is wrong with the setting `key`.
    pub fn new(key: impl Into<String>, problem: impl fmt::Display) -> Self {
        Self {
            key: Some(key.into()),
            ..Self::general(problem)
        }
    }

    /// Something is wrong with the settings as a whole.
    pub fn general(problem: impl fmt::Display) -> Self {
        Self {
            key: None,
            problem: problem.to_string(),
            hint: None,
        }
    }

    /// Says what to do about it.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}
