//! Watching a runner: console, perf log, worker process and exit, in one task, so that the order of what is seen is the
//! order in which it is told.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::warn;

use super::tail::Tail;
use super::traces::{Ending, Traces};
use super::tree::{ProcessId, worker_in_session, worker_of};
use super::unit::{Look, RunnerUnit};
use super::{console, perf};
use crate::control::hooks;
use crate::lifecycle::{Event, Exit, Outcome, Sign, Stop};
use crate::systemd::Changes;

/// A worker is looked for this often once a job was assigned, and its end once the listener has ended.
const SEARCH_PACE: Duration = Duration::from_millis(100);

/// For so many looks; a worker that is not there by then is a wedge in the making, and nothing is urgent about it.
const SEARCH_LOOKS: u32 = 300;

/// A worker at work is looked at this often.
const WORK_PACE: Duration = Duration::from_secs(1);

/// Without any sign of a job, files are looked at this often, should a notification be lost.
const QUIET_PACE: Duration = Duration::from_secs(5);

/// How long the shim may take to write down an exit, once listener and shim are gone.
const EXIT_PATIENCE: Duration = Duration::from_secs(2);

/// Something the watcher passes on.
#[derive(Debug)]
pub enum Seen {
    /// For the lifecycle.
    Event(Event),
    /// A console line, for the log and for people.
    Line {
        /// The line.
        line: String,
        /// Where it ends in the console's file.
        end: u64,
    },
    /// The agent process is to end, and the runner to go on.
    Detach,
}

/// What to watch.
#[derive(Debug)]
pub struct Watch {
    traces: Traces,
    perf: PathBuf,
    /// Up to here an earlier agent process passed the console's lines on.
    told: u64,
    /// Up to here the console was printed before the worker's end: that process saw it alive.
    before_end: u64,
    console_tail: Tail,
    perf_tail: Tail,
    hook_tail: Tail,
    keeper: Keeper,
    /// systemd told of a change of the unit that was not looked at yet.
    unit_changed: bool,
    /// The lifecycle knows that the machine is shutting down.
    shutdown_told: bool,
    listener: Option<ProcessId>,
    worker: Option<ProcessId>,
    /// A worker was there, as far as the lifecycle knows.
    worker_told: bool,
    /// How often a worker was looked for since a job was assigned.
    looks_for_worker: Option<u32>,
    events: mpsc::Sender<Seen>,
    looks: mpsc::Receiver<()>,
}

/// Who keeps the runner, and so knows how it ended.
#[derive(Debug)]
enum Keeper {
    Shim(Option<ProcessId>),
    Unit(RunnerUnit),
}

impl Watch {
    /// Watches the runner with these traces. A message on `looks` is answered with [`Event::Looked`].
    /// `unit`: systemd keeps the runner, not a shim. `worker_told`: an earlier agent process saw a worker alive.
    #[must_use]
    pub fn new(
        traces: Traces,
        perf: &Path,
        unit: Option<RunnerUnit>,
        worker_told: bool,
        events: mpsc::Sender<Seen>,
        looks: mpsc::Receiver<()>,
    ) -> Self {
        Self {
            told: traces.told(),
            before_end: if worker_told { traces.told() } else { 0 },
            console_tail: Tail::new(&traces.console()).giving_back(),
            perf_tail: Tail::new(&perf.join(perf::LISTENER_FILE)),
            hook_tail: Tail::new(&perf.join(hooks::TRACE_FILE)),
            perf: perf.to_owned(),
            keeper: unit.map_or_else(|| Keeper::Shim(traces.marker().and_then(|marker| marker.shim)), Keeper::Unit),
            unit_changed: true,
            shutdown_told: false,
            listener: None,
            traces,
            worker: None,
            worker_told,
            looks_for_worker: None,
            events,
            looks,
        }
    }

