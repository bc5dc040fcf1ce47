//! Which version of GitHub's runner is there.

use std::fs::File;
use std::io::Read;
use std::path::Path;

/// The runner's list of libraries has some 100 KiB.
const LONGEST: u64 = 4 * 1024 * 1024;

/// A version is shorter.
const LONGEST_VERSION: usize = 64;

/// The version of the runner that is unpacked in a directory. (`Runner.Listener --version` would leave a file in `_diag`.)
#[must_use]
pub fn installed(directory: &Path) -> Option<String> {
    let mut text = Vec::new();
    let file = File::open(directory.join("bin/Runner.Listener.deps.json")).ok()?;
    file.take(LONGEST).read_to_end(&mut text).ok()?;
    of_libraries(&text)
}

fn of_libraries(deps: &[u8]) -> Option<String> {
    let deps: serde_json::Value = serde_json::from_slice(deps).ok()?;
    let libraries = deps.get("libraries")?.as_object()?;
    let version = libraries.keys().find_map(|name| name.strip_prefix("Runner.Listener/"))?;
    (version.len() <= LONGEST_VERSION).then(|| version.to_owned())
}

#[cfg(test)]
mod tests {
    use super::of_libraries;

    #[test]
    fn the_version_is_read_without_starting_the_runner() {
        let deps = br#"{"libraries":{"Azure.Core/1.2":{},"Runner.Listener/2.335.1":{"type":"project"}}}"#;
        assert_eq!(of_libraries(deps).as_deref(), Some("2.335.1"));
        for other in [&b"{}"[..], b"[]", b"\xff", br#"{"libraries":{"Runner.Worker/1":{}}}"#] {
            assert_eq!(of_libraries(other), None);
        }
    }
}
