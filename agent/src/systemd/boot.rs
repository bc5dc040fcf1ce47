//! When the machine came up, as systemd remembers it. All moments are in microseconds of the monotonic clock.

use zbus::{DeserializeDict, Type};

use super::error::SystemdError;
use super::manager::{MANAGER_PATH, Manager};
use super::unit::path;

/// cloud-init's stages. The network stage has two names: the second one since 24.3.
const STAGES: [&str; 5] = [
    "cloud-init-local.service",
    "cloud-init.service",
    "cloud-init-network.service",
    "cloud-config.service",
    "cloud-final.service",
];

/// When systemd itself began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, DeserializeDict, Type)]
#[zbus(signature = "a{sv}")]
pub struct BootTimes {
    /// In the initramfs; 0 if there was none.
    #[zbus(rename = "InitRDTimestampMonotonic")]
    pub initramfs: u64,
    /// In the root file system.
    #[zbus(rename = "UserspaceTimestampMonotonic")]
    pub userspace: u64,
}

/// What is known of cloud-init.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloudInit {
    /// It is not installed, or not enabled on this machine.
    Absent,
    /// A stage is at work.
    AtWork {
        /// When the first one began.
        began: u64,
    },
    /// Every stage that began is done.
    Done {
        /// When the first one began.
        began: u64,
        /// When the last one was done.
        ended: u64,
    },
}

/// A service's moments.
#[derive(Debug, DeserializeDict, Type)]
#[zbus(signature = "a{sv}", rename_all = "PascalCase")]
struct UnitTimes {
    active_state: String,
    /// It left "inactive": it was started.
    inactive_exit_timestamp_monotonic: u64,
    /// It was up; of a oneshot service: done.
    active_enter_timestamp_monotonic: u64,
    /// It left "active", or failed.
    inactive_enter_timestamp_monotonic: u64,
}

impl Manager {
    /// When systemd began.
    ///
    /// # Errors
    /// systemd did not answer.
    pub async fn boot_times(&self) -> Result<BootTimes, SystemdError> {
        self.properties("for the times of the boot", MANAGER_PATH).await
    }

    /// When cloud-init was at work in this boot.
    ///
    /// # Errors
    /// systemd did not answer.
    pub async fn cloud_init(&self) -> Result<CloudInit, SystemdError> {
        let mut stages = Vec::new();
        for unit in STAGES {
            let what = format!("for the times of {unit}");
            match self.properties::<UnitTimes>(&what, &path(unit)).await {
                Ok(times) => stages.push(times),
                Err(error) if error.is_answer() => {} // there is no such unit
                Err(error) => return Err(error),
            }
        }
        Ok(together(&stages))
    }
}

fn together(stages: &[UnitTimes]) -> CloudInit {
    let begun = || stages.iter().filter(|stage| stage.inactive_exit_timestamp_monotonic > 0);
    let Some(began) = begun().map(|stage| stage.inactive_exit_timestamp_monotonic).min() else {
        return CloudInit::Absent;
    };
    if begun().any(|stage| stage.active_state == "activating") {
        return CloudInit::AtWork { began };
    }
    let end = |stage: &UnitTimes| match stage.active_enter_timestamp_monotonic {
        0 => stage.inactive_enter_timestamp_monotonic, // it failed
        done => done,
    };
    CloudInit::Done { began, ended: begun().map(end).max().unwrap_or(began) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stage(state: &str, began: u64, up: u64, down: u64) -> UnitTimes {
        UnitTimes {
            active_state: state.to_owned(),
            inactive_exit_timestamp_monotonic: began,
            active_enter_timestamp_monotonic: up,
            inactive_enter_timestamp_monotonic: down,
        }
    }

    #[test]
    fn cloud_init_lasts_from_its_first_stage_to_the_end_of_the_last_and_one_at_work_has_no_end() {
        assert_eq!(together(&[]), CloudInit::Absent);
        assert_eq!(together(&[stage("inactive", 0, 0, 0)]), CloudInit::Absent);
        let (first, failed) = (stage("active", 5, 9, 0), stage("failed", 10, 0, 30));
        assert_eq!(together(&[first, failed]), CloudInit::Done { began: 5, ended: 30 });
        let (first, last) = (stage("active", 5, 9, 0), stage("activating", 10, 0, 0));
        assert_eq!(together(&[first, last]), CloudInit::AtWork { began: 5 });
    }
}
