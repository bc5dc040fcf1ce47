//! The schema of the record is made of its type, kept in `docs/record.schema.json`, and stable: whoever reads records by it
//! reads those of later versions, too.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail there")]

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::record::{Record, SCHEMA};

/// Set by whoever adds a key, to write the schema anew.
const WRITE: &str = "MAYFLY_WRITE";

fn path() -> PathBuf {
    // The directory when the test runs: a build cache may hold the program of another checkout.
    PathBuf::from(std::env::var("CARGO_MANIFEST_DIR").unwrap()).join("../docs/record.schema.json")
}

fn made() -> Value {
    let mut schema = serde_json::to_value(schemars::schema_for!(Record)).unwrap();
    schema["$id"] = format!("https://mayfly.invalid/record/{SCHEMA}").into();
    schema["title"] = format!("The record of a Mayfly run, version {SCHEMA}").into();
    schema
}

/// Every key that records have by a schema, with its path and its type.
fn keys(schema: &Value, path: &str, found: &mut BTreeSet<String>) {
    match schema {
        Value::Object(object) => {
            for (name, part) in object {
                match (name.as_str(), part) {
                    ("properties" | "$defs", Value::Object(parts)) => {
                        for (key, part) in parts {
                            let path = format!("{path}/{key}");
                            keys(part, &path, found);
                            let types = part.get("type").cloned().unwrap_or_default();
                            let types = match types {
                                Value::Array(types) => types,
                                one => vec![one],
                            };
                            found.extend(types.iter().map(|kind| format!("{path}: {kind}")));
                        }
                    }
                    ("oneOf" | "anyOf" | "items", part) => keys(part, path, found),
                    ("enum", Value::Array(words)) => {
                        found.extend(words.iter().map(|word| format!("{path} = {word}")));
                    }
                    ("const", word) => drop(found.insert(format!("{path} = {word}"))),
                    ("$ref", Value::String(name)) => drop(found.insert(format!("{path} -> {name}"))),
                    _ => {}
                }
            }
        }
        Value::Array(parts) => parts.iter().for_each(|part| keys(part, path, found)),
        _ => {}
    }
}

fn keys_of(schema: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    keys(schema, "", &mut found);
    found
}

#[test]
fn the_schema_of_the_record_only_ever_grows_and_is_the_one_that_is_kept() {
    let (path, made) = (path(), made());
    let text = format!("{}\n", serde_json::to_string_pretty(&made).unwrap());
    let kept = fs::read_to_string(&path).unwrap_or_default();
    if let Ok(kept) = serde_json::from_str::<Value>(&kept)
        && kept["$id"] == made["$id"]
    {
        let (before, after) = (keys_of(&kept), keys_of(&made));
        let gone: Vec<_> = before.difference(&after).collect();
        assert!(gone.is_empty(), "readers of version {SCHEMA} rely on these; SCHEMA must be raised: {gone:#?}");
        assert!(before.len() > 40, "the kept schema was not understood: {before:#?}");
    }
    if std::env::var_os(WRITE).is_some() {
        return fs::write(&path, text).unwrap();
    }
    assert!(kept == text, "docs/record.schema.json is not the record's: run this test once with {WRITE}=1");
}

#[test]
fn a_key_that_goes_or_changes_its_type_is_noticed() {
    let (whole, mut less) = (made(), made());
    less["properties"].as_object_mut().unwrap().remove("boot").unwrap();
    less["$defs"]["Usage"]["properties"]["cpu_ms"]["type"] = "string".into();
    let gone: Vec<_> = keys_of(&whole).difference(&keys_of(&less)).cloned().collect();
    assert_eq!(gone, [r#"/Usage/cpu_ms: "integer""#, r#"/Usage/cpu_ms: "null""#, r#"/boot: "string""#]);
}
