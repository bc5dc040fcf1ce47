//! How the daemon makes cgroups.

use serde::Deserialize;

use super::{CALL, Docker, DockerError};

/// What the daemon says about itself that matters for limits and isolation.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Cgroups {
    /// `systemd` or `cgroupfs`.
    #[serde(rename = "CgroupDriver", default)]
    pub driver: String,
    /// `1` or `2`; absent from daemons before 20.10.
    #[serde(rename = "CgroupVersion", default)]
    pub version: String,
}

impl Docker {
    /// Asks the daemon how it makes the cgroups of containers.
    ///
    /// # Errors
    /// Whatever the daemon's answer lacks.
    pub async fn cgroups(&self) -> Result<Cgroups, DockerError> {
        self.get("/info", &[], CALL).await
    }
}
