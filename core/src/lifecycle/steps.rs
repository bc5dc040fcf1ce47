//! The steps of a job that is being stopped: when they have to go, so that their worker can still tell GitHub.

use super::{Effect, Phase, REPORT_LEAD, Step, StepsLeft};

impl Step<'_> {
    /// Steps have until the worker's report would no longer fit before the kill; of a short drain, half of it.
    pub(super) fn leave_time_to_report(&mut self) {
        if let Phase::Draining { deadline, killed: false, runner, .. } = &mut self.state.phase {
            let left = deadline.since(self.now);
            let killed = runner.steps.is_some_and(|steps| steps.killed);
            runner.steps = Some(StepsLeft { until: deadline.before(REPORT_LEAD.min(left / 2)), killed });
        }
    }

    pub(super) fn steps_due(&mut self) {
        if let Phase::Draining { killed: false, runner, .. } = &mut self.state.phase
            && let Some(steps) = &mut runner.steps
        {
            steps.killed = true;
            self.want(Effect::KillSteps);
        }
    }

    /// Whether an agent process that is dead came to it, nobody knows; what is dead dies no second time.
    pub(super) fn kill_steps_again(&mut self) {
        if let Phase::Draining { killed: false, runner, .. } = &self.state.phase
            && runner.steps.is_some_and(|steps| steps.killed)
        {
            self.want(Effect::KillSteps);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Duration;

    use crate::lifecycle::testing::{after, policy};
    use crate::lifecycle::*;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// The defaults.
    fn at_work() -> (Policy, State) {
        let mut policy = Policy { stop_at: seconds(25), kill_at: seconds(8), ..policy() };
        policy.limits.draining = seconds(45);
        policy.limits.job = seconds(3000);
        let state = after(
            &policy,
            &[
                Event::JitConfigReady,
                Event::Started,
                Event::Observed(Observation::Listening),
                Event::Observed(Observation::WorkerSeen),
            ],
        );
        (policy, state)
    }

    /// Goes on by the timers alone; every moment at which something was wanted of the runner.
    fn by_itself(policy: &Policy, mut state: State) -> Vec<(Time, Effect)> {
        let mut wanted = Vec::new();
        while state.phase.runner().is_some() {
            let (timer, at) = state.next_timer().unwrap();
            let (mut next, mut effects) = step(policy, &state, &Event::Passed(timer), at);
            // A poll is answered at once.
            if effects.contains(&Effect::Poll) {
                let (looked, further) = step(policy, &next, &Event::Polled, at);
                (next, effects) = (looked, further);
            }
            let of_the_runner = |effect: &Effect| {
                matches!(effect, Effect::Interrupt { .. } | Effect::InterruptSteps | Effect::KillSteps | Effect::Kill)
            };
            wanted.extend(effects.into_iter().filter(of_the_runner).map(|effect| (at, effect)));
            state = next;
        }
        wanted
    }

    #[test]
    fn a_job_under_a_spot_notice_has_95_of_120_seconds_and_its_steps_die_before_their_worker() {
        let (policy, state) = at_work();
        let notice = Time(1000);
        let (state, _) = step(&policy, &state, &Event::Notice(Notice::Spot { at: notice + seconds(120) }), notice);
        let wanted = by_itself(&policy, state);
        assert_eq!(
            wanted,
            [
                (notice + seconds(95), Effect::Interrupt { machine_goes: true }),
                (notice + seconds(95), Effect::InterruptSteps),
                (notice + seconds(105), Effect::KillSteps), // the runner's own two signals have had their 10 s
                (notice + seconds(112), Effect::Kill),
            ]
        );
    }

    #[test]
    fn steps_have_half_of_a_drain_that_is_too_short_for_the_report() {
        let (policy, state) = at_work();
        let now = Time(1000);
        let (state, _) = step(&policy, &state, &Event::Notice(Notice::Spot { at: now + seconds(12) }), now);
        let wanted = by_itself(&policy, state);
        assert_eq!(wanted, [(now + seconds(2), Effect::KillSteps), (now + seconds(4), Effect::Kill)]);
    }

    #[test]
    fn a_notice_in_a_drain_moves_the_kill_of_the_steps_too() {
        let (policy, state) = at_work();
        let now = Time(1000);
        let (state, _) = step(&policy, &state, &Event::Stop(Stop::DrainNow), now);
        assert_eq!(state.next_timer(), Some((Timer::Steps, now + seconds(38))));
        let (state, _) = step(&policy, &state, &Event::Notice(Notice::Spot { at: now + seconds(28) }), now);
        assert_eq!(
            state.next_timer(),
            Some((Timer::Steps, now + seconds(13))),
            "the worker is killed before it reports"
        );
    }

    #[test]
    fn an_agent_that_comes_back_interrupts_no_step_a_second_time() {
        let (policy, state) = at_work();
        let now = Time(1000);
        let (state, effects) = step(&policy, &state, &Event::Stop(Stop::DrainNow), now);
        assert!(effects.contains(&Effect::InterruptSteps), "{effects:?}");
        let begin = Event::Begin(Begin::Again(Found::Marker));
        let (_, effects) = step(&policy, &state, &begin, now);
        assert!(!effects.contains(&Effect::InterruptSteps), "terraform gives up at its second SIGINT: {effects:?}");
        let (state, effects) = step(&policy, &state, &Event::Passed(Timer::Steps), now + seconds(38));
        assert!(effects.contains(&Effect::KillSteps), "{effects:?}");
        let (_, effects) = step(&policy, &state, &begin, now + seconds(39));
        assert!(effects.contains(&Effect::KillSteps), "the kill may not have been done: {effects:?}");
    }

    #[test]
    fn without_a_job_there_are_no_steps_to_kill() {
        let (policy, _) = at_work();
        let state = after(&policy, &[Event::JitConfigReady, Event::Started, Event::Observed(Observation::Listening)]);
        let (state, _) = step(&policy, &state, &Event::Stop(Stop::Drain), Time(1000));
        assert_eq!(state.next_timer(), Some((Timer::Phase, Time(1000) + seconds(45))));
    }
}
