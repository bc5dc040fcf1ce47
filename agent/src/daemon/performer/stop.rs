//! Stopping the runner: the listener, the steps of its job, and at the deadline all of it.

use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tracing::debug;

use super::Performer;
use crate::base::clock;
use mayfly_core::lifecycle::{KILL_GRACE, State, Time};
use mayfly_core::record::StepMarks;

/// A stop under way.
#[derive(Debug, Default)]
pub(super) struct Stopping {
    /// Tells when the listener was signalled; silent if it was not.
    listener_told: Option<oneshot::Receiver<Time>>,
    follow: Option<JoinHandle<()>>,
}

impl Performer {
    pub(super) fn interrupt(&mut self, machine_goes: bool, state: &State) {
        let (tell, listener_told) = oneshot::channel();
        self.stop.listener_told = Some(listener_told);
        if self.stop.follow.is_none() && state.phase.runner().is_some_and(|run| run.evidence.assigned()) {
            self.stop.follow = Some(tokio::spawn(self.steps.clone().follow()));
        }
        // Before the signal: what a step starts when it gets its own is not to be interrupted.
        let now = clock::now();
        let supervisor = self.supervisor.clone();
        tokio::spawn(async move {
            match supervisor.interrupt(machine_goes).await {
                Ok(()) => drop(tell.send(now)),
                Err(error) => debug!("the listener could not be signalled: {error}"),
            }
        });
    }

    /// Steps of a runner that was not told to stop would only fail, and the job go on.
    pub(super) fn interrupt_steps(&mut self) {
        let Some(listener_told) = self.stop.listener_told.take() else { return };
        let steps = self.steps.clone();
        tokio::spawn(async move {
            if let Ok(since) = listener_told.await {
                steps.interrupt(since).await;
            }
        });
    }

    pub(super) fn kill_steps(&self) {
        tokio::spawn(self.steps.clone().kill());
    }

    pub(super) fn kill(&self) {
        let supervisor = self.supervisor.clone();
        tokio::spawn(async move { supervisor.kill(KILL_GRACE).await });
    }

    /// Everything that is left is killed next.
    pub(super) fn stop_is_over(&mut self) {
        if let Some(follow) = self.stop.follow.take() {
            follow.abort();
        }
    }

    /// What was seen of the steps while they were stopped.
    pub(in crate::daemon) fn steps(&self) -> StepMarks {
        self.steps.marks()
    }
}
