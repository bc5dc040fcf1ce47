//! A runner at work: from evidence to phase, and what happens when a phase lasts too long or the listener ends.

use super::evidence::{Evidence, Worker};
use super::{Effect, End, Exit, KILL_GRACE, LOOK_GRACE, Outcome, Phase, Run, Sign, Step};

impl Step<'_> {
    pub(super) fn saw(&mut self, sign: &Sign) {
        let Some(run) = self.state.phase.run_mut() else { return };
        run.evidence.absorb(sign);
        self.settle();
    }

    /// Moves to the phase that the evidence asks for.
    fn settle(&mut self) {
        let limits = &self.policy.limits;
        let Some(run) = self.state.phase.run().cloned() else { return };
        let Evidence { listening, updating, .. } = run.evidence;
        let (assigned, at_work, over) = (run.evidence.assigned(), run.evidence.at_work(), run.evidence.job_over());
        self.state.phase = match &self.state.phase {
            Phase::Draining { .. } => return self.settle_draining(&run),
            Phase::Finishing { .. } => return self.settle_finishing(run),
            Phase::Starting { .. }
            | Phase::Idle { .. }
            | Phase::Updating { .. }
            | Phase::Assigned { .. }
            | Phase::Busy { .. }
                if over =>
            {
                Phase::Finishing { deadline: self.now + limits.finishing, run }
            }
            Phase::Busy { .. } => return,
            _ if at_work => Phase::Busy { deadline: self.now + limits.job, run },
            Phase::Assigned { .. } => return,
            _ if assigned => Phase::Assigned { deadline: self.now + limits.assigned, run },
            Phase::Starting { .. } if listening => {
                Phase::Idle { deadline: self.now + limits.idle, last_look: false, run }
            }
            Phase::Starting { deadline, .. } if updating => {
                Phase::Updating { deadline: self.now + limits.updating, idle: *deadline, run }
            }
            Phase::Idle { deadline, .. } if updating => {
                Phase::Updating { deadline: self.now + limits.updating, idle: *deadline, run }
            }
            Phase::Updating { idle, .. } if !updating => Phase::Idle { deadline: *idle, last_look: false, run },
            _ => return,
        };
    }

    fn settle_draining(&mut self, run: &Run) {
        if run.exit.is_some() && run.evidence.worker != Worker::Alive {
            self.close_drained();
        }
    }

    /// The listener had ended before its worker, and now the worker is gone too.
    fn settle_finishing(&mut self, run: Run) {
        if let Some(exit) = run.exit
            && run.evidence.worker != Worker::Alive
        {
            self.close_run(run, exit);
        }
    }

    pub(super) fn exited(&mut self, exit: Exit) {
        let now = self.now;
        let Some(run) = self.state.phase.run_mut() else { return };
        run.exit = Some(exit);
        let run = run.clone();
        match &self.state.phase {
            Phase::Draining { .. } => self.settle_draining(&run),
            _ if run.evidence.worker == Worker::Alive => {
                // The worker goes on without its listener and reports to GitHub itself; GitHub waits for it as long as
                // the job's lock lasts.
                self.state.phase = Phase::Finishing { deadline: now + self.policy.limits.orphaned, run };
            }
            _ => self.close_run(run, exit),
        }
    }

    fn close_run(&mut self, run: Run, exit: Exit) {
        let outcome = run.evidence.verdict(exit);
        self.close(End::of_run(outcome, run, explain(outcome, exit)));
    }

    pub(super) fn looked(&mut self) {
        if let Phase::Idle { last_look: true, .. } = self.state.phase {
            self.drain(Outcome::IdleTimeout);
        }
    }

    pub(super) fn runner_passed(&mut self) {
        match self.state.phase.clone() {
            Phase::Starting { .. } => self.drain(Outcome::RunnerNotListening),
            Phase::Idle { last_look: false, run, .. } => {
                self.state.phase = Phase::Idle { deadline: self.now + LOOK_GRACE, last_look: true, run };
                self.want(Effect::Look);
            }
            Phase::Idle { .. } => self.drain(Outcome::IdleTimeout),
            Phase::Assigned { .. } => self.drain(Outcome::RunnerWedged),
            Phase::Busy { .. } => self.drain(Outcome::JobTimeout),
            Phase::Updating { .. } => self.drain(Outcome::RunnerUpdating),
            // Nothing is left that a polite signal could save: the job is over, or its listener is dead.
            Phase::Finishing { run, .. } => {
                let reason = run.evidence.result().map_or(Outcome::RunnerWedged, super::JobResult::outcome);
                self.kill(reason, run);
            }
            Phase::Draining { reason, killed: false, run, .. } => self.kill(reason, run),
            Phase::Draining { .. } => self.close_drained(),
            _ => {}
        }
    }

    /// Kills the whole tree and waits a moment for the news of its end.
    pub(super) fn kill(&mut self, reason: Outcome, run: Run) {
        self.state.phase = Phase::Draining { deadline: self.now + KILL_GRACE, reason, killed: true, run };
        self.want(Effect::Kill);
    }

    fn close_drained(&mut self) {
        let Phase::Draining { reason, run, .. } = self.state.phase.clone() else { return };
        let outcome = run.evidence.verdict_stopped(reason, run.exit);
        self.close(End::of_run(outcome, run, ""));
    }
}

/// What an exit code says beyond the outcome.
fn explain(outcome: Outcome, exit: Exit) -> String {
    match outcome {
        Outcome::RunnerCrashed | Outcome::JobUnknown | Outcome::WorkerCrashed => format!("the listener ended: {exit}"),
        _ => String::new(),
    }
}