    /// Watches until the listener has ended, and then its worker.
    ///
    /// # Errors
    /// The console cannot be read, or the receiver is gone.
    pub async fn run(mut self) -> io::Result<()> {
        let changes = changes(&[self.traces.directory(), &self.perf])
            .inspect_err(|error| warn!("no notice of changed files: {error}; they are looked at ten times a second"))
            .ok();
        let mut unit_changes = match &self.keeper {
            Keeper::Unit(unit) => unit.changes().await,
            Keeper::Shim(_) => Changes::none(),
        };
        let mut looks_open = true;
        if self.worker_told {
            self.find_again().await?;
            self.read().await?;
            // What is on the console by now was printed while the worker was alive, whatever it says.
            if self.worker.is_some_and(ProcessId::is_alive) {
                self.tell(Event::Saw(Sign::WorkerSeen)).await?;
            }
        }
        loop {
            let ending = self.ending().await?;
            // In this order: whatever was printed before the end is told before the end.
            self.read().await?;
            if let Some(ending) = ending {
                return self.tell_end(ending).await;
            }
            let pace = match self.looks_for_worker {
                _ if changes.is_none() => SEARCH_PACE,
                _ if self.worker.is_some() => WORK_PACE,
                Some(looks) if looks < SEARCH_LOOKS => SEARCH_PACE,
                Some(_) => WORK_PACE,
                None => QUIET_PACE,
            };
            tokio::select! {
                biased;
                ready = next_change(changes.as_ref()) => ready?,
                look = self.looks.recv(), if looks_open => {
                    looks_open = look.is_some();
                    self.read().await?;
                    self.tell(Event::Looked).await?;
                }
                () = unit_changes.next() => self.unit_changed = true,
                () = tokio::time::sleep(pace) => {}
            }
        }
    }

    /// A worker was alive when the last agent process looked. Is it still?
    async fn find_again(&mut self) -> io::Result<()> {
        self.worker = self.worker_left().await;
        if self.worker.is_none() {
            self.tell(Event::Saw(Sign::WorkerGone)).await?;
        }
        Ok(())
    }

    /// The worker, whoever its parent is by now.
    async fn worker_left(&self) -> Option<ProcessId> {
        match &self.keeper {
            Keeper::Shim(shim) => shim.and_then(|shim| worker_in_session(shim.pid)),
            Keeper::Unit(unit) => unit.worker().await,
        }
    }

    /// How the listener ended, if it did.
    async fn ending(&mut self) -> io::Result<Option<Ending>> {
        if let Some(ending) = self.traces.exit() {
            return Ok(Some(ending));
        }
        if self.listener.is_none() {
            self.listener = self.traces.listener();
        }
        let alive = |process: Option<ProcessId>| process.is_some_and(ProcessId::is_alive);
        let gone = !alive(self.listener);
        match &self.keeper {
            Keeper::Shim(shim) if !gone || alive(*shim) => return Ok(None),
            // Both gone: the exit file was written just now, or the shim was killed.
            Keeper::Shim(_) => {}
            Keeper::Unit(_) if !gone && !self.unit_changed => return Ok(None),
            Keeper::Unit(unit) => match unit.clone().look(&self.traces).await {
                Some(Look::Running { leaving }) => {
                    self.unit_changed = false;
                    self.listener = self.traces.listener();
                    self.tell_shutdown(leaving).await?;
                    return Ok(None);
                }
                Some(Look::Ended { ending, leaving }) => {
                    // For an agent process that comes after systemd forgot it.
                    let _ = self.traces.write_exit(&ending);
                    self.tell_shutdown(leaving).await?;
                    return Ok(Some(ending));
                }
                None if !gone => return Ok(None),
                None => {} // systemd does not answer; the unit's stop may have written the exit file
            },
        }
        Ok(Some(self.late_ending().await))
    }

    /// The lifecycle must know why the listener stops before it learns that it stopped.
    async fn tell_shutdown(&mut self, leaving: bool) -> io::Result<()> {
        if leaving && !self.shutdown_told {
            self.shutdown_told = true;
            self.tell(Event::Stop(Stop::Shutdown)).await?;
        }
        Ok(())
    }

