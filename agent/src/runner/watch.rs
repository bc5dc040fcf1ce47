//! Watching a runner: console, perf log, worker process and exit, in one task, so that the order of what is seen is the
//! order in which it is told.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::warn;

use super::asking::Question;
use super::file_changes::{changes, next_change};
use super::intake::{Intake, Read};
use super::supervisor::Supervisor;
use super::traces::{Ending, Traces};
use super::tree::{ProcessId, worker_in_session, worker_in_unit, worker_of};
use crate::base::seen::Seen;
use crate::systemd::{Changes, RUNNER};
use mayfly_core::lifecycle::{Event, Exit, Observation, Outcome};
use mayfly_core::runner::perf;

mod systemd;

use systemd::{subscribe, subscribed};

/// A worker is looked for this often once a job was assigned, and its end once the listener has ended.
const SEARCH_INTERVAL: Duration = Duration::from_millis(100);

/// For so many polls; a worker that is not there by then is a wedge in the making, and nothing is urgent about it.
const SEARCH_POLLS: u32 = 300;

/// A worker at work is looked at this often.
const WORK_INTERVAL: Duration = Duration::from_secs(1);

/// Without any sign of a job, files are looked at this often, should a notification be lost.
const QUIET_INTERVAL: Duration = Duration::from_secs(5);

/// How long the supervisor process may take to write down an exit, once listener and supervisor process are gone.
const EXIT_TIMEOUT: Duration = Duration::from_secs(2);

/// How long systemd may take to say how a listener ended that is gone.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a result waits for systemd to say whether the machine is shutting down.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(4);

/// What to watch.
#[derive(Debug)]
pub struct RunnerWatch {
    traces: Traces,
    perf: PathBuf,
    intake: Intake,
    supervisor: Supervisor,
    /// The supervisor process, if it is not systemd.
    supervisor_process: Option<ProcessId>,
    question: Question,
    /// systemd told of a change of the unit that was not asked about yet.
    unit_changed: bool,
    /// Since when the listener is gone without anybody having said how.
    gone_since: Option<Instant>,
    /// The lifecycle knows that the machine is shutting down.
    shutdown_told: bool,
    /// Until then nobody waits again for systemd to say whether it is: it did not, a moment ago.
    shutdown_unknown: Option<Instant>,
    /// The lifecycle knows that the unit is being stopped.
    unit_stop_told: bool,
    listener: Option<ProcessId>,
    worker: Option<ProcessId>,
    /// A worker was there, and whether it still is could not be seen.
    worker_unknown: bool,
    /// A worker was there, as far as the lifecycle knows.
    worker_told: bool,
    /// How often a worker was looked for since a job was assigned.
    polls_for_worker: Option<u32>,
    events: mpsc::Sender<Seen>,
    polls: mpsc::Receiver<()>,
}

impl RunnerWatch {
    /// Watches the runner with these traces, in this directory. A message on `polls` is answered with [`Event::Polled`].
    /// `worker_told`: an earlier agent process saw a worker alive.
    #[must_use]
    pub fn new(
        traces: Traces,
        perf: &Path,
        runner: &Path,
        supervisor: Supervisor,
        worker_told: bool,
        events: mpsc::Sender<Seen>,
        polls: mpsc::Receiver<()>,
    ) -> Self {
        Self {
            intake: Intake::new(&traces.console(), perf, runner, traces.told(), worker_told),
            perf: perf.to_owned(),
            supervisor,
            supervisor_process: None,
            question: Question::new(),
            unit_changed: true,
            gone_since: None,
            shutdown_told: false,
            shutdown_unknown: None,
            unit_stop_told: false,
            listener: None,
            traces,
            worker: None,
            worker_unknown: false,
            worker_told,
            polls_for_worker: None,
            events,
            polls,
        }
    }

    /// Gives no more of the console back to the file system than was shipped, where it is.
    #[must_use]
    pub fn sharing(mut self, shipped: Option<Arc<AtomicU64>>) -> Self {
        self.intake.share(shipped);
        self
    }

