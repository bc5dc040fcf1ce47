//! Where the agent's log lines go.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::World;

impl World {
    /// Where logs go: not on the state directory's disk.
    pub(super) fn logs(&self) -> PathBuf {
        self.run.directory().join("logs")
    }
}

/// How many lines each stream has in the directory that logs go to, of whichever instance: one that could not learn its name has
/// another.
pub(super) fn lines_in(directory: &Path) -> BTreeMap<String, u64> {
    let entries = |path: &Path| fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut lines = BTreeMap::new();
    for file in entries(directory).flat_map(|instance| entries(&instance).collect::<Vec<_>>()) {
        let stream = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let count = fs::read(&file).unwrap_or_default().iter().filter(|byte| **byte == b'\n').count() as u64;
        *lines.entry(stream).or_default() += count;
    }
    lines
}
