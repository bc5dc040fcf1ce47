//! One poll of the daemon: is it there, does it answer?

use std::fmt;
use std::path::Path;
use std::time::Duration;

use reqwest::Method;
use tokio::time::Instant;

use super::exchange::excerpt;
use super::{Docker, DockerError};

/// An answer that took longer than this is a slow one. An idle daemon needs less than a millisecond.
pub const SLOW: Duration = Duration::from_secs(2);

/// What brings a daemon up: either may be enabled without the other.
const UNITS: [&str; 2] = ["docker.socket", "docker.service"];

/// What one poll of the daemon found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// It answered.
    Ready,
    /// There is no socket file, and no unit that would make one: Docker is not installed, or masked.
    Absent,
    /// Nobody listens: there is no socket file yet, or the connection was refused.
    Starting,
    /// It answered, but only after more than [`SLOW`].
    Slow,
    /// The kernel took the connection, and nobody answered. One poll cannot tell a daemon that is dead behind a
    /// listening `docker.socket`, one that is stuck (or whose containerd is) and one that is still starting from each
    /// other: [`super::DockerHistory`] tells them by time.
    Hung,
    /// It answered that something is wrong, or answers like no Docker daemon.
    Failing(String),
}

impl Health {
    /// A stable name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Absent => "absent",
            Self::Starting => "starting",
            Self::Slow => "slow",
            Self::Hung => "hung",
            Self::Failing(_) => "failing",
        }
    }

    /// Whether the daemon answered as it should, late or not.
    #[must_use]
    pub fn is_answer(&self) -> bool {
        matches!(self, Self::Ready | Self::Slow)
    }
}

impl fmt::Display for Health {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Ready => "ready",
            Self::Absent => "not installed",
            Self::Starting => "nobody listens",
            Self::Slow => "slow",
            Self::Hung => "takes connections and does not answer",
            Self::Failing(reason) => reason,
        })
    }
}

impl Docker {
    /// Asks the daemon whether it is there, and waits no longer than this for its answer.
    pub async fn ping(&self, timeout: Duration) -> Health {
        let begun = Instant::now();
        match self.exchange(Method::GET, "/_ping", &[], timeout).await {
            Ok(body) if body.trim_ascii() != b"OK" => {
                Health::Failing(format!("GET /_ping was answered with {:?} and not with OK", excerpt(&body)))
            }
            Ok(_) if begun.elapsed() > SLOW => Health::Slow,
            Ok(_) => Health::Ready,
            Err(DockerError::NoSocket { .. }) if !self.has_unit() => Health::Absent,
            Err(DockerError::NoSocket { .. } | DockerError::Refused { .. }) => Health::Starting,
            Err(DockerError::NoAnswer { .. }) => Health::Hung,
            Err(error) => Health::Failing(error.to_string()),
        }
    }

    /// A deeper look: also whether the daemon can do anything. `/_ping` is answered by a daemon whose containerd is
    /// stuck, and every container would hang there; `/version` asks containerd, as does the `docker version` with
    /// which the runner begins. It costs the daemon 5 ms and two processes: not a poll for every few seconds.
    pub async fn probe(&self, timeout: Duration) -> Health {
        let begun = Instant::now();
        let health = self.ping(timeout).await;
        if !health.is_answer() {
            return health;
        }
        match self.exchange(Method::GET, "/version", &[], timeout.saturating_sub(begun.elapsed())).await {
            Ok(_) if begun.elapsed() > SLOW => Health::Slow,
            Ok(_) => Health::Ready,
            Err(DockerError::NoAnswer { .. }) => Health::Hung,
            // It answered the ping, so it is ending or starting just now.
            Err(DockerError::NoSocket { .. } | DockerError::Refused { .. }) => Health::Starting,
            Err(error) => Health::Failing(error.to_string()),
        }
    }

    fn has_unit(&self) -> bool {
        UNITS.iter().any(|unit| {
            // The first directory that has the unit decides: a mask there hides the unit below.
            let found =
                self.units.iter().map(|directory| directory.join(unit)).find(|path| path.symlink_metadata().is_ok());
            found.is_some_and(|path| !is_mask(&path))
        })
    }
}

/// Units are masked by a link to nowhere or by an empty file.
fn is_mask(path: &Path) -> bool {
    std::fs::metadata(path).map_or(true, |about| !about.is_file() || about.len() == 0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_unit_counts_unless_it_is_masked() {
        let place = tempfile::tempdir().unwrap();
        let (etc, usr) = (place.path().join("etc"), place.path().join("usr"));
        fs::create_dir(&etc).unwrap();
        fs::create_dir(&usr).unwrap();
        let docker = Docker::new("/nowhere", [etc.clone(), usr.clone()]).unwrap();
        assert!(!docker.has_unit(), "no unit is there");
        fs::write(usr.join("docker.service"), "[Service]\n").unwrap();
        assert!(docker.has_unit(), "an installed Docker would be taken for an absent one");
        symlink("/dev/null", etc.join("docker.service")).unwrap();
        assert!(!docker.has_unit(), "a masked Docker would be waited for");
        fs::write(usr.join("docker.socket"), "[Socket]\n").unwrap();
        assert!(docker.has_unit(), "the socket unit alone can start it");
    }
}
