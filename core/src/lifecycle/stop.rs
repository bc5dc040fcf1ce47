//! Everything that wants a run to end before its time: people, notices, the lifetime.
//!
//! The rule behind all of it: nothing assigned, end at once; a job at work, use the time that is left.

use super::policy::{LATE_GRACE, MAINTENANCE_LEAD};
use super::{Effect, End, Ending, Interruption, Lifetime, Notice, Outcome, Phase, Runner, Step, Stop, Time};

impl Step<'_> {
    pub(super) fn stop(&mut self, stop: Stop) {
        let (outcome, job_may_finish) = match stop {
            Stop::RunnerUnit => return self.runner_unit_stops(),
            // It is the group's own termination that shuts the machine down.
            Stop::Shutdown if self.state.leaving_group => (Outcome::AsgTermination, false),
            Stop::Shutdown => (Outcome::ExternalShutdown, false),
            Stop::Drain => (Outcome::OperatorDrain, true),
            Stop::DrainNow => (Outcome::OperatorDrain, false),
        };
        if outcome == Outcome::OperatorDrain {
            self.state.hold = None; // the last word counts
        }
        match self.state.phase.clone() {
            Phase::Draining { killed: false, reason, runner, .. } if stop == Stop::Shutdown => {
                self.kill(reason, runner)
            }
            Phase::Draining { .. } => {}
            // The job is over and its result known: what is left has its own, short deadline.
            Phase::Finishing { runner, .. } if stop == Stop::Shutdown && runner.exit.is_none() => {
                let reason = runner.evidence.result().map_or(outcome, super::JobResult::outcome);
                self.kill(reason, runner);
            }
            Phase::Finishing { .. } if job_may_finish => {}
            phase if phase.runner().is_some_and(has_job) && job_may_finish => {}
            phase if phase.runner().is_some() => self.drain(outcome),
            phase if stop == Stop::Shutdown && self.may_be_in_pool(&phase) => self.ask_before_the_end(&phase),
            phase if phase.end().is_none() => self.close(End::without_runner(outcome, "")),
            Phase::Held { end, .. } => {
                self.state.hold = None;
                self.terminate(end);
            }
            // This is the shutdown that was asked for: nothing is left to do, and nobody should have to wait.
            Phase::Terminating { accepted: true, .. } if stop == Stop::Shutdown => self.end_process(),
            _ => {}
        }
        // From here on the process waits for no more than the termination to be accepted. Before that, `Booting` and `Warm` ask
        // first whether this shutdown is an end; and a process that ends no machine waits for none.
        let asks_first = matches!(self.state.phase, Phase::Booting { .. } | Phase::Warm);
        if stop == Stop::Shutdown && !asks_first && self.policy.ending != Ending::Process {
            self.state.shutdown = true;
        }
    }

    /// systemd signals the runner already, and kills it in its time: nothing is left but to remember why, and to wait.
    fn runner_unit_stops(&mut self) {
        if matches!(self.state.phase, Phase::Draining { .. }) {
            return; // the unit is stopped for the reason that is known
        }
        let Some(mut runner) = self.state.phase.runner().cloned() else { return };
        runner.evidence.stop(self.now);
        let deadline = self.now + self.policy.limits.draining;
        self.state.phase = Phase::Draining { deadline, reason: Outcome::RunnerStopped, killed: false, runner };
        self.leave_time_to_report();
    }

    pub(super) fn notice(&mut self, notice: Notice) {
        if notice == Notice::GroupTerminates {
            self.state.leaving_group = true;
            if self.policy.termination_hook && self.state.phase.end().is_none() {
                self.want(Effect::DelayTermination);
            }
        }
        let phase = self.state.phase.clone();
        match &phase {
            _ if phase.end().is_some() => self.notice_while_ending(notice),
            Phase::Draining { deadline, reason, killed: false, runner } => {
                // A drain under way must still be over before the machine goes.
                if let Some(interruption) = self.interruption(notice)
                    && interruption.kill < *deadline
                {
                    self.state.phase = Phase::Draining {
                        deadline: interruption.kill,
                        reason: *reason,
                        killed: false,
                        runner: runner.clone(),
                    };
                    self.leave_time_to_report();
                }
            }
            Phase::Draining { .. } => {}
            _ => match phase.runner() {
                Some(runner) if has_job(runner) => self.notice_with_job(notice, runner.clone()),
                Some(_) if self.ends_idle(notice) => {
                    self.drain(notice.outcome());
                    self.hurry(notice);
                }
                None if self.ends_idle(notice) => self.close(End::without_runner(notice.outcome(), "")),
                _ => {}
            },
        }
    }

    /// A held machine that is taken away is no longer worth holding.
    fn notice_while_ending(&mut self, notice: Notice) {
        if let Phase::Held { end, .. } = self.state.phase.clone()
            && self.ends_idle(notice)
        {
            self.terminate(end);
        }
    }

    fn notice_with_job(&mut self, notice: Notice, mut runner: Runner) {
        let outcome = notice.outcome();
        match notice {
            Notice::SpotHibernate => {
                self.want(Effect::Publish { outcome, at: self.now });
                return self.drain(outcome);
            }
            // With a hook the job has its time; without one the machine goes any moment.
            Notice::GroupTerminates if self.policy.termination_hook => return,
            Notice::GroupTerminates => return self.want(Effect::Publish { outcome, at: self.now }),
            Notice::Rebalance => return,
            Notice::Spot { .. } | Notice::Scheduled { .. } => {}
        }
        let (known, told) = (runner.interruption, self.interruption(notice));
        runner.interruption = match (known, told) {
            // Told once more: the newest time counts, sooner or later than the last.
            (Some(known), told) if known.outcome == outcome => told,
            (Some(known), Some(told)) if told.kill < known.kill => Some(told),
            (Some(known), _) => Some(known),
            (None, told) => told,
        };
        let interruption = runner.interruption;
        if let Some(held) = self.state.phase.runner_mut() {
            *held = runner;
        }
        match interruption {
            Some(_) => self.publish_again(),
            None if known.is_some() => self.want(Effect::Clear),
            None => {}
        }
        if interruption.is_some_and(|interruption| interruption.stop <= self.now) {
            self.interruption_due();
        }
    }

    /// Says what is known to take the machine away; may be said any number of times.
    pub(super) fn publish_again(&mut self) {
        if let Some(Interruption { outcome, at, .. }) = self.state.phase.runner().and_then(|runner| runner.interruption)
        {
            self.want(Effect::Publish { outcome, at });
        }
    }

    /// A job that was not told to stop yet may go on after all. What was told to stop stays told: the runner cannot
    /// be called back, and takes no other job.
    pub(super) fn withdrawn(&mut self, notice: Notice) {
        if matches!(self.state.phase, Phase::Draining { .. }) || self.state.phase.end().is_some() {
            return;
        }
        if notice == Notice::GroupTerminates {
            self.state.leaving_group = false;
        }
        if let Some(runner) = self.state.phase.runner_mut()
            && runner.interruption.is_some_and(|known| known.outcome == notice.outcome())
        {
            runner.interruption = None;
            self.want(Effect::Clear);
        }
    }

    /// The times of a notice that has a time.
    fn interruption(&self, notice: Notice) -> Option<Interruption> {
        let (at, stop, kill) = match notice {
            Notice::Spot { at } => (at, at.before(self.policy.stop_at), at.before(self.policy.kill_at)),
            // What comes after the end of the lifetime takes nothing away.
            Notice::Scheduled { at } if self.in_lifetime(at) => {
                let lead = self.policy.stop_at.saturating_sub(self.policy.kill_at);
                let stop = at.before(MAINTENANCE_LEAD);
                (at, stop, (stop + lead).min(at)) // a long lead does not reach into the maintenance
            }
            Notice::Scheduled { .. } | Notice::SpotHibernate | Notice::Rebalance | Notice::GroupTerminates => {
                return None;
            }
        };
        Some(Interruption { outcome: notice.outcome(), at, stop, kill })
    }

    /// Whether this notice ends a run that has no job.
    fn ends_idle(&self, notice: Notice) -> bool {
        match notice {
            Notice::Rebalance => self.policy.drain_on_rebalance,
            Notice::Scheduled { at } => self.in_lifetime(at),
            Notice::Spot { .. } | Notice::SpotHibernate | Notice::GroupTerminates => true,
        }
    }

    fn in_lifetime(&self, at: Time) -> bool {
        match self.state.lifetime {
            Lifetime::Until(end) => at <= end,
            Lifetime::Paused | Lifetime::Passed => true,
        }
    }

    /// Shortens a drain to what the notice leaves.
    fn hurry(&mut self, notice: Notice) {
        let Some(interruption) = self.interruption(notice) else { return };
        if let Phase::Draining { deadline, .. } = &mut self.state.phase {
            *deadline = interruption.kill.max(self.now).min(*deadline);
        }
        self.leave_time_to_report();
    }

    pub(super) fn interruption_due(&mut self) {
        let Some(Interruption { outcome, kill, .. }) = self.state.phase.runner().and_then(|runner| runner.interruption)
        else {
            return;
        };
        self.drain(outcome);
        if let Phase::Draining { deadline, killed: false, .. } = &mut self.state.phase {
            *deadline = kill.max(self.now + LATE_GRACE);
        }
        self.leave_time_to_report();
    }

    pub(super) fn lifetime_passed(&mut self) {
        self.state.lifetime = Lifetime::Passed;
        match self.state.phase.clone() {
            Phase::Draining { killed: false, reason, runner, .. } => self.kill(reason, runner),
            Phase::Held { end, .. } => self.terminate(end),
            phase if phase.runner().is_some() && !matches!(phase, Phase::Draining { .. }) => {
                self.drain(Outcome::Lifetime)
            }
            phase if phase.runner().is_none() && phase.end().is_none() => {
                self.close(End::without_runner(Outcome::Lifetime, ""));
            }
            _ => {}
        }
    }

    pub(super) fn resumed(&mut self) {
        match &self.state.phase {
            Phase::Warm | Phase::Draining { .. } => {}
            phase if phase.runner().is_some() => self.drain(Outcome::Resumed),
            phase if phase.end().is_none() => self.close(End::without_runner(Outcome::Resumed, "")),
            _ => {}
        }
    }

    /// Tells the listener to stop, and gives it until the drain deadline.
    pub(super) fn drain(&mut self, reason: Outcome) {
        let Some(mut runner) = self.state.phase.runner().cloned() else { return };
        runner.evidence.stop(self.now);
        if runner.exit.is_some() {
            return self.kill(reason, runner); // only a worker is left, and it does not know these signals
        }
        let deadline = self.now + self.policy.limits.draining;
        self.state.phase = Phase::Draining { deadline, reason, killed: false, runner };
        self.leave_time_to_report();
        self.want(Effect::Interrupt { machine_goes: self.machine_goes(reason) });
        // Here and nowhere else: a second SIGINT means "give up at once" to terraform, npm and docker compose.
        self.want(Effect::InterruptSteps);
    }

    /// Whether the machine itself goes away, so that the runner should tell its job so.
    pub(super) fn machine_goes(&self, reason: Outcome) -> bool {
        self.policy.ending != Ending::Process
            && matches!(
                reason,
                Outcome::SpotInterruption
                    | Outcome::ScheduledEvent
                    | Outcome::AsgTermination
                    | Outcome::ExternalShutdown
            )
    }

    pub(super) fn hold(&mut self, until: Time) {
        let until = self.within_lifetime(until);
        self.state.hold = Some(until);
        if let Phase::Held { end, .. } = self.state.phase.clone() {
            self.keep(until, end);
        }
    }

    pub(super) fn release(&mut self) {
        self.state.hold = None;
        if let Phase::Held { end, .. } = self.state.phase.clone() {
            self.terminate(end);
        }
    }
}

/// A job is assigned or at work, or its worker is.
fn has_job(runner: &Runner) -> bool {
    runner.evidence.assigned()
}

#[cfg(test)]
mod tests;
