//! The lifecycle of an instance: a pure core with no I/O, no clock and no async.
//!
//! [`step`] takes a state, an event and the time, and returns the next state and what to do. Everything that is a rule
//! is in here; everything that acts is elsewhere. The loop in the agent's daemon makes a state durable before it acts.

mod begin;
mod docker;
mod end;
mod event;
mod evidence;
mod job;
mod outcome;
mod policy;
mod runner;
mod state;
mod steps;
mod stop;
#[cfg(test)]
mod testing;
mod time;

pub use event::{Begin, Effect, Event, Found, Identity, Notice, Stop, Target};
pub use evidence::{ConsoleError, Evidence, Exit, JobInfo, Observation, Worker};
pub use outcome::{End, JobResult, Outcome};
pub use policy::{
    CLOSE_LEAD, CLOSE_LEAST, Ending, KILL_GRACE, Limits, MAINTENANCE_LEAD, POLL_GRACE, Policy, REPORT_LEAD,
};
pub use state::{Interruption, Lifetime, Phase, Runner, State, StepsLeft, TerminationMethod, Timer};
pub use time::Time;

/// One step of a run.
///
/// Events that come too late for the state they find are ignored, so a caller never has to ask before it tells.
#[must_use]
pub fn step(policy: &Policy, state: &State, event: &Event, now: Time) -> (State, Vec<Effect>) {
    let mut step = Step { policy, now, state: state.clone(), effects: Vec::new() };
    step.take(event);
    step.forget_poll(&state.phase);
    let armed = matches!(event, Event::Begin(_) | Event::Passed(_)) || step.state.next_timer() != state.next_timer();
    if let Some((timer, at)) = step.state.next_timer().filter(|_| armed) {
        step.effects.push(Effect::Arm { timer, at });
    }
    (step.state, step.effects)
}

/// A step being made: the state changes in place, the effects gather.
struct Step<'a> {
    policy: &'a Policy,
    now: Time,
    state: State,
    effects: Vec<Effect>,
}

impl Step<'_> {
    fn take(&mut self, event: &Event) {
        match event {
            Event::Begin(begin) => self.begin(begin),
            Event::Identified(identity) => self.identified(identity),
            Event::NotIdentified { detail } => self.not_identified(detail),
            Event::NotIsolated { detail } => self.not_isolated(detail),
            Event::NotFit { outcome, detail } => self.not_fit(*outcome, detail),
            Event::InService => self.in_service(),
            Event::Warmed => self.warmed(),
            Event::DockerDown { detail } => self.docker_down(detail),
            Event::InGroup => self.state.in_group |= self.state.phase != Phase::Warm,
            Event::JitConfigReady => self.jit_config_ready(),
            Event::JitConfigFailed { outcome, detail } => self.jit_config_failed(*outcome, detail),
            Event::Started => self.started(),
            Event::NotStarted { outcome, detail } => self.not_started(*outcome, detail),
            Event::Observed(observation) => self.saw(observation),
            Event::Polled => self.polled(),
            Event::Exited(exit) => self.exited(*exit),
            Event::Passed(timer) => self.passed(*timer),
            Event::Stop(stop) => self.stop(*stop),
            Event::Notice(notice) => self.notice(*notice),
            Event::Withdrawn(notice) => self.withdrawn(*notice),
            Event::Hold(until) => self.hold(*until),
            Event::Release => self.release(),
            Event::Resumed => self.resumed(),
            Event::Closed => self.closed(),
            Event::TerminationAccepted(method) => self.termination_accepted(*method),
            Event::TerminationRefused { method, at_min_size, .. } => self.termination_refused(*method, *at_min_size),
        }
    }

    fn passed(&mut self, timer: Timer) {
        // A timer that was re-armed meanwhile fires too early for its new moment.
        if !self.state.timers().any(|(running, at)| running == timer && at <= self.now) {
            return;
        }
        if !self.poll_first(timer) {
            self.carry_out(timer);
        }
    }

    /// What follows when a limit has passed.
    fn carry_out(&mut self, timer: Timer) {
        match timer {
            Timer::Lifetime => self.lifetime_passed(),
            Timer::Interruption => self.interruption_due(),
            Timer::Steps => self.steps_due(),
            Timer::Renewal => self.renew_deadline(),
            Timer::Lock => self.lock_lost(),
            Timer::Phase => match self.state.phase {
                Phase::Booting { .. } | Phase::Warm | Phase::WaitingForJitConfig { .. } => self.begin_passed(),
                Phase::Closing { .. } | Phase::Held { .. } | Phase::Terminating { .. } | Phase::Ended { .. } => {
                    self.end_passed();
                }
                _ => self.runner_passed(),
            },
        }
    }

    fn want(&mut self, effect: Effect) {
        self.effects.push(effect);
    }
}
