//! Powering the machine off, and the guard before it: the package on a laptop must never end it.

use std::fs;
use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use thiserror::Error;
use tokio::process::Command;
use tokio::time::timeout;

use mayfly_core::config::PowerOff;

/// How long the command may take to be accepted; systemd answers in milliseconds.
const TIMEOUT: Duration = Duration::from_secs(20);

/// What firmware says on every EC2 instance, in one of these.
const VENDOR: &str = "Amazon EC2";
const VENDOR_FILES: [&str; 4] = ["sys_vendor", "board_vendor", "bios_vendor", "chassis_vendor"];

/// Why the machine was not powered off.
#[derive(Debug, Error)]
pub enum PowerError {
    /// The configuration forbids it.
    #[error("terminate.poweroff is \"never\"")]
    Never,
    /// The machine is none of EC2's.
    #[error("DMI does not say that this machine is an EC2 instance, and terminate.poweroff is \"ec2-only\"")]
    NotEc2,
    /// The command did not end.
    #[error("{command:?} did not power the machine off: no end within {within:?}")]
    Timeout {
        /// What was run.
        command: String,
        /// How long it had.
        within: Duration,
    },
    /// The command could not be run.
    #[error("{command:?} did not power the machine off: {error}")]
    NotRun {
        /// What was to be run.
        command: String,
        /// Why it was not.
        error: io::Error,
    },
    /// The command failed.
    #[error("{command:?} did not power the machine off: {status}, {stderr}")]
    Failed {
        /// What was run.
        command: String,
        /// How it ended.
        status: ExitStatus,
        /// What it said.
        stderr: String,
    },
}

/// Powers the machine off if it may be.
///
/// # Errors
/// It was not.
pub async fn off(when: PowerOff, command: &str) -> Result<(), PowerError> {
    match when {
        PowerOff::Never => return Err(PowerError::Never),
        PowerOff::Ec2Only if !is_ec2() => return Err(PowerError::NotEc2),
        PowerOff::Ec2Only | PowerOff::Always => {}
    }
    let mut shell = Command::new("/bin/sh");
    shell.arg("-c").arg(command).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    let command = command.to_owned();
    match timeout(TIMEOUT, shell.output()).await {
        Err(_) => Err(PowerError::Timeout { command, within: TIMEOUT }),
        Ok(Err(error)) => Err(PowerError::NotRun { command, error }),
        Ok(Ok(output)) if output.status.success() => Ok(()),
        Ok(Ok(output)) => {
            let stderr = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            Err(PowerError::Failed { command, status: output.status, stderr })
        }
    }
}

/// Whether firmware or hypervisor say that this is an EC2 instance. Needs no root and no network.
#[must_use]
pub fn is_ec2() -> bool {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let vendor = |file: &&str| read(&format!("/sys/class/dmi/id/{file}")).trim() == VENDOR;
    // Xen instances have no such DMI; their hypervisor's id begins like this.
    VENDOR_FILES.iter().any(vendor) || read("/sys/hypervisor/uuid").to_ascii_lowercase().starts_with("ec2")
}
