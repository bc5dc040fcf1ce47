//! The listener's player: runs the acts, and the shutdown that may cut in.

mod served;
mod shutdown;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use mayfly_fake_runner::recording::{Event, Recorder, Who};
use mayfly_fake_runner::{Act, JobResult, Scenario, Stream, WorkerBehaviour, strings};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use signal_hook::consts::{SIGKILL, SIGTERM};

use crate::boot;
use crate::child;
use crate::console::{self, Console};
use crate::environment::Environment;
use crate::logs::{Diag, Perf};
use crate::message::{JobRequest, Message};
use crate::service::Told;
use crate::settings::{self, Settings};
use crate::signals::Note;
use crate::worker::WorkerHandle;

/// The request id of the one job, in the performance log.
const REQUEST: u32 = 1;
/// A wait without an end.
const FOR_EVER: Option<Instant> = None;

/// What follows an act.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Go,
    /// A shutdown was asked for.
    Stop,
    Exit(i32),
}

#[derive(Debug)]
pub(crate) struct Listener {
    root: PathBuf,
    scenario: Scenario,
    recorder: Recorder,
    console: Console,
    environment: Environment,
    diag: Diag,
    perf: Perf,
    settings: Option<Settings>,
    sender: Sender<Note>,
    notes: Receiver<Note>,
    stopping: bool,
    listening_at: Option<Instant>,
    worker: Option<WorkerHandle>,
    worker_status: Option<ExitStatus>,
    result: Option<JobResult>,
}

impl Listener {
    pub(crate) fn new(
        root: &Path,
        scenario: Scenario,
        recorder: Recorder,
        sender: Sender<Note>,
        notes: Receiver<Note>,
    ) -> Self {
        Self {
            root: root.to_owned(),
            scenario,
            recorder,
            console: Console::from_locale(),
            environment: Environment::inherited(),
            diag: Diag::default(),
            perf: Perf::new(None, ""),
            settings: None,
            sender,
            notes,
            stopping: false,
            listening_at: None,
            worker: None,
            worker_status: None,
            result: None,
        }
    }

    /// Plays what comes before everything; a code if that was the end.
    pub(crate) fn play_boot(&mut self) -> Option<i32> {
        let boot = std::mem::take(&mut self.scenario.boot);
        match self.play(&boot) {
            Next::Go => None,
            Next::Stop => Some(0),
            Next::Exit(code) => Some(code),
        }
    }

    /// Plays the scenario to its end; the exit code.
    pub(crate) fn play_acts(&mut self, environment: Environment, diag: Diag, settings: Settings) -> i32 {
        self.perf = Perf::new(environment.get("RUNNER_PERFLOG"), "Runner.perf");
        self.environment = environment;
        self.diag = diag;
        self.settings = Some(settings);
        let acts = self.choose_acts();
        let code = match self.play(&acts) {
            Next::Exit(code) => code,
            Next::Stop => self.shut_down(),
            Next::Go => 0,
        };
        self.tell("gone", None);
        code
    }

    fn choose_acts(&mut self) -> Vec<Act> {
        let acts = std::mem::take(&mut self.scenario.acts);
        let first = std::mem::take(&mut self.scenario.first_start);
        let marker = self.root.join(".fake/started");
        let again = marker.exists();
        let _ = fs::write(marker, "");
        if first.is_empty() || again { acts } else { first }
    }

    fn play(&mut self, acts: &[Act]) -> Next {
        for act in acts {
            // Signals that came meanwhile are seen before the next act.
            let next = match self.wait(Some(Instant::now())) {
                Next::Go => self.act(act),
                other => other,
            };
            if next != Next::Go {
                return next;
            }
        }
        Next::Go
    }

