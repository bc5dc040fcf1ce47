//! The runner as a unit of systemd's: `supervisor = "systemd"`.

use std::time::Duration;

use nix::sys::signal::Signal;

use super::request::{self, StartRequest};
use super::start_error::StartError;
use super::traces::{Ending, Traces};
use super::tree::ProcessId;
use crate::base::cgroup::in_unit;
use crate::base::paths::Paths;
use crate::systemd::{Changes, Manager, RUNNER, SystemdError, UnitStatus};
use mayfly_core::lifecycle::Exit;

/// How long the unit may take to start: files are put in place and one program is executed.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// How long the unit may take to stop once its processes are dead.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// What systemd reports when the program itself could not be executed (systemd.exec(5), `EXIT_EXEC`).
const EXIT_EXEC: i32 = 203;

/// The runner's unit.
#[derive(Clone, Debug)]
pub struct RunnerUnit {
    manager: Manager,
    paths: Paths,
    traces: Traces,
}

impl RunnerUnit {
    /// The unit, with the runtime directory in which its privileged start finds the request.
    #[must_use]
    pub fn new(manager: Manager, paths: Paths) -> Self {
        Self { manager, traces: Traces::new(&paths.state), paths }
    }

    /// PID 1.
    #[must_use]
    pub fn manager(&self) -> &Manager {
        &self.manager
    }

    pub(super) async fn start(&self, request: &StartRequest) -> Result<(), StartError> {
        let traces = &self.traces;
        if !traces.is_marked() {
            request
                .leave(&self.paths)
                .map_err(|error| StartError::Runtime { runtime: self.paths.runtime.clone(), error })?;
        }
        let started = self.manager.start(RUNNER, START_TIMEOUT).await;
        let _ = request::withdraw(&self.paths);
        let status = self.manager.status(RUNNER).await;
        if let Ok(UnitStatus { main: Some(pid), .. }) = &status {
            note_listener(traces, *pid);
        }
        if let Some(Ending::NotExecuted(detail)) = traces.exit() {
            return Err(StartError::Spent(detail));
        }
        match (started, status) {
            _ if !traces.is_marked() => Err(request::refused(&self.paths).map_or(StartError::Unit, StartError::Told)),
            (Err(error), Ok(UnitStatus { exit: Some(Exit::Code(EXIT_EXEC)), .. })) => {
                let reason = StartError::NotExecuted(error);
                let _ = traces.write_exit(&Ending::NotExecuted(reason.to_string()));
                Err(reason)
            }
            // It may have started and ended already, or systemd did not say: attaching to it will tell.
            _ => Ok(()),
        }
    }

    pub(super) async fn interrupt(&self, machine_goes: bool) -> Result<(), SystemdError> {
        // `.service` is in place since the start: SIGQUIT tells the job that the machine goes.
        let signal = if machine_goes { Signal::SIGQUIT } else { Signal::SIGINT };
        self.manager.kill(RUNNER, "main", signal as i32).await
    }

    /// Kills everything in the unit's cgroup. Returns how many processes were left; nothing if that could not be seen.
    pub(super) async fn kill(&self, timeout: Duration) -> Option<usize> {
        self.manager.kill_all(RUNNER, timeout).await
    }

    /// Stops the unit, which clears the files of the spent registration away.
    pub(super) async fn release(&self) -> Result<(), SystemdError> {
        let _ = request::withdraw(&self.paths);
        self.manager.stop(RUNNER, STOP_TIMEOUT).await
    }

    /// Tells of changes of the unit; silent if systemd cannot be reached, and then the watcher's own interval has to do.
    pub async fn changes(&self) -> Changes {
        self.manager.changes(RUNNER).await.unwrap_or_else(|_| Changes::none())
    }

    /// What systemd knows of the listener; `None` if it does not answer.
    pub async fn poll(&self) -> Option<UnitState> {
        let status = self.manager.status(RUNNER).await.ok()?;
        if let Some(pid) = status.main {
            note_listener(&self.traces, pid);
            let leaving = status.active == "deactivating" && self.is_machine_stopping().await == Some(true);
            return Some(UnitState::Running { leaving });
        }
        if status.sub.starts_with("start") || status.active == "activating" {
            return Some(UnitState::Running { leaving: false });
        }
        let leaving = self.is_machine_stopping().await == Some(true);
        let ending = match status.exit {
            Some(Exit::Code(EXIT_EXEC)) if status.result != "success" => {
                Ending::NotExecuted("systemd could not execute the runner; see journalctl --unit mayfly-runner".into())
            }
            Some(exit) => Ending::Exited(exit),
            // Stopped and forgotten, or it died with an earlier boot.
            None => Ending::Exited(Exit::Lost),
        };
        Some(UnitState::Ended { ending, leaving })
    }

    /// Whether there are processes in the unit's cgroup, by what can be seen without systemd.
    #[must_use]
    pub fn has_processes(&self) -> Option<bool> {
        in_unit(RUNNER).ok().map(|pids| !pids.is_empty())
    }

    /// Whether the machine is shutting down; `None` if systemd does not say.
    pub async fn is_machine_stopping(&self) -> Option<bool> {
        self.manager.is_stopping().await.ok()
    }
}

/// What a poll of the unit showed.
#[derive(Debug)]
pub enum UnitState {
    /// The listener runs, or is about to.
    Running {
        /// systemd is stopping it, because the machine shuts down.
        leaving: bool,
    },
    /// The listener has ended.
    Ended {
        /// How.
        ending: Ending,
        /// While the machine was shutting down.
        leaving: bool,
    },
}

fn note_listener(traces: &Traces, pid: i32) {
    if traces.listener().is_none_or(|known| known.pid != pid)
        && let Some(listener) = ProcessId::of(pid)
    {
        let _ = traces.write_listener(listener);
    }
}
