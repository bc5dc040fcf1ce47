//! Powering the machine off, and the guard before it: the package on a laptop must never end it.

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

use mayfly_core::config::PowerOff;

/// How long the command may take to be accepted; systemd answers in milliseconds.
const TIMEOUT: Duration = Duration::from_secs(20);

/// What firmware says on every EC2 instance, in one of these.
const VENDOR: &str = "Amazon EC2";
const VENDOR_FILES: [&str; 4] = ["sys_vendor", "board_vendor", "bios_vendor", "chassis_vendor"];

/// Powers the machine off if it may be.
///
/// # Errors
/// Why it was not, in one sentence.
pub async fn off(when: PowerOff, command: &str) -> Result<(), String> {
    match when {
        PowerOff::Never => return Err("terminate.poweroff is \"never\"".to_owned()),
        PowerOff::Ec2Only if !is_ec2() => {
            return Err(
                "DMI does not say that this machine is an EC2 instance, and terminate.poweroff is \"ec2-only\""
                    .to_owned(),
            );
        }
        PowerOff::Ec2Only | PowerOff::Always => {}
    }
    let mut shell = Command::new("/bin/sh");
    shell.arg("-c").arg(command).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    let tried = |reason: String| Err(format!("{command:?} did not power the machine off: {reason}"));
    match timeout(TIMEOUT, shell.output()).await {
        Err(_) => tried(format!("no end within {TIMEOUT:?}")),
        Ok(Err(error)) => tried(error.to_string()),
        Ok(Ok(output)) if output.status.success() => Ok(()),
        Ok(Ok(output)) => tried(format!("{}, {}", output.status, String::from_utf8_lossy(&output.stderr).trim())),
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
