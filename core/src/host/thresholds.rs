//! When a machine is not fit for a job, and when a running job's machine is in trouble.

use bytesize::ByteSize;
use thiserror::Error;

use super::marks::WarningKind;
use super::sample::{Disk, Sample};
use crate::lifecycle::Outcome;

/// GitHub refuses a runner whose clock is off by more than five minutes.
pub const CLOCK_TOLERANCE: i64 = 300;

/// Of a hundred inodes this many must be free. On ext4 with its 16 KiB to an inode that is 19,000 files on a 30 GB disk:
/// one checkout with its dependencies takes more.
const INODES_PERCENT: u64 = 1;

/// While a job runs, a disk with less than this part of `min_disk` is nearly full. What a job writes is its own business.
const NEARLY_FULL: u64 = 4;

/// Of all memory this much must be available while a job runs, in percent.
const MEMORY_PERCENT: u64 = 3;

/// For how much of a minute everything may wait for memory before the machine counts as thrashing.
const MEMORY_PRESSURE: f32 = 20.0;

/// The same for disks; builds wait for disks a lot.
const IO_PRESSURE: f32 = 80.0;

/// What a machine must have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Thresholds {
    /// `host.min_disk`, in bytes.
    pub min_disk: u64,
}

/// Why no job may be fetched for a machine.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Unfit {
    /// A disk has too little room.
    #[error("{disk} has {free} free, and host.min_disk is {least}")]
    LowDisk {
        /// Its path, and what it is for.
        disk: String,
        /// What is free.
        free: ByteSize,
        /// What must be.
        least: ByteSize,
    },
    /// A disk has no room for more files.
    #[error("{disk} has {inodes}; at least {INODES_PERCENT} % must be")]
    FewInodes {
        /// Its path, and what it is for.
        disk: String,
        /// How many are free, of how many.
        inodes: String,
    },
    /// The clock is so far off that GitHub refuses the runner.
    #[error(
        "this machine's clock is {} s {} AWS's; GitHub refuses a runner at {CLOCK_TOLERANCE} s",
        .difference.abs(), if *.difference > 0 { "behind" } else { "ahead of" }
    )]
    ClockSkew {
        /// AWS's clock minus this machine's, in seconds.
        difference: i64,
    },
}

impl Unfit {
    /// What that is for the run.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::LowDisk { .. } | Self::FewInodes { .. } => Outcome::DiskFull,
            Self::ClockSkew { .. } => Outcome::ClockSkew,
        }
    }
}

impl Thresholds {
    /// Why no job may be fetched for this machine.
    #[must_use]
    pub fn unfit(self, sample: &Sample) -> Option<Unfit> {
        sample.disks.iter().find_map(|disk| self.too_full(disk)).or_else(|| clock_skew(sample.clock?))
    }

    fn too_full(self, disk: &Disk) -> Option<Unfit> {
        if disk.free_bytes < self.min_disk {
            let (free, least) = (ByteSize(disk.free_bytes), ByteSize(self.min_disk));
            return Some(Unfit::LowDisk { disk: watched(disk), free, least });
        }
        few_inodes(disk).map(|inodes| Unfit::FewInodes { disk: watched(disk), inodes })
    }

    /// What is wrong with the machine of a running job, for the job's log: each what and why it matters.
    #[must_use]
    pub fn troubles(self, sample: &Sample) -> Vec<(WarningKind, String)> {
        let mut troubles = Vec::new();
        for disk in &sample.disks {
            if disk.free_bytes < self.min_disk / NEARLY_FULL {
                let text =
                    format!("the disk was nearly full: {} had {} free", watched(disk), ByteSize(disk.free_bytes));
                troubles.push((WarningKind::Disk, text));
            }
            if let Some(inodes) = few_inodes(disk) {
                troubles.push((
                    WarningKind::Inodes,
                    format!("the disk had no room for more files: {} had {inodes}", watched(disk)),
                ));
            }
        }
        if let Some(memory) = sample.memory
            && memory.available < memory.total / 100 * MEMORY_PERCENT
        {
            let (available, total) = (ByteSize(memory.available), ByteSize(memory.total));
            troubles.push((WarningKind::Memory, format!("memory ran out: {available} of {total} were available")));
        }
        if let Some(percent) = sample.memory_pressure.filter(|percent| *percent >= MEMORY_PRESSURE) {
            let text =
                format!("everything waited for memory for {percent:.0} % of a minute: a larger machine would help");
            troubles.push((WarningKind::MemoryPressure, text));
        }
        if let Some(percent) = sample.io_pressure.filter(|percent| *percent >= IO_PRESSURE) {
            let text =
                format!("everything waited for the disk for {percent:.0} % of a minute: a faster volume would help");
            troubles.push((WarningKind::IoPressure, text));
        }
        if sample.online == Some(false) {
            troubles.push((WarningKind::Network, "the network was gone: no default route with a carrier".to_owned()));
        }
        troubles
    }
}

