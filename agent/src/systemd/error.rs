//! What goes wrong between the agent and PID 1.

use std::io;
use std::time::Duration;

use thiserror::Error;

/// What went wrong between the agent and PID 1.
#[derive(Debug, Error)]
pub enum SystemdError {
    /// The system bus is not there.
    #[error("cannot reach systemd over the system bus: {0}")]
    Unreachable(zbus::Error),
    /// The system bus did not take the connection in time.
    #[error("cannot reach systemd over the system bus: no answer within {0:?}")]
    BusSilent(Duration),
    /// A signal was not sent, neither over the bus nor by `systemctl`.
    #[error("cannot reach systemd over the system bus: {bus}; and with systemctl: {systemctl}")]
    NotSignalled {
        /// Why not over the bus.
        bus: Box<SystemdError>,
        /// Why not by `systemctl`.
        systemctl: SystemctlError,
    },
    /// It did not answer in time.
    #[error("systemd did not answer {what} within {within:?}")]
    Silent {
        /// What was asked.
        what: String,
        /// For how long.
        within: Duration,
    },
    /// It refused.
    #[error("systemd refused {what}: {error}")]
    Refused {
        /// What was asked.
        what: String,
        /// What came back.
        error: zbus::Error,
    },
    /// An answer that systemd would not give.
    #[error("what came back when systemd was asked {what} is not its answer: it has {bytes} bytes")]
    TooLong {
        /// What was asked.
        what: String,
        /// How long the answer is.
        bytes: usize,
    },
    /// A unit's job did not end well.
    #[error("systemd could not {verb} {unit}: {result}; see journalctl --unit {unit}")]
    Job {
        /// `start`, `stop` or `restart`
        verb: &'static str,
        /// The unit.
        unit: String,
        /// What became of it instead.
        result: JobResult,
    },
}

/// What became of a job of systemd that did not end well.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum JobResult {
    /// The unit failed.
    #[error("failed")]
    Failed,
    /// The unit had no more time.
    #[error("timeout")]
    Timeout,
    /// A unit that it needs failed.
    #[error("dependency")]
    Dependency,
    /// Another job took its place.
    #[error("canceled")]
    Canceled,
    /// There was nothing to do for it.
    #[error("skipped")]
    Skipped,
    /// The bus went away before systemd told.
    #[error("the connection was cut")]
    Cut,
    /// Something that systemd has added since.
    #[error("{0}")]
    Other(String),
}

impl From<&str> for JobResult {
    fn from(word: &str) -> Self {
        match word {
            "failed" => Self::Failed,
            "timeout" => Self::Timeout,
            "dependency" => Self::Dependency,
            "canceled" => Self::Canceled,
            "skipped" => Self::Skipped,
            other => Self::Other(other.to_owned()),
        }
    }
}

/// Why `systemctl` did nothing.
#[derive(Debug, Error)]
pub enum SystemctlError {
    /// It could not be run.
    #[error("{0}")]
    NotRun(io::Error),
    /// It did not end in time.
    #[error("no end within {0:?}")]
    Silent(Duration),
    /// It failed, and said this.
    #[error("{0}")]
    Failed(String),
}

impl SystemdError {
    /// Whether systemd itself said no.
    #[must_use]
    pub(super) fn is_answer(&self) -> bool {
        match self {
            Self::Job { result, .. } => *result != JobResult::Cut,
            Self::Refused { error, .. } => matches!(error, zbus::Error::MethodError(..)),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_that_was_cut_is_not_an_answer() {
        let ended = |result| SystemdError::Job { verb: "start", unit: "a.service".to_owned(), result };
        assert!(ended("failed".into()).is_answer() && ended("new-word".into()).is_answer());
        assert!(!ended(JobResult::Cut).is_answer(), "what nobody heard was taken for a no");
        assert!(!SystemdError::BusSilent(Duration::ZERO).is_answer());
    }
}
