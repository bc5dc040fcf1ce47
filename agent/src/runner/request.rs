//! What the agent asks of whoever starts the runner, and what comes back if that is refused.
//!
//! Under systemd the agent has no rights to start anything: systemd runs `mayfly unit prepare` with full privileges before
//! the runner, and the two meet in the runtime directory, which is memory, not disk. A supervisor process reads the same
//! request from its standard input. It holds the JIT configuration: only root reads it, and it is gone once it is read.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use mayfly_core::lifecycle::Outcome;
use mayfly_core::runner::jit::JitConfig;
use secrecy::zeroize::{Zeroize, Zeroizing};
use serde::{Deserialize, Serialize};

use super::traces::Marker;
use super::tree::ProcessId;
use crate::base::durable;
use crate::base::paths::Paths;

/// Why nothing was started, as one process tells another: a [`super::start_error::StartError`] in words.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NotStarted {
    /// The run's outcome.
    pub outcome: Outcome,
    /// What was tried and what came back.
    pub detail: String,
}

/// What is to be started. Its `Debug` shows no content.
#[derive(Serialize, Deserialize)]
pub struct StartRequest {
    /// For the marker.
    pub instance: String,
    /// For the marker.
    pub boot: String,
    /// Where marker and exit file go.
    pub state_directory: PathBuf,
    /// The runner's directory, as the agent's configuration has it.
    pub directory: PathBuf,
    /// Who runs it; nobody else than now, if absent.
    pub user: Option<String>,
    /// Where the operators' hooks are.
    pub operators: Option<PathBuf>,
    /// What the job's log says of the machine, as GitHub's `.setup_info` wants it.
    pub setup_info: String,
    /// For the marker.
    pub label: Option<String>,
    /// For the marker.
    #[serde(default)]
    pub fingerprint: Option<String>,
    /// The listener's whole environment; systemd's unit has its own.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    files: BTreeMap<String, String>,
}

impl std::fmt::Debug for StartRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StartRequest").field("files", &self.files.keys()).finish_non_exhaustive()
    }
}

impl Drop for StartRequest {
    fn drop(&mut self) {
        self.files.values_mut().for_each(Zeroize::zeroize);
    }
}

/// A file's name and what is in it.
pub type Content<'a> = (&'a str, Zeroizing<Vec<u8>>);

impl StartRequest {
    /// A request without files yet.
    #[must_use]
    pub fn new(instance: &str, boot: &str, state_directory: &Path, directory: &Path) -> Self {
        Self {
            instance: instance.to_owned(),
            boot: boot.to_owned(),
            state_directory: state_directory.to_owned(),
            directory: directory.to_owned(),
            user: None,
            operators: None,
            setup_info: String::new(),
            label: None,
            fingerprint: None,
            environment: BTreeMap::new(),
            files: BTreeMap::new(),
        }
    }

    /// Takes the files of the JIT configuration.
    pub fn carry(&mut self, config: &JitConfig) {
        self.files = config.files().map(|(name, content)| (name.to_owned(), BASE64_STANDARD.encode(content))).collect();
        (self.label, self.fingerprint) = (config.label(), Some(config.fingerprint()));
    }

    /// The marker of this start.
    #[must_use]
    pub fn marker(&self, supervisor_process: Option<ProcessId>) -> Marker {
        Marker {
            instance: self.instance.clone(),
            boot: self.boot.clone(),
            supervisor_process,
            files: self.files.keys().cloned().collect(),
            label: self.label.clone(),
            directory: Some(self.directory.clone()),
            fingerprint: self.fingerprint.clone(),
        }
    }

    /// Names and contents.
    ///
    /// # Errors
    /// It was tampered with.
    pub fn contents(&self) -> io::Result<Vec<Content<'_>>> {
        let decode = |text: &str| BASE64_STANDARD.decode(text).map_err(|_| io::Error::from(io::ErrorKind::InvalidData));
        self.files.iter().map(|(name, text)| Ok((name.as_str(), Zeroizing::new(decode(text)?)))).collect()
    }

    /// Leaves the request for the privileged start.
    ///
    /// # Errors
    /// It could not be written.
    pub fn leave(&self, paths: &Paths) -> io::Result<()> {
        withdraw(paths)?;
        let _ = fs::remove_file(refusal(paths));
        let text = Zeroizing::new(serde_json::to_vec(self)?);
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(path(paths))?.write_all(&text)
    }

    /// Takes the request, which is gone then.
    ///
    /// # Errors
    /// There is none, it is not root's alone, or it is not one.
    pub fn take(paths: &Paths) -> io::Result<Self> {
        let path = path(paths);
        is_own(&path)?;
        let text = Zeroizing::new(fs::read(&path)?);
        withdraw(paths)?;
        Ok(serde_json::from_slice(&text)?)
    }
}

/// Removes a request that nobody took.
///
/// # Errors
/// It is there and could not be removed.
pub fn withdraw(paths: &Paths) -> io::Result<()> {
    durable::remove(&path(paths))
}

/// Leaves the reason of a refusal for the agent.
///
/// # Errors
/// It could not be written; the journal has it all the same.
pub fn refuse(paths: &Paths, reason: &NotStarted) -> io::Result<()> {
    fs::write(refusal(paths), serde_json::to_vec(reason)?)
}

/// The reason of a refusal, if there was one.
#[must_use]
pub fn refused(paths: &Paths) -> Option<NotStarted> {
    serde_json::from_slice(&fs::read(refusal(paths)).ok()?).ok()
}

/// Where a start left its traces and its files: told to the unit's stop, whose environment and configuration need not be
/// the agent's.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartNote {
    /// Where marker and exit file are.
    pub state_directory: PathBuf,
    /// The runner's directory.
    pub directory: PathBuf,
}

impl StartNote {
    /// Where the start of this request leaves them.
    #[must_use]
    pub fn of(request: &StartRequest) -> Self {
        Self { state_directory: request.state_directory.clone(), directory: request.directory.clone() }
    }

    /// Leaves it for the unit's stop.
    ///
    /// # Errors
    /// It could not be written.
    pub fn leave(&self, paths: &Paths) -> io::Result<()> {
        durable::replace(&start(paths), &serde_json::to_vec(self)?)
    }

    /// What the last start left; `None` if there was none that said so.
    #[must_use]
    pub fn last(paths: &Paths) -> Option<Self> {
        let path = start(paths);
        // Whoever else could write it could have root remove files anywhere.
        is_own(&path).ok()?;
        serde_json::from_slice(&fs::read(path).ok()?).ok()
    }
}

/// A plain file that nobody else can write or read.
fn is_own(path: &Path) -> io::Result<()> {
    let about = fs::symlink_metadata(path)?;
    if !about.is_file() || about.uid() != nix::unistd::geteuid().as_raw() || about.mode() & 0o077 != 0 {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "it is not the agent's alone"));
    }
    Ok(())
}

fn start(paths: &Paths) -> PathBuf {
    paths.runtime.join("start.json")
}

fn path(paths: &Paths) -> PathBuf {
    paths.runtime.join("start-request.json")
}

fn refusal(paths: &Paths) -> PathBuf {
    paths.runtime.join("refusal.json")
}
