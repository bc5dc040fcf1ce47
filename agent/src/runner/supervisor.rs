//! Who starts GitHub's runner, keeps it and knows how it ended: systemd, or a process of Mayfly's own.

use std::time::Duration;

use thiserror::Error;
use tracing::warn;

use super::process::RunnerProcess;
use super::request::StartRequest;
use super::start_error::StartError;
use super::unit::RunnerUnit;
use crate::systemd::{Manager, SystemdError};

/// See the module.
#[derive(Clone, Debug)]
pub enum Supervisor {
    /// `supervisor = "systemd"`: the runner is a unit of PID 1's.
    Systemd(RunnerUnit),
    /// `supervisor = "process"`: a small process that outlives the agent.
    Process(RunnerProcess),
}

/// Why a runner could not be signalled, or its files not be cleared away.
#[derive(Debug, Error)]
pub enum SupervisorError {
    /// systemd said no, or nothing.
    #[error(transparent)]
    Systemd(#[from] SystemdError),
    /// The operating system said no.
    #[error(transparent)]
    Os(#[from] std::io::Error),
}

impl Supervisor {
    /// PID 1, if it is the supervisor.
    #[must_use]
    pub fn manager(&self) -> Option<&Manager> {
        match self {
            Self::Systemd(unit) => Some(unit.manager()),
            Self::Process(_) => None,
        }
    }

    /// Starts the listener, unless there was a start before: then there is something to attach to just the same.
    ///
    /// # Errors
    /// Nothing was started, by this call or an earlier one.
    pub async fn start(&self, request: &StartRequest) -> Result<(), StartError> {
        match self {
            Self::Systemd(unit) => unit.start(request).await,
            Self::Process(process) => process.start(request).await,
        }
    }

    /// Signals the listener, and nothing else of its tree.
    ///
    /// # Errors
    /// There is no listener, or it was not signalled.
    pub async fn interrupt(&self, machine_goes: bool) -> Result<(), SupervisorError> {
        match self {
            Self::Systemd(unit) => Ok(unit.interrupt(machine_goes).await?),
            Self::Process(process) => Ok(process.interrupt(machine_goes)?),
        }
    }

    /// Kills the runner's whole tree, and logs what does not die `within` that time.
    pub async fn kill(&self, within: Duration) {
        match self {
            Self::Systemd(unit) => match unit.kill(within).await {
                Some(0) => {}
                None => warn!("whether processes of the runner's unit are left is not known: /proc cannot be read"),
                Some(left) => {
                    warn!("{left} processes of the runner's unit do not die: they wait for a device or a network disk");
                }
            },
            Self::Process(process) => match process.kill(within).await {
                0 => {}
                left => warn!("{left} processes of the runner's tree could not be killed: they belong to other users"),
            },
        }
    }

    /// Removes the files of the spent registration.
    ///
    /// # Errors
    /// Some may be left.
    pub async fn clear(&self) -> Result<(), SupervisorError> {
        match self {
            Self::Systemd(unit) => Ok(unit.release().await?),
            Self::Process(process) => Ok(process.clear().await?),
        }
    }
}
