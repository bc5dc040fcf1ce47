//! The JIT blob and the configuration files made from it.

use std::fs;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mayfly_fake_runner::strings;
use serde_json::{Map, Value};

use crate::service::Service;

/// Configuration files, in the order upstream removes them, and whether the
/// removal is told on the console.
const FILES: [(&str, bool); 5] = [
    (".credentials", true),
    (".credentials_rsaparams", false),
    (".credentials_migrated", false),
    (".runner", true),
    (".runner_migrated", false),
];

/// What the double needs of `.runner`.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) agent_name: String,
    pub(crate) ephemeral: bool,
    /// `--once`: one job, and the configuration stays.
    pub(crate) single_job: bool,
    pub(crate) work_folder: Option<String>,
    /// The double of GitHub that it belongs to.
    pub(crate) service: Option<Service>,
}

/// Decodes a blob and writes its entries. As upstream, names are not checked:
/// an absolute name or `../x` leaves the root.
pub(crate) fn write_jit(root: &Path, blob: &str) -> Result<(), String> {
    let outer: Value = serde_json::from_slice(&decode(blob)?).map_err(|e| e.to_string())?;
    let entries = match outer {
        Value::Object(entries) => entries,
        Value::Null => return Err(strings::NULL_REFERENCE.to_owned()),
        other => return Err(format!("Error converting value {other} to a dictionary.")),
    };
    for (name, value) in entries {
        let bytes = match value {
            Value::String(text) => decode(&text)?,
            other => return Err(format!("Unexpected value {other} for '{name}'.")),
        };
        fs::write(root.join(&name), bytes).map_err(|e| format!("{name}: {e}"))?;
    }
    Ok(())
}

/// Standard alphabet only; .NET tolerates white space anywhere.
fn decode(text: &str) -> Result<Vec<u8>, String> {
    let packed: String = text.split_ascii_whitespace().collect();
    let decoded = STANDARD.decode(packed);
    decoded.map_err(|_| strings::BAD_BASE64.to_owned())
}

/// `Ok(None)` if there is no `.runner`.
pub(crate) fn load(root: &Path) -> Result<Option<Settings>, String> {
    let Some(members) = read_object(&root.join(".runner"))? else {
        return Ok(None);
    };
    let text = |key| members.get(key).and_then(Value::as_str).map(str::to_owned);
    Ok(Some(Settings {
        agent_name: text("AgentName").unwrap_or_default(),
        ephemeral: boolean(members.get("Ephemeral"))?,
        single_job: false,
        work_folder: text("WorkFolder").filter(|folder| !folder.is_empty()),
        service: Service::named(&members),
    }))
}

/// A configuration file that is there must be readable JSON when the process
/// starts; upstream aborts otherwise.
pub(crate) fn intact(root: &Path) -> bool {
    [".runner", ".credentials"].iter().all(|name| read_object(&root.join(name)).is_ok())
}

fn read_object(path: &Path) -> Result<Option<Map<String, Value>>, String> {
    let Ok(bytes) = fs::read(path) else {
        return Ok(None);
    };
    serde_json::from_slice(&bytes).map_err(|e| e.to_string()).map(Some)
}

/// JSON's own booleans and numbers, or GitHub's strings.
fn boolean(value: Option<&Value>) -> Result<bool, String> {
    match value {
        None | Some(Value::Null) => Ok(false),
        Some(Value::Bool(flag)) => Ok(*flag),
        Some(Value::Number(number)) => Ok(number.as_f64() != Some(0.0)),
        Some(Value::String(text)) if text.eq_ignore_ascii_case("true") => Ok(true),
        Some(Value::String(text)) if text.eq_ignore_ascii_case("false") => Ok(false),
        Some(other) => Err(format!("Could not convert to boolean: {other}.")),
    }
}

/// Removes the configuration; returns the console lines that tell of it.
pub(crate) fn remove(root: &Path) -> Vec<String> {
    let mut told = Vec::new();
    for (name, tell) in FILES {
        let path = root.join(name);
        let template = if fs::remove_file(&path).is_ok() { strings::REMOVED } else { strings::NOT_THERE };
        if tell {
            told.push(strings::fill(template, &[("file", name)]));
        }
    }
    told
}
