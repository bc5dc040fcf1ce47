//! What a Docker daemon that does not answer means for a run.

use super::{Effect, End, Outcome, Phase, Step};

impl Step<'_> {
    /// Restarted once, while nothing runs; where every job needs it, a second time ends the run, before a job is lost.
    /// A job that has the machine is never stopped for it: it may not need Docker, or have broken it on purpose.
    pub(super) fn docker_down(&mut self, detail: &str) {
        let waiting = match &self.state.phase {
            Phase::WaitingForJitConfig { .. } => true,
            Phase::Starting { runner, .. } | Phase::Idle { runner, .. } => !runner.evidence.assigned(),
            _ => false,
        };
        if !waiting {
            return;
        }
        if !self.state.docker_restarted {
            self.state.docker_restarted = true;
            self.want(Effect::RestartDocker);
        } else if self.policy.docker_required {
            if self.state.phase.runner().is_some() {
                self.drain(Outcome::DockerUnavailable);
            } else {
                self.close(End::without_runner(Outcome::DockerUnavailable, detail));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use crate::lifecycle::testing::{after, policy};
    use crate::lifecycle::{Effect, Event, Observation, Outcome, Phase, Policy, State, Time, step};

    /// What is wanted at each of two failures of Docker, after these events.
    fn two_failures(required: bool, events: &[Event]) -> (Vec<Effect>, Vec<Effect>, State) {
        let policy = Policy { docker_required: required, ..policy() };
        let state = after(&policy, events);
        let down = Event::DockerDown { detail: "hung".to_owned() };
        let (state, first) = step(&policy, &state, &down, Time(1));
        let (state, second) = step(&policy, &state, &down, Time(1));
        (first, second, state)
    }

    fn idle() -> Vec<Event> {
        vec![Event::JitConfigReady, Event::Started, Event::Observed(Observation::Listening)]
    }

    #[test]
    fn while_nothing_runs_docker_is_restarted_once() {
        for events in [vec![], idle()] {
            let (first, second, state) = two_failures(false, &events);
            assert_eq!(first, [Effect::RestartDocker]);
            assert_eq!(second, [], "it is restarted for ever, or a machine that does not need it ends");
            assert!(state.phase.end().is_none());
        }
    }

    #[test]
    fn where_every_job_needs_it_the_second_failure_is_the_end() {
        let (_, _, state) = two_failures(true, &[]);
        assert_eq!(state.phase.end().map(|end| end.outcome), Some(Outcome::DockerUnavailable));
        let (_, second, state) = two_failures(true, &idle());
        assert!(matches!(state.phase, Phase::Draining { reason: Outcome::DockerUnavailable, .. }));
        assert!(second.contains(&Effect::Interrupt { machine_goes: false }), "the idle runner could still take a job");
    }

    #[test]
    fn a_job_is_never_stopped_for_it() {
        let mut events = idle();
        events.push(Event::Observed(Observation::JobMessage));
        let (first, second, _) = two_failures(true, &events);
        assert_eq!((first, second), (vec![], vec![]));
    }
}
