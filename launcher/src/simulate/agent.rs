//! The agent of a simulated instance: the lifecycle that the real agent runs, with everything around it made up.

use std::time::Duration;

use mayfly_core::launcher::Moment;
use mayfly_core::lifecycle::{
    Begin, Effect, Ending, Event, Exit, Identity, JobResult, Limits, Observation, Phase, Policy, State, Target,
    TerminationMethod, Time, step,
};

/// What an agent does to the world around it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Does {
    /// This happens to it later.
    Later(Duration, Event),
    /// It wants its JIT configuration from now on.
    WantsConfiguration,
    /// It has read it, and removes it.
    RemovesParameter,
    /// Its runner listens.
    Listens,
    /// Its runner is gone.
    RunnerGone,
    /// It tags its instance.
    Tags(&'static str),
    /// Its instance ends.
    Terminates,
}

/// One agent.
#[derive(Debug)]
pub(super) struct Agent {
    policy: Policy,
    state: State,
    booted: Moment,
    /// Its runner is connected.
    pub(super) online: bool,
}

/// The agent's defaults, as its table of keys has them.
fn policy() -> Policy {
    let seconds = Duration::from_secs;
    Policy {
        limits: Limits {
            booting: seconds(60),
            jit_wait: seconds(600),
            listening: seconds(300),
            idle: seconds(300),
            assigned: seconds(300),
            job: seconds(23_400),
            finishing: seconds(120),
            orphaned: seconds(600),
            lock: seconds(720),
            updating: seconds(300),
            draining: seconds(45),
            closing: seconds(30),
            terminating: seconds(60),
            lifetime: seconds(27_000),
        },
        stop_at: seconds(25),
        kill_at: seconds(10),
        docker_required: false,
        drain_on_rebalance: true,
        hold_on_failure: Duration::ZERO,
        launch_hook: false,
        termination_hook: false,
        ending: Ending::Instance { decrement: true },
    }
}

impl Agent {
    /// An agent that begins now.
    pub(super) fn boots(now: Moment) -> (Self, Vec<Does>) {
        let policy = policy();
        let mut agent = Self { state: State::new(&policy, Time(1)), policy, booted: now, online: false };
        let does = agent.takes(now, &Event::Begin(Begin::Fresh));
        (agent, does)
    }

    fn time(&self, now: Moment) -> Time {
        Time(1 + now.0.saturating_sub(self.booted.0))
    }

    /// Something happens to it.
    pub(super) fn takes(&mut self, now: Moment, event: &Event) -> Vec<Does> {
        let time = self.time(now);
        let before = self.state.phase.name();
        let (state, effects) = step(&self.policy, &self.state, event, time);
        self.state = state;
        let mut does: Vec<Does> = effects.into_iter().flat_map(|effect| self.does(&effect, time)).collect();
        if self.state.phase.name() != before {
            does.extend(match self.state.phase {
                Phase::Idle { .. } => Some(Does::Tags("idle")),
                Phase::Busy { .. } => Some(Does::Tags("busy")),
                Phase::Closing { .. } => Some(Does::Tags("closing")),
                _ => None,
            });
        }
        does
    }

    fn does(&mut self, effect: &Effect, now: Time) -> Vec<Does> {
        let millis = Duration::from_millis;
        let identity = Identity { target: Target::Absent, launched: None, notice: None };
        match *effect {
            Effect::Arm { timer, at } => vec![Does::Later(at.since(now), Event::Passed(timer))],
            Effect::Identify => vec![Does::Later(millis(50), Event::Identified(identity))],
            Effect::FetchJitConfig => vec![Does::WantsConfiguration],
            Effect::StartRunner => vec![Does::Later(millis(60), Event::Started), Does::Listens],
            Effect::DeleteJitConfig => vec![Does::RemovesParameter],
            Effect::Poll => vec![Does::Later(millis(1), Event::Polled)],
            Effect::Interrupt { .. } | Effect::Kill => {
                let was = std::mem::take(&mut self.online);
                let exit = Does::Later(millis(400), Event::Exited(Exit::Code(0)));
                if was { vec![Does::RunnerGone, exit] } else { vec![exit] }
            }
            Effect::Close { .. } => vec![Does::Later(millis(300), Event::Closed)],
            Effect::Terminate(method) => {
                let ends = matches!(method, TerminationMethod::Ec2 | TerminationMethod::PowerOff);
                let accepted = Does::Later(millis(200), Event::TerminationAccepted(method));
                if ends { vec![accepted, Does::Terminates] } else { vec![accepted] }
            }
            _ => Vec::new(),
        }
    }

    /// Whether it still waits for its JIT configuration.
    pub(super) const fn waits_for_configuration(&self) -> bool {
        matches!(self.state.phase, Phase::WaitingForJitConfig { .. })
    }

    /// GitHub gives it a job, which takes so long: what its agent sees of it.
    pub(super) fn works(&self, takes: Duration) -> Vec<(Duration, Event)> {
        let millis = Duration::from_millis;
        let job = "build".to_owned();
        vec![
            (millis(100), Event::Observed(Observation::JobMessage)),
            (millis(400), Event::Observed(Observation::Running { job: job.clone() })),
            (millis(500), Event::Observed(Observation::WorkerSeen)),
            (takes, Event::Observed(Observation::Completed { job, result: JobResult::Succeeded })),
            (takes + millis(200), Event::Observed(Observation::WorkerGone)),
            (takes + millis(900), Event::Exited(Exit::Code(100))),
        ]
    }
}
