//! A JSON schema of component YAML, for editors.

use bindery_contract::Registration;
use bindery_contract::settings::Field;
use serde_json::{Map, Value, json};

use super::names;

/// The schema of a component of any of these types.
pub fn schema(rows: &[Registration]) -> Value {
    let types: Vec<&str> = rows
        .iter()
        .flat_map(|row| std::iter::once(row.type_name).chain(row.aliases.iter().copied()))
        .collect();
    json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Dapr component, as Bindery takes it",
        "type": "object",
        "required": ["apiVersion", "kind", "metadata", "spec"],
        "properties": {
            "apiVersion": { "const": "dapr.io/v1alpha1" },
            "kind": { "const": "Component" },
            "metadata": {
                "type": "object",
                "required": ["name"],
                "properties": {
                    "name": {
                        "description": "The component's name: apps call it by it.",
                        "type": "string",
                        "pattern": "^[^/%]+$",
                    },
                    "namespace": { "type": "string" },
                },
            },
            "scopes": {
                "description": "The ids of the apps that it is for; all, if it is empty.",
                "type": "array",
                "items": { "type": "string" },
            },
            "auth": {
                "type": "object",
                "properties": { "secretStore": { "type": "string" } },
            },
            "spec": {
                "type": "object",
                "required": ["type"],
                "properties": {
                    "type": {
                        // Other building blocks stay valid: a folder may hold them too.
                        "anyOf": [
                            { "enum": types },
                            { "type": "string", "pattern": "^(?!bindings\\.)" },
                        ],
                    },
                    "version": { "type": "string" },
                    "ignoreErrors": {
                        "description": "Whether the start goes on when the component can never work.",
                        "type": "boolean",
                    },
                    "initTimeout": {
                        "description": "How long opening it may take, such as 5s.",
                        "type": "string",
                    },
                    "delivery": delivery(),
                    "metadata": { "type": "array", "items": item() },
                },
            },
        },
        "allOf": rows.iter().map(of_type).collect::<Vec<_>>(),
    })
}

fn item() -> Value {
    json!({
        "type": "object",
        "required": ["name"],
        "properties": {
            "name": { "type": "string" },
            "value": {},
            "envRef": { "type": "string" },
            "secretKeyRef": {
                "type": "object",
                "required": ["name"],
                "properties": { "name": { "type": "string" }, "key": { "type": "string" } },
            },
        },
    })
}

fn delivery() -> Value {
    json!({
        "description": "How its events are delivered; Dapr itself ignores this.",
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "maxInFlight": { "type": "integer", "minimum": 1, "maximum": 65536 },
            "maxAttempts": { "type": "integer", "minimum": 0 },
            "order": { "enum": ["source", "key", "none"] },
            "reply": { "enum": ["on", "off", true, false] },
            "replyFailure": { "enum": ["log", "nack"] },
        },
    })
}

/// What follows when `spec.type` is this one: which settings there are, which must be there, and
/// what their values look like.
fn of_type(row: &Registration) -> Value {
    let fields = (row.settings)();
    let all = names(&fields);
    let mut known: Vec<String> = vec!["direction".into(), "route".into()];
    known.extend(
        all.iter()
            .flat_map(|(name, field)| std::iter::once(name.clone()).chain(field.aliases.clone())),
    );
    let required: Vec<Value> = all
        .iter()
        .filter(|(_, field)| field.required)
        .map(|(name, field)| {
            let names: Vec<&String> = std::iter::once(name).chain(&field.aliases).collect();
            json!({ "contains": { "properties": { "name": { "enum": names } } } })
        })
        .collect();
    let values: Vec<Value> = all
        .iter()
        .map(|(name, field)| of_setting(name, field))
        .collect();
    let types: Vec<&str> = std::iter::once(row.type_name)
        .chain(row.aliases.iter().copied())
        .collect();
    let mut metadata = Map::new();
    if !required.is_empty() {
        metadata.insert("allOf".into(), required.into());
    }
    metadata.insert(
        "items".into(),
        json!({ "properties": { "name": { "enum": known } }, "allOf": values }),
    );
    json!({
        "if": { "properties": { "spec": { "properties": { "type": { "enum": types } } } } },
        "then": {
            "properties": {
                "spec": { "description": row.summary, "properties": { "metadata": metadata } },
            },
        },
    })
}

/// What follows when an item has this name.
fn of_setting(name: &str, field: &Field) -> Value {
    let mut value = Map::new();
    value.insert("description".into(), field.description.clone().into());
    if let Some(default) = &field.default {
        value.insert("default".into(), default.clone().into());
    }
    if field.deprecated {
        value.insert("deprecated".into(), true.into());
    }
    let shape = match field.kind.as_str() {
        _ if !field.values.is_empty() => json!({ "enum": field.values }),
        "boolean" => json!({ "type": ["boolean", "string", "integer"] }),
        "integer" | "number" => json!({ "type": ["number", "string"] }),
        "duration" | "bytesize" => json!({ "type": ["string", "integer"] }),
        _ => json!({}),
    };
    if let Value::Object(shape) = shape {
        value.extend(shape);
    }
    let mut names: Vec<&str> = vec![name];
    names.extend(field.aliases.iter().map(String::as_str));
    json!({
        "if": { "properties": { "name": { "enum": names } } },
        "then": { "properties": { "value": value } },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::Catalogue;

    #[test]
    fn every_type_and_setting_is_in_the_schema() {
        let catalogue = Catalogue::default();
        let text = schema(catalogue.rows()).to_string();
        for row in catalogue.rows() {
            assert!(text.contains(row.type_name), "{}", row.type_name);
            for (name, _) in names(&(row.settings)()) {
                assert!(text.contains(&format!("\"{name}\"")), "{name}");
            }
        }
    }
}
