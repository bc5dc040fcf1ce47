//! `mayfly probe`: checks what no job may be able to do. Run as the job's user.

use super::{exit, fail, print};
use crate::platform::probe;

#[derive(Debug, clap::Args)]
pub(super) struct ProbeArgs {
    /// Print this process's cgroup first
    #[arg(long)]
    cgroup: bool,
    /// Exit with 3 instead of 0: a build step that fails is kept in no cache
    #[arg(long)]
    fail: bool,
}

pub(super) fn run(args: &ProbeArgs) -> u8 {
    if args.cgroup {
        let cgroup = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        print(|out| out.write_all(cgroup.as_bytes()));
    }
    match probe::metadata() {
        Ok(()) if args.fail => crate::doctor::SHUT,
        Ok(()) => 0,
        Err(reached) => fail(exit::PERMISSION, reached),
    }
}
