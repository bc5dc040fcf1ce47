//! Does what the lifecycle wants done, and reports back with events.
//!
//! The one holder of the JIT configuration: effects name it, nothing else reads it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tracing::warn;

use super::console;
use super::deadline;
use super::docker::DockerWatch;
use super::host::{HostSettings, HostWatch};
use super::isolation::{self, Isolation};
use super::journal::Binding;
use super::machine::InstanceTasks;
use super::progress::Progress;
use super::settings::{Platform, Settings};
use super::start::Start;
use super::startup::{StartupSettings, StartupWatch};
use crate::base::clock;
use crate::base::image;
use crate::base::paths::Paths;
use crate::base::seen::Seen;
use crate::runner::hooks::{Annotation, Annotations, DockerGate, Level};
use mayfly_core::config::DockerMode;
use mayfly_core::host::WatchedPath;
use mayfly_core::image::Image;
use mayfly_core::lifecycle::{Effect, End, Event, Outcome, Phase, Policy, State, Time, Worker};
use mayfly_core::record::Record;

use crate::runner::installed::Installed;
use crate::runner::steps::Steps;
use crate::runner::supervisor::Supervisor;
use crate::runner::traces::Traces;
use crate::runner::watch::RunnerWatch;
use mayfly_core::runner::jit::JitConfig;

mod closing;
mod launch;
mod logs;
mod seen;
mod stop;

pub(super) use closing::Budget;
use logs::Logs;

/// Where GitHub's runner has its jobs work, unless the JIT configuration says otherwise.
const WORK_DIRECTORY: &str = "_work";
/// How long the very last act may take.
const LAST_ACT: Duration = Duration::from_secs(3);
/// The title of the annotation that says so.
const GOES: &str = "EC2 takes this machine away";

/// See the module.
pub(super) struct Performer {
    policy: Policy,
    paths: Paths,
    runner_directory: PathBuf,
    runner_user: Option<String>,
    supervisor: Supervisor,
    operators: Option<PathBuf>,
    docker_mode: DockerMode,
    gate: watch::Sender<DockerGate>,
    annotations: Annotations,
    host: HostWatch,
    startup: StartupWatch,
    docker: Option<DockerWatch>,
    binding: Binding,
    machine: InstanceTasks,
    progress: Option<Progress>,
    traces: Traces,
    events: mpsc::Sender<Seen>,
    jit_config: Option<JitConfig>,
    decoded: mpsc::Sender<JitConfig>,
    decoded_inbox: mpsc::Receiver<JitConfig>,
    fetch: Option<JoinHandle<()>>,
    watch: Option<JoinHandle<()>>,
    isolation: Option<Isolation>,
    isolation_watch: Option<JoinHandle<()>>,
    renewal: Option<JoinHandle<()>>,
    polls: Option<mpsc::Sender<()>>,
    steps: Steps,
    stop: stop::Stopping,
    logs: Logs,
    told: Option<File>,
    installed: Installed,
    image: Option<Image>,
}

impl Performer {
    pub(super) fn new(
        settings: Settings,
        gate: watch::Sender<DockerGate>,
        annotations: Annotations,
        events: mpsc::Sender<Seen>,
        start: &Start,
    ) -> Self {
        let (decoded, decoded_inbox) = mpsc::channel(1);
        let installed = Installed::read(&settings.runner_directory);
        let image = image::read().unwrap_or_else(|error| {
            warn!("nothing of what the image says of itself is used: {error}");
            None
        });
        let host = HostWatch::new(host_settings(&settings, annotations.clone()));
        let startup = StartupWatch::new(startup_settings(&settings, start));
        let logs = Logs::begin(settings.shipping, &settings.platform);
        let machine = InstanceTasks::new(settings.platform);
        // On a machine where jobs are blocked from the metadata, and something is there that can try it.
        let manager = settings.supervisor.manager().filter(|_| machine.has_metadata());
        let isolation = manager.map(|manager| Isolation::new(manager.clone(), host.clone()));
        Self {
            traces: start.traces.clone(),
            policy: settings.policy,
            paths: settings.paths,
            runner_directory: settings.runner_directory,
            runner_user: settings.runner_user,
            supervisor: settings.supervisor,
            operators: settings.operators,
            docker_mode: settings.docker,
            gate,
            annotations,
            host,
            startup,
            docker: None,
            binding: settings.binding,
            machine,
            progress: settings.progress,
            events,
            jit_config: None,
            decoded,
            decoded_inbox,
            fetch: None,
            watch: None,
            isolation,
            isolation_watch: None,
            renewal: None,
            polls: None,
            steps: Steps::new(start.traces.clone()),
            stop: stop::Stopping::default(),
            logs,
            told: None,
            installed,
            image,
        }
    }

    /// Whether systemd keeps the runner.
    pub(super) fn has_systemd(&self) -> bool {
        self.supervisor.manager().is_some()
    }

    pub(super) fn policy(&self) -> &Policy {
        &self.policy
    }

