//! Every record that a scenario reads is one by its schema.

use std::sync::OnceLock;

use boon::{Compiler, SchemaIndex, Schemas};
use serde_json::Value;

/// Below the 64 KiB that a console keeps, and the 256 KiB of an event of CloudWatch Logs.
const LONGEST: usize = 60 * 1024;

static SCHEMA: OnceLock<(Schemas, SchemaIndex)> = OnceLock::new();

fn schema() -> &'static (Schemas, SchemaIndex) {
    SCHEMA.get_or_init(|| {
        let text = include_str!("../../../docs/record.schema.json");
        let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
        compiler.add_resource("record.json", serde_json::from_str(text).unwrap()).unwrap();
        let index = compiler.compile("record.json", &mut schemas).unwrap();
        (schemas, index)
    })
}

/// Fails unless a record is one; what is no record at all (`null`: the run has none) is for the scenario to judge.
pub fn validate(record: &Value) {
    if let Some(problem) = problem(record) {
        panic!("who reads records by docs/record.schema.json cannot read this one: {problem}\n{record:#}");
    }
}

/// What is wrong with a record, if anything is.
#[must_use]
pub fn problem(record: &Value) -> Option<String> {
    if record.is_null() {
        return None;
    }
    let (schemas, index) = schema();
    if let Err(error) = schemas.validate(record, *index) {
        return Some(format!("{error:#}"));
    }
    if record["schema"] != 1 {
        return Some("it does not name its schema".to_owned());
    }
    let length = record.to_string().len();
    if length > LONGEST {
        return Some(format!("it has {length} bytes: it is no event of a log, and no line of a console"));
    }
    let list = |key: &str| record[key].as_array().cloned().unwrap_or_default();
    // What is known has a time, and what is not says why.
    let unclear =
        list("startup").into_iter().find(|step| step["duration_ms"].is_null() == step["unknown_why"].is_null());
    let phases = list("phases");
    let untimed =
        phases.into_iter().rev().skip(1).find(|phase| phase["duration_ms"].is_null() || phase["entered_at"].is_null());
    unclear.or(untimed).map(|part| format!("without its time: {part}"))
}
