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
    if record.is_null() {
        return;
    }
    let (schemas, index) = schema();
    if let Err(error) = schemas.validate(record, *index) {
        panic!("who reads records by docs/record.schema.json cannot read this one: {error:#}\n{record:#}");
    }
    assert_eq!(record["schema"], 1, "a record does not name its schema: {record:#}");
    let length = record.to_string().len();
    assert!(length <= LONGEST, "a record of {length} bytes is no event of a log, and no line of a console");
    for step in record["startup"].as_array().unwrap() {
        let (known, why) = (!step["duration_ms"].is_null(), !step["unknown_why"].is_null());
        assert_ne!(known, why, "a step of the start-up is known, or says why it is not: {step:#}");
    }
    let phases = record["phases"].as_array().unwrap();
    for phase in phases.iter().rev().skip(1) {
        assert!(phase["duration_ms"].is_u64() && phase["entered_at"].is_string(), "a phase without its time: {phase}");
    }
}
