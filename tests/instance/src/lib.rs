//! A machine that believes it is an EC2 instance: QEMU with Amazon's DMI, the metadata service at its real address, AWS by
//! moto, a real kernel and a real systemd in it.
//!
//! ```no_run
//! use mayfly_instance::{Machine, seconds};
//! let mut machine = Machine::restored("debian-13");
//! machine.put_jit_config("success");
//! machine.guest("systemctl start mayfly.target");
//! machine.until("the runner runs", seconds(30), "systemctl is-active mayfly-runner");
//! let end = machine.wait_for_power_off(seconds(120));
//! assert_eq!(end.reason, "guest-shutdown");
//! ```
//!
//! `scripts/test-instance` prepares what is needed and runs the scenarios; `scripts/machine` lets a person in.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail there")]

mod accelerator;
pub mod cloud;
pub mod disk;
pub mod machine;
mod qemu;
mod qmp;
pub mod run;
mod shell;
pub mod snapshot;
pub mod spec;
mod user_data;

use std::time::Duration;

pub use cloud::Clouds;
pub use disk::Disk;
pub use machine::{Ended, Machine};
pub use run::{job, job_until_let_go, named};
pub use shell::Output;
pub use spec::Spec;

/// What went wrong with the machine itself, with what was tried and what came back.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Error(pub String);

/// What the machine's own parts answer.
pub type Result<T> = std::result::Result<T, Error>;

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        Self(error.to_string())
    }
}

/// Says what was tried when it failed.
pub(crate) trait Trying<T> {
    fn trying(self, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: std::fmt::Display> Trying<T> for std::result::Result<T, E> {
    fn trying(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| Error(format!("{}: {error}", what())))
    }
}

/// QEMU's arguments for the processor, as they work with this disk on this host.
///
/// # Errors
/// QEMU is not there.
pub fn accelerator(disk: &Disk) -> Result<[&'static str; 4]> {
    accelerator::Accelerator::of_this_host(disk)?.arguments()
}

/// Short for [`Duration::from_secs`]: scenarios are full of deadlines.
#[must_use]
pub fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}
