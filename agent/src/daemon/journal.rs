//! The journal: which state the run was in, for the agent process that comes after a crash.
//!
//! One JSON line a state change, written and synced before the change is acted on. The first line binds it to an instance
//! and a boot. One that became long is rewritten with what still matters, whole or not at all. Room is reserved in advance, so that a job that fills the disk does not take the journal with it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{FallocateFlags, fallocate};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tracing::{debug, warn};

use mayfly_core::lifecycle::{State, Time};

/// Room for a few hundred state changes; a whole run needs some twenty.
const RESERVED: i64 = 256 * 1024;

/// A journal that would become longer is rewritten: first line, how the run went, and the state it is in.
const REWRITTEN_AT: u64 = 1024 * 1024;

/// So many changes of phase are kept then; a whole run has some ten.
const PHASES_KEPT: usize = 32;

/// No journal of ours is longer, and none is appended to beyond: what is longer is not one.
const LONGEST: u64 = 16 * 1024 * 1024;

/// Where and when a journal was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binding {
    /// The instance.
    pub instance: String,
    /// The boot (`/proc/sys/kernel/random/boot_id`).
    pub boot: String,
}

/// A line after the first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// When the state was entered, on the boot clock.
    pub at: Time,
    /// The state.
    pub state: State,
}

/// What an earlier agent process left.
#[derive(Debug, PartialEq, Eq)]
pub enum Replay {
    /// Nothing, or the journal of another instance (which was set aside).
    Nothing,
    /// This boot's journal, and its entries, oldest first.
    ThisBoot(Vec<Entry>),
    /// The journal of an earlier boot of this instance.
    EarlierBoot(Vec<Entry>),
    /// It cannot be understood. It was set aside.
    Unreadable,
}

/// Why a journal is not readable or a state change not durable.
#[derive(Debug, Error)]
pub enum JournalError {
    /// It may be this instance's, and nobody knows.
    #[error("it names an instance, and this one could not discover who it is")]
    Unidentified,
    /// It could not be made ready, and so cannot be appended to.
    #[error("the journal could not be opened")]
    NotOpen,
    /// Something else is in its place.
    #[error("it is not a regular file")]
    NotAFile,
    /// A line of it cannot be read, or not be made.
    #[error("{0}")]
    Line(#[from] serde_json::Error),
    /// The operating system said no.
    #[error("{0}")]
    Os(#[from] io::Error),
}

/// The journal of one run.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: Option<File>,
    end: u64,
    rewritten_at: u64,
    /// It may be this instance's, and nobody knows: it is neither obeyed nor replaced.
    kept: bool,
}

impl Journal {
    /// Reads the journal in a state directory. Nothing can be appended before [`Self::prepare`].
    #[must_use]
    pub fn read(state_directory: &Path, binding: &Binding) -> (Self, Replay) {
        let path = state_directory.join("journal.jsonl");
        let mut journal = Self { path, file: None, end: 0, rewritten_at: REWRITTEN_AT, kept: false };
        let replay = journal.replay(binding);
        (journal, replay)
    }

    /// Which instance the journal in this directory belongs to, if it was begun in this boot: boot ids are unique, so
    /// nobody has to be asked then.
    #[must_use]
    pub fn binding_of_this_boot(state_directory: &Path) -> Option<Binding> {
        let content = read_bounded(&state_directory.join("journal.jsonl")).ok()?;
        let bound: Binding = serde_json::from_slice(content.split(|byte| *byte == b'\n').next()?).ok()?;
        Binding::of(bound.instance).ok().filter(|binding| binding.boot == bound.boot)
    }

    fn replay(&mut self, binding: &Binding) -> Replay {
        let content = match read_bounded(&self.path) {
            Ok(content) => content,
            Err(JournalError::Os(error)) if error.kind() == io::ErrorKind::NotFound => return Replay::Nothing,
            Err(error) => {
                self.set_aside(&format!("unreadable: {error}"));
                return Replay::Unreadable;
            }
        };
        // What follows the last line break is reserved room, or a line torn by a crash: it was never acted on.
        let written = content.iter().position(|byte| *byte == 0).map_or(&content[..], |end| &content[..end]);
        let whole = written.iter().rposition(|byte| *byte == b'\n').map_or(&written[..0], |last| &written[..=last]);
        let mut lines = whole.split_inclusive(|byte| *byte == b'\n');
        let Some(first) = lines.next() else { return Replay::Nothing };
        let Ok(bound) = serde_json::from_slice::<Binding>(first) else {
            self.set_aside("its first line is not one of a journal");
            return Replay::Unreadable;
        };
        if bound.instance != binding.instance && !binding.is_known() {
            self.kept = true;
            return Replay::Nothing;
        }
        if bound.instance != binding.instance {
            self.set_aside(&format!("it belongs to instance {}: this machine was made from its image", bound.instance));
            return Replay::Nothing;
        }
        let entries: Result<Vec<Entry>, _> = lines.map(serde_json::from_slice).collect();
        match entries {
            Err(error) => {
                self.set_aside(&format!("a line in it is not one of a journal: {error}"));
                Replay::Unreadable
            }
            Ok(entries) if bound.boot == binding.boot => {
                self.end = whole.len() as u64;
                Replay::ThisBoot(entries)
            }
            Ok(entries) => Replay::EarlierBoot(entries),
        }
    }