    fn act(&mut self, act: &Act) -> Next {
        match act {
            Act::Connect => return self.connect(),
            Act::Listening => return self.listening(),
            Act::Idle => return self.wait(Some(self.job_due())),
            Act::Wait { ms } => return self.wait(after(Duration::from_millis(*ms))),
            Act::WaitUpstream { ms } => return self.wait(after(self.scenario.upstream(*ms))),
            Act::Perf { counter } if counter == strings::JOB_MESSAGE => return self.message(),
            Act::Perf { counter } => self.perf.write(counter),
            Act::Diag { text } => self.diag.info("Runner", text),
            Act::Print { stream, line } => self.console.line(*stream, line, &[]),
            Act::Flood { bytes } => return self.flood(*bytes),
            Act::Running => self.running(),
            Act::StartWorker { behaviour } => return self.start_worker(*behaviour),
            Act::AwaitWorker => return self.await_worker(),
            Act::CancelWorker => self.cancel_worker(),
            Act::KillWorker => self.kill_worker(),
            Act::Completed { result } => self.completed(*result),
            Act::RemoveConfig => self.remove_config(),
            Act::Finish => return self.finish(),
            Act::ExitWithResult { result } => return Next::Exit(self.job_code(*result)),
            Act::ExitDeprecated => return Next::Exit(self.deprecated_code()),
            Act::Exit { code } => return Next::Exit(*code),
            Act::Abort => boot::abort(&self.recorder),
            Act::NeedIcu => self.need_icu(),
            Act::SelfKill => self.kill_self(),
            Act::Touch { path } => drop(fs::write(self.root.join(path), "")),
            Act::Forever => return self.wait(FOR_EVER),
            Act::Hang => self.hang(),
            Act::Repeat { times, acts } => return self.repeat(*times, acts),
        }
        Next::Go
    }

    fn repeat(&mut self, times: Option<u32>, acts: &[Act]) -> Next {
        let mut played = 0;
        while times.is_none_or(|times| played < times) {
            match self.play(acts) {
                Next::Go => played = played.saturating_add(1),
                other => return other,
            }
        }
        Next::Go
    }

    fn connect(&mut self) -> Next {
        self.console.out("");
        self.console.out(strings::CONNECTED);
        self.console.out("");
        self.wait(after(Duration::from_millis(self.scenario.connect_ms)))
    }

    fn listening(&mut self) -> Next {
        if self.come_online() == Told::Gone {
            self.console.line(Stream::Err, strings::REGISTRATION_DELETED, &[]);
            return Next::Exit(1);
        }
        self.perf.write("SessionCreated");
        self.console.out(strings::CURRENT_VERSION);
        self.console.out(strings::LISTENING);
        self.diag.info("MessageListener", "Session created.");
        self.listening_at = Some(Instant::now());
        self.recorder.write(Event::Listening);
        Next::Go
    }

    fn job_due(&self) -> Instant {
        let since = self.listening_at.unwrap_or_else(Instant::now);
        since + Duration::from_millis(self.scenario.idle_ms)
    }

    /// Recorded first: a witness must know of what the agent may read.
    fn message(&mut self) -> Next {
        match self.await_job() {
            Next::Go => {}
            other => return other,
        }
        self.recorder.write(Event::JobMessage);
        self.perf.write(strings::JOB_MESSAGE);
        Next::Go
    }

    fn running(&mut self) {
        self.recorder.write(Event::JobArrived);
        let values = [("name", self.scenario.job_name.as_str())];
        self.console.line(Stream::Out, strings::RUNNING, &values);
        self.diag.info("JobDispatcher", "Job request received.");
        self.tell("started", None);
    }

    fn start_worker(&mut self, behaviour: WorkerBehaviour) -> Next {
        let settings = self.settings.clone();
        let (agent_name, work_folder) =
            settings.map(|settings| (settings.agent_name, settings.work_folder)).unwrap_or_default();
        let request = JobRequest {
            behaviour,
            agent_name,
            work_folder: work_folder.unwrap_or_default(),
            scenario: self.scenario.clone(),
        };
        let spawned = WorkerHandle::spawn(&self.root, &self.environment, self.sender.clone());
        let mut worker = match spawned {
            Ok(worker) => worker,
            Err(error) => {
                self.console.error(&error.to_string());
                return Next::Exit(2);
            }
        };
        self.recorder.write(Event::WorkerStart { pid: worker.pid() });
        if behaviour != WorkerBehaviour::NoMessage {
            worker.send(&Message::NewJobRequest(Box::new(request)));
            self.perf.write(&format!("SentJobToWorker_{REQUEST}"));
        }
        self.worker = Some(worker);
        Next::Go
    }

    fn worker_runs(&self) -> bool {
        self.worker.is_some() && self.worker_status.is_none()
    }

    fn await_worker(&mut self) -> Next {
        let began = Instant::now();
        let mut renewals = self.scenario.renewals_ms.clone().into_iter().map(|ms| began + Duration::from_millis(ms));
        let mut renewal = renewals.next();
        while self.worker_runs() {
            let until = self.next_look().into_iter().chain(renewal).min();
            if self.pause(until.or(FOR_EVER)) == Next::Stop {
                return Next::Stop;
            }
            self.look_for_cancellation();
            if renewal.is_some_and(|at| at <= Instant::now()) {
                self.diag.info("JobDispatcher", strings::RENEWED);
                renewal = renewals.next();
            }
        }
        Next::Go
    }

