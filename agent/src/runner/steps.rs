//! The processes of a job's steps while its runner is being stopped.
//!
//! The runner signals its own children only, most of the time a shell, and a shell waits for the program in its
//! foreground before it looks at its signal. So the rest of the tree gets what a terminal's Ctrl-C would give it, once;
//! then it is watched; and when the core says so, it is killed without its worker.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::Signal;
use procfs::process::all_processes;
use tracing::{debug, warn};

use super::WORKER_COMM;
use super::traces::Traces;
use super::tree::ProcessId;
use crate::base::clock;
use mayfly_core::lifecycle::Time;
use mayfly_core::record::StepMarks;

/// What the runner needs, once its listener says that it stops, to pass the stop on to its own children: a shell must have
/// its SIGINT before the program that it waits for ends, or it takes that for a program that failed and goes on with its
/// script. On a machine so busy that the listener needed longer to hear, its worker is given as long again.
const HANDOVER: Duration = Duration::from_millis(500);
const LONGEST_HANDOVER: Duration = Duration::from_secs(2);
/// A listener that has not said so by then is not waited for. With the handover this is less than the 7.5 s after which the
/// runner itself sends its children the next signal.
const LONGEST_TO_HEAR: Duration = Duration::from_secs(4);
/// What the listener prints when a signal reaches it (`Runner.cs`).
const EXITING: &[u8] = b"\nExiting...";
/// More than it prints between that line and the end of its job.
const CONSOLE_END: u64 = 4096;

/// The interval of the watch.
const INTERVAL: Duration = Duration::from_millis(100);
/// On a machine with very many processes.
const SLOWEST_INTERVAL: Duration = Duration::from_secs(1);

/// A pass over all processes ends here, whatever a job does to the table.
const MOST_PROCESSES: usize = 1 << 16;
/// And after this time.
const LONGEST_PASS: Duration = Duration::from_secs(1);

/// How long the steps may take to be gone once they are killed.
const KILL_TIMEOUT: Duration = Duration::from_secs(2);

/// They pass a SIGINT on to the program that they run: it would get two.
const PASS_ON: [&str; 2] = ["sudo", "timeout"];

/// The steps of the one job.
#[derive(Clone, Debug)]
pub struct Steps {
    traces: Traces,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Debug, Default)]
struct Seen {
    worker: Option<ProcessId>,
    /// Everything that was below the worker since the stop began, and is alive: what lost its parent meanwhile is in here.
    known: HashSet<ProcessId>,
    /// There was something to wait for.
    any: bool,
    marks: StepMarks,
}

/// One line of the table of processes.
#[derive(Debug)]
struct Line {
    id: ProcessId,
    parent: i32,
    comm: String,
}

impl Steps {
    /// The steps of the runner with these traces.
    #[must_use]
    pub fn new(traces: Traces) -> Self {
        Self { traces, seen: Arc::default() }
    }

    /// What was seen and done so far.
    #[must_use]
    pub fn marks(&self) -> StepMarks {
        self.lock().marks
    }

    /// Interrupts what the steps' shells wait for. `since`: the listener was signalled then; what began later was never
    /// meant, such as a program with which a step saves its state.
    pub async fn interrupt(self, since: Time) {
        let began = Instant::now();
        while began.elapsed() < LONGEST_TO_HEAR && !self.off_the_loop(Self::listener_stops).await {
            tokio::time::sleep(HANDOVER / 25).await;
        }
        tokio::time::sleep(began.elapsed().clamp(HANDOVER, LONGEST_HANDOVER)).await;
        self.off_the_loop(move |steps| steps.interrupt_now(since)).await;
        let StepMarks { interrupted, refused, .. } = self.marks();
        debug!("{interrupted} processes of the job's steps were interrupted");
        if refused > 0 {
            warn!(
                "{refused} processes of the job's steps are other users', and only root may interrupt them: \
                 GitHub may be told some ten seconds later"
            );
        }
    }

    /// Watches the steps until it is dropped.
    pub async fn follow(self) {
        loop {
            let began = Instant::now();
            self.off_the_loop(Steps::observe).await;
            tokio::time::sleep((began.elapsed() * 4).clamp(INTERVAL, SLOWEST_INTERVAL)).await;
        }
    }

    /// Kills the steps with all that is below them.
    pub async fn kill(self) {
        let left = self.off_the_loop(Steps::kill_now).await;
        if left > 0 {
            warn!("{left} processes of the job's steps could not be killed; the worker may not report in time");
        }
    }

