//! GitHub's own examples of answers that are too long to be written by hand.

use std::sync::OnceLock;

use serde_json::Value;

static EXAMPLES: OnceLock<Value> = OnceLock::new();

/// The example of this name; `null` if there is none, which the schema then finds.
pub(crate) fn example(name: &str) -> Value {
    let read = || serde_json::from_str(include_str!("../openapi/examples.json")).unwrap_or_default();
    EXAMPLES.get_or_init(read)[name].clone()
}
