//! A runner at work: from evidence to phase, and what happens when a phase lasts too long or the listener ends.

use super::evidence::{Evidence, Worker};
use super::policy::HURRIED_POLL_GRACE;
use super::{Effect, End, Exit, KILL_GRACE, Observation, Outcome, POLL_GRACE, Phase, Runner, Step, Time, Timer};

/// A job message puts its deadline off by at least this part of `limits.assigned`, or not at all: so often it can, and no
/// more, however many there are.
const RENEWALS: u32 = 10;

/// The same for renewals of the job's lock: one in 30 s is noted, and a job that forges more of them changes nothing.
const LOCK_PARTS: u32 = 24;

impl Step<'_> {
    pub(super) fn saw(&mut self, observation: &Observation) {
        let listened = phase_listened(&self.state.phase);
        let Some(runner) = self.state.phase.runner_mut() else { return };
        let knew_job = runner.evidence.job.is_some();
        let named = runner.evidence.job_name.is_some();
        runner.evidence.absorb(observation);
        match observation {
            // What is older than the job is another's.
            Observation::LockRenewed if runner.evidence.assigned() => {
                let due = self.now + self.policy.limits.lock;
                if runner.lock.is_none_or(|lock| due >= lock + self.policy.limits.lock / LOCK_PARTS) {
                    runner.lock = Some(due);
                }
            }
            Observation::LockUnknown => runner.lock = None,
            _ => {}
        }
        let learned_job = !knew_job && runner.evidence.job.is_some();
        if !listened && phase_listened(&self.state.phase) {
            self.answer_launch(true);
        }
        if learned_job {
            self.publish_again(); // now it is known whose job it is
        }
        self.settle();
        match observation {
            Observation::JobMessage => self.await_worker(false),
            Observation::Running { .. } if !named => self.await_worker(true),
            _ => {}
        }
    }

    /// A job on its way gets its whole time for its worker, whatever came to nothing before it.
    fn await_worker(&mut self, taken: bool) {
        let due = self.now + self.policy.limits.assigned;
        if let Phase::Assigned { deadline, .. } = &mut self.state.phase
            && (taken || due >= *deadline + self.policy.limits.assigned / RENEWALS)
        {
            *deadline = due;
        }
    }

    /// A message alone may be a ghost: GitHub refuses to hand the job out, and the runner says nothing and listens on. Only
    /// a runner that said that it runs a job is given up before its time without a job is over.
    fn assigned_until(&self, runner: &Runner) -> Time {
        let due = self.now + self.policy.limits.assigned;
        match &self.state.phase {
            Phase::Idle { deadline: idle, .. } | Phase::Updating { idle, .. } if runner.evidence.job_name.is_none() => {
                due.max(*idle)
            }
            _ => due,
        }
    }

    /// Moves to the phase that the evidence asks for.
    fn settle(&mut self) {
        let limits = &self.policy.limits;
        let Some(runner) = self.state.phase.runner().cloned() else { return };
        let Evidence { listening, updating, .. } = runner.evidence;
        let (assigned, at_work, over) =
            (runner.evidence.assigned(), runner.evidence.at_work(), runner.evidence.job_over());
        self.state.phase = match &self.state.phase {
            Phase::Draining { .. } => return self.conclude_draining(&runner),
            Phase::Finishing { .. } => return self.conclude_finishing(runner),
            Phase::Starting { .. }
            | Phase::Idle { .. }
            | Phase::Updating { .. }
            | Phase::Assigned { .. }
            | Phase::Busy { .. }
                if over =>
            {
                Phase::Finishing { deadline: self.now + limits.finishing, runner }
            }
            Phase::Busy { .. } => return,
            _ if at_work => Phase::Busy { deadline: self.now + limits.job, runner },
            Phase::Assigned { .. } => return,
            _ if assigned => Phase::Assigned { deadline: self.assigned_until(&runner), runner },
            Phase::Starting { .. } if listening => Phase::Idle { deadline: self.now + limits.idle, runner },
            Phase::Starting { deadline, .. } if updating => {
                Phase::Updating { deadline: self.now + limits.updating, idle: *deadline, runner }
            }
            Phase::Idle { deadline, .. } if updating => {
                Phase::Updating { deadline: self.now + limits.updating, idle: *deadline, runner }
            }
            // No job can come, and the listener, which should end then, gets no longer than after a job.
            Phase::Idle { deadline, .. }
                if runner.evidence.cut_off().is_some() && *deadline > self.now + limits.finishing =>
            {
                Phase::Idle { deadline: self.now + limits.finishing, runner }
            }
            Phase::Updating { idle, .. } if !updating => Phase::Idle { deadline: *idle, runner },
            _ => return,
        };
    }

    fn conclude_draining(&mut self, runner: &Runner) {
        if runner.exit.is_some() && runner.evidence.worker != Worker::Alive {
            self.close_drained();
        }
    }

    /// The listener had ended before its worker, and now the worker is gone too.
    fn conclude_finishing(&mut self, runner: Runner) {
        if let Some(exit) = runner.exit
            && runner.evidence.worker != Worker::Alive
        {
            self.close_run(runner, exit);
        }
    }

    pub(super) fn exited(&mut self, exit: Exit) {
        let now = self.now;
        let Some(runner) = self.state.phase.runner_mut() else { return };
        runner.exit = Some(exit);
        let runner = runner.clone();
        match &self.state.phase {
            Phase::Draining { .. } => self.conclude_draining(&runner),
            _ if runner.evidence.worker == Worker::Alive => {
                // The worker goes on without its listener and reports to GitHub itself; GitHub waits for it as long as
                // the job's lock lasts.
                self.state.phase = Phase::Finishing { deadline: now + self.policy.limits.orphaned, runner };
            }
            _ => self.close_run(runner, exit),
        }
    }

    fn close_run(&mut self, runner: Runner, exit: Exit) {
        let outcome = runner.evidence.verdict(exit);
        self.close(End::of_run(outcome, runner, explain(outcome, exit)));
    }

    /// No limit ends a runner that was not looked at: an agent that was dead or stood still when it passed does not know yet
    /// what happened meanwhile. Says whether a poll was begun; a poll that takes too long is not waited for.
    pub(super) fn poll_first(&mut self, timer: Timer) -> bool {
        if self.state.poll.take().is_some() || !self.state.phase.is_at_work() {
            return false;
        }
        let grace = if timer == Timer::Interruption { HURRIED_POLL_GRACE } else { POLL_GRACE };
        self.state.poll = Some(self.now + grace);
        self.want(Effect::Poll);
        true
    }

    /// The limit is carried out if nothing that was seen has put it off.
    pub(super) fn polled(&mut self) {
        if self.state.poll.take().is_none() {
            return;
        }
        let due = self.state.limits().filter(|(_, at)| *at <= self.now).min_by_key(|(timer, at)| (*at, *timer));
        if let Some((timer, _)) = due {
            self.carry_out(timer);
        }
    }

    /// A poll is for a limit of one phase.
    pub(super) fn forget_poll(&mut self, before: &Phase) {
        if self.state.phase.name() != before.name() {
            self.state.poll = None;
        }
    }

    /// GitHub has told the job's author by now that the runner was lost, and may have started the job elsewhere.
    pub(super) fn lock_lost(&mut self) {
        self.drain(Outcome::JobAbandoned);
    }

    fn stop_idle(&mut self) {
        let cut_off = self.state.phase.runner().and_then(|runner| runner.evidence.cut_off());
        self.drain(cut_off.unwrap_or(Outcome::IdleTimeout));
    }

    pub(super) fn runner_passed(&mut self) {
        match self.state.phase.clone() {
            Phase::Starting { .. } => self.drain(Outcome::RunnerNotListening),
            Phase::Idle { .. } => self.stop_idle(),
            Phase::Assigned { .. } => self.drain(Outcome::RunnerWedged),
            Phase::Busy { .. } => self.drain(Outcome::JobTimeout),
            Phase::Updating { .. } => self.drain(Outcome::RunnerUpdating),
            // Nothing is left that a polite signal could save: the job is over, or its listener is dead.
            Phase::Finishing { runner, .. } => {
                let reason = runner.evidence.result().map_or(Outcome::RunnerWedged, super::JobResult::outcome);
                self.kill(reason, runner);
            }
            Phase::Draining { reason, killed: false, runner, .. } => self.kill(reason, runner),
            Phase::Draining { .. } => self.close_drained(),
            _ => {}
        }
    }

    /// Kills the whole tree and waits a moment for the news of its end.
    pub(super) fn kill(&mut self, reason: Outcome, runner: Runner) {
        self.state.phase = Phase::Draining { deadline: self.now + KILL_GRACE, reason, killed: true, runner };
        self.want(Effect::Kill);
    }

    pub(super) fn close_drained(&mut self) {
        let Phase::Draining { reason, runner, .. } = self.state.phase.clone() else { return };
        let outcome = runner.evidence.verdict_stopped(reason, runner.exit);
        let stopped_for = (outcome == Outcome::IdleRaced).then_some(reason);
        let detail = stopped_for.map(|reason| format!("the runner was being stopped: {reason}")).unwrap_or_default();
        self.close(End { stopped_for, ..End::of_run(outcome, runner, detail) });
    }
}