    pub(super) fn perform(&mut self, effect: &Effect, state: &State) {
        match effect {
            Effect::Identify => {
                self.machine.identify(self.isolation.clone(), state.shutdown, self.events.clone());
            }
            Effect::RenewDeadline => self.renew_deadline(),
            Effect::FetchJitConfig => {
                self.watch_docker();
                self.host.begin();
                self.fetch_jit_config(state);
            }
            Effect::RestartDocker => {
                if let Some(docker) = &self.docker {
                    docker.restart();
                }
            }
            Effect::StartRunner => self.start_runner(),
            Effect::Attach => self.attach(state),
            Effect::DeleteJitConfig => {
                self.machine.delete_jit_config();
                let traces = self.traces.clone();
                // A disk that hangs must not hang the loop.
                tokio::task::spawn_blocking(move || launch::file_spent(&traces));
            }
            Effect::Poll => self.poll(),
            Effect::Interrupt { machine_goes } => self.interrupt(*machine_goes, state),
            Effect::InterruptSteps => self.interrupt_steps(),
            Effect::KillSteps => self.kill_steps(),
            Effect::Kill => self.kill(),
            Effect::WatchNotices => self.machine.watch_notices(&self.events),
            Effect::Publish { outcome, at } => self.publish(*outcome, *at, state),
            Effect::Clear => {
                self.machine.clear();
                self.annotations.clear(GOES);
            }
            Effect::DelayTermination => self.machine.delay_termination(),
            Effect::AnswerLaunch { ready } => self.machine.answer_launch(*ready),
            Effect::Terminate(method) => {
                if let Some(ending) = self.machine.terminate(*method) {
                    self.tell(ending);
                }
            }
            // These are the loop's.
            Effect::Arm { .. } | Effect::Close { .. } | Effect::Leave => {}
        }
    }

    /// Where there is no systemd, there is no timer either.
    fn renew_deadline(&mut self) {
        let renewing = self.supervisor.manager().map(|manager| tokio::spawn(deadline::renew(manager.clone())));
        if let Some(before) = std::mem::replace(&mut self.renewal, renewing) {
            before.abort();
        }
    }

    /// Tells the launcher, by tags, and the job, by an annotation in its log.
    fn publish(&mut self, outcome: Outcome, at: Time, state: &State) {
        let job = state.phase.runner().and_then(|run| run.evidence.job.as_ref());
        let Some(when) = self.machine.publish(outcome, at, job) else { return };
        let annotation = Annotation {
            level: Level::Warning,
            title: GOES.to_owned(),
            text: format!(
                "{} The machine goes at {when}; a job that is not done by then is stopped.",
                outcome.meaning()
            ),
        };
        // There is one such annotation at a time, the newest.
        self.annotations.clear(GOES);
        self.annotations.add(annotation);
    }

    fn fetch_jit_config(&mut self, state: &State) {
        let left = match state.phase {
            Phase::WaitingForJitConfig { deadline } => deadline.since(clock::now()),
            _ => self.policy.limits.jit_wait,
        };
        let (fetching, decoded, events) = (self.machine.fetch(left), self.decoded.clone(), self.events.clone());
        let (host, traces, logs) = (self.host.clone(), self.traces.clone(), self.logs.clone());
        self.fetch = Some(tokio::spawn(async move {
            let fetched = host.guard(fetching).await;
            let unspent = |config| launch::not_spent(&traces, config);
            let event = match fetched.map(|fetched| fetched.map_err(launch::JitConfigError::from).and_then(unspent)) {
                Err(unfit) => unfit,
                Ok(Ok(config)) => {
                    logs.protect(&config);
                    config.unknown_names().for_each(|name| {
                        warn!(
                            "the JIT configuration has a file {name:?} that is new to this version; it is put in place"
                        )
                    });
                    let _ = decoded.send(config).await;
                    Event::JitConfigReady
                }
                Ok(Err(error)) => Event::JitConfigFailed { outcome: error.outcome(), detail: error.to_string() },
            };
            let _ = events.send(Seen::Event(event)).await;
        }));
    }

    /// Ends the wait for the JIT configuration. What came of it already is not used.
    fn forget_jit_config(&mut self) {
        if let Some(fetch) = self.fetch.take() {
            fetch.abort();
        }
        self.jit_config = None;
        while self.decoded_inbox.try_recv().is_ok() {}
    }

    fn watch_docker(&mut self) {
        if self.docker.is_none() {
            let manager = self.supervisor.manager().cloned();
            self.docker = DockerWatch::begin(self.docker_mode, manager, self.gate.clone(), self.events.clone());
        }
    }

    fn watch_isolation(&mut self) {
        if let Some(isolation) = &self.isolation {
            self.isolation_watch.get_or_insert_with(|| tokio::spawn(isolation::watch(isolation.clone())));
        }
    }

