//! What the job took of the machine, as the kernel counted it for the jobs' slice: runner, steps and containers.

use std::fs;
use std::path::Path;

use serde::Serialize;

/// The slice of `mayfly-runner.service` and of Docker's containers.
const JOBS: &str = "/sys/fs/cgroup/mayfly.slice/mayfly-jobs.slice";

/// What the job took.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// CPU time, in milliseconds.
    pub cpu_ms: Option<u64>,
    /// The most memory at any moment, page cache included; kernels before 5.19 do not tell.
    pub memory_peak_bytes: Option<u64>,
    /// How many of its processes were killed for want of memory.
    pub oom_kills: Option<u64>,
}

impl Usage {
    /// What was counted so far; `None` where there is no such slice.
    pub(super) fn of_jobs() -> Option<Self> {
        Self::of(Path::new(JOBS))
    }

    fn of(cgroup: &Path) -> Option<Self> {
        let read = |file: &str| fs::read_to_string(cgroup.join(file)).ok();
        let cpu = read("cpu.stat")?;
        Some(Self {
            cpu_ms: field(&cpu, "usage_usec").map(|microseconds| microseconds / 1000),
            memory_peak_bytes: read("memory.peak").and_then(|text| text.trim().parse().ok()),
            oom_kills: read("memory.events").and_then(|text| field(&text, "oom_kill")),
        })
    }
}

fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_kernels_counters_are_read_and_what_it_does_not_tell_is_absent() {
        let cgroup = tempfile::tempdir().unwrap();
        assert_eq!(Usage::of(cgroup.path()), None);
        fs::write(cgroup.path().join("cpu.stat"), "usage_usec 1234567\nuser_usec 1\n").unwrap();
        fs::write(cgroup.path().join("memory.events"), "low 0\noom 2\noom_kill 1\noom_group_kill 7\n").unwrap();
        let counted = Usage { cpu_ms: Some(1234), memory_peak_bytes: None, oom_kills: Some(1) };
        assert_eq!(Usage::of(cgroup.path()), Some(counted));
    }
}
