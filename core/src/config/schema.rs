//! The configuration's JSON Schema, for editors.

use serde_json::{Map, Value, json};

use super::keys::{KEYS, Key, ValueKind};

/// Makes the schema from the table of keys.
#[must_use]
pub fn schema() -> Value {
    let mut top = Map::new();
    for key in KEYS {
        match key.name.split_once('.') {
            None => {
                top.insert(key.name.to_owned(), property(key));
            }
            Some((section, name)) => {
                let table = top
                    .entry(section.to_owned())
                    .or_insert_with(|| json!({"type": "object", "additionalProperties": false, "properties": {}}));
                table["properties"][name] = property(key);
            }
        }
    }
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Mayfly agent configuration",
        "type": "object",
        "additionalProperties": false,
        "properties": top,
    })
}

fn property(key: &Key) -> Value {
    let mut property = match key.kind {
        ValueKind::Boolean => json!({"type": "boolean", "default": key.default == "true"}),
        ValueKind::Word(words) => json!({"type": "string", "enum": words, "default": key.default}),
        ValueKind::Duration => json!({"type": "string", "examples": ["90s", "5m", "6h30m"], "default": key.default}),
        ValueKind::Size => json!({"type": "string", "examples": ["2GiB"], "default": key.default}),
        ValueKind::Text | ValueKind::Path => json!({"type": "string", "default": key.default}),
    };
    property["description"] = Value::from(key.about);
    property
}
