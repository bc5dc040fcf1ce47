//! What the agent hands to the privileged start of the runner's unit, and what that hands back if it refuses.
//!
//! The agent has no capabilities: it can neither write into the runner's directory nor give files away. systemd runs
//! `mayfly unit prepare` with full privileges before the runner, and the two meet in the runtime directory, which is
//! memory, not disk. The order holds the JIT configuration: only root reads it, and it is gone once it is read.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use secrecy::zeroize::{Zeroize, Zeroizing};
use serde::{Deserialize, Serialize};

use super::jit::JitConfig;
use super::process::NotStarted;
use crate::daemon::settings::Places;
use crate::lifecycle::Outcome;

/// The order. Its `Debug` shows no content.
#[derive(Serialize, Deserialize)]
pub struct UnitOrder {
    /// For the marker.
    pub instance: String,
    /// For the marker.
    pub boot: String,
    /// Where marker and exit file go.
    pub state_directory: PathBuf,
    /// The runner's directory, as the agent's configuration has it.
    pub directory: PathBuf,
    /// Who runs it.
    pub user: String,
    /// Where the operators' hooks are.
    pub operators: Option<PathBuf>,
    /// What the job's log says of the machine, as GitHub's `.setup_info` wants it.
    pub setup_info: String,
    /// For the marker.
    pub label: Option<String>,
    /// For the marker.
    #[serde(default)]
    pub fingerprint: Option<String>,
    files: BTreeMap<String, String>,
}

impl std::fmt::Debug for UnitOrder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UnitOrder").field("files", &self.files.keys()).finish_non_exhaustive()
    }
}

impl Drop for UnitOrder {
    fn drop(&mut self) {
        self.files.values_mut().for_each(Zeroize::zeroize);
    }
}

/// A file's name and what is in it.
pub type Content<'a> = (&'a str, Zeroizing<Vec<u8>>);

/// Why the privileged start refused.
#[derive(Debug, Serialize, Deserialize)]
struct Refusal {
    outcome: Outcome,
    detail: String,
}

impl UnitOrder {
    /// An order without files yet.
    #[must_use]
    pub fn new(instance: &str, boot: &str, state_directory: &Path, directory: &Path, user: &str) -> Self {
        Self {
            instance: instance.to_owned(),
            boot: boot.to_owned(),
            state_directory: state_directory.to_owned(),
            directory: directory.to_owned(),
            user: user.to_owned(),
            operators: None,
            setup_info: String::new(),
            label: None,
            fingerprint: None,
            files: BTreeMap::new(),
        }
    }

    /// Takes the files of the JIT configuration.
    pub fn carry(&mut self, config: &JitConfig) {
        self.files = config.files().map(|(name, content)| (name.to_owned(), BASE64_STANDARD.encode(content))).collect();
    }

    /// The names of the files.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.files.keys().cloned().collect()
    }

    /// Names and contents.
    ///
    /// # Errors
    /// The order was tampered with.
    pub fn contents(&self) -> io::Result<Vec<Content<'_>>> {
        let decode = |text: &str| BASE64_STANDARD.decode(text).map_err(|_| io::Error::from(io::ErrorKind::InvalidData));
        self.files.iter().map(|(name, text)| Ok((name.as_str(), Zeroizing::new(decode(text)?)))).collect()
    }

    /// Leaves the order for the privileged start.
    ///
    /// # Errors
    /// It could not be written.
    pub fn leave(&self, places: &Places) -> io::Result<()> {
        withdraw(places)?;
        let _ = fs::remove_file(refusal(places));
        let text = Zeroizing::new(serde_json::to_vec(self)?);
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(path(places))?.write_all(&text)
    }

    /// Takes the order, which is gone then.
    ///
    /// # Errors
    /// There is none, it is not root's alone, or it is not one.
    pub fn take(places: &Places) -> io::Result<Self> {
        let path = path(places);
        is_own(&path)?;
        let text = Zeroizing::new(fs::read(&path)?);
        withdraw(places)?;
        Ok(serde_json::from_slice(&text)?)
    }
}

/// Removes an order that nobody took.
///
/// # Errors
/// It is there and could not be removed.
pub fn withdraw(places: &Places) -> io::Result<()> {
    match fs::remove_file(path(places)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Leaves the reason of a refusal for the agent.
///
/// # Errors
/// It could not be written; the journal has it all the same.
pub fn refuse(places: &Places, reason: &NotStarted) -> io::Result<()> {
    let refusal_text = serde_json::to_vec(&Refusal { outcome: reason.outcome, detail: reason.detail.clone() })?;
    fs::write(refusal(places), refusal_text)
}

/// The reason of a refusal, if there was one.
#[must_use]
pub fn refused(places: &Places) -> Option<NotStarted> {
    let Refusal { outcome, detail } = serde_json::from_slice(&fs::read(refusal(places)).ok()?).ok()?;
    Some(NotStarted { outcome, detail })
}

/// Where a start left its traces and its files: told to the unit's stop, whose environment and configuration need not be
/// the agent's.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    /// Where marker and exit file are.
    pub state_directory: PathBuf,
    /// The runner's directory.
    pub directory: PathBuf,
}

impl Start {
    /// Where this order's start leaves them.
    #[must_use]
    pub fn of(order: &UnitOrder) -> Self {
        Self { state_directory: order.state_directory.clone(), directory: order.directory.clone() }
    }

    /// Leaves it for the unit's stop.
    ///
    /// # Errors
    /// It could not be written.
    pub fn leave(&self, places: &Places) -> io::Result<()> {
        let beside = places.runtime.join(".start.json");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
        file.write_all(&serde_json::to_vec(self)?)?;
        fs::rename(beside, start(places))
    }

    /// What the last start left; `None` if there was none that said so.
    #[must_use]
    pub fn last(places: &Places) -> Option<Self> {
        let path = start(places);
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

fn start(places: &Places) -> PathBuf {
    places.runtime.join("start.json")
}

fn path(places: &Places) -> PathBuf {
    places.runtime.join("order.json")
}

fn refusal(places: &Places) -> PathBuf {
    places.runtime.join("refusal.json")
}
