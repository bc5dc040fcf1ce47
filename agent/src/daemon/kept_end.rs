//! The end of a run whose journal cannot be written: kept in the runtime directory, for the agent process that comes next.
//!
//! Without it an agent whose disk came back would take a job on a machine whose termination is accepted already.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tracing::warn;

use super::journal::{Binding, Entry, Replay};
use crate::base::{durable, reading};

/// No state is longer; what is longer is not ours.
const LONGEST: u64 = 256 * 1024;

/// Where the end is kept.
#[derive(Debug)]
pub(super) struct KeptEnd {
    path: PathBuf,
    binding: Binding,
}

#[derive(Debug, Serialize, Deserialize)]
struct Content {
    binding: Binding,
    entry: Entry,
}

impl KeptEnd {
    pub(super) const fn new(path: PathBuf, binding: Binding) -> Self {
        Self { path, binding }
    }

    /// Keeps an entry that the journal did not take.
    pub(super) fn keep(&self, entry: &Entry) {
        let content = Content { binding: self.binding.clone(), entry: entry.clone() };
        let kept = serde_json::to_vec(&content).map_err(io::Error::from);
        if let Err(error) = kept.and_then(|content| durable::replace(&self.path, &content)) {
            warn!("the end of the run could not be kept in {} either: {error}", self.path.display());
        }
    }

    /// What the journal told, and the end that it did not take.
    pub(super) fn added_to(&self, replay: Replay) -> Replay {
        let Some(entry) = self.read() else { return replay };
        warn!("the journal does not tell of this run's end, {} does", self.path.display());
        let mut entries = if let Replay::ThisBoot(entries) = replay { entries } else { Vec::new() };
        entries.push(entry);
        Replay::ThisBoot(entries)
    }

    fn read(&self) -> Option<Entry> {
        let content: Content = serde_json::from_slice(&reading::at_most(&self.path, LONGEST).ok()?).ok()?;
        (content.binding == self.binding && content.entry.state.phase.is_ending()).then_some(content.entry)
    }

    /// Forgets it: the journal tells of it now, or its run is history.
    pub(super) fn forget(&self) {
        if let Err(error) = durable::remove(&self.path) {
            warn!("{} is left, and tells of an end that is history: {error}", self.path.display());
        }
    }
}

/// The file for it.
pub(super) fn path(runtime_directory: &Path) -> PathBuf {
    runtime_directory.join("end.json")
}
