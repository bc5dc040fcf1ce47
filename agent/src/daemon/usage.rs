//! What the job took of the machine, as the kernel counted it for the jobs' slice: runner, steps and containers.

use std::fs;
use std::path::Path;

use mayfly_core::record::Usage;

/// The slice of `mayfly-runner.service` and of Docker's containers.
const JOBS: &str = "/sys/fs/cgroup/mayfly.slice/mayfly-jobs.slice";

/// What was counted so far; `None` where there is no such slice.
pub(super) fn of_jobs() -> Option<Usage> {
    of(Path::new(JOBS))
}

fn of(cgroup: &Path) -> Option<Usage> {
    let read = |file: &str| fs::read_to_string(cgroup.join(file)).ok();
    let cpu = read("cpu.stat")?;
    Some(Usage {
        cpu_ms: field(&cpu, "usage_usec").map(|microseconds| microseconds / 1000),
        memory_peak_bytes: read("memory.peak").and_then(|text| text.trim().parse().ok()),
        oom_kills: read("memory.events").and_then(|text| field(&text, "oom_kill")),
    })
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
        assert_eq!(of(cgroup.path()), None);
        fs::write(cgroup.path().join("cpu.stat"), "usage_usec 1234567\nuser_usec 1\n").unwrap();
        fs::write(cgroup.path().join("memory.events"), "low 0\noom 2\noom_kill 1\noom_group_kill 7\n").unwrap();
        let counted = Usage { cpu_ms: Some(1234), memory_peak_bytes: None, oom_kills: Some(1) };
        assert_eq!(of(cgroup.path()), Some(counted));
    }
}
