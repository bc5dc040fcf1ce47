//! How far each stream was shipped: a file for each, written after every confirmation, so that a line is taken in once whatever
//! happens to the agent.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::follow::Place;
use crate::base::{durable, reading};
use mayfly_core::record::StreamCounts;
use mayfly_core::runner::material::Material;

/// No file of these is longer.
const LONGEST: u64 = 1024 * 1024;

/// Up to where everything is confirmed, or counted as lost.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Saved {
    /// The instance: what an image brings along from another means nothing.
    pub(super) instance: String,
    /// What became of the lines up to here.
    pub(super) counts: StreamCounts,
    /// The bytes that were taken in up to here.
    pub(super) bytes: u64,
    /// The files, by path.
    pub(super) places: BTreeMap<String, Place>,
    /// The journal.
    pub(super) cursor: Option<String>,
}

/// Where that is kept.
#[derive(Clone, Debug)]
pub(super) struct Cursors {
    directory: PathBuf,
    instance: String,
}

impl Cursors {
    pub(super) fn new(state: &Path, instance: &str) -> Self {
        Self { directory: directory(state), instance: instance.to_owned() }
    }

    /// What was saved for a stream; from the beginning, if nothing was or if it cannot be read.
    pub(super) fn load(&self, stream: &str) -> Saved {
        let saved = self.read::<Saved>(stream).filter(|saved| saved.instance == self.instance);
        saved.unwrap_or_else(|| Saved {
            instance: self.instance.clone(),
            counts: StreamCounts { stream: stream.to_owned(), ..StreamCounts::default() },
            ..Saved::default()
        })
    }

    pub(super) fn save(&self, saved: &Saved) -> io::Result<()> {
        self.make()?;
        durable::replace(&self.path(&saved.counts.stream), &serde_json::to_vec(saved)?)
    }

    /// By which lines are known that may not be shipped: an agent that is started again has no JIT configuration.
    pub(super) fn load_material(&self) -> Material {
        self.read("removed").unwrap_or_default()
    }

    pub(super) fn save_material(&self, material: &Material) -> io::Result<()> {
        self.make()?;
        durable::replace(&self.path("removed"), &serde_json::to_vec(material)?)
    }

    fn read<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        serde_json::from_slice(&reading::at_most(&self.path(name), LONGEST).ok()?).ok()
    }

    fn make(&self) -> io::Result<()> {
        fs::create_dir_all(&self.directory)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{name}.json"))
    }
}

/// Forgets how far a run's logs were shipped: the next one in this state directory is another.
///
/// # Errors
/// It is there and could not be removed.
pub fn forget(state: &Path) -> io::Result<()> {
    match fs::remove_dir_all(directory(state)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn directory(state: &Path) -> PathBuf {
    state.join("shipping")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_was_saved_is_read_back_and_another_instances_or_a_broken_one_is_not() {
        let state = tempfile::tempdir().unwrap();
        let cursors = Cursors::new(state.path(), "i-1");
        let mut saved = cursors.load("runner");
        assert_eq!(saved.counts.stream, "runner");
        saved.places.insert("/x".to_owned(), Place { offset: 7, ..Place::default() });
        saved.counts.read = 3;
        cursors.save(&saved).unwrap();
        assert_eq!(cursors.load("runner"), saved);
        assert_eq!(Cursors::new(state.path(), "i-2").load("runner").counts.read, 0, "an image's cursor is taken over");
        fs::write(cursors.path("runner"), "{\"half").unwrap();
        assert_eq!(cursors.load("runner").places.len(), 0);
        forget(state.path()).unwrap();
        forget(state.path()).unwrap();
        assert!(!cursors.path("runner").exists());
    }
}
