//! What a start of the runner leaves on disk, for whichever agent process comes next.
//!
//! | file | written by | means |
//! |---|---|---|
//! | `runner.started` | the supervisor process or the unit's start, exclusively and synced, before anything else | a start happened; there is never another |
//! | `runner.pid` | the supervisor process after the spawn, or the agent that asked systemd | which process the listener is |
//! | `runner.exit` | the supervisor process or the unit's stop, when the listener has ended | how it ended |
//! | `runner.stopping` | the unit's stop, while there is a listener | systemd is told to stop the unit, by whomever |
//! | `console.told` | the agent | up to where `console.log` was passed on |
//! | `console.log` | the listener and its worker | their stdout and stderr |
//! | `spent` | the agent | the JIT configurations that starts have spent: see [`spent`] |

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::spent;
use super::tree::ProcessId;
use crate::base::{durable, reading};
use mayfly_core::lifecycle::Exit;
use mayfly_core::runner::jit::JitConfig;

/// No trace is longer: a marker names a handful of files.
const LONGEST: u64 = 64 * 1024;

/// The files of a runner's start, in the state directory.
#[derive(Clone, Debug)]
pub struct Traces {
    directory: PathBuf,
}

/// The content of the marker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marker {
    /// The instance it was written on: a marker in an image made from a used machine means nothing.
    pub instance: String,
    /// The boot it was written in.
    pub boot: String,
    /// The supervisor process; under systemd there is none.
    pub supervisor_process: Option<ProcessId>,
    /// The JIT configuration's file names, to be removed at the end.
    pub files: Vec<String>,
    /// What the runner labels its containers with.
    #[serde(default)]
    pub label: Option<String>,
    /// Where those files are: the runner's directory, as the agent's configuration had it.
    #[serde(default)]
    pub directory: Option<PathBuf>,
    /// Which JIT configuration this start has spent.
    #[serde(default)]
    pub fingerprint: Option<String>,
}

/// The content of the exit file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// The listener ran and ended.
    Exited(Exit),
    /// The listener could not be executed.
    NotExecuted(String),
}

impl Traces {
    /// The traces in this state directory.
    #[must_use]
    pub fn new(state_directory: &Path) -> Self {
        Self { directory: state_directory.to_owned() }
    }

    /// The listener's stdout and stderr.
    #[must_use]
    pub fn console(&self) -> PathBuf {
        self.directory.join("console.log")
    }

    /// Where [`Self::exit`] appears.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    fn marker_path(&self) -> PathBuf {
        self.directory.join("runner.started")
    }

    /// Creates the marker, durably and whole: it appears under its name with everything that it says. Exactly one call in
    /// the run of an instance succeeds.
    ///
    /// # Errors
    /// `AlreadyExists` if there was a start before; others if it could not be made durable, and then nothing may start.
    pub fn mark(&self, marker: &Marker) -> io::Result<()> {
        durable::create(&self.marker_path(), &serde_json::to_vec(marker)?)
    }

    /// Sees to it that no start happens any more, also not the one that an agent process that is gone has asked for: takes the
    /// one marker there is. Returns whether that came too late, and there was a start.
    ///
    /// # Errors
    /// The marker could not be made durable, and neither can a start's.
    pub fn refuse_starts(&self, instance: &str, boot: &str) -> io::Result<bool> {
        let nothing = Marker {
            instance: instance.to_owned(),
            boot: boot.to_owned(),
            supervisor_process: None,
            files: Vec::new(),
            label: None,
            directory: None,
            fingerprint: None,
        };
        match self.mark(&nothing) {
            Ok(()) => self.write_exit(&Ending::NotExecuted("the run had ended before".to_owned())).map(|()| false),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Whether a marker is there, even an unreadable one.
    #[must_use]
    pub fn is_marked(&self) -> bool {
        self.marker_path().exists()
    }

    /// The marker, if it is there and whole.
    #[must_use]
    pub fn marker(&self) -> Option<Marker> {
        read(&self.marker_path())
    }

    /// Writes which process the listener is.
    ///
    /// # Errors
    /// The file could not be written.
    pub fn write_listener(&self, listener: ProcessId) -> io::Result<()> {
        self.write("runner.pid", &listener)
    }

    /// Which process the listener is.
    #[must_use]
    pub fn listener(&self) -> Option<ProcessId> {
        read(&self.directory.join("runner.pid"))
    }

    /// Writes how the listener ended.
    ///
    /// # Errors
    /// The file could not be written.
    pub fn write_exit(&self, ending: &Ending) -> io::Result<()> {
        self.write("runner.exit", ending)
    }

    /// How the listener ended.
    #[must_use]
    pub fn exit(&self) -> Option<Ending> {
        read(&self.directory.join("runner.exit"))
    }

    /// Whether systemd was told to stop the runner's unit while there was a listener. The agent itself never does that.
    #[must_use]
    pub fn unit_stopping(&self) -> bool {
        self.directory.join("runner.stopping").exists()
    }

    /// Up to which place of the console's file its lines were passed on.
    #[must_use]
    pub fn told(&self) -> u64 {
        let bytes = reading::at_most(&self.told_path(), LONGEST).ok().and_then(|bytes| bytes.try_into().ok());
        bytes.map_or(0, u64::from_le_bytes)
    }

    /// Opens the file in which [`Self::told`] is kept: eight bytes, overwritten in place and never synced, since no other
    /// boot asks for them.
    ///
    /// # Errors
    /// It could not be made.
    pub fn open_told(&self) -> io::Result<File> {
        OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(self.told_path())
    }

    fn told_path(&self) -> PathBuf {
        self.directory.join("console.told")
    }

    /// Whether a runner was started with this JIT configuration before.
    ///
    /// # Errors
    /// That cannot be read.
    pub fn is_spent(&self, config: &JitConfig) -> io::Result<bool> {
        spent::contains(&self.directory, &config.fingerprint())
    }

    /// Files the JIT configuration of the start, so that it is known for spent without the marker too.
    ///
    /// # Errors
    /// It could not be made durable.
    pub fn file_spent(&self) -> io::Result<()> {
        match self.marker().and_then(|marker| marker.fingerprint) {
            Some(fingerprint) => spent::add(&self.directory, &fingerprint),
            None => Ok(()),
        }
    }

    /// Forgets everything but what is spent: for a new run on a machine that may have several, or after a foreign one.
    ///
    /// # Errors
    /// The spent JIT configuration could not be filed (then nothing is forgotten), or a file is there and could not be
    /// removed.
    pub fn clear(&self) -> io::Result<()> {
        self.file_spent()?;
        durable::remove_unfinished(&self.marker_path())?;
        for path in ["runner.pid", "runner.exit", "runner.stopping", "console.log", "console.told", "runner.started"] {
            durable::remove(&self.directory.join(path))?;
        }
        Ok(())
    }

    fn write(&self, name: &str, content: &impl Serialize) -> io::Result<()> {
        durable::replace(&self.directory.join(name), &serde_json::to_vec(content)?)
    }
}

/// Where the runner's user is the agent's, a job can write these too.
fn read<T: DeserializeOwned>(path: &Path) -> Option<T> {
    serde_json::from_slice(&reading::at_most(path, LONGEST).ok()?).ok()
}
