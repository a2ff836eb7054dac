//! The one deserializer of all settings: from names and texts to a struct, by the conventions of
//! the catalogue, Part 4.

use std::borrow::Cow;
use std::fmt;

use serde::de::value::StrDeserializer;
use serde::de::{self, DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, Visitor};

use super::number::{decimal, integer, parse_bool, truthy};
use super::{
    Field, GoDuration, Properties, Property, Settings, SettingsError, duration, fields_under,
};

/// Which decoder of the reference a binding follows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Conventions {
    /// M3–M9: nearly all bindings. Booleans by word, integers with base prefixes, plain
    /// numbers as durations are seconds.
    #[default]
    Usual,
    /// M10: redis, and the `backOff*` settings. Booleans as Go parses them, decimal integers,
    /// plain numbers as durations are milliseconds, no aliases.
    Strict,
}

/// Settings names that belong to the runtime and reach every binding.
const RUNTIME_NAMES: [&str; 2] = ["direction", "route"];

/// Something about a setting that is probably a mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    /// The setting, as it is written.
    pub key: String,
    /// What it means to us.
    pub problem: String,
    /// What was probably meant.
    pub hint: Option<String>,
}

/// Decodes the settings of a component.
///
/// # Errors
/// The first setting that cannot work: a name that is there twice (M3), a value of the wrong
/// shape, a required setting that is missing.
pub fn decode<S: Settings>(
    properties: &Properties,
    conventions: Conventions,
) -> Result<S, SettingsError> {
    refuse_duplicates(properties)?;
    let declared = fields_under::<S>(conventions);
    let settings = S::deserialize(Struct {
        entries: nested(properties, &declared, 0),
        conventions,
    })
    .map_err(|error| error.into_settings_error(&declared, properties))?;
    Ok(settings)
}

/// What is no error, as in the reference, and probably a mistake all the same.
pub fn remarks<S: Settings>(properties: &Properties, conventions: Conventions) -> Vec<Remark> {
    let declared = fields_under::<S>(conventions);
    let mut remarks = unknown(properties, &declared);
    if conventions == Conventions::Usual {
        remarks.extend(doubtful(properties, &declared));
    }
    remarks
}

/// M5: a word that is no boolean is false without an error, which is seldom what was meant.
fn doubtful(properties: &Properties, declared: &[Field]) -> Vec<Remark> {
    let resolved = declared.iter().filter_map(|field| entry(properties, field));
    let doubts = resolved.filter_map(|entry| match entry {
        Entry::One { field, said } if field.kind == "boolean" && !is_boolean(&said.value) => {
            let value = if field.secret || said.secret {
                "the secret".into()
            } else {
                format!("{:?}", said.value)
            };
            Some(Remark {
                key: said.name.clone(),
                problem: format!("{value} is no boolean and counts as false"),
                hint: Some("write true or false".into()),
            })
        }
        _ => None,
    });
    doubts.collect()
}

fn is_boolean(value: &str) -> bool {
    const FALSE: [&str; 7] = ["", "n", "no", "false", "f", "off", "0"];
    let word = value.trim();
    truthy(word) || FALSE.iter().any(|no| no.eq_ignore_ascii_case(word))
}

/// M3: two names that are equal but for case are an error, because one of them would win.
fn refuse_duplicates(properties: &Properties) -> Result<(), SettingsError> {
    let mut seen = std::collections::HashSet::new();
    for (name, _) in properties.iter() {
        let lower = name.to_lowercase();
        if !seen.insert(lower.clone()) {
            return Err(SettingsError::new(
                name,
                format!(
                    "key {lower} is duplicate in the metadata: names are compared without case"
                ),
            ));
        }
    }
    Ok(())
}

/// A field and what the component says of it.
enum Entry<'a> {
    One {
        field: &'a Field,
        said: &'a Property,
    },
    Prefixed {
        field: &'a Field,
        values: Vec<(Cow<'a, str>, &'a Property)>,
    },
    /// A struct whose fields were flattened into the settings.
    Struct {
        name: &'a str,
        entries: Vec<Entry<'a>>,
    },
}

