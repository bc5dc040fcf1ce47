//! What the watcher asks of systemd, where that keeps the runner.

use std::io;

use mayfly_core::lifecycle::{Event, Exit, Stop};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::{ANSWER_TIMEOUT, RunnerWatch, SHUTDOWN_TIMEOUT};
use crate::runner::asking::{Believed, believed};
use crate::runner::supervisor::Supervisor;
use crate::runner::traces::Ending;
use crate::runner::tree::ProcessId;
use crate::runner::unit::{RunnerUnit, UnitState};
use crate::systemd::Changes;

impl RunnerWatch {
    /// The same where systemd knows it: by its answer, if there is one, else by what can be seen, and else it goes on.
    pub(super) async fn ending_of_unit(&mut self, unit: &RunnerUnit) -> io::Result<Option<Ending>> {
        match self.question.answer() {
            Some(UnitState::Running { leaving }) => {
                (self.listener, self.gone_since) = (self.traces.listener(), None);
                self.tell_shutdown(leaving).await?;
            }
            // It forgot the unit, and the listener is there for all to see.
            Some(UnitState::Ended { ending: Ending::Exited(Exit::Lost), .. })
                if self.listener.is_some_and(ProcessId::is_alive) => {}
            Some(UnitState::Ended { ending, leaving }) => {
                // For an agent process that comes after systemd forgot it.
                let _ = self.traces.write_exit(&ending);
                self.tell_shutdown(leaving).await?;
                return Ok(Some(ending));
            }
            None => {}
        }
        let listener = self.listener.map(ProcessId::is_alive);
        if (listener != Some(true) || self.unit_changed) && self.question.ask(unit) {
            self.unit_changed = false;
        }
        if believed(listener, || unit.has_processes()) != Believed::Gone {
            self.gone_since = None;
            return Ok(None);
        }
        let since = *self.gone_since.get_or_insert_with(Instant::now);
        Ok((since.elapsed() >= ANSWER_TIMEOUT).then_some(Ending::Exited(Exit::Lost)))
    }

    /// Before a result is told: a machine that shuts down stops the runner, and that is why the job was canceled. What
    /// systemd was asked before the result was seen may be older than the shutdown, so it is asked anew.
    pub(super) async fn know_of_shutdown(&mut self) -> io::Result<()> {
        let Supervisor::Systemd(unit) = &self.supervisor else { return Ok(()) };
        if self.shutdown_told || self.shutdown_unknown.is_some_and(|until| Instant::now() < until) {
            return Ok(());
        }
        let answer = tokio::time::timeout(SHUTDOWN_TIMEOUT, unit.is_machine_stopping()).await.ok().flatten();
        self.shutdown_unknown = answer.is_none().then(|| Instant::now() + ANSWER_TIMEOUT);
        self.tell_shutdown(answer == Some(true)).await
    }

    /// Somebody, or something like needrestart, stops the unit. systemd leaves the trace before it signals the listener.
    pub(super) async fn tell_unit_stop(&mut self) -> io::Result<()> {
        let Supervisor::Systemd(unit) = &self.supervisor else { return Ok(()) };
        if self.unit_stop_told || !self.traces.unit_stopping() {
            return Ok(());
        }
        self.unit_stop_told = true;
        // Where systemd does not say, it is the stop that is known.
        let answer = tokio::time::timeout(SHUTDOWN_TIMEOUT, unit.is_machine_stopping()).await.ok().flatten();
        if answer == Some(true) {
            return self.tell_shutdown(true).await;
        }
        self.tell(Event::Stop(Stop::RunnerUnit)).await
    }

    /// The lifecycle must know why the listener stops before it learns that it stopped.
    pub(super) async fn tell_shutdown(&mut self, leaving: bool) -> io::Result<()> {
        if leaving && !self.shutdown_told {
            self.shutdown_told = true;
            self.tell(Event::Stop(Stop::Shutdown)).await?;
        }
        Ok(())
    }
}

pub(super) fn subscribe(unit: RunnerUnit) -> JoinHandle<Changes> {
    tokio::spawn(async move { unit.changes().await })
}

/// Waits until systemd has promised to tell of changes; for ever if nobody asked it to.
pub(super) async fn subscribed(subscribing: &mut Option<JoinHandle<Changes>>) -> Changes {
    let Some(waiting) = subscribing else { return std::future::pending().await };
    let changes = waiting.await.unwrap_or_else(|_| Changes::none());
    *subscribing = None;
    changes
}