fn watched(disk: &Disk) -> String {
    format!("{} ({})", disk.watched.path.display(), disk.watched.of)
}

fn few_inodes(disk: &Disk) -> Option<String> {
    let (free, all) = disk.inodes?;
    (free.saturating_mul(100) < all.saturating_mul(INODES_PERCENT)).then(|| format!("{free} of {all} inodes free"))
}

fn clock_skew(difference: i64) -> Option<Unfit> {
    (difference.abs() >= CLOCK_TOLERANCE).then_some(Unfit::ClockSkew { difference })
}

#[cfg(test)]
mod tests {
    use super::super::sample::{Memory, WatchedPath};
    use super::*;

    const GIB: u64 = 1 << 30;

    fn disk(free_bytes: u64, inodes: Option<(u64, u64)>) -> Disk {
        Disk {
            watched: WatchedPath { of: "the runner", path: "/opt/actions-runner".into() },
            free_bytes,
            size_bytes: 1 << 40,
            inodes,
        }
    }

    fn sample(disk: Disk) -> Sample {
        Sample { disks: vec![disk], ..Sample::default() }
    }

    const THRESHOLDS: Thresholds = Thresholds { min_disk: 2 * GIB };

    #[test]
    fn room_files_and_clock_decide_before_a_job() {
        let unfit = |sample: Sample| THRESHOLDS.unfit(&sample).map(|unfit| unfit.outcome());
        assert_eq!(unfit(sample(disk(2 * GIB, Some((1_000, 100_000))))), None);
        assert_eq!(unfit(sample(disk(2 * GIB - 1, None))), Some(Outcome::DiskFull));
        assert_eq!(unfit(sample(disk(9 * GIB, Some((999, 100_000))))), Some(Outcome::DiskFull));
        for (seconds, wrong) in [(299, false), (-299, false), (300, true), (-300, true), (i64::MIN + 1, true)] {
            let skewed = Sample { clock: Some(seconds), ..sample(disk(9 * GIB, None)) };
            assert_eq!(unfit(skewed), wrong.then_some(Outcome::ClockSkew), "{seconds} s");
        }
    }

    #[test]
    fn a_person_is_told_where_how_much_and_which_key() {
        let told = |sample| THRESHOLDS.unfit(&sample).map(|unfit| unfit.to_string()).unwrap_or_default();
        let text = "/opt/actions-runner (the runner) has 1.0 GiB free, and host.min_disk is 2.0 GiB";
        assert_eq!(told(sample(disk(GIB, None))), text);
        let text = "/opt/actions-runner (the runner) has 5 of 1000 inodes free; at least 1 % must be";
        assert_eq!(told(sample(disk(9 * GIB, Some((5, 1000))))), text);
        let text = "this machine's clock is 400 s ahead of AWS's; GitHub refuses a runner at 300 s";
        assert_eq!(told(Sample { clock: Some(-400), ..sample(disk(9 * GIB, None)) }), text);
    }

    #[test]
    fn memory_pressure_and_network_never_keep_a_job_away_and_are_told_while_one_runs() {
        let bad = Sample {
            memory: Some(Memory { available: 2, total: 100 }),
            memory_pressure: Some(20.0),
            io_pressure: Some(80.0),
            online: Some(false),
            ..sample(disk(GIB / 4, Some((0, 100))))
        };
        let kinds: Vec<_> = THRESHOLDS.troubles(&bad).into_iter().map(|(kind, _)| kind).collect();
        let all = [
            WarningKind::Disk,
            WarningKind::Inodes,
            WarningKind::Memory,
            WarningKind::MemoryPressure,
            WarningKind::IoPressure,
            WarningKind::Network,
        ];
        assert_eq!(kinds, all);
        assert_eq!(THRESHOLDS.unfit(&Sample { disks: vec![], ..bad }), None);
    }

    #[test]
    fn a_kernel_that_tells_nothing_is_no_trouble() {
        assert_eq!(THRESHOLDS.troubles(&Sample::default()), []);
        assert_eq!(THRESHOLDS.unfit(&Sample::default()), None);
    }
}