impl Entry<'_> {
    /// The field of the settings struct.
    fn name(&self) -> &str {
        match self {
            Self::One { field, .. } | Self::Prefixed { field, .. } => &field.name,
            Self::Struct { name, .. } => name,
        }
    }
}

/// What the component says of each declared field, put into the structs that they are part of.
/// All `declared` are part of the same ones down to `depth`.
fn nested<'a>(properties: &'a Properties, declared: &'a [Field], depth: usize) -> Vec<Entry<'a>> {
    let together = |one: &Field, next: &Field| {
        one.within.len() > depth && one.within.get(depth) == next.within.get(depth)
    };
    declared
        .chunk_by(together)
        .filter_map(|fields| match fields[0].within.get(depth) {
            Some(name) => Some(Entry::Struct {
                name,
                entries: nested(properties, fields, depth + 1),
            }),
            None => entry(properties, &fields[0]),
        })
        .collect()
}

/// Finds the value of a field: by its own name, else by its aliases in order.
fn entry<'a>(properties: &'a Properties, field: &'a Field) -> Option<Entry<'a>> {
    if !field.prefix.is_empty() {
        let values: Vec<_> = properties
            .entries
            .iter()
            .filter_map(|said| {
                let rest = strip_prefix_any_case(&said.name, &field.name)?;
                Some((lower_first(rest), said))
            })
            .collect();
        return (!values.is_empty()).then_some(Entry::Prefixed { field, values });
    }
    std::iter::once(&field.name)
        .chain(&field.aliases)
        .filter_map(|name| {
            let mut entries = properties.entries.iter();
            entries.find(|said| matches(field, name, &said.name))
        })
        .map(|said| Entry::One { field, said })
        .next()
}

fn matches(field: &Field, name: &str, key: &str) -> bool {
    key == name || (!field.exact_case && key.to_lowercase() == name.to_lowercase())
}

fn strip_prefix_any_case<'a>(key: &'a str, prefix: &str) -> Option<&'a str> {
    let head = key.get(..prefix.len())?;
    let rest = &key[prefix.len()..];
    (head.eq_ignore_ascii_case(prefix) && !rest.is_empty()).then_some(rest)
}

fn lower_first(text: &str) -> Cow<'_, str> {
    let mut chars = text.chars();
    match chars.next() {
        Some(first) if first.is_uppercase() => {
            Cow::Owned(first.to_lowercase().chain(chars).collect())
        }
        _ => Cow::Borrowed(text),
    }
}

fn unknown(properties: &Properties, declared: &[Field]) -> Vec<Remark> {
    let known = |key: &str| {
        RUNTIME_NAMES
            .iter()
            .any(|name| name.eq_ignore_ascii_case(key))
            || declared.iter().any(|field| {
                matches(field, &field.name, key)
                    || field.aliases.iter().any(|alias| matches(field, alias, key))
                    || field.prefix.iter().any(|inner| {
                        strip_prefix_any_case(key, &field.name)
                            .is_some_and(|rest| rest.eq_ignore_ascii_case(&inner.name))
                    })
            })
    };
    properties
        .iter()
        .filter(|(key, _)| !known(key))
        .map(|(key, _)| Remark {
            key: key.to_owned(),
            problem: "is not a setting of this binding and is ignored".into(),
            hint: nearest(key, declared).map(|name| format!("did you mean \"{name}\"?")),
        })
        .collect()
}

