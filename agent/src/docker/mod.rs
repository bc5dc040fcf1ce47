//! The host's Docker daemon, as far as the agent has to do with it: is it there, has it room, what did a job leave.
//!
//! - [`Docker::ping`] asks once, [`Docker::probe`] asks for containerd too, and [`DockerHistory`] makes a verdict of many such answers: pure, without a clock;
//! - [`watch`] asks again and again and publishes what it saw; it decides nothing;
//! - [`Docker::data_root_room`] tells how full the disk of images and containers is;
//! - [`Docker::leftovers`] and [`Docker::remove_leftovers`] clear up after a killed job, by the runner's [`Label`].
//!
//! Every call has a deadline. A daemon that hangs is the normal case here and not the exception: whoever holds the
//! listening socket (systemd by `docker.socket`, or a `dockerd` that is still starting) makes the kernel accept
//! connections that nobody answers.
//!
//! Paths carry no API version on purpose. The daemon then speaks its own, and what is read here has been the same in
//! all of them, while any version written down is refused by some daemon: old ones know no new one, and new ones drop
//! old ones.

mod error;
mod exchange;
mod health;
mod info;
mod leftovers;
mod poll;
mod room;
mod verdict;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::{Client, redirect};

pub use error::DockerError;
pub use health::{Health, SLOW};
pub use info::Cgroups;
pub use leftovers::{Item, Kind, Removal};
pub use mayfly_core::runner::label::Label;
pub use poll::{State, TIMEOUT, watch};
pub use room::Room;
pub use verdict::{DockerHistory, DockerVerdict, Load, Reason, Thresholds};

/// Where Docker listens by default.
pub const SOCKET: &str = "/run/docker.sock";

/// Where systemd looks for units, most important first.
const UNIT_DIRECTORIES: [&str; 4] =
    ["/etc/systemd/system", "/run/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"];

/// How long one call may take, unless its caller says otherwise.
const CALL: Duration = Duration::from_secs(10);

/// The host's Docker daemon. Clones are cheap.
#[derive(Clone, Debug)]
pub struct Docker {
    socket: PathBuf,
    units: Vec<PathBuf>,
    http: Client,
}

impl Docker {
    /// Makes a client for the daemon at a socket, whose units are in these directories; nothing is asked yet.
    ///
    /// # Errors
    /// [`DockerError::NoClient`].
    pub fn new(socket: impl Into<PathBuf>, units: impl IntoIterator<Item = PathBuf>) -> Result<Self, DockerError> {
        let socket = socket.into();
        let http = crate::base::http::client()
            .unix_socket(socket.as_path())
            .no_proxy()
            .redirect(redirect::Policy::none())
            .retry(reqwest::retry::never())
            .http1_only()
            // A connection of its own for every call: a daemon that accepts no more must not look healthy because of
            // one that it accepted before.
            .pool_max_idle_per_host(0)
            .user_agent(concat!("mayfly/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| DockerError::NoClient(error.to_string()))?;
        Ok(Self { socket, units: units.into_iter().collect(), http })
    }

    /// Makes a client for the daemon that a value of `DOCKER_HOST` names; none or an empty one names [`SOCKET`].
    ///
    /// # Errors
    /// [`DockerError::BadHost`] for anything but `unix://` and an absolute path, and [`DockerError::NoClient`].
    pub fn from_host(value: Option<&OsStr>) -> Result<Self, DockerError> {
        let units = UNIT_DIRECTORIES.map(PathBuf::from);
        let Some(value) = value.filter(|value| !value.is_empty()) else { return Self::new(SOCKET, units) };
        let path = value.to_str().and_then(|value| value.strip_prefix("unix://")).map(Path::new);
        match path.filter(|path| path.is_absolute()) {
            Some(path) => Self::new(path, units),
            None => Err(DockerError::BadHost(value.to_string_lossy().into_owned())),
        }
    }

    /// Makes a client for the daemon that the environment's `DOCKER_HOST` names.
    ///
    /// # Errors
    /// Those of [`Docker::from_host`].
    pub fn from_environment() -> Result<Self, DockerError> {
        Self::from_host(std::env::var_os("DOCKER_HOST").as_deref())
    }

    /// Where the daemon listens.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    #[test]
    fn docker_host_names_a_socket_or_is_refused() {
        let socket = |value: &str| Docker::from_host(Some(OsStr::new(value))).map(|docker| docker.socket);
        assert_eq!(Docker::from_host(None).unwrap().socket(), Path::new(SOCKET));
        assert_eq!(socket("").unwrap(), Path::new(SOCKET));
        assert_eq!(socket("unix:///run/user/1000/docker.sock").unwrap(), Path::new("/run/user/1000/docker.sock"));
        for bad in ["tcp://10.0.0.1:2375", "ssh://host", "unix://", "unix://docker.sock", "/run/docker.sock", "fd://"] {
            let error = socket(bad).expect_err("a daemon elsewhere was taken for the host's own");
            assert!(error.to_string().contains(bad), "the message does not show the value: {error}");
        }
    }
}