    async fn late_ending(&self) -> Ending {
        let deadline = Instant::now() + EXIT_PATIENCE;
        while Instant::now() < deadline {
            if let Some(ending) = self.traces.exit() {
                return ending;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ending::Exited(Exit::Lost)
    }

    /// Everything there is to see right now.
    async fn read(&mut self) -> io::Result<()> {
        loop {
            let mut seen = Vec::new();
            let (told, before_end) = (self.told, self.before_end);
            // Lines that an earlier agent process passed on are evidence still, and nothing more. A job's end among those
            // that are older than its worker's is forged, by the job's name.
            let mut keep_line = |line: &str, end: u64| {
                let sign = console::sign(line);
                let forged = end <= before_end && matches!(sign, Some(Sign::Completed { .. }));
                seen.push((sign.filter(|_| !forged), (end > told).then(|| (line.to_owned(), end))));
            };
            let more = self.console_tail.read(&mut keep_line)?;
            // These two are the job's to spoil: then the other witnesses have to do.
            let _ = self.perf_tail.read(|line, _| seen.push((perf::sign(line), None)));
            let _ = self.hook_tail.read(|line, _| seen.push((hooks::Call::read(line), None)));
            for (sign, line) in seen {
                if let Some((line, end)) = line {
                    self.send(Seen::Line { line, end }).await?;
                }
                if let Some(sign) = sign {
                    if matches!(sign, Sign::JobMessage | Sign::Running { .. }) {
                        self.looks_for_worker.get_or_insert(0);
                    }
                    self.tell(Event::Saw(sign)).await?;
                }
            }
            if !more {
                break;
            }
            tokio::task::yield_now().await;
        }
        self.look_for_worker().await
    }

    async fn look_for_worker(&mut self) -> io::Result<()> {
        if let Some(worker) = self.worker {
            if !worker.is_alive() {
                self.worker = None;
                self.tell(Event::Saw(Sign::WorkerGone)).await?;
            }
            return Ok(());
        }
        if self.worker_told {
            return Ok(());
        }
        self.looks_for_worker = self.looks_for_worker.map(|looks| looks.saturating_add(1));
        // Its perf log tells of a worker that came and went between two looks, or whose listener is gone.
        let left_a_file = self.perf.join(perf::WORKER_FILE).exists();
        self.worker = self.listener.and_then(worker_of);
        if self.worker.is_none() && left_a_file {
            self.worker = self.worker_left().await;
        }
        if self.worker.is_some() || left_a_file {
            self.worker_told = true;
            let sign = if self.worker.is_some() { Sign::WorkerSeen } else { Sign::WorkerGone };
            self.tell(Event::Saw(sign)).await?;
        }
        Ok(())
    }

    async fn tell_end(mut self, ending: Ending) -> io::Result<()> {
        let mut rest = Vec::new();
        self.console_tail.finish(|line| rest.push((console::sign(line), line.to_owned())));
        for (sign, line) in rest {
            self.send(Seen::Line { line, end: u64::MAX }).await?;
            if let Some(sign) = sign {
                self.tell(Event::Saw(sign)).await?;
            }
        }
        match ending {
            Ending::Exited(exit) => self.tell(Event::Exited(exit)).await?,
            Ending::NotExecuted(detail) => {
                self.tell(Event::NotStarted { outcome: Outcome::RunnerMissing, detail }).await?;
            }
        }
        while self.worker.is_some() {
            tokio::time::sleep(SEARCH_PACE).await;
            self.read().await?;
        }
        Ok(())
    }

    async fn tell(&self, event: Event) -> io::Result<()> {
        self.send(Seen::Event(event)).await
    }

    async fn send(&self, seen: Seen) -> io::Result<()> {
        self.events.send(seen).await.map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

/// Becomes readable when a file in one of the directories is written, made or renamed.
#[expect(deprecated, reason = "its successor asks for unsafe to promise what an owned descriptor promises already")]
fn changes(directories: &[&Path]) -> io::Result<AsyncFd<Notifications>> {
    let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
    let flags = AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO;
    for directory in directories {
        inotify.add_watch(*directory, flags)?;
    }
    AsyncFd::new(Notifications(inotify))
}

/// Waits for a change. The kernel has only so many notifiers for each user, and jobs use them too: without one it waits
/// for ever, and the caller looks by itself.
async fn next_change(changes: Option<&AsyncFd<Notifications>>) -> io::Result<()> {
    let Some(changes) = changes else { return std::future::pending().await };
    let mut ready = changes.readable().await?;
    let _ = ready.get_inner().0.read_events();
    ready.clear_ready();
    Ok(())
}

/// [`Inotify`], as tokio wants it.
#[derive(Debug)]
struct Notifications(Inotify);

impl AsFd for Notifications {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for Notifications {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}
