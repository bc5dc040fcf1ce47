//! Why the runner was not started.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use mayfly_core::lifecycle::Outcome;
use thiserror::Error;

use super::request::NotStarted;
use crate::systemd::{RUNNER, SystemdError};

/// Why the runner was not started, as the process knows it that tried. Between processes it is a [`NotStarted`].
#[derive(Debug, Error)]
pub enum StartError {
    /// There was a start before; this one touched nothing.
    #[error("a runner was started here before, and never is again")]
    StartedBefore,
    /// The JIT configuration was fetched by another agent process.
    #[error("the JIT configuration is not in memory")]
    NoJitConfig,
    /// The unit was started, and not by the agent.
    #[error("there is no request of the agent in {}: {error}; only the agent starts this unit", runtime.display())]
    NoRequest {
        /// Where it should be.
        runtime: PathBuf,
        /// Why it is not.
        error: io::Error,
    },
    /// The agent's request is not what the agent wrote.
    #[error("the agent's request cannot be read: {0}")]
    BadRequest(io::Error),
    /// The runtime directory cannot be written.
    #[error("cannot write into {}: {error}", runtime.display())]
    Runtime {
        /// Which.
        runtime: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// The unit has no working directory.
    #[error("no working directory: {0}")]
    NoDirectory(io::Error),
    /// The unit and the configuration name two directories.
    #[error(
        "the unit runs in {}, but runner.directory is {}: change both (systemctl edit mayfly-runner)",
        here.display(), directory.display()
    )]
    OtherDirectory {
        /// The unit's.
        here: PathBuf,
        /// The configuration's.
        directory: PathBuf,
    },
    /// The marker cannot be written.
    #[error("cannot write the marker of the runner's start in {}: {error}", directory.display())]
    Marker {
        /// Where.
        directory: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// There is no such user.
    #[error("runner.user: {0}")]
    User(io::Error),
    /// The listener is not there, or not executable.
    #[error("cannot execute {}: {error}", listener.display())]
    NotExecutable {
        /// Its path.
        listener: PathBuf,
        /// Why not.
        error: nix::Error,
    },
    /// The listener was not executed by the supervisor process.
    #[error("cannot execute {}: {error}", listener.display())]
    NotSpawned {
        /// Its path.
        listener: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// The listener was not executed by systemd.
    #[error("cannot execute the runner: {0}")]
    NotExecuted(SystemdError),
    /// The files of the JIT configuration cannot be put in place; it names the file.
    #[error("{0}")]
    Files(io::Error),
    /// The job hooks cannot be put in place.
    #[error("cannot prepare {}: {error}", runtime.display())]
    Hooks {
        /// Where.
        runtime: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// The supervisor process does not find itself.
    #[error("/proc is not readable")]
    NoProc,
    /// The supervisor process cannot be run.
    #[error("cannot run the supervisor process that starts the runner: {0}")]
    SupervisorProcess(io::Error),
    /// The supervisor process did not answer.
    #[error("cannot run the supervisor process that starts the runner: no answer within {0:?}")]
    SupervisorSilent(Duration),
    /// The unit did not start the runner, and nothing says why.
    #[error("{RUNNER} did not start the runner; see systemctl status {RUNNER}")]
    Unit,
    /// The one start is spent, and this came of it.
    #[error("{0}")]
    Spent(String),
    /// Another process tried, and says this.
    #[error("{}", .0.detail)]
    Told(NotStarted),
}

impl StartError {
    /// What that is for the run.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::StartedBefore | Self::Marker { .. } => Outcome::JournalFailed,
            Self::NoJitConfig
            | Self::NoRequest { .. }
            | Self::Runtime { .. }
            | Self::NoProc
            | Self::SupervisorProcess(_)
            | Self::SupervisorSilent(_)
            | Self::Unit => Outcome::AgentFailed,
            Self::BadRequest(_)
            | Self::NoDirectory(_)
            | Self::OtherDirectory { .. }
            | Self::User(_)
            | Self::NotExecutable { .. }
            | Self::NotSpawned { .. }
            | Self::NotExecuted(_)
            | Self::Files(_)
            | Self::Hooks { .. }
            | Self::Spent(_) => Outcome::RunnerMissing,
            Self::Told(told) => told.outcome,
        }
    }
}

impl From<StartError> for NotStarted {
    fn from(error: StartError) -> Self {
        Self { outcome: error.outcome(), detail: error.to_string() }
    }
}
