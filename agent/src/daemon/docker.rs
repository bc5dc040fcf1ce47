//! The host's Docker daemon beside a run: watched, restarted when the lifecycle says so, and waited for by jobs.

use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tracing::{info, warn};

use crate::base::seen::Seen;
use crate::docker::{Docker, DockerHistory, DockerVerdict, Health, Label, Load, State};
use crate::runner::hooks::DockerGate;
use crate::systemd::Manager;
use mayfly_core::config::DockerMode;
use mayfly_core::lifecycle::{Event, Phase};
use mayfly_core::metrics::{DOCKER_HEALTH, Registry, flag};

/// The daemon's unit.
const SERVICE: &str = "docker.service";

/// How long a restart of the daemon may take; a stuck one is killed by systemd within 90 s of its own.
const RESTART_TIMEOUT: Duration = Duration::from_secs(120);

/// How long clearing up after a killed job may take.
const REMOVAL_BUDGET: Duration = Duration::from_secs(60);

/// The watch over the daemon. Dropping it ends the watch.
#[derive(Debug)]
pub(super) struct DockerWatch {
    docker: Docker,
    load: watch::Sender<Load>,
    restarts: mpsc::Sender<()>,
    seen: watch::Receiver<Option<State>>,
}

impl DockerWatch {
    /// Begins to watch, unless Docker is none of this machine's business.
    pub(super) fn begin(
        mode: DockerMode,
        manager: Option<Manager>,
        gate: watch::Sender<DockerGate>,
        events: mpsc::Sender<Seen>,
    ) -> Option<Self> {
        if mode == DockerMode::Off {
            return None;
        }
        let docker = match Docker::from_environment() {
            Ok(docker) => docker,
            Err(error) => {
                warn!("Docker is not watched: {error}");
                return None;
            }
        };
        let (load, job) = watch::channel(Load::Idle);
        let (restarts, wanted) = mpsc::channel(1);
        let (polls, seen) = watch::channel(None);
        tokio::spawn(crate::docker::watch(docker.clone(), mode, polls));
        if let Some(manager) = manager.clone().filter(|_| mode == DockerMode::Required) {
            // Stopped, or never enabled: the first job would wait for it in vain. One that runs or starts is left alone.
            tokio::spawn(async move {
                if let Err(error) = manager.start(SERVICE, RESTART_TIMEOUT).await {
                    warn!("every job here needs Docker, and {error}");
                }
            });
        }
        let monitor = DockerMonitor { mode, manager, gate, events, watch: DockerHistory::default(), told: false };
        tokio::spawn(monitor.run(seen.clone(), job, wanted));
        Some(Self { docker, load, restarts, seen })
    }

    /// What the last look found.
    pub(super) fn figures(&self, registry: &mut Registry) {
        if let Some(state) = &*self.seen.borrow() {
            registry.set_of(&DOCKER_HEALTH, &[state.health.name()], flag(true));
        }
    }

    /// Asks for a restart of the daemon.
    pub(super) fn restart(&self) {
        let _ = self.restarts.try_send(());
    }

    /// A daemon that does not answer while a job runs is the job's business.
    pub(super) fn phase_entered(&self, phase: &Phase, label: Option<String>) {
        let busy = phase.runner().is_some_and(|run| run.evidence.assigned());
        let _ = self.load.send(if busy { Load::Busy } else { Load::Idle });
        if let (Phase::Held { .. }, Some(label)) = (phase, label) {
            let docker = self.docker.clone();
            tokio::spawn(async move { clear_up(&docker, &label).await });
        }
    }
}

/// Judges what is seen and keeps the gate that jobs wait at.
struct DockerMonitor {
    mode: DockerMode,
    manager: Option<Manager>,
    gate: watch::Sender<DockerGate>,
    events: mpsc::Sender<Seen>,
    watch: DockerHistory,
    told: bool,
}

impl DockerMonitor {
    async fn run(
        mut self,
        mut seen: watch::Receiver<Option<State>>,
        job: watch::Receiver<Load>,
        mut restarts: mpsc::Receiver<()>,
    ) {
        loop {
            tokio::select! {
                changed = seen.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let state = seen.borrow_and_update().clone();
                    if let Some(state) = state {
                        let load = *job.borrow();
                        let verdict = self.watch.observe(state.seen, load, &state.health);
                        self.judged(verdict).await;
                    }
                }
                wanted = restarts.recv() => match wanted {
                    Some(()) => self.restart().await,
                    None => return,
                },
            }
        }
    }

    async fn judged(&mut self, verdict: DockerVerdict) {
        let required = self.mode == DockerMode::Required;
        let gate = match &verdict {
            DockerVerdict::Ready => DockerGate::Open,
            DockerVerdict::NotYet => DockerGate::Wait { required },
            DockerVerdict::Down { reason } if required => DockerGate::Closed { reason: reason.to_string() },
            DockerVerdict::Down { .. } => DockerGate::Open,
        };
        self.gate.send_replace(gate);
        match verdict {
            DockerVerdict::Ready => self.told = false,
            // Where nobody promised Docker, a machine without it is as it should be.
            DockerVerdict::Down { reason } if !self.told && (required || reason.last != Health::Absent) => {
                self.tell(reason.to_string()).await;
            }
            DockerVerdict::NotYet | DockerVerdict::Down { .. } => {}
        }
    }

    async fn tell(&mut self, detail: String) {
        self.told = true;
        if self.mode == DockerMode::Required {
            warn!("{detail}");
        }
        let _ = self.events.send(Seen::Event(Event::DockerDown { detail })).await;
    }

    async fn restart(&mut self) {
        let Some(manager) = &self.manager else {
            return self
                .tell("Docker does not answer, and without systemd nobody here may restart it".to_owned())
                .await;
        };
        match manager.restart(SERVICE, RESTART_TIMEOUT).await {
            Ok(()) => {
                info!("docker.service was restarted: it did not answer, and no job was running");
                (self.watch, self.told) = (DockerHistory::default(), false);
            }
            Err(error) => self.tell(format!("Docker does not answer, and {error}")).await,
        }
    }
}

/// A person who looks at a held machine should not find a killed job's containers still at work.
async fn clear_up(docker: &Docker, label: &str) {
    let Some(label) = Label::known(label) else { return };
    let removal = docker.remove_leftovers(&label, REMOVAL_BUDGET).await;
    if !removal.removed.is_empty() {
        info!("removed what the job left in Docker: {:?}", removal.removed);
    }
    if !removal.is_complete() {
        warn!("cannot remove what the job left in Docker: {:?}", removal.failed);
    }
}
