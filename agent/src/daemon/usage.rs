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
    let disks = read("io.stat");
    let traffic = |key: &str| disks.as_ref().map(|text| sum(text, key));
    Some(Usage {
        cpu_ms: field(&cpu, "usage_usec").map(|microseconds| microseconds / 1000),
        memory_peak_bytes: read("memory.peak").and_then(|text| text.trim().parse().ok()),
        oom_kills: read("memory.events").and_then(|text| field(&text, "oom_kill")),
        disk_read_bytes: traffic("rbytes="),
        disk_written_bytes: traffic("wbytes="),
        ..Usage::default()
    })
}

/// Over all devices. A disk that is made of others (RAID, LVM) is a device too, and counts beside them.
fn sum(text: &str, key: &str) -> u64 {
    let figures = text.split_ascii_whitespace().filter_map(|word| word.strip_prefix(key)?.parse::<u64>().ok());
    figures.fold(0, u64::saturating_add)
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
        let counted = Usage { cpu_ms: Some(1234), oom_kills: Some(1), ..Usage::default() };
        assert_eq!(of(cgroup.path()), Some(counted.clone()));
        let disks = "259:0 rbytes=100 wbytes=7 rios=1 wios=1 dbytes=0 dios=0\n259:4 rbytes=1 wbytes=1 rios=1 wios=1\n";
        fs::write(cgroup.path().join("io.stat"), disks).unwrap();
        let counted = Usage { disk_read_bytes: Some(101), disk_written_bytes: Some(8), ..counted };
        assert_eq!(of(cgroup.path()), Some(counted));
    }
}