    /// Watches until the listener has ended, and then its worker.
    ///
    /// # Errors
    /// The console cannot be read, or the receiver is gone.
    pub async fn run(mut self) -> io::Result<()> {
        let changes = changes(&[self.traces.directory(), &self.perf])
            .inspect_err(|error| warn!("no notice of changed files: {error}; they are looked at ten times a second"))
            .ok();
        // A silent systemd holds nothing up: whoever waits for it does so beside the rest.
        let mut unit_changes = Changes::none();
        let mut subscribing = match &self.supervisor {
            Supervisor::Systemd(unit) => Some(subscribe(unit.clone())),
            Supervisor::Process(process) => {
                self.supervisor_process = process.supervisor_process();
                None
            }
        };
        let (mut polls_open, mut asked) = (true, false);
        // Before anything that the runner showed because of it.
        self.tell_unit_stop().await?;
        if self.worker_told {
            self.find_again().await?;
            self.read_all().await?;
            // What is on the console by now was printed while the worker was alive, whatever it says.
            if self.worker.is_some_and(ProcessId::is_alive) {
                self.tell(Event::Observed(Observation::WorkerSeen)).await?;
            }
        }
        loop {
            if let Some(ending) = self.ending().await? {
                // Whatever was printed before the end is told before the end.
                self.read_all().await?;
                return self.tell_end(ending).await;
            }
            let more = self.read().await?;
            if asked && !more {
                asked = false;
                self.tell(Event::Polled).await?;
            }
            let interval = match self.polls_for_worker {
                _ if more => Duration::ZERO,
                _ if changes.is_none() || self.gone_since.is_some() || self.worker_unknown => SEARCH_INTERVAL,
                _ if self.worker.is_some() => WORK_INTERVAL,
                Some(polls) if polls < SEARCH_POLLS => SEARCH_INTERVAL,
                Some(_) => WORK_INTERVAL,
                None => QUIET_INTERVAL,
            };
            tokio::select! {
                biased;
                poll = self.polls.recv(), if polls_open => {
                    polls_open = poll.is_some();
                    // Answered after one more turn: an end is seen there, too.
                    asked = polls_open;
                    self.unit_changed = true;
                }
                () = self.question.over() => {}
                subscribed = subscribed(&mut subscribing) => unit_changes = subscribed,
                () = unit_changes.next() => self.unit_changed = true,
                ready = next_change(changes.as_ref()) => ready?,
                () = tokio::time::sleep(interval) => {}
            }
        }
    }

    /// A worker was alive when the last agent process looked. Is it still?
    async fn find_again(&mut self) -> io::Result<()> {
        self.listener = self.traces.listener();
        match self.worker_left() {
            Ok(Some(worker)) => (self.worker, self.worker_unknown) = (Some(worker), false),
            Ok(None) => {
                self.worker_unknown = false;
                // Its result may be behind what its job has printed.
                self.read_files().await?;
                self.know_of_shutdown().await?;
                self.tell(Event::Observed(Observation::WorkerGone)).await?;
            }
            // Nobody can tell: it is asked again, and the job goes on.
            Err(_) => self.worker_unknown = true,
        }
        Ok(())
    }

    /// The worker, whoever its parent is by now; an error, if that cannot be seen.
    fn worker_left(&self) -> io::Result<Option<ProcessId>> {
        if let Some(worker) = self.listener.and_then(worker_of) {
            return Ok(Some(worker));
        }
        match (&self.supervisor, self.supervisor_process) {
            (Supervisor::Systemd(_), _) => worker_in_unit(RUNNER),
            (Supervisor::Process(_), Some(supervisor_process)) => worker_in_session(supervisor_process.pid),
            (Supervisor::Process(_), None) => Ok(None),
        }
    }

    /// How the listener ended, if it did.
    async fn ending(&mut self) -> io::Result<Option<Ending>> {
        self.tell_unit_stop().await?;
        if let Some(ending) = self.traces.exit() {
            return Ok(Some(ending));
        }
        if self.listener.is_none() {
            self.listener = self.traces.listener();
        }
        let alive = |process: Option<ProcessId>| process.is_some_and(ProcessId::is_alive);
        match &self.supervisor {
            Supervisor::Process(_) if alive(self.listener) || alive(self.supervisor_process) => Ok(None),
            // Both gone: the exit file was written just now, or the supervisor process was killed.
            Supervisor::Process(_) => Ok(Some(self.late_ending().await)),
            Supervisor::Systemd(unit) => {
                let unit = unit.clone();
                self.ending_of_unit(&unit).await
            }
        }
    }

