//! From the agent's start to the runner's start, and how a new agent process goes on where the last one stopped.

use super::runner::phase_listened;
use super::{Begin, Effect, End, Ending, Found, Identity, Lifetime, Outcome, Phase, Runner, State, Step, Target};

impl Step<'_> {
    pub(super) fn begin(&mut self, begin: &Begin) {
        // What an earlier process was asked for, or asked for itself, nobody answers any more.
        (self.state.shutdown, self.state.poll) = (false, None);
        match begin {
            Begin::Fresh => self.want(Effect::Identify),
            Begin::Again(found) => self.begin_again(*found),
            Begin::SecondBoot { marked } => self.second_boot(*marked),
            Begin::JournalLost(Found::Marker) => self.attach_to(Runner::default()),
            Begin::JournalLost(Found::Nothing) => self.close(End::without_runner(
                Outcome::JournalFailed,
                "the journal is unreadable, so nothing proves that no runner was started before",
            )),
        }
        // Where the machine is asked who it is first, the watch begins with the answer.
        if !matches!(self.state.phase, Phase::Booting { .. } | Phase::Warm) && !self.state.phase.is_ending() {
            self.want(Effect::WatchNotices);
        }
    }

    fn begin_again(&mut self, found: Found) {
        if let Some(runner) = self.state.phase.runner_mut() {
            runner.evidence.found_again();
        }
        match (&self.state.phase, found) {
            (Phase::Booting { .. } | Phase::Warm, Found::Nothing) => self.want(Effect::Identify),
            (Phase::WaitingForJitConfig { .. }, Found::Nothing) => self.want(Effect::FetchJitConfig),
            // The start was journaled and did not happen: what was fetched went with the process.
            (Phase::Starting { .. }, Found::Nothing) => self.wait_for_jit_config(),
            // The journal lost its last lines, the marker did not.
            (Phase::Booting { .. } | Phase::Warm | Phase::WaitingForJitConfig { .. }, Found::Marker) => {
                self.attach_to(Runner::default());
            }
            // The stop came before the start was marked, and cut it off.
            (phase @ Phase::Draining { .. }, Found::Nothing) if !phase_listened(phase) => self.close_drained(),
            (phase, Found::Nothing) if phase.runner().is_some() => {
                let detail = "the journal tells of a runner, but the marker of its start is gone";
                // What is left of it is cleared away.
                self.close(End { ran: true, ..End::without_runner(Outcome::AgentFailed, detail) });
            }
            (Phase::Draining { killed, reason, .. }, Found::Marker) => {
                let again =
                    if *killed { Effect::Kill } else { Effect::Interrupt { machine_goes: self.machine_goes(*reason) } };
                self.want(Effect::Attach);
                self.want(again);
                self.kill_steps_again();
                self.publish_again();
            }
            (phase, Found::Marker) if phase.runner().is_some() => {
                self.want(Effect::Attach);
                self.want(Effect::DeleteJitConfig);
                self.publish_again();
                if phase_listened(&self.state.phase) {
                    self.answer_launch(true);
                }
            }
            _ => self.resume_ending(),
        }
    }

    fn attach_to(&mut self, runner: Runner) {
        if self.state.lifetime == Lifetime::Paused {
            self.state.lifetime = Lifetime::Until(self.now + self.policy.limits.lifetime);
        }
        self.state.phase = Phase::Starting { deadline: self.now + self.policy.limits.listening, runner };
        self.want(Effect::Attach);
        self.want(Effect::DeleteJitConfig);
    }

    /// Deadlines of the earlier boot mean nothing on this boot's clock, so every one of them is made anew.
    fn second_boot(&mut self, marked: bool) {
        self.state.lifetime = Lifetime::Until(self.now + self.policy.limits.lifetime);
        self.state.hold = None;
        match self.state.phase.end().cloned() {
            Some(end) => self.close(end),
            None if marked || self.state.phase.runner().is_some() => {
                self.close(End { ran: true, ..End::without_runner(Outcome::SecondBoot, "") });
            }
            None => {
                self.state = State::new(self.policy, self.now);
                self.want(Effect::Identify);
            }
        }
    }

    pub(super) fn identified(&mut self, identity: &Identity) {
        if !matches!(self.state.phase, Phase::Booting { .. } | Phase::Warm) {
            return;
        }
        self.want(Effect::WatchNotices);
        match identity.target {
            Target::Warm => self.state.in_group = false,
            Target::InService => self.state.in_group = true,
            Target::Absent | Target::Unknown => {} // not told now is not "no"
        }
        // An agent that was restarted in the pool may learn only now that the instance has left it.
        let counts_from = if self.state.phase == Phase::Warm { Some(self.now) } else { identity.launched };
        if let Some(moment) = counts_from {
            self.state.lifetime = Lifetime::Until(moment + self.policy.limits.lifetime);
        }
        if let Some(notice) = identity.notice {
            self.notice(notice);
            if self.state.phase.end().is_some() {
                return;
            }
        }
        match (identity.target, &self.state.phase) {
            (Target::Warm, _) => self.enter_pool(),
            // In the pool until somebody says otherwise; the watch over the notices goes on asking.
            (Target::Absent | Target::Unknown, Phase::Warm) => self.enter_pool(),
            (Target::InService, Phase::Warm) if self.state.shutdown => self.enter_pool(),
            (Target::Unknown, _) if self.state.shutdown => self.want(Effect::Leave),
            // Asked for a while, and in no pool: this shutdown is the end.
            _ if self.state.shutdown => self.close(End::without_runner(Outcome::ExternalShutdown, "")),
            _ => self.wait_for_jit_config(),
        }
    }

    /// In the warm pool time does not count, and nothing is wanted.
    fn enter_pool(&mut self) {
        self.state.phase = Phase::Warm;
        self.state.lifetime = Lifetime::Paused;
        self.state.in_group = false;
        self.renew_deadline();
        if self.state.shutdown {
            // The pool stops its instances. This is one that waits, and the next boot goes on.
            self.want(Effect::Leave);
        } else {
            // The hook also holds an instance on its way into the pool, and there is nothing more to prepare.
            self.answer_launch(true);
        }
    }

    /// Whether this may be an instance that its warm pool stops: nothing was started, and nobody has said that it is
    /// wanted at work.
    pub(super) fn may_be_in_pool(&self, phase: &Phase) -> bool {
        let before_the_runner =
            matches!(phase, Phase::Booting { .. } | Phase::Warm | Phase::WaitingForJitConfig { .. });
        self.policy.ending != Ending::Process && before_the_runner && (*phase == Phase::Warm || !self.state.in_group)
    }

    /// A shutdown of an instance that may be in its warm pool: ends the run only if the answer says that it is not.
    pub(super) fn ask_before_the_end(&mut self, phase: &Phase) {
        if self.state.shutdown {
            return;
        }
        self.state.shutdown = true;
        if !matches!(phase, Phase::Warm) {
            self.state.phase = Phase::Booting { deadline: self.now + self.policy.limits.booting };
        }
        self.want(Effect::Identify);
    }

    pub(super) fn not_identified(&mut self, detail: &str) {
        self.unusable(Outcome::ImdsUnavailable, detail);
    }

    /// Whatever is running already is no business of this: nothing was fetched yet.
    pub(super) fn not_isolated(&mut self, detail: &str) {
        self.unusable(Outcome::IsolationBroken, detail);
    }

    /// A machine that goes down answers less and less: nothing is ended for that.
    fn unusable(&mut self, outcome: Outcome, detail: &str) {
        match self.state.phase {
            Phase::Booting { .. } | Phase::Warm if self.state.shutdown => self.want(Effect::Leave),
            Phase::Booting { .. } | Phase::Warm => self.close(End::without_runner(outcome, detail)),
            _ => {}
        }
    }

    /// A runner that was started makes the best of its machine: whatever is short then is told, and stops nothing.
    pub(super) fn not_fit(&mut self, outcome: Outcome, detail: &str) {
        if matches!(self.state.phase, Phase::Booting { .. } | Phase::Warm | Phase::WaitingForJitConfig { .. }) {
            self.close(End::without_runner(outcome, detail));
        }
    }

    pub(super) fn in_service(&mut self) {
        let was_warm = self.state.phase == Phase::Warm;
        if was_warm && self.state.shutdown {
            return; // the next boot is told so again
        }
        self.state.in_group = true;
        if was_warm {
            self.state.lifetime = Lifetime::Until(self.now + self.policy.limits.lifetime);
            self.wait_for_jit_config();
        }
    }

    /// Well before it comes true, however long the machine stays in the pool; and one lost renewal costs a job no more than
    /// a third of its time.
    pub(super) fn renew_deadline(&mut self) {
        self.state.renewal = Some(self.now + self.policy.limits.lifetime / 3);
        self.want(Effect::RenewDeadline);
    }

    /// A new instance may learn only now that it is to wait in the pool. What was started already is not taken back.
    pub(super) fn warmed(&mut self) {
        if matches!(self.state.phase, Phase::Booting { .. } | Phase::WaitingForJitConfig { .. }) {
            self.enter_pool();
        }
    }

    fn wait_for_jit_config(&mut self) {
        if self.state.phase == Phase::Warm {
            self.state.renewal = None;
            self.want(Effect::RenewDeadline); // a job has the whole lifetime before it
        }
        self.state.phase = Phase::WaitingForJitConfig { deadline: self.now + self.policy.limits.jit_wait };
        self.want(Effect::FetchJitConfig);
    }

    pub(super) fn jit_config_ready(&mut self) {
        if matches!(self.state.phase, Phase::WaitingForJitConfig { .. }) {
            self.state.phase =
                Phase::Starting { deadline: self.now + self.policy.limits.listening, runner: Runner::default() };
            self.want(Effect::StartRunner);
        }
    }

    pub(super) fn jit_config_failed(&mut self, outcome: Outcome, detail: &str) {
        if matches!(self.state.phase, Phase::WaitingForJitConfig { .. }) {
            self.close(End::without_runner(outcome, detail));
        }
    }

    pub(super) fn started(&mut self) {
        if self.state.phase.runner().is_some() {
            self.want(Effect::DeleteJitConfig);
        }
        // A stop that came between the order to start and the start found no listener to signal.
        if let Phase::Draining { killed: false, reason, .. } = self.state.phase {
            self.want(Effect::Interrupt { machine_goes: self.machine_goes(reason) });
        }
    }

    pub(super) fn not_started(&mut self, outcome: Outcome, detail: &str) {
        // The kill of a runner that was being started cuts its start off: the reason is that of the stop.
        if matches!(self.state.phase, Phase::Draining { killed: true, .. }) {
            return self.close_drained();
        }
        if self.state.phase.runner().is_some_and(|runner| runner.exit.is_none()) {
            self.close(End { ran: true, ..End::without_runner(outcome, detail) });
        }
    }

    pub(super) fn begin_passed(&mut self) {
        match self.state.phase {
            Phase::Booting { .. } => self.unusable(Outcome::ImdsUnavailable, ""),
            _ => self.close(End::without_runner(Outcome::JitConfigTimeout, "")),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::lifecycle::testing::{after, policy};
    use crate::lifecycle::{
        Begin, Effect, Event, Found, Identity, Notice, Observation, Outcome, Phase, State, Target, Time, Timer, step,
    };

    fn warm() -> Event {
        Event::Identified(Identity { target: Target::Warm, launched: None, notice: None })
    }

    #[test]
    fn the_deadline_timer_is_renewed_on_entering_the_pool_in_it_and_on_leaving_it() {
        let policy = policy();
        let renews = |effects: &[Effect]| effects.contains(&Effect::RenewDeadline);
        let (mut state, effects) = step(&policy, &State::new(&policy, Time(1)), &warm(), Time(1));
        assert!(renews(&effects), "the boot's minutes count");
        for round in 1..=20 {
            let at = Time(1) + policy.limits.lifetime / 3 * round;
            assert_eq!(state.next_timer(), Some((Timer::Renewal, at)), "nobody renews it in the pool");
            let (next, effects) = step(&policy, &state, &Event::Passed(Timer::Renewal), at);
            assert!(renews(&effects) && next.phase == Phase::Warm, "it comes true in the pool: {next:?}");
            state = next;
        }
        let (state, effects) = step(&policy, &state, &Event::InService, Time(2));
        assert!(renews(&effects), "the job has what the pool has left of the lifetime");
        assert!(!state.timers().any(|(timer, _)| timer == Timer::Renewal), "a job's machine lives for ever: {state:?}");
    }

    #[test]
    fn an_agent_that_was_restarted_in_the_pool_and_is_in_service_now_renews_it_too() {
        let policy = policy();
        let state = step(&policy, &State::new(&policy, Time(1)), &warm(), Time(1)).0;
        let out = Identity { target: Target::InService, launched: Some(Time(1)), notice: None };
        assert!(step(&policy, &state, &Event::Identified(out.clone()), Time(2)).1.contains(&Effect::RenewDeadline));
        let fresh = step(&policy, &State::new(&policy, Time(1)), &Event::Identified(out), Time(2)).1;
        assert!(!fresh.contains(&Effect::RenewDeadline), "without a pool the timer counts from the boot");
    }

    #[test]
    fn a_start_that_a_kill_cut_off_is_told_as_the_stop() {
        let policy = policy();
        let due = Event::Notice(Notice::Spot { at: Time(1) });
        let state = after(&policy, &[Event::JitConfigReady, due, Event::Passed(Timer::Phase)]);
        assert!(matches!(state.phase, Phase::Draining { killed: true, .. }), "{state:?}");
        let cut = Event::NotStarted { outcome: Outcome::AgentFailed, detail: "no answer".to_owned() };
        let (state, _) = step(&policy, &state, &cut, Time(2));
        assert_eq!(state.phase.end().map(|end| end.outcome), Some(Outcome::SpotInterruption));
    }

    #[test]
    fn a_start_that_a_stop_and_the_agents_death_cut_off_is_told_as_the_stop_and_cleared_away() {
        let policy = policy();
        let due = Event::Notice(Notice::Spot { at: Time(1) });
        let cut = [Event::JitConfigReady, due, Event::Passed(Timer::Phase)];
        for events in [&cut[..2], &cut[..]] {
            let state = after(&policy, events);
            let (state, _) = step(&policy, &state, &Event::Begin(Begin::Again(Found::Nothing)), Time(2));
            let end = state.phase.end().map(|end| (end.outcome, end.ran));
            assert_eq!(
                end,
                Some((Outcome::SpotInterruption, true)),
                "its files are left behind, or the reason is lost"
            );
        }
    }

    #[test]
    fn what_is_left_of_a_runner_whose_marker_is_gone_is_cleared_away() {
        let policy = policy();
        let state = after(&policy, &[Event::JitConfigReady, Event::Started, Event::Observed(Observation::Listening)]);
        let (state, _) = step(&policy, &state, &Event::Begin(Begin::Again(Found::Nothing)), Time(2));
        let end = state.phase.end().map(|end| (end.outcome, end.ran));
        assert_eq!(end, Some((Outcome::AgentFailed, true)));
    }

    fn full() -> Event {
        Event::NotFit { outcome: Outcome::DiskFull, detail: "3 bytes free".to_owned() }
    }

    #[test]
    fn a_machine_that_is_not_fit_ends_before_it_has_a_runner() {
        let state = after(&policy(), &[full()]);
        let end = state.phase.end().map(|end| (end.outcome, end.detail.as_str(), end.ran));
        assert_eq!(end, Some((Outcome::DiskFull, "3 bytes free", false)));
    }

    #[test]
    fn a_runner_is_never_stopped_for_it() {
        let policy = policy();
        let with_runner = [Event::JitConfigReady, Event::Started, Event::Observed(Observation::Listening)];
        for events in [&with_runner[..1], &with_runner[..2], &with_runner[..]] {
            let state = after(&policy, events);
            assert_eq!(step(&policy, &state, &full(), Time(2)), (state, vec![]));
        }
    }
}
