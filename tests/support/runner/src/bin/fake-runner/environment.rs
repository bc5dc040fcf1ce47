//! The managed environment: what `.env` overrides, what children inherit.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::Path;

/// Prefix of arguments given as variables; matched in any case.
const INPUT_PREFIX: &str = "actions_runner_input_";

#[derive(Debug, Clone)]
pub(crate) struct Environment {
    variables: BTreeMap<OsString, OsString>,
    inputs: BTreeMap<String, String>,
}

impl Environment {
    /// The environment as inherited.
    pub(crate) fn inherited() -> Self {
        Self { variables: std::env::vars_os().collect(), inputs: BTreeMap::new() }
    }

    /// Lets `.env` override: `KEY=VALUE` lines, no quoting, no comments.
    pub(crate) fn load_file(&mut self, root: &Path) {
        let text = fs::read_to_string(root.join(".env")).unwrap_or_default();
        for line in text.lines() {
            if let Some((key, value)) = line.split_once('=')
                && !key.is_empty()
            {
                self.set(key, value);
            }
        }
    }

    /// Takes the input variables out, so that no child inherits them. The
    /// kernel's copy in `/proc/<pid>/environ` keeps them, as upstream.
    pub(crate) fn take_inputs(&mut self) {
        let inputs = &mut self.inputs;
        self.variables.retain(|key, value| {
            let key = key.to_string_lossy().to_lowercase();
            let Some(name) = key.strip_prefix(INPUT_PREFIX) else {
                return true;
            };
            let value = value.to_string_lossy().trim().to_owned();
            if !value.is_empty() {
                inputs.insert(name.to_owned(), value);
            }
            false
        });
    }

    pub(crate) fn input(&self, name: &str) -> Option<&str> {
        self.inputs.get(name).map(String::as_str)
    }

    pub(crate) fn get(&self, key: &str) -> Option<&OsStr> {
        self.variables.get(OsStr::new(key)).map(OsString::as_os_str)
    }

    pub(crate) fn set(&mut self, key: &str, value: impl AsRef<OsStr>) {
        let value = value.as_ref().to_owned();
        self.variables.insert(key.into(), value);
    }

    pub(crate) fn variables(&self) -> &BTreeMap<OsString, OsString> {
        &self.variables
    }

    /// Whether a switch is `1` or `true`.
    pub(crate) fn on(&self, key: &str) -> bool {
        let value = self.get(key).and_then(OsStr::to_str).unwrap_or_default();
        value == "1" || value.eq_ignore_ascii_case("true")
    }

    /// Whether the exit code shall tell the job's result.
    pub(crate) fn hosted(&self) -> bool {
        self.on("ACTIONS_RUNNER_RETURN_JOB_RESULT_FOR_HOSTED")
    }
}