    async fn late_ending(&self) -> Ending {
        let deadline = Instant::now() + EXIT_TIMEOUT;
        while Instant::now() < deadline {
            if let Some(ending) = self.traces.exit() {
                return ending;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ending::Exited(Exit::Lost)
    }

    /// A portion of what there is to see, and the worker. Returns whether there may be more.
    async fn read(&mut self) -> io::Result<bool> {
        if !self.worker_told {
            // Whatever was printed before a worker is seen is told before that, and no job is there yet to print more.
            self.read_all().await?;
            return Ok(false);
        }
        let (console, others) = self.read_portion().await?;
        self.poll_worker().await?;
        Ok(console || others)
    }

    /// Everything there is to see right now. What is written meanwhile has its turn later: a job may write without end.
    async fn read_all(&mut self) -> io::Result<()> {
        self.read_files().await?;
        self.poll_worker().await
    }

    async fn read_files(&mut self) -> io::Result<()> {
        let until = self.intake.console_length();
        loop {
            // The others end: so much is read of them and no more.
            let (console, others) = self.read_portion().await?;
            if !others && (!console || self.intake.has_read(until)) {
                return Ok(());
            }
            tokio::task::yield_now().await;
        }
    }

    async fn read_portion(&mut self) -> io::Result<(bool, bool)> {
        let (read, console, others) = self.intake.portion()?;
        self.pass_on(read).await?;
        Ok((console, others))
    }

    async fn pass_on(&mut self, read: Vec<Read>) -> io::Result<()> {
        for Read { mut observation, line } in read {
            if matches!(observation, Some(Observation::JobMessage | Observation::Running { .. })) {
                self.polls_for_worker.get_or_insert(0);
            }
            // A job's end is told before its line counts as passed on: whoever comes after a crash in between takes a line that
            // was passed on, while a worker was there, for one of the job's own.
            if let Some(over) = observation.take_if(|seen| matches!(seen, Observation::Completed { .. })) {
                self.know_of_shutdown().await?;
                self.tell(Event::Observed(over)).await?;
            }
            if let Some((line, end)) = line {
                self.send(Seen::Line { line, end }).await?;
            }
            if let Some(observation) = observation {
                self.tell(Event::Observed(observation)).await?;
            }
        }
        Ok(())
    }

    async fn poll_worker(&mut self) -> io::Result<()> {
        if let Some(worker) = self.worker {
            if !worker.is_alive() {
                self.worker = None;
                // Its result may be behind what its job has printed.
                self.read_files().await?;
                self.know_of_shutdown().await?;
                self.tell(Event::Observed(Observation::WorkerGone)).await?;
            }
            return Ok(());
        }
        if self.worker_unknown {
            return self.find_again().await;
        }
        if self.worker_told {
            return Ok(());
        }
        self.polls_for_worker = self.polls_for_worker.map(|polls| polls.saturating_add(1));
        // Its perf log tells of a worker that came and went between two polls, or whose listener is gone.
        let left_a_file = self.perf.join(perf::WORKER_FILE).exists();
        self.worker = self.listener.and_then(worker_of);
        if self.worker.is_none() && left_a_file {
            match self.worker_left() {
                Ok(worker) => self.worker = worker,
                Err(_) => return Ok(()), // nobody can tell: later
            }
        }
        if self.worker.is_some() || left_a_file {
            self.worker_told = true;
            let observation = if self.worker.is_some() { Observation::WorkerSeen } else { Observation::WorkerGone };
            if observation == Observation::WorkerGone {
                self.know_of_shutdown().await?;
            }
            self.tell(Event::Observed(observation)).await?;
        }
        Ok(())
    }

    async fn tell_end(mut self, ending: Ending) -> io::Result<()> {
        let rest = self.intake.finish();
        self.pass_on(rest).await?;
        self.know_of_shutdown().await?;
        match ending {
            Ending::Exited(exit) => self.tell(Event::Exited(exit)).await?,
            Ending::NotExecuted(detail) => {
                self.tell(Event::NotStarted { outcome: Outcome::RunnerMissing, detail }).await?;
            }
        }
        let mut asked = false;
        while self.worker.is_some() || self.worker_unknown {
            if std::mem::take(&mut asked) {
                self.tell(Event::Polled).await?;
            }
            // Without a receiver there is nobody to ask, and the pause is the sleep's.
            let pause = tokio::time::sleep(SEARCH_INTERVAL);
            asked = tokio::select! {
                biased;
                Some(()) = self.polls.recv() => true,
                () = pause => false,
            };
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