    fn cancel_worker(&mut self) {
        if let Some(worker) = &mut self.worker {
            worker.send(&Message::RunnerShutdown);
        }
    }

    fn kill_worker(&mut self) {
        if self.worker_runs()
            && let Some(worker) = &self.worker
        {
            worker.kill();
        }
    }

    fn completed(&mut self, result: Option<JobResult>) {
        let reported = self.worker_status.and_then(|status| status.code());
        let own = reported.and_then(JobResult::from_code);
        let result = result.or(own).unwrap_or(JobResult::Failed);
        let text = result.to_string();
        let values = [("name", self.scenario.job_name.as_str()), ("result", text.as_str())];
        self.console.line(Stream::Out, strings::COMPLETED, &values);
        self.recorder.write(Event::Completed { result });
        self.tell("completed", Some(&text));
        self.result = Some(result);
    }

    fn remove_config(&mut self) {
        for line in settings::remove(&self.root) {
            self.console.out(&line);
        }
    }

    fn finish(&mut self) -> Next {
        let (ephemeral, single) = self.settings.as_ref().map_or((false, false), |own| (own.ephemeral, own.single_job));
        if ephemeral {
            self.remove_config();
        }
        if ephemeral || single || self.environment.hosted() {
            let result = self.result.unwrap_or(JobResult::Succeeded);
            return Next::Exit(self.job_code(result));
        }
        self.wait(FOR_EVER)
    }

    fn job_code(&self, result: JobResult) -> i32 {
        if self.environment.hosted() { result.code() } else { 0 }
    }

    fn deprecated_code(&self) -> i32 {
        let wanted = "ACTIONS_RUNNER_RETURN_VERSION_DEPRECATED_EXIT_CODE";
        let asked = self.environment.get(wanted).is_some_and(|value| value == "1");
        if asked { 7 } else { 1 }
    }

    fn need_icu(&self) {
        if !self.environment.on("DOTNET_SYSTEM_GLOBALIZATION_INVARIANT") {
            self.console.plain_error(strings::NO_ICU);
            boot::abort(&self.recorder);
        }
    }

    fn kill_self(&self) {
        self.recorder.write(Event::Exit { who: Who::Listener, code: -SIGKILL });
        let _ = kill(Pid::this(), Signal::SIGKILL);
    }

    fn flood(&mut self, bytes: u64) -> Next {
        let block = console::flood_block();
        let mut left = bytes;
        while left > 0 {
            if self.wait(Some(Instant::now())) == Next::Stop {
                return Next::Stop;
            }
            let size = usize::try_from(left).unwrap_or(usize::MAX).min(block.len());
            if !console::pour(&block[..size]) {
                break;
            }
            left = left.saturating_sub(size as u64);
        }
        Next::Go
    }

    /// Only SIGTERM's cap, kept by the signal thread, or SIGKILL ends this.
    fn hang(&mut self) {
        loop {
            let _ = self.pause(FOR_EVER);
        }
    }

    /// Waits until a moment, or until a shutdown is asked for.
    fn wait(&mut self, until: Option<Instant>) -> Next {
        while !self.stopping {
            match self.pause(until) {
                Next::Go if passed(until) => return Next::Go,
                Next::Go => {}
                other => return other,
            }
        }
        Next::Stop
    }

    /// Takes one note, or waits until the moment if none comes.
    fn pause(&mut self, until: Option<Instant>) -> Next {
        let left = until.map_or(Duration::from_secs(3600), |moment| moment.saturating_duration_since(Instant::now()));
        match self.notes.recv_timeout(left) {
            Ok(Note::Signal(signal)) => return self.on_signal(signal),
            Ok(Note::WorkerExited(status)) => {
                self.worker_status = Some(status);
                let status = child::status_number(status);
                self.recorder.write(Event::WorkerExit { status });
            }
            Ok(Note::Cancel) | Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => std::thread::sleep(left),
        }
        Next::Go
    }

    fn on_signal(&mut self, signal: i32) -> Next {
        if signal != SIGTERM {
            self.console.out(strings::EXITING);
        }
        if self.scenario.ignore_interrupt || self.stopping {
            return Next::Go;
        }
        self.diag.info("Runner", "Shutdown requested.");
        self.stopping = true;
        Next::Stop
    }
}

fn after(time: Duration) -> Option<Instant> {
    Instant::now().checked_add(time)
}

fn passed(until: Option<Instant>) -> bool {
    until.is_some_and(|moment| Instant::now() >= moment)
}
