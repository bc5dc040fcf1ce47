//! The disk, kernel and initramfs that `tests/instance/build-root` makes.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::{Error, Result, Trying as _};

/// One made disk. It is never written to: machines have overlays.
#[derive(Debug, Clone)]
pub struct Disk {
    /// `debian-13` or `debian-12`.
    pub name: String,
    directory: PathBuf,
}

impl Disk {
    /// The disk of this name: the one that the test script made, or made now (a minute or two the first time).
    ///
    /// # Errors
    /// It cannot be made; the script's own words are on standard error.
    pub fn named(name: &str) -> Result<Self> {
        let variable = format!("MAYFLY_INSTANCE_{}", name.replace('-', "_").to_uppercase());
        let directory = match std::env::var_os(&variable) {
            Some(made) => PathBuf::from(made),
            None => build(name)?,
        };
        let disk = Self { name: name.to_owned(), directory };
        if !disk.image().exists() {
            return Err(Error(format!("{variable} names {}, and no disk.qcow2 is there", disk.directory.display())));
        }
        Ok(disk)
    }

    /// The qcow2 image.
    #[must_use]
    pub fn image(&self) -> PathBuf {
        self.directory.join("disk.qcow2")
    }

    /// The kernel.
    #[must_use]
    pub fn kernel(&self) -> PathBuf {
        self.directory.join("vmlinuz")
    }

    /// The initramfs.
    #[must_use]
    pub fn initrd(&self) -> PathBuf {
        self.directory.join("initrd.img")
    }

    /// Where the disk's snapshots are kept; they go when the disk goes.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }
}

fn build(name: &str) -> Result<PathBuf> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/build-root");
    let mut command = Command::new(script);
    if let Some(package) = std::env::var_os("MAYFLY_DEB") {
        command.arg("--package").arg(package);
    }
    if let Some(runner) = std::env::var_os("MAYFLY_INSTANCE_RUNNER") {
        command.arg("--runner").arg(runner);
    }
    let made = command.arg(name).stderr(Stdio::inherit()).output().trying(|| format!("running {script}"))?;
    if !made.status.success() {
        return Err(Error(format!("{script} {name} ended with {}", made.status)));
    }
    Ok(String::from_utf8_lossy(&made.stdout).trim().into())
}
