//! The machine that a job runs on: its disks, memory, network and clock.
//!
//! Before a JIT configuration is fetched the machine must be fit ([`Thresholds::unfit`]): a job that cannot succeed here
//! should go elsewhere. While a job runs nothing is ever stopped for a threshold; what is crossed is told, once per
//! [`WarningKind`], to whoever will wonder why the job failed ([`Marks`]).
//!
//! The agent takes the samples ([`Sample`]); everything here is pure.

mod marks;
mod sample;
mod thresholds;

pub use marks::{DiskMark, Marks, Warning, WarningKind};
pub use sample::{Disk, Memory, Sample, WatchedPath};
pub use thresholds::{CLOCK_TOLERANCE, Thresholds, Unfit};
