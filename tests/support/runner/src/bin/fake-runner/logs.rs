//! The `_diag` log and the performance log.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use mayfly_fake_runner::clock;

/// A `_diag` log of one process.
#[derive(Debug, Default)]
pub(crate) struct Diag {
    file: Option<File>,
}

impl Diag {
    /// Creates `_diag/<prefix>_<stamp>-utc.log`.
    pub(crate) fn create(root: &Path, prefix: &str) -> io::Result<Self> {
        let directory = root.join("_diag");
        fs::create_dir_all(&directory)?;
        let name = format!("{prefix}_{}-utc.log", clock::file_stamp());
        let mut options = OpenOptions::new();
        let file = options.append(true).create(true).open(directory.join(name))?;
        Ok(Self { file: Some(file) })
    }

    /// One line; further lines of `text` get no prefix, as upstream.
    pub(crate) fn info(&mut self, source: &str, text: &str) {
        let line = format!("[{} INFO {source}] {text}\n", clock::console_stamp());
        if let Some(file) = &mut self.file {
            let _ = file.write_all(line.as_bytes());
        }
    }
}

/// The performance log, if `RUNNER_PERFLOG` names a directory.
#[derive(Debug)]
pub(crate) struct Perf {
    path: Option<PathBuf>,
}

impl Perf {
    pub(crate) fn new(directory: Option<&OsStr>, file: &str) -> Self {
        let path = directory.map(|directory| Path::new(directory).join(file));
        Self { path }
    }

    pub(crate) fn write(&self, counter: &str) {
        let Some(path) = &self.path else { return };
        let counter = counter.replace(':', "_");
        let line = format!("{counter}:{}\n", clock::round_trip_stamp());
        if let Ok(mut file) = OpenOptions::new().append(true).create(true).open(path) {
            let _ = file.write_all(line.as_bytes());
        }
    }
}
