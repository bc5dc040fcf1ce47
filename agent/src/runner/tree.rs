//! Processes: who is there, who belongs to the runner, and how to end them all.

use std::collections::{HashMap, HashSet};
use std::io;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use procfs::process::{Process, Stat, all_processes};
use rustix::process::{PidfdFlags, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};

use super::WORKER_COMM;
use crate::base::cgroup::is_in_unit;

/// One process, told from a later one with the same number by its start time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
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
        let errno = |error: rustix::io::Errno| Errno::from_raw(error.raw_os_error());
        let handle =
            match pidfd_open(rustix::process::Pid::from_raw(self.pid).ok_or(Errno::ESRCH)?, PidfdFlags::empty()) {
                Ok(handle) => Some(handle),
                Err(rustix::io::Errno::NOSYS) => None, // before Linux 5.3
                Err(error) => return Err(errno(error)),
            };
        // Only now: while the handle is open, its process can end, but no other takes its place.
        if !self.is_alive() {
            return Err(Errno::ESRCH);
        }
        match (handle, rustix::process::Signal::from_named_raw(signal as i32)) {
            (Some(handle), Some(signal)) => pidfd_send_signal(handle, signal).map_err(errno),
            _ => kill(Pid::from_raw(self.pid), signal),
        }
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

/// The worker process in a supervisor process's session, whoever its parent is by now.
///
/// # Errors
/// The processes of this machine cannot be seen: whether there is one is not known.
pub fn worker_in_session(session: i32) -> io::Result<Option<ProcessId>> {
    Ok(living()?.find_map(|stat| worker(&stat).filter(|_| stat.session == session)))
}

/// The worker process of a unit, whoever its parent is by now.
///
/// # Errors
/// The processes of this machine cannot be seen: whether there is one is not known.
pub fn worker_in_unit(unit: &str) -> io::Result<Option<ProcessId>> {
    Ok(living()?.find_map(|stat| worker(&stat).filter(|_| is_in_unit(stat.pid, unit))))
}

fn living() -> io::Result<impl Iterator<Item = Stat>> {
    let processes = all_processes().map_err(io::Error::other)?;
    let stats = processes.flatten().filter_map(|process| process.stat().ok());
    Ok(stats.filter(|stat| !matches!(stat.state, 'Z' | 'X')))
}

fn worker(stat: &Stat) -> Option<ProcessId> {
    (stat.comm == WORKER_COMM).then_some(ProcessId { pid: stat.pid, started: stat.starttime })
}

/// The living processes below `own` or the supervisor process, or in the supervisor process's session; without these two.
fn members(own: i32, supervisor_process: Option<i32>) -> Vec<i32> {
    let Ok(processes) = all_processes() else { return Vec::new() };
    let stats: Vec<Stat> = processes.flatten().filter_map(|process| process.stat().ok()).collect();
    let parents: HashMap<i32, i32> = stats.iter().map(|stat| (stat.pid, stat.ppid)).collect();
    let is_root = |pid: i32| pid == own || Some(pid) == supervisor_process;
    let below = |pid: i32| {
        // Bounded, since a snapshot of a changing tree could hold a circle.
        std::iter::successors(parents.get(&pid).copied(), |pid| parents.get(pid).copied()).take(256).any(is_root)
    };
    stats
        .iter()
        .filter(|stat| !is_root(stat.pid) && !matches!(stat.state, 'Z' | 'X'))
        .filter(|stat| Some(stat.session) == supervisor_process || below(stat.pid))
        .map(|stat| stat.pid)
        .collect()
}

/// Kills everything below the supervisor process, in its session, or adopted by this process, and waits until it is gone.
///
/// First all of it is stopped, so that nothing forks away from under the kill. Returns how many processes were left
/// after `timeout`: those of other users, if this process is not root.
pub async fn kill_all(supervisor_process: Option<i32>, timeout: Duration) -> usize {
    let own = i32::try_from(std::process::id()).unwrap_or(0);
    let deadline = tokio::time::Instant::now() + timeout;
    loop {
        let mut stopped = HashSet::new();
        for _ in 0..8 {
            let fresh: Vec<i32> =
                members(own, supervisor_process).into_iter().filter(|pid| stopped.insert(*pid)).collect();
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
        let left = members(own, supervisor_process).len();
        if left == 0 || tokio::time::Instant::now() >= deadline {
            return left;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::process::{Child, Command};

    use super::*;

    fn sleeper() -> (Child, ProcessId) {
        let child = Command::new("sleep").arg("60").spawn().unwrap();
        let id = ProcessId::of(i32::try_from(child.id()).unwrap()).unwrap();
        (child, id)
    }

    #[test]
    fn a_later_process_of_the_same_number_is_not_signalled() {
        let (mut child, id) = sleeper();
        let earlier = ProcessId { started: id.started - 1, ..id };
        assert_eq!(earlier.signal(Signal::SIGKILL), Err(Errno::ESRCH), "the number alone was believed");
        assert!(child.try_wait().unwrap().is_none(), "another process got the signal");
        assert_eq!(id.signal(Signal::SIGKILL), Ok(()));
        child.wait().unwrap();
        assert_eq!(id.signal(Signal::SIGKILL), Err(Errno::ESRCH));
    }
}
