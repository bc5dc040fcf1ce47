//! The configuration.

use super::{Finding, Machine};
use mayfly_core::config::Origin;

pub(super) fn check(machine: &Machine) -> Vec<Finding> {
    if let Some(problems) = &machine.problems {
        let lines: Vec<String> = problems.0.iter().map(ToString::to_string).collect();
        return vec![Finding::broken(
            "config.valid",
            lines.join("\n"),
            "The agent does not start with this (exit code 78). Mend each line; all that follows was checked against the \
             built-in defaults.",
        )];
    }
    let set: Vec<_> = machine.config.origins.iter().filter(|(_, origin)| **origin != Origin::Default).collect();
    vec![Finding::holds("config.valid", format!("valid; {} keys set, the rest default", set.len()))]
}