/// The declared name that is nearest to `key`, if it is near enough to be meant.
fn nearest(key: &str, declared: &[Field]) -> Option<String> {
    let candidates = declared.iter().flat_map(|field| {
        if field.prefix.is_empty() {
            std::iter::once(&field.name)
                .chain(&field.aliases)
                .cloned()
                .collect::<Vec<_>>()
        } else {
            field
                .prefix
                .iter()
                .map(|inner| prefixed(&field.name, &inner.name))
                .collect()
        }
    });
    let lower = key.to_lowercase();
    candidates
        .map(|name| (strsim::osa_distance(&lower, &name.to_lowercase()), name))
        .filter(|(distance, name)| *distance <= (name.len() / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

fn prefixed(prefix: &str, name: &str) -> String {
    let mut chars = name.chars();
    let first = chars
        .next()
        .map(|first| first.to_uppercase().to_string())
        .unwrap_or_default();
    format!("{prefix}{first}{}", chars.as_str())
}

/// What serde reports, before it is known which setting it is about.
#[derive(Debug)]
struct DecodeError {
    key: Option<String>,
    problem: String,
}

impl DecodeError {
    fn at(mut self, key: &str) -> Self {
        self.key.get_or_insert_with(|| key.to_owned());
        self
    }

    /// What a type says of a value may show it.
    fn without(mut self, secret: &str) -> Self {
        let parts = secret.split(',').filter(|part| !part.is_empty());
        if parts.clone().any(|part| self.problem.contains(part)) {
            self.problem = "is not what this setting takes; the secret is not shown".into();
        }
        self
    }

    fn into_settings_error(self, declared: &[Field], properties: &Properties) -> SettingsError {
        let Some(missing) = self.problem.strip_prefix(MISSING) else {
            return SettingsError {
                key: self.key,
                ..SettingsError::general(self.problem)
            };
        };
        let field = declared.iter().find(|field| field.name == missing);
        let aliases = field
            .map(|field| field.aliases.as_slice())
            .unwrap_or_default();
        let mut problem = String::from("is required and missing");
        if !aliases.is_empty() {
            problem += &format!(" (it may also be called {})", aliases.join(", "));
        }
        let error = SettingsError::new(missing, problem);
        // The commonest reason is a name that is almost right.
        let declared: Vec<Field> = field.into_iter().cloned().collect();
        let almost = properties
            .iter()
            .find(|(key, _)| nearest(key, &declared).is_some());
        match almost {
            Some((almost, _)) => error.hint(format!("did you mean it by \"{almost}\"?")),
            None => error,
        }
    }
}

const MISSING: &str = "\0missing ";

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problem)
    }
}

impl std::error::Error for DecodeError {}

impl de::Error for DecodeError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self {
            key: None,
            problem: message.to_string(),
        }
    }

    fn missing_field(field: &'static str) -> Self {
        Self {
            key: None,
            problem: format!("{MISSING}{field}"),
        }
    }
}

/// All settings: what a settings struct is deserialized from.
struct Struct<'a> {
    entries: Vec<Entry<'a>>,
    conventions: Conventions,
}

impl<'de> Deserializer<'de> for Struct<'_> {
    type Error = DecodeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_map(Entries {
            entries: self.entries.into_iter(),
            next: None,
            conventions: self.conventions,
        })
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier
        ignored_any
    }
}

struct Entries<'a> {
    entries: std::vec::IntoIter<Entry<'a>>,
    next: Option<Entry<'a>>,
    conventions: Conventions,
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = DecodeError;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, DecodeError> {
        self.next = self.entries.next();
        let Some(entry) = &self.next else {
            return Ok(None);
        };
        let name: StrDeserializer<'_, DecodeError> = entry.name().into_deserializer();
        seed.deserialize(name).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(
        &mut self,
        seed: V,
    ) -> Result<V::Value, DecodeError> {
        match self.next.take().expect("a value follows its key") {
            Entry::One { field, said } => {
                let text = Text {
                    value: &said.value,
                    secret: field.secret || said.secret,
                    conventions: self.conventions,
                };
                let (secret, value) = (text.secret, text.value);
                seed.deserialize(text).map_err(|error| {
                    let error = error.at(&said.name);
                    if secret { error.without(value) } else { error }
                })
            }
            Entry::Struct { entries, .. } => seed.deserialize(Struct {
                entries,
                conventions: self.conventions,
            }),
            Entry::Prefixed { field, values } => {
                let named = |inner: &'_ Field| {
                    values
                        .iter()
                        .find(|(name, _)| name.eq_ignore_ascii_case(&inner.name))
                        .map(|(_, said)| *said)
                };
                let entries = field
                    .prefix
                    .iter()
                    .filter_map(|inner| named(inner).map(|said| Entry::One { field: inner, said }))
                    .collect();
                seed.deserialize(Struct {
                    entries,
                    conventions: Conventions::Strict,
                })
            }
        }
    }
}

