//! The booted machine, once per disk: scenarios go on from it in about a second instead of booting.
//!
//! A saved state beside a frozen overlay, not `savevm`: a snapshot inside a qcow2 image cannot be loaded through an overlay,
//! and several machines must go on from the same one at the same time.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::accelerator::{self, Accelerator};
use crate::{Disk, Result, Spec, Trying as _};

/// A cold boot under emulation on a host that others use too.
pub(crate) const BOOT: Duration = Duration::from_secs(300);

/// A saved machine.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The disk as it was when the state was saved.
    pub disk: PathBuf,
    /// Memory and devices.
    pub state: PathBuf,
}

/// The snapshot of this disk; made now if nobody did before.
///
/// # Errors
/// The machine does not boot, or cannot be saved.
pub fn of(disk: &Disk) -> Result<Snapshot> {
    let place = disk.directory().join(format!("snapshot-{}", key(disk)?));
    let snapshot = Snapshot { disk: place.join("disk.qcow2"), state: place.join("state") };
    // Others that ask meanwhile wait here and find it made.
    let lock = File::create(disk.directory().join("snapshot.lock"))?;
    lock.lock().trying(|| "waiting for the snapshot".to_owned())?;
    if !place.exists() {
        make(disk, &place)?;
    }
    Ok(snapshot)
}

fn make(disk: &Disk, place: &std::path::Path) -> Result<()> {
    let part = place.with_extension("part");
    let _ = fs::remove_dir_all(&part);
    fs::create_dir_all(&part)?;
    let began = Instant::now();
    let mut machine = Spec::new(&disk.name).kernel("mayfly.building").boot()?;
    machine.booted(BOOT)?;
    machine.run("/usr/local/lib/mayfly-test/docker-image && sync", &[], Duration::from_secs(120))?.success()?;
    let booted = began.elapsed();
    machine.save(&part.join("disk.qcow2"), &part.join("state"))?;
    fs::rename(&part, place)?;
    let times =
        format!("booted {:.1} s, saved {:.1} s\n", booted.as_secs_f64(), (began.elapsed() - booted).as_secs_f64());
    fs::write(place.join("times"), times)?;
    Ok(())
}

/// A state fits only the emulator and the hardware that it was saved from.
fn key(disk: &Disk) -> Result<String> {
    let mut hasher = DefaultHasher::new();
    accelerator::version()?.hash(&mut hasher);
    Accelerator::of_this_host(disk)?.name().hash(&mut hasher);
    [
        include_str!("accelerator.rs"),
        include_str!("qemu.rs"),
        include_str!("snapshot.rs"),
        include_str!("user_data.rs"),
    ]
    .hash(&mut hasher);
    Ok(format!("{:016x}", hasher.finish()))
}
