//! Which runner is unpacked, without starting it: `Runner.Listener --version` would leave a file in `_diag`.

use std::fs;
use std::path::Path;
use std::time::SystemTime;

use super::LISTENER;
use crate::base::reading;

/// The listener's list of libraries, which names its version.
const LIBRARIES: &str = "bin/Runner.Listener.deps.json";

/// It has some 100 KiB.
const LONGEST: u64 = 4 * 1024 * 1024;

/// A version is shorter.
const LONGEST_VERSION: usize = 64;

/// What the files tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Installed {
    /// The version.
    pub version: Option<String>,
    /// The date of its program, which unpacking keeps from the release. An image that sets it anew hides the age.
    pub built: Option<SystemTime>,
}

impl Installed {
    /// The runner in this directory.
    #[must_use]
    pub fn read(runner: &Path) -> Self {
        Self {
            version: reading::at_most(&runner.join(LIBRARIES), LONGEST).ok().and_then(|text| version_of(&text)),
            built: fs::metadata(runner.join(LISTENER)).and_then(|about| about.modified()).ok(),
        }
    }
}

/// The version in `Runner.Listener.deps.json`.
fn version_of(deps: &[u8]) -> Option<String> {
    let deps: serde_json::Value = serde_json::from_slice(deps).ok()?;
    let libraries = deps.get("libraries")?.as_object()?;
    let version = libraries.keys().find_map(|name| name.strip_prefix("Runner.Listener/"))?;
    (version.len() <= LONGEST_VERSION).then(|| version.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read_without_starting_the_runner() {
        let deps = br#"{"targets":{},"libraries":{"Sdk/1.0":{},"Runner.Listener/2.336.0":{"type":"project"}}}"#;
        assert_eq!(version_of(deps).as_deref(), Some("2.336.0"));
        assert_eq!(version_of(b"{}"), None);
        assert_eq!(version_of(b"no json"), None);
    }
}