    /// Makes the journal ready to be appended to. A journal of this boot is continued; any other is replaced by one of
    /// this boot. Should that fail, so will every append: the run goes on, but no runner is started.
    pub fn prepare(&mut self, binding: &Binding, replay: &Replay) {
        if let Err(error) = self.try_prepare(binding, replay) {
            warn!("cannot write the journal {}: {error}; no runner will be started", self.path.display());
        }
    }

    fn try_prepare(&mut self, binding: &Binding, replay: &Replay) -> Result<(), JournalError> {
        if self.kept {
            return Err(JournalError::Unidentified);
        }
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&self.path)?;
        if !matches!(replay, Replay::ThisBoot(_)) {
            file.set_len(0)?;
            self.end = 0;
        }
        // Not all file systems can reserve room; then the room is taken as it is needed.
        let _ = fallocate(&file, FallocateFlags::empty(), 0, RESERVED);
        self.file = Some(file);
        if self.end == 0 {
            self.append_line(binding)?;
        }
        Ok(File::open(self.path.parent().unwrap_or(Path::new("/")))?.sync_all()?)
    }

    /// Appends a state change, durably.
    ///
    /// # Errors
    /// It is not durable. The journal is as it was before, and later appends may succeed.
    pub fn append(&mut self, entry: &Entry) -> Result<(), JournalError> {
        self.append_line(entry)
    }

    fn append_line(&mut self, line: &impl Serialize) -> Result<(), JournalError> {
        if self.file.is_none() {
            return Err(JournalError::NotOpen);
        }
        let mut bytes = serde_json::to_vec(line)?;
        bytes.push(b'\n');
        let length = self.end + bytes.len() as u64;
        if length > self.rewritten_at {
            match self.rewrite(&bytes) {
                Ok(()) => return Ok(()),
                // There is no room for a second file, perhaps: later there may be.
                Err(error) if length < LONGEST => {
                    debug!("the journal cannot be rewritten: {error}");
                    self.rewritten_at = length + REWRITTEN_AT;
                }
                Err(error) => return Err(error),
            }
        }
        let file = self.file.as_ref().ok_or(JournalError::NotOpen)?;
        // At a remembered place: a line that was written in part is overwritten by the next.
        let written = file.write_all_at(&bytes, self.end).and_then(|()| {
            let tail = self.end + bytes.len() as u64;
            // What is left of a longer torn line must not look like one of ours.
            file.write_all_at(&[0], tail)?;
            file.sync_data()?;
            Ok(tail)
        });
        self.end = written?;
        Ok(())
    }

    /// Replaces the journal by what still matters of it, and this line. Whoever reads it after a crash finds the one or the
    /// other, never a mixture.
    fn rewrite(&mut self, last: &[u8]) -> Result<(), JournalError> {
        let content = read_bounded(&self.path)?;
        let written = content
            .get(..usize::try_from(self.end).unwrap_or(0))
            .ok_or(io::Error::from(io::ErrorKind::UnexpectedEof))?;
        let mut lines = written.split_inclusive(|byte| *byte == b'\n');
        let mut kept = lines.next().unwrap_or_default().to_vec();
        let (mut phase, mut phases) = ("", 0);
        for line in lines {
            let name = serde_json::from_slice::<Entry>(line)?.state.phase.name();
            if name != phase && phases < PHASES_KEPT {
                kept.extend_from_slice(line);
                (phase, phases) = (name, phases + 1);
            }
        }
        kept.extend_from_slice(last);
        let end = kept.len() as u64;
        kept.push(0);
        let beside = self.path.with_extension("new.jsonl");
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
        let _ = fallocate(&file, FallocateFlags::empty(), 0, RESERVED);
        file.write_all_at(&kept, 0)?;
        file.sync_all()?;
        fs::rename(&beside, &self.path)?;
        (self.file, self.end, self.rewritten_at) = (Some(file), end, end.max(REWRITTEN_AT / 2) + REWRITTEN_AT / 2);
        Ok(File::open(self.path.parent().unwrap_or(Path::new("/")))?.sync_all()?)
    }

    /// Keeps the journal of a finished run beside the next one's.
    ///
    /// # Errors
    /// It could not be renamed.
    pub fn archive(&mut self) -> io::Result<()> {
        self.end = 0;
        match fs::rename(&self.path, self.path.with_extension("previous.jsonl")) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()), // its run could not write one
            renamed => renamed,
        }
    }

    fn set_aside(&self, why: &str) {
        let aside = self.path.with_extension(format!("aside-{}.jsonl", std::process::id()));
        warn!("the journal {} is set aside as {}: {why}", self.path.display(), aside.display());
        if let Err(error) = fs::rename(&self.path, &aside) {
            warn!("the journal {} could not be renamed: {error}; it is overwritten", self.path.display());
        }
    }
}

fn read_bounded(path: &Path) -> Result<Vec<u8>, JournalError> {
    let file = File::open(path)?;
    if !file.metadata()?.is_file() {
        return Err(JournalError::NotAFile);
    }
    let mut content = Vec::new();
    file.take(LONGEST).read_to_end(&mut content)?;
    Ok(content)
}