    /// A pass over a thousand processes takes some ten milliseconds, and the loop has other things to do.
    async fn off_the_loop<T: Send + Default + 'static>(&self, work: impl FnOnce(&Self) -> T + Send + 'static) -> T {
        let steps = self.clone();
        tokio::task::spawn_blocking(move || work(&steps)).await.unwrap_or_default()
    }

    /// Whether the listener says that it was told to stop.
    fn listener_stops(&self) -> bool {
        let end = || {
            let mut console = File::open(self.traces.console())?;
            let length = console.metadata()?.len();
            console.seek(SeekFrom::Start(length.saturating_sub(CONSOLE_END)))?;
            let mut end = b"\n".to_vec();
            console.take(CONSOLE_END).read_to_end(&mut end)?;
            io::Result::Ok(end)
        };
        end().is_ok_and(|end| end.windows(EXITING.len()).any(|part| part == EXITING))
    }

    fn interrupt_now(&self, since: Time) {
        let table = table();
        let mut seen = self.lock();
        let Some(worker) = seen.find_worker(&self.traces, &table) else { return };
        let last_tick = since.0.saturating_mul(procfs::ticks_per_second()) / 1000;
        for line in below(&table, &HashSet::from([worker.pid])) {
            seen.known.insert(line.id);
            (seen.any, seen.marks.seen) = (true, Some(clock::now()));
            let own_child = line.parent == worker.pid;
            if own_child || line.id.started > last_tick || PASS_ON.contains(&line.comm.as_str()) {
                continue;
            }
            match line.id.signal(Signal::SIGINT) {
                Ok(()) => seen.marks.interrupted += 1,
                Err(Errno::EPERM) => seen.marks.refused += 1,
                Err(_) => {} // it is gone
            }
        }
    }

    fn observe(&self) {
        let table = table();
        let mut seen = self.lock();
        let there = seen.there(&self.traces, &table);
        if !there.is_empty() {
            (seen.any, seen.marks.seen, seen.marks.gone) = (true, Some(clock::now()), None);
        } else if seen.any && seen.marks.gone.is_none() {
            seen.marks.gone = Some(clock::now());
        }
        seen.known = there.into_iter().collect();
    }

    /// All of it is stopped first, parents before their children, so that nothing forks away from under the kill.
    fn kill_now(&self) -> usize {
        let deadline = Instant::now() + KILL_TIMEOUT;
        loop {
            let mut stopped = HashSet::new();
            for _ in 0..8 {
                let there = self.lock().there(&self.traces, &table());
                let fresh: Vec<ProcessId> = there.into_iter().filter(|id| stopped.insert(*id)).collect();
                if fresh.is_empty() || Instant::now() > deadline {
                    break;
                }
                for id in fresh {
                    let _ = id.signal(Signal::SIGSTOP);
                }
            }
            for id in &stopped {
                let _ = id.signal(Signal::SIGKILL);
            }
            std::thread::sleep(Duration::from_millis(5));
            let left = self.lock().there(&self.traces, &table()).len();
            if left == 0 || Instant::now() > deadline {
                return left;
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    /// The listener's child of that name. Nothing that a step starts can become a child of the listener.
    fn find_worker(&mut self, traces: &Traces, table: &[Line]) -> Option<ProcessId> {
        let is_there = |id: ProcessId| table.iter().any(|line| line.id == id);
        self.worker = self.worker.filter(|worker| is_there(*worker)).or_else(|| {
            let listener = traces.listener().filter(|listener| is_there(*listener))?;
            table.iter().find(|line| line.parent == listener.pid && line.comm == WORKER_COMM).map(|line| line.id)
        });
        self.worker
    }

    /// What is below the worker, or was and has lost its parent, parents first.
    fn there(&mut self, traces: &Traces, table: &[Line]) -> Vec<ProcessId> {
        let worker = self.find_worker(traces, table);
        let left: Vec<ProcessId> = table.iter().map(|line| line.id).filter(|id| self.known.contains(id)).collect();
        let roots = left.iter().map(|id| id.pid).chain(worker.map(|worker| worker.pid)).collect();
        let mut there: Vec<ProcessId> = below(table, &roots).into_iter().map(|line| line.id).collect();
        let found: HashSet<ProcessId> = there.iter().copied().collect();
        there.extend(left.into_iter().filter(|id| !found.contains(id)));
        there
    }
}

/// The living processes, as far as they can be read in time.
fn table() -> Vec<Line> {
    let end = Instant::now() + LONGEST_PASS;
    let Ok(processes) = all_processes() else { return Vec::new() };
    let lines = processes.take(MOST_PROCESSES).take_while(|_| Instant::now() < end).filter_map(|process| {
        let stat = process.ok()?.stat().ok()?;
        let id = ProcessId { pid: stat.pid, started: stat.starttime };
        (!matches!(stat.state, 'Z' | 'X')).then_some(Line { id, parent: stat.ppid, comm: stat.comm })
    });
    lines.collect()
}

/// Everything below these, without them, parents first; each once, even if a table of a changing tree holds a circle.
fn below<'a>(table: &'a [Line], roots: &HashSet<i32>) -> Vec<&'a Line> {
    let mut children: HashMap<i32, Vec<&Line>> = HashMap::new();
    table.iter().for_each(|line| children.entry(line.parent).or_default().push(line));
    let own = i32::try_from(std::process::id()).unwrap_or(0);
    let (mut met, mut found) = (roots.clone(), Vec::new());
    met.extend([own, 1]);
    let mut next: Vec<i32> = roots.iter().copied().collect();
    while !next.is_empty() {
        let lines = next.iter().flat_map(|pid| children.get(pid).into_iter().flatten());
        let fresh: Vec<&Line> = lines.copied().filter(|line| met.insert(line.id.pid)).collect();
        next = fresh.iter().map(|line| line.id.pid).collect();
        found.extend(fresh);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(pid: i32, parent: i32) -> Line {
        Line { id: ProcessId { pid, started: 1 }, parent, comm: String::new() }
    }

    #[test]
    fn parents_come_before_their_children_and_a_circle_ends() {
        let table = [line(40, 30), line(30, 20), line(20, 10), line(50, 60), line(60, 50), line(70, 1)];
        let pids = |roots: &[i32]| -> Vec<i32> {
            below(&table, &roots.iter().copied().collect()).iter().map(|line| line.id.pid).collect()
        };
        assert_eq!(pids(&[10]), [20, 30, 40]);
        assert_eq!(pids(&[50]), [60]);
        assert!(pids(&[99]).is_empty(), "what is nobody's child any more is no step");
    }

    #[test]
    fn the_table_has_this_process_and_is_read_in_time() {
        let own = ProcessId::of(i32::try_from(std::process::id()).unwrap_or(0));
        assert!(table().iter().any(|line| Some(line.id) == own));
    }
}