/// One value: what each kind of field is deserialized from.
struct Text<'a> {
    value: &'a str,
    secret: bool,
    conventions: Conventions,
}

impl Text<'_> {
    fn invalid(&self, expected: &str) -> DecodeError {
        let problem = if self.secret {
            format!("is not {expected}")
        } else {
            format!("{:?} is not {expected}", self.value)
        };
        DecodeError { key: None, problem }
    }

    fn bool(&self) -> Result<bool, DecodeError> {
        match self.conventions {
            Conventions::Usual => Ok(truthy(self.value)),
            Conventions::Strict => {
                parse_bool(self.value).ok_or_else(|| self.invalid("a boolean: write true or false"))
            }
        }
    }

    fn integer<T: TryFrom<i128>>(&self, min: i128, max: i128) -> Result<T, DecodeError> {
        let number = match self.conventions {
            Conventions::Usual => integer(self.value),
            Conventions::Strict => decimal(self.value),
        };
        number
            .filter(|number| (min..=max).contains(number))
            .and_then(|n| n.try_into().ok())
            .ok_or_else(|| self.invalid(&whole_number(min, max)))
    }

    fn float(&self) -> Result<f64, DecodeError> {
        match self.value {
            "" if self.conventions == Conventions::Usual => Ok(0.0),
            text => text
                .parse()
                .ok()
                .filter(|number: &f64| number.is_finite())
                .ok_or_else(|| self.invalid("a number")),
        }
    }

    fn duration(&self) -> Result<GoDuration, DecodeError> {
        let parsed = match self.conventions {
            Conventions::Usual => GoDuration::parse_setting(self.value, 1_000_000_000),
            Conventions::Strict if self.value.is_empty() => Err(String::from("is empty")),
            Conventions::Strict => match decimal(self.value) {
                Some(number) if number < 0 => Ok(GoDuration::OFF),
                _ => GoDuration::parse_setting(self.value, 1_000_000),
            },
        };
        parsed.map_err(|problem| DecodeError { key: None, problem })
    }
}

/// Limits that nobody would run into are left out.
fn whole_number(min: i128, max: i128) -> String {
    if max >= i128::from(i64::MAX) {
        let sign = if min < 0 { "" } else { " of 0 or more" };
        format!("a whole number{sign}")
    } else {
        format!("a whole number from {min} to {max}")
    }
}

macro_rules! integers {
    ($($method:ident $visit:ident $type:ty),*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
            visitor.$visit(self.integer(<$type>::MIN.into(), <$type>::MAX.into())?)
        }
    )*};
}

impl<'de> Deserializer<'de> for Text<'_> {
    type Error = DecodeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_str(self.value)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_bool(self.bool()?)
    }

    integers! {
        deserialize_i8 visit_i8 i8, deserialize_i16 visit_i16 i16,
        deserialize_i32 visit_i32 i32, deserialize_i64 visit_i64 i64,
        deserialize_u8 visit_u8 u8, deserialize_u16 visit_u16 u16,
        deserialize_u32 visit_u32 u32, deserialize_u64 visit_u64 u64
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_f64(self.float()?)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_f64(self.float()?)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        if name == duration::NAME {
            visitor.visit_i64(self.duration()?.nanos())
        } else {
            visitor.visit_newtype_struct(self)
        }
    }

    /// M9: split at commas without trimming; an empty text is a list of one empty text.
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        let (secret, conventions) = (self.secret, self.conventions);
        let items = self.value.split(',').map(|value| Text {
            value,
            secret,
            conventions,
        });
        visitor.visit_seq(de::value::SeqDeserializer::new(items))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        let variant = variants
            .iter()
            .find(|name| name.eq_ignore_ascii_case(self.value));
        let variant =
            variant.ok_or_else(|| self.invalid(&format!("one of {}", variants.join(", "))))?;
        let variant: StrDeserializer<'_, DecodeError> = (*variant).into_deserializer();
        visitor.visit_enum(variant)
    }

    serde::forward_to_deserialize_any! {
        i128 u128 char str string bytes byte_buf unit unit_struct tuple tuple_struct map struct
        identifier ignored_any
    }
}

impl<'de> IntoDeserializer<'de, DecodeError> for Text<'_> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}