/// The runner was of use: it listened, or got a job.
pub(super) fn phase_listened(phase: &Phase) -> bool {
    phase.runner().is_some_and(|runner| runner.evidence.listening || runner.evidence.assigned())
}

/// What an exit code says beyond the outcome.
fn explain(outcome: Outcome, exit: Exit) -> String {
    match outcome {
        Outcome::RunnerCrashed | Outcome::JobUnknown | Outcome::WorkerCrashed => format!("the listener ended: {exit}"),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::lifecycle::testing::{after, policy};
    use crate::lifecycle::{
        ConsoleError, Effect, Event, Exit, Observation, Outcome, Phase, Policy, State, Time, Timer, step,
    };

    /// Goes on by the timers alone, and says how it ended and when.
    fn by_itself(policy: &Policy, mut state: State) -> (Option<Outcome>, Time) {
        let mut now = Time(1);
        while state.phase.runner().is_some() {
            let Some((timer, at)) = state.next_timer() else { break };
            now = at;
            state = step(policy, &state, &Event::Passed(timer), now).0;
        }
        (state.phase.end().map(|end| end.outcome), now)
    }

    fn listening() -> Vec<Event> {
        vec![Event::JitConfigReady, Event::Started, Event::Observed(Observation::Listening)]
    }

    fn long_idle() -> Policy {
        let mut policy = policy();
        policy.limits.idle = Duration::from_secs(1800);
        policy
    }

    #[test]
    fn a_listener_that_stays_without_its_registration_is_not_waited_for_as_if_idle() {
        for (trouble, outcome) in [
            (ConsoleError::RegistrationRemoved, Outcome::RegistrationRemoved),
            (ConsoleError::VersionDeprecated, Outcome::RunnerVersionDeprecated),
        ] {
            let gone = Event::Observed(Observation::ConsoleError(trouble));
            let state = after(&long_idle(), &[listening(), vec![gone.clone(), gone]].concat());
            let (end, at) = by_itself(&long_idle(), state);
            assert_eq!(end, Some(outcome));
            assert!(at.since(Time(1)) < Duration::from_secs(300), "it idled on, without a chance of a job: {at}");
        }
    }

    #[test]
    fn a_connection_that_is_lost_while_idle_may_come_back() {
        let state = after(
            &long_idle(),
            &[listening(), vec![Event::Observed(Observation::ConsoleError(ConsoleError::Unreachable))]].concat(),
        );
        let (end, at) = by_itself(&long_idle(), state);
        assert_eq!(end, Some(Outcome::IdleTimeout));
        assert!(at.since(Time(1)) >= Duration::from_secs(1800), "a runner that retries was given up: {at}");
    }

    #[test]
    fn a_job_that_comes_to_a_listener_given_up_is_told_as_lost() {
        let policy = long_idle();
        let state = after(
            &policy,
            &[listening(), vec![Event::Observed(Observation::ConsoleError(ConsoleError::RegistrationRemoved))]]
                .concat(),
        );
        let due = state.phase.deadline().unwrap_or(Time(1));
        let (state, looked) = step(&policy, &state, &Event::Passed(Timer::Phase), due);
        assert!(looked.contains(&Effect::Poll), "it was stopped without a last poll for a job");
        let (state, _) = step(&policy, &state, &Event::Polled, due);
        let (state, _) = step(&policy, &state, &Event::Observed(Observation::JobMessage), due);
        let (state, _) = step(&policy, &state, &Event::Exited(Exit::Code(0)), due);
        assert_eq!(state.phase.end().map(|end| end.outcome), Some(Outcome::IdleRaced));
    }

    #[test]
    fn a_worker_without_its_listener_is_killed_once_github_gave_its_job_up() {
        let mut policy = policy();
        policy.limits.orphaned = Duration::from_secs(600);
        let job = [Event::Observed(Observation::WorkerSeen), Event::Exited(Exit::Signal(9))];
        let state = after(&policy, &[listening(), job.to_vec()].concat());
        assert!(
            matches!(state.phase, Phase::Finishing { deadline, .. } if deadline == Time(1) + Duration::from_secs(600))
        );
        let (end, at) = by_itself(&policy, state);
        assert_eq!(end, Some(Outcome::RunnerWedged), "an orphaned worker that hangs is not told as one");
        assert!(at.since(Time(1)) < Duration::from_secs(660), "it was waited for until {at}");
    }

    fn at_work() -> Vec<Event> {
        let seen = [Observation::JobMessage, Observation::WorkerSeen].map(Event::Observed);
        [listening(), seen.to_vec()].concat()
    }

    const RENEWED: Event = Event::Observed(Observation::LockRenewed);

    #[test]
    fn a_job_that_github_has_given_up_is_stopped_and_told_as_abandoned() {
        let mut policy = long_idle();
        policy.limits.job = policy.limits.lock * 10;
        let state = after(&policy, &[at_work(), vec![RENEWED]].concat());
        let lost = Time(1) + policy.limits.lock;
        let (state, effects) = step(&policy, &state, &Event::Passed(Timer::Lock), lost);
        assert!(effects.contains(&Effect::Poll), "it was given up without a last look for a renewal");
        let (kept, _) = step(&policy, &state, &RENEWED, lost);
        let (kept, _) = step(&policy, &kept, &Event::Polled, lost);
        assert!(matches!(kept.phase, Phase::Busy { .. }), "a job that GitHub waits for was stopped: {kept:?}");
        let (state, _) = step(&policy, &state, &Event::Polled, lost);
        let reason = Outcome::JobAbandoned;
        assert!(matches!(state.phase, Phase::Draining { reason: told, .. } if told == reason), "{state:?}");
    }

    #[test]
    fn a_job_of_whose_lock_nothing_is_known_is_not_judged_by_it() {
        let unknown = Event::Observed(Observation::LockUnknown);
        let before = [listening(), vec![RENEWED], at_work()].concat();
        for events in [at_work(), [at_work(), vec![RENEWED, unknown]].concat(), before] {
            let state = after(&long_idle(), &events);
            assert!(!state.timers().any(|(timer, _)| timer == Timer::Lock), "it has no lock: {state:?}");
        }
    }
}
