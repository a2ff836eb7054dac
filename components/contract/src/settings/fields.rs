//! What a settings struct declares, read from its schema.

use std::any::TypeId;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::Value;

use super::Conventions;
use crate::binding::Role;

/// One setting of a binding.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// Other names, used when its own is absent (M4).
    pub aliases: Vec<String>,
    /// Whether the name is compared exactly (M3).
    pub exact_case: bool,
    /// Whether the name is a prefix, and the settings after it are fields of their own (RT).
    pub prefix: Vec<Field>,
    /// The structs that it was flattened out of, from the outside in; its name does not show them.
    pub within: Vec<String>,
    /// Read by this side of the binding only.
    pub role: Option<Role>,
    /// Whether it must be there.
    pub required: bool,
    /// Whether it must never be printed.
    pub secret: bool,
    /// Kept for old files.
    pub deprecated: bool,
    /// `string`, `boolean`, `integer`, `number`, `duration`, `bytesize`, `list`.
    pub kind: String,
    /// The only values it takes; empty means any.
    pub values: Vec<String>,
    /// What it is when it is absent.
    pub default: Option<String>,
    /// What it may look like.
    pub example: Option<String>,
    /// Whether an example of the whole component shows it: required settings, and those that
    /// hardly anybody does without (`x-example`).
    pub in_example: bool,
    /// What it is for.
    pub description: String,
}

type Known = HashMap<(TypeId, Conventions), Arc<[Field]>>;

/// The settings that `S` declares, in order.
pub fn fields<S: JsonSchema + 'static>() -> Arc<[Field]> {
    fields_under::<S>(Conventions::Usual)
}

/// The settings that `S` declares, as a binding with these conventions has them. Made once.
pub(crate) fn fields_under<S: JsonSchema + 'static>(conventions: Conventions) -> Arc<[Field]> {
    static KNOWN: LazyLock<Mutex<Known>> = LazyLock::new(Mutex::default);
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let declared = known.entry((TypeId::of::<S>(), conventions));
    Arc::clone(declared.or_insert_with(|| {
        let settings = SchemaSettings::draft2020_12().with(|settings| {
            settings.inline_subschemas = true;
        });
        let schema = settings.into_generator().into_root_schema_for::<S>();
        let mut fields = from_schema(schema.as_value());
        if conventions == Conventions::Strict {
            // M10: no aliases, though a struct that others share may declare some.
            for field in &mut fields {
                field.aliases.clear();
            }
        }
        fields.into()
    }))
}

fn from_schema(schema: &Value) -> Vec<Field> {
    let required = strings(&schema["required"]);
    let properties = schema["properties"].as_object().into_iter().flatten();
    properties
        .flat_map(|(name, property)| {
            if property["x-flatten"] == true {
                flattened(name, property)
            } else {
                vec![field(name, property, required.contains(name))]
            }
        })
        .collect()
}

/// The fields of a struct that stand beside those of the struct which has it.
fn flattened(name: &str, property: &Value) -> Vec<Field> {
    let mut fields = from_schema(property);
    for field in &mut fields {
        field.within.insert(0, name.to_owned());
    }
    fields
}

fn field(name: &str, property: &Value, required: bool) -> Field {
    Field {
        name: name.to_owned(),
        aliases: strings(&property["x-aliases"]),
        exact_case: property["x-exact-case"] == true,
        prefix: if property["x-prefix"] == true {
            from_schema(property)
        } else {
            Vec::new()
        },
        within: Vec::new(),
        role: match property["x-role"].as_str() {
            Some("input") => Some(Role::Input),
            Some("output") => Some(Role::Output),
            _ => None,
        },
        required,
        secret: property["writeOnly"] == true,
        deprecated: property["deprecated"] == true,
        kind: kind(property),
        values: values(property),
        default: default(&property["default"]),
        example: default(&property["x-example"])
            .or_else(|| property["examples"].get(0).and_then(default)),
        in_example: required || property["x-example"].is_string(),
        description: text(&property["description"]),
    }
}

fn kind(property: &Value) -> String {
    let types = match &property["type"] {
        Value::Array(types) => types.iter().find(|kind| *kind != "null").cloned(),
        other => Some(other.clone()),
    };
    match (
        property["format"].as_str(),
        types.as_ref().and_then(Value::as_str),
    ) {
        (Some(format @ ("duration" | "bytesize")), _) => format.to_owned(),
        (_, Some("array")) => "list".to_owned(),
        (_, Some(kind)) => kind.to_owned(),
        _ => "string".to_owned(),
    }
}

/// The words of an enum, whether schemars wrote it with or without descriptions.
fn values(property: &Value) -> Vec<String> {
    let mut values = strings(&property["enum"]);
    for choice in ["oneOf", "anyOf"]
        .iter()
        .filter_map(|key| property[*key].as_array())
        .flatten()
    {
        values.extend(choice["const"].as_str().map(str::to_owned));
        values.extend(self::values(choice));
    }
    values
}

fn default(value: &Value) -> Option<String> {
    match value {
        Value::Null | Value::Object(_) => None,
        Value::String(text) => Some(text.clone()),
        Value::Array(_) => Some(strings(value).join(",")),
        other => Some(other.to_string()),
    }
    .filter(|text| !text.is_empty())
}

fn strings(value: &Value) -> Vec<String> {
    let items = value.as_array().map(Vec::as_slice).unwrap_or_default();
    items
        .iter()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
