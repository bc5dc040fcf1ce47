//! From the runner's end to the machine's.

use super::runner::phase_listened;
use super::{CLOSE_LEAD, CLOSE_LEAST, Effect, End, Ending, Lifetime, Phase, Step, TerminationMethod, Time};

impl Step<'_> {
    /// Begins the end: whatever happens from here on, the outcome stands.
    pub(super) fn close(&mut self, end: End) {
        // A run that ends in the warm pool can be held, so from now on its time counts.
        if self.state.lifetime == Lifetime::Paused {
            self.state.lifetime = Lifetime::Until(self.now + self.policy.limits.lifetime);
        }
        if self.state.phase.end().is_none() && !phase_listened(&self.state.phase) {
            self.answer_launch(false);
        }
        let until = self.closed_by();
        self.state.phase = Phase::Closing { deadline: until, end: end.clone() };
        self.want(Effect::Close { end, until });
    }

    /// What is not out when EC2 takes the machine is lost.
    fn closed_by(&self) -> Time {
        let usual = self.now + self.policy.limits.closing;
        match self.state.phase.runner().and_then(|runner| runner.interruption) {
            Some(interruption) => interruption.at.before(CLOSE_LEAD).max(self.now + CLOSE_LEAST).min(usual),
            None => usual,
        }
    }

    /// Tells the group's launch hook, which waits, and gives the instance up if it waits too long.
    pub(super) fn answer_launch(&mut self, ready: bool) {
        if self.policy.launch_hook {
            self.want(Effect::AnswerLaunch { ready });
        }
    }

    pub(super) fn closed(&mut self) {
        if let Phase::Closing { end, .. } = self.state.phase.clone() {
            self.keep_or_terminate(end);
        }
    }

    /// A new agent process found an end that was under way.
    pub(super) fn resume_ending(&mut self) {
        match self.state.phase.clone() {
            Phase::Closing { end, deadline: until } => self.want(Effect::Close { end, until }),
            // Accepted is accepted; should the machine stay, the deadline goes on to the next method.
            Phase::Terminating { accepted: true, .. } => {}
            // Whether it was asked for nobody knows. It gets its whole time, or it and the next would be tried at once.
            Phase::Terminating { method, end, .. } => self.fall_back_to(Some(method), end),
            // It had no further method to try, and the machine is still there.
            Phase::Ended { end } if self.policy.ending != Ending::Process => self.terminate(end),
            _ => {}
        }
    }

    fn keep_or_terminate(&mut self, end: End) {
        let wanted = self.state.hold.filter(|until| *until > self.now);
        let on_failure = self.policy.hold_on_failure;
        let failed = end.outcome.is_failure() && !on_failure.is_zero();
        match wanted.max(failed.then(|| self.now + on_failure)) {
            Some(until) if self.state.lifetime != Lifetime::Passed && end.may_be_held() => {
                self.keep(until, end);
            }
            _ => self.terminate(end),
        }
    }

    pub(super) fn keep(&mut self, until: Time, end: End) {
        self.state.phase = Phase::Held { deadline: self.within_lifetime(until), end };
    }

    /// No machine is kept beyond its lifetime: the timer of systemd would end it all the same.
    pub(super) fn within_lifetime(&self, until: Time) -> Time {
        match self.state.lifetime {
            Lifetime::Until(end) => until.min(end),
            Lifetime::Paused => until.min(self.now + self.policy.limits.lifetime),
            Lifetime::Passed => until.min(self.now),
        }
    }

    pub(super) fn terminate(&mut self, end: End) {
        let first = match self.policy.ending {
            Ending::Process => None,
            // Its group is ending it already, and has decided about its capacity: asked again it would lower it twice.
            Ending::Instance { .. } if self.state.leaving_group && self.policy.termination_hook => {
                Some(TerminationMethod::LifecycleAction)
            }
            Ending::Instance { .. } if self.state.leaving_group => Some(TerminationMethod::Ec2),
            Ending::Instance { decrement } if self.state.in_group => Some(TerminationMethod::AutoScaling { decrement }),
            Ending::Instance { .. } => Some(TerminationMethod::Ec2),
        };
        self.fall_back_to(first, end);
    }

    /// Tries a method, or ends the process if there is none left: from then on the timers of systemd have the word.
    fn fall_back_to(&mut self, method: Option<TerminationMethod>, end: End) {
        self.state.phase = match method {
            Some(method) => {
                Phase::Terminating { deadline: self.now + self.policy.limits.terminating, method, accepted: false, end }
            }
            None => Phase::Ended { end },
        };
        if let Some(method) = method {
            self.want(Effect::Terminate(method));
        }
    }

    /// The machine goes away; should it not, the power is next, whichever API said yes. Told twice, it gets no more time.
    pub(super) fn termination_accepted(&mut self, accepted: TerminationMethod) {
        if let Phase::Terminating { method: method @ TerminationMethod::AutoScaling { .. }, end, .. } =
            self.state.phase.clone()
            && method == accepted
            && self.policy.termination_hook
        {
            // The termination waits for its hook like any other of the group.
            return self.fall_back_to(Some(TerminationMethod::LifecycleAction), end);
        }
        let until = self.now + self.policy.limits.terminating;
        if let Phase::Terminating { deadline, method, accepted: known @ false, .. } = &mut self.state.phase
            && *method == accepted
        {
            (*deadline, *known) = (until, true);
            if self.state.shutdown {
                self.end_process();
            }
        }
    }

    /// The machine goes, and its shutdown waits for this process alone.
    pub(super) fn end_process(&mut self) {
        if let Phase::Terminating { end, .. } = self.state.phase.clone() {
            self.state.phase = Phase::Ended { end };
        }
    }

    pub(super) fn termination_refused(&mut self, refused: TerminationMethod, at_min_size: bool) {
        if let Phase::Terminating { method, end, .. } = self.state.phase.clone()
            && method == refused
        {
            let next = match method {
                TerminationMethod::AutoScaling { decrement: true } if at_min_size => {
                    Some(TerminationMethod::AutoScaling { decrement: false })
                }
                TerminationMethod::AutoScaling { .. } | TerminationMethod::LifecycleAction => {
                    Some(TerminationMethod::Ec2)
                }
                TerminationMethod::Ec2 => Some(TerminationMethod::PowerOff),
                TerminationMethod::PowerOff => None,
            };
            self.fall_back_to(next, end);
        }
    }

    pub(super) fn end_passed(&mut self) {
        match self.state.phase.clone() {
            Phase::Closing { end, .. } => self.keep_or_terminate(end),
            Phase::Held { end, .. } => self.terminate(end),
            Phase::Terminating { method: TerminationMethod::PowerOff, end, .. } => self.fall_back_to(None, end),
            Phase::Terminating { end, .. } => self.fall_back_to(Some(TerminationMethod::PowerOff), end),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::slice;
    use std::time::Duration;

    use crate::lifecycle::testing::{after, policy};
    use crate::lifecycle::{
        Begin, Event, Exit, Found, Lifetime, Outcome, Phase, Policy, Stop, TerminationMethod, Time, step,
    };

    const HOUR: Duration = Duration::from_secs(3600);

    fn failed() -> Event {
        Event::JitConfigFailed { outcome: Outcome::JitConfigDenied, detail: String::new() }
    }

    #[test]
    fn a_shutdown_that_came_before_the_termination_was_accepted_waits_no_longer_than_for_that() {
        let policy = policy();
        let told = Event::Stop(Stop::Shutdown);
        let started = [Event::JitConfigReady, Event::Started];
        let over = [Event::Exited(Exit::Signal(9)), Event::Closed];
        for events in [
            vec![failed(), told.clone(), Event::Closed],
            vec![failed(), Event::Closed, told.clone()],
            [&[Event::JitConfigReady, told.clone()], &over[..]].concat(),
            [&started[..], slice::from_ref(&told), &over].concat(),
            [&started[..], &[Event::Stop(Stop::DrainNow), told.clone()], &over].concat(),
            [&[Event::Hold(Time(1) + HOUR), failed(), Event::Closed], &[told][..]].concat(),
        ] {
            let state = after(&policy, &events);
            let (state, _) = step(&policy, &state, &Event::TerminationAccepted(TerminationMethod::Ec2), Time(2));
            assert!(
                matches!(state.phase, Phase::Ended { .. }),
                "PID 1 waits for the agent, the agent for EC2: {state:?}"
            );
            let (state, _) = step(&policy, &state, &Event::Begin(Begin::Again(Found::Nothing)), Time(3));
            assert!(
                matches!(state.phase, Phase::Terminating { .. }),
                "the machine stayed, and nobody ends it: {state:?}"
            );
        }
    }

    #[test]
    fn a_hold_is_never_longer_than_the_lifetime() {
        let policy = policy();
        let state = after(&policy, &[Event::Hold(Time(1) + HOUR * 10), failed(), Event::Closed]);
        let end = Time(1) + policy.limits.lifetime;
        assert_eq!(state.lifetime, Lifetime::Until(end));
        assert!(matches!(state.phase, Phase::Held { deadline, .. } if deadline == end), "{state:?}");
        assert_eq!(state.held_until(), Some(end), "people are told another moment than the one that counts");
    }

    #[test]
    fn a_failed_machine_is_held_within_its_lifetime_and_a_later_hold_moves_the_end() {
        let policy = Policy { hold_on_failure: HOUR * 10, ..policy() };
        let state = after(&policy, &[failed(), Event::Closed]);
        assert_eq!(state.held_until(), Some(Time(1) + policy.limits.lifetime));
        let (state, _) = step(&policy, &state, &Event::Hold(Time(1000)), Time(2));
        assert_eq!(state.held_until(), Some(Time(1000)));
    }

    #[test]
    fn a_drain_takes_a_hold_back() {
        let policy = policy();
        let state = after(&policy, &[Event::Hold(Time(1) + HOUR), Event::Stop(Stop::Drain), Event::Closed]);
        assert!(matches!(state.phase, Phase::Terminating { .. }), "{state:?}");
    }

    #[test]
    fn a_machine_that_ec2_takes_is_not_held() {
        let policy = policy();
        let notice = Event::Notice(crate::lifecycle::Notice::SpotHibernate);
        let state = after(&policy, &[Event::Hold(Time(1) + HOUR), notice, Event::Closed]);
        assert!(matches!(state.phase, Phase::Terminating { .. }), "{state:?}");
    }
}
