//! The agent's log, read as it grows: which states the run was in, and when.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

/// See the module.
pub(crate) struct Tail {
    path: PathBuf,
    file: Option<File>,
    at: u64,
    rest: Vec<u8>,
}

impl Tail {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, file: None, at: 0, rest: Vec::new() }
    }

    /// The states that were entered since the last poll.
    pub(crate) fn states(&mut self) -> Vec<String> {
        if self.file.is_none() {
            self.file = File::open(&self.path).ok();
        }
        let Some(file) = &self.file else { return Vec::new() };
        let mut block = [0; 16384];
        while let Ok(count @ 1..) = file.read_at(&mut block, self.at) {
            self.at += count as u64;
            self.rest.extend_from_slice(&block[..count]);
        }
        let Some(end) = self.rest.iter().rposition(|byte| *byte == b'\n') else { return Vec::new() };
        let whole: Vec<u8> = self.rest.drain(..=end).collect();
        let lines = String::from_utf8_lossy(&whole).into_owned();
        lines.lines().filter(|line| line.contains("mayfly::daemon")).filter_map(state_of).collect()
    }
}

fn state_of(line: &str) -> Option<String> {
    let (_, rest) = line.split_once("state=\"")?;
    rest.split_once('"').map(|(state, _)| state.to_owned())
}
