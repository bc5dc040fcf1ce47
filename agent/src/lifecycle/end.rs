//! From the runner's end to the machine's.

use super::{Effect, End, Ending, Lifetime, Outcome, Phase, Rung, Step, Time};

impl Step<'_> {
    /// Begins the end: whatever happens from here on, the outcome stands.
    pub(super) fn close(&mut self, end: End) {
        // A life that ends in the warm pool can be held, so from now on its time counts.
        if self.state.lifetime == Lifetime::Paused {
            self.state.lifetime = Lifetime::Until(self.now + self.policy.limits.lifetime);
        }
        self.state.phase = Phase::Closing { deadline: self.now + self.policy.limits.closing, end: end.clone() };
        self.want(Effect::Close(end));
    }

    pub(super) fn closed(&mut self) {
        if let Phase::Closing { end, .. } = self.state.phase.clone() {
            self.keep_or_terminate(end);
        }
    }

    /// A new agent process found an end that was under way.
    pub(super) fn resume_ending(&mut self) {
        match self.state.phase.clone() {
            Phase::Closing { end, .. } => self.want(Effect::Close(end)),
            Phase::Terminating { rung, .. } => self.want(Effect::Terminate(rung)),
            // It had no further rung to try, and the machine is still there.
            Phase::Ended { end } if self.policy.ending != Ending::Process => self.terminate(end),
            _ => {}
        }
    }

    fn keep_or_terminate(&mut self, end: End) {
        let wanted = self.state.hold.filter(|until| *until > self.now);
        let on_failure = self.policy.hold_on_failure;
        let failed = end.outcome.is_failure() && !on_failure.is_zero();
        match wanted.max(failed.then(|| self.now + on_failure)) {
            // An instance that EC2 takes away, or that lived too long, is not kept.
            Some(until) if self.may_be_kept(end.outcome) => self.keep(until, end),
            _ => self.terminate(end),
        }
    }

    fn may_be_kept(&self, outcome: Outcome) -> bool {
        self.state.lifetime != Lifetime::Passed
            && !matches!(outcome, Outcome::SpotInterruption | Outcome::AsgTermination | Outcome::ExternalShutdown)
    }

    pub(super) fn keep(&mut self, until: Time, end: End) {
        self.state.phase = Phase::Held { deadline: until, end };
    }

    pub(super) fn terminate(&mut self, end: End) {
        let first = match self.policy.ending {
            Ending::Process => None,
            Ending::Instance { decrement } if self.state.in_group => Some(Rung::AutoScaling { decrement }),
            Ending::Instance { .. } => Some(Rung::Ec2),
        };
        self.climb(first, end);
    }

    /// Tries a rung, or ends the process if there is none left: from then on the timers of systemd have the word.
    fn climb(&mut self, rung: Option<Rung>, end: End) {
        self.state.phase = match rung {
            Some(rung) => {
                Phase::Terminating { deadline: self.now + self.policy.limits.terminating, rung, accepted: false, end }
            }
            None => Phase::Ended { end },
        };
        if let Some(rung) = rung {
            self.want(Effect::Terminate(rung));
        }
    }

    /// The machine goes away; should it not, the power is next, whichever API said yes. Told twice, it gets no more time.
    pub(super) fn rung_accepted(&mut self, accepted: Rung) {
        let until = self.now + self.policy.limits.terminating;
        if let Phase::Terminating { deadline, rung, accepted: known @ false, .. } = &mut self.state.phase
            && *rung == accepted
        {
            (*deadline, *known) = (until, true);
        }
    }

    pub(super) fn rung_refused(&mut self, refused: Rung, at_min_size: bool) {
        if let Phase::Terminating { rung, end, .. } = self.state.phase.clone()
            && rung == refused
        {
            let next = match rung {
                Rung::AutoScaling { decrement: true } if at_min_size => Some(Rung::AutoScaling { decrement: false }),
                Rung::AutoScaling { .. } => Some(Rung::Ec2),
                Rung::Ec2 => Some(Rung::PowerOff),
                Rung::PowerOff => None,
            };
            self.climb(next, end);
        }
    }

    pub(super) fn end_passed(&mut self) {
        match self.state.phase.clone() {
            Phase::Closing { end, .. } => self.keep_or_terminate(end),
            Phase::Held { end, .. } => self.terminate(end),
            Phase::Terminating { rung: Rung::PowerOff, end, .. } => self.climb(None, end),
            Phase::Terminating { end, .. } => self.climb(Some(Rung::PowerOff), end),
            _ => {}
        }
    }
}