    fn attach(&mut self, state: &State) {
        self.watch_docker();
        self.host.begin();
        self.startup.look();
        self.watch_isolation();
        // Seen, or called by: the worker calls the hooks.
        let worker_told = state.phase.runner().is_some_and(|run| match run.evidence.worker {
            Worker::Alive => true,
            Worker::Unseen => run.evidence.job.is_some(),
            Worker::Gone => false,
        });
        let (watch, polls) = self.watcher(worker_told);
        self.polls = Some(polls);
        self.watch = Some(tokio::spawn(follow(watch)));
    }

    fn watcher(&self, worker_told: bool) -> (RunnerWatch, mpsc::Sender<()>) {
        let (polls, poll_requests) = mpsc::channel(1);
        let perf = self.paths.perf();
        (
            RunnerWatch::new(
                self.traces.clone(),
                &perf,
                &self.runner_directory,
                self.supervisor.clone(),
                worker_told,
                self.events.clone(),
                poll_requests,
            )
            .sharing(self.logs.console()),
            polls,
        )
    }

    fn poll(&self) {
        // One that waits already is answered for both. Without a watcher there is nothing more to see.
        let waits =
            self.polls.as_ref().is_some_and(|polls| !matches!(polls.try_send(()), Err(TrySendError::Closed(()))));
        if !waits {
            self.tell(async { Event::Polled });
        }
    }

    pub(super) fn explain(&self, end: &mut End) {
        self.machine.explain(end);
    }

    pub(super) fn phase_entered(&mut self, phase: &Phase) {
        if matches!(phase, Phase::Booting { .. } | Phase::Warm) {
            self.forget_jit_config(); // nobody wants it any more, or not yet
        }
        self.machine.phase_entered(phase, &self.events);
        self.startup.phase_entered(phase);
        if let Some(docker) = &self.docker {
            docker.phase_entered(phase, self.traces.marker().and_then(|marker| marker.label));
        }
        if let Some(progress) = &self.progress {
            progress.phase(phase);
        }
    }

    /// The machine is kept for a person, or for longer or shorter than before.
    pub(super) fn held(&mut self, phase: &Phase) {
        let Phase::Held { deadline, end } = phase else { return };
        self.machine.held(*deadline);
        if self.has_systemd() {
            let (outcome, until) = (end.outcome, *deadline);
            tokio::spawn(console::tell_held(outcome, until));
        }
    }

    pub(super) fn console_line(&mut self, line: &str, end: u64) {
        crate::log::console_line(line);
        if let Some(progress) = &self.progress {
            progress.console(line);
        }
        // After it was passed on: an agent that is killed in between repeats a line, and loses none.
        if self.told.is_none() {
            self.told = self.traces.open_told().ok();
        }
        if let Some(told) = &self.told {
            let _ = told.write_all_at(&end.to_le_bytes(), 0);
        }
    }

    /// The very last act: the record with its last phases, and a last line for the person who looks.
    pub(super) async fn ended(&mut self, record: &Record) {
        let end = Instant::now() + LAST_ACT;
        closing::write(record.clone(), self.paths.record(), end).await;
        crate::control::withdraw(&self.paths);
        if let Some(progress) = self.progress.take() {
            let record = record.clone();
            let _ = tokio::task::spawn_blocking(move || progress.finish(&record)).await;
        }
    }

    fn tell(&self, event: impl Future<Output = Event> + Send + 'static) {
        let events = self.events.clone();
        tokio::spawn(async move {
            let event = event.await;
            let _ = events.send(Seen::Event(event)).await;
        });
    }
}

/// The disks that a job needs are those of the runner, of its work directory (often a volume of its own) and of the
/// agent's state.
fn host_settings(settings: &Settings, annotations: Annotations) -> HostSettings {
    let (runner, state) = (&settings.runner_directory, &settings.paths.state);
    let watched = |of, path: PathBuf| WatchedPath { of, path };
    HostSettings {
        thresholds: settings.host,
        paths: vec![
            watched("the runner", runner.clone()),
            watched("the work directory", runner.join(WORK_DIRECTORY)),
            watched("the agent's state", state.clone()),
        ],
        docker: settings.docker != DockerMode::Off,
        ec2: match &settings.platform {
            Platform::Ec2 { ec2, .. } => Some(Arc::clone(ec2)),
            Platform::Local(_) => None,
        },
        annotations,
    }
}

fn startup_settings(settings: &Settings, start: &Start) -> StartupSettings {
    StartupSettings {
        traces: start.traces.clone(),
        perf: settings.paths.perf(),
        runner: settings.runner_directory.clone(),
        systemd: settings.supervisor.manager().is_some(),
        ec2: match &settings.platform {
            Platform::Ec2 { ec2, .. } => Some(Arc::clone(ec2)),
            Platform::Local(_) => None,
        },
        restarted: start.record.agent_restarted,
    }
}

async fn follow(watch: RunnerWatch) {
    match watch.run().await {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            warn!("the runner cannot be watched any longer: {error}; its deadlines still hold");
        }
        _ => {}
    }
}
