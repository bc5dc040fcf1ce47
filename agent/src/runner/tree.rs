//! Processes: who is there, who belongs to the runner, and how to end them all.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use procfs::process::{Process, Stat, all_processes};
use serde::{Deserialize, Serialize};

use super::WORKER_COMM;

/// One process, told from a later one with the same number by its start time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessId {
    /// The process number.
    pub pid: i32,
    /// When it started, in clock ticks since boot.
    pub started: u64,
}

impl ProcessId {
    /// The process with this number right now.
    #[must_use]
    pub fn of(pid: i32) -> Option<Self> {
        Process::new(pid).ok()?.stat().ok().map(|stat| Self { pid, started: stat.starttime })
    }

    /// Whether it is still there and not a zombie.
    #[must_use]
    pub fn is_alive(self) -> bool {
        Process::new(self.pid)
            .and_then(|process| process.stat())
            .is_ok_and(|stat| stat.starttime == self.started && stat.state != 'Z' && stat.state != 'X')
    }

    /// Sends a signal to this process, and to no later one with its number.
    ///
    /// # Errors
    /// It is gone, or may not be signalled.
    pub fn signal(self, signal: Signal) -> nix::Result<()> {
        if !self.is_alive() {
            return Err(nix::errno::Errno::ESRCH);
        }
        kill(Pid::from_raw(self.pid), signal)
    }
}

/// The worker process of a listener.
#[must_use]
pub fn worker_of(listener: ProcessId) -> Option<ProcessId> {
    let tasks = Process::new(listener.pid).and_then(|process| process.tasks()).ok()?;
    let children = tasks.flatten().filter_map(|task| task.children().ok()).flatten();
    children.filter_map(|pid| Process::new(i32::try_from(pid).ok()?).ok()?.stat().ok()).find_map(|stat| {
        let worker = stat.comm == WORKER_COMM && stat.state != 'Z';
        worker.then_some(ProcessId { pid: stat.pid, started: stat.starttime })
    })
}

/// The worker process in a shim's session, whoever its parent is by now.
#[must_use]
pub fn worker_in_session(session: i32) -> Option<ProcessId> {
    let stats = all_processes().ok()?.flatten().filter_map(|process| process.stat().ok());
    stats.into_iter().find_map(|stat| {
        let worker = stat.comm == WORKER_COMM && stat.session == session && stat.state != 'Z';
        worker.then_some(ProcessId { pid: stat.pid, started: stat.starttime })
    })
}

/// The worker process in a cgroup, whoever its parent is by now.
#[must_use]
pub fn worker_in_cgroup(cgroup: &Path) -> Option<ProcessId> {
    let stats = in_cgroup(cgroup).into_iter().filter_map(|pid| Process::new(pid).ok()?.stat().ok());
    stats.into_iter().find_map(|stat| {
        let worker = stat.comm == WORKER_COMM && stat.state != 'Z';
        worker.then_some(ProcessId { pid: stat.pid, started: stat.starttime })
    })
}

/// The processes in a cgroup and in those below it, as far as they can be read.
#[must_use]
pub fn in_cgroup(cgroup: &Path) -> Vec<i32> {
    let text = std::fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default();
    let own = text.lines().filter_map(|line| line.parse().ok());
    let directories = std::fs::read_dir(cgroup).into_iter().flatten().flatten();
    let below = directories.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    own.chain(below.flat_map(|entry| in_cgroup(&entry.path()))).collect()
}

/// The living processes below `own` or the shim, or in the shim's session; without these two.
fn members(own: i32, shim: Option<i32>) -> Vec<i32> {
    let Ok(processes) = all_processes() else { return Vec::new() };
    let stats: Vec<Stat> = processes.flatten().filter_map(|process| process.stat().ok()).collect();
    let parents: HashMap<i32, i32> = stats.iter().map(|stat| (stat.pid, stat.ppid)).collect();
    let is_root = |pid: i32| pid == own || Some(pid) == shim;
    let below = |pid: i32| {
        // Bounded, since a snapshot of a changing tree could hold a circle.
        std::iter::successors(parents.get(&pid).copied(), |pid| parents.get(pid).copied()).take(256).any(is_root)
    };
    stats
        .iter()
        .filter(|stat| !is_root(stat.pid) && !matches!(stat.state, 'Z' | 'X'))
        .filter(|stat| Some(stat.session) == shim || below(stat.pid))
        .map(|stat| stat.pid)
        .collect()
}

/// Kills everything below the shim, in its session, or adopted by this process, and waits until it is gone.
///
/// First all of it is stopped, so that nothing forks away from under the kill. Returns how many processes were left
/// after `patience`: those of other users, if this process is not root.
pub async fn kill_all(shim: Option<i32>, patience: Duration) -> usize {
    let own = i32::try_from(std::process::id()).unwrap_or(0);
    let deadline = tokio::time::Instant::now() + patience;
    loop {
        let mut stopped = HashSet::new();
        for _ in 0..8 {
            let fresh: Vec<i32> = members(own, shim).into_iter().filter(|pid| stopped.insert(*pid)).collect();
            if fresh.is_empty() {
                break;
            }
            for pid in fresh {
                let _ = kill(Pid::from_raw(pid), Signal::SIGSTOP);
            }
        }
        for pid in &stopped {
            let _ = kill(Pid::from_raw(*pid), Signal::SIGKILL);
        }
        if !stopped.is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let left = members(own, shim).len();
        if left == 0 || tokio::time::Instant::now() >= deadline {
            return left;
        }
    }
}
