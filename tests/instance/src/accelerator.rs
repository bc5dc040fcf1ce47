//! How the guest's processor is made: KVM where it works, else emulation that does not crash the guest's kernel.

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::qemu::command;
use crate::{Disk, Error, Result, Trying as _};

/// How the processor is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Accelerator {
    Kvm,
    Tcg,
}

impl Accelerator {
    pub(crate) fn arguments(self) -> Result<[&'static str; 4]> {
        // QEMU 7.2 leaves wrong flags after cmpxchg16b, and kernels since 6.x then die of a double fault within a
        // minute. Without cx16 they do not use it.
        Ok(match self {
            Self::Kvm => ["-accel", "kvm", "-cpu", "host"],
            Self::Tcg if enough_cores() && translates_safely(&version()?) => {
                ["-accel", "tcg,thread=multi", "-cpu", "qemu64,-cx16"]
            }
            Self::Tcg => ["-accel", "tcg,thread=single", "-cpu", "qemu64,-cx16"],
        })
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::Tcg => "tcg",
        }
    }

    /// KVM where it really works: a device node may be there that boots no ordinary guest, so one is tried.
    pub(crate) fn of_this_host(disk: &Disk) -> Result<Self> {
        match std::env::var("MAYFLY_INSTANCE_ACCELERATOR").as_deref() {
            Ok("kvm") => return Ok(Self::Kvm),
            Ok("tcg") => return Ok(Self::Tcg),
            Ok(other) => return Err(Error(format!("MAYFLY_INSTANCE_ACCELERATOR is {other:?}: say kvm or tcg"))),
            Err(_) => {}
        }
        if fs::OpenOptions::new().read(true).write(true).open("/dev/kvm").is_err() {
            return Ok(Self::Tcg);
        }
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let remembered = disk.directory().join(format!("accelerator-{}", boot.trim()));
        match fs::read_to_string(&remembered).as_deref() {
            Ok("kvm") => return Ok(Self::Kvm),
            Ok("tcg") => return Ok(Self::Tcg),
            _ => {}
        }
        let found = if kvm_boots(disk)? { Self::Kvm } else { Self::Tcg };
        fs::write(&remembered, found.name())?;
        Ok(found)
    }
}

/// Boots the kernel with nothing to run: with a KVM that works it panics for want of an init, within a second or two.
fn kvm_boots(disk: &Disk) -> Result<bool> {
    let directory = tempfile::tempdir()?;
    let console = directory.path().join("console");
    let mut child = command()
        .args(Accelerator::Kvm.arguments()?)
        .args(["-machine", "q35", "-m", "512", "-nodefaults", "-no-reboot", "-display", "none"])
        .arg("-serial")
        .arg(format!("file:{}", console.display()))
        .arg("-kernel")
        .arg(disk.kernel())
        .args(["-append", "console=ttyS0 loglevel=7 panic=-1 rdinit=/none root=/none"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .trying(|| "starting qemu-system-x86_64".to_owned())?;
    let deadline = Instant::now() + Duration::from_secs(15);
    while child.try_wait()?.is_none() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(50));
    }
    let _ = child.kill();
    let _ = child.wait();
    Ok(fs::read_to_string(&console).unwrap_or_default().contains("Kernel panic - not syncing: VFS"))
}

/// What `qemu-system-x86_64 --version` says, such as `QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)`.
pub(crate) fn version() -> Result<String> {
    let said = Command::new("qemu-system-x86_64").arg("--version").output();
    let said = said.trying(|| "starting qemu-system-x86_64 (install qemu-system-x86)".to_owned())?;
    Ok(String::from_utf8_lossy(&said.stdout).into_owned())
}

/// Whether each emulated processor of two machines gets a core of its own. Where they do not, one thread for both processors of
/// a machine is faster by a quarter: nobody waits for a lock whose owner is not running.
fn enough_cores() -> bool {
    std::thread::available_parallelism().is_ok_and(|cores| cores.get() >= 4)
}

/// Whether several processors may be emulated at once. Until 8.1 QEMU translates code while another processor changes it
/// ("accel/tcg: Always lock pages before translation"), and one boot in a hundred ends with "Oops: int3", where Linux
/// patches itself. One thread for all processors never does that.
fn translates_safely(version: &str) -> bool {
    let number = version.split_whitespace().find(|word| word.starts_with(|first: char| first.is_ascii_digit()));
    let mut parts = number.unwrap_or_default().split('.').map_while(|part| part.parse::<u32>().ok());
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0)) >= (8, 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_are_emulated_at_once_only_where_that_is_safe() {
        for (version, safe) in [
            ("QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18+b3)\nCopyright (c) 2003-2022", false),
            ("QEMU emulator version 8.0.4", false),
            ("QEMU emulator version 8.1.0", true),
            ("QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2+deb13u1~bpo12+1)", true),
            ("no version at all", false),
        ] {
            assert_eq!(translates_safely(version), safe, "{version}");
        }
    }
}
