//! The states of a run. Every variant owns its data; every deadline is in the state, so that it survives the agent.

use serde::{Deserialize, Serialize};

use super::evidence::{Evidence, Exit};
use super::outcome::{End, Outcome};
use super::policy::Policy;
use super::time::Time;

/// Where a run is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct State {
    /// The phase and its data.
    pub phase: Phase,
    /// The limit over all phases.
    pub lifetime: Lifetime,
    /// Whether the instance is in an Auto Scaling group that counts it (not in the group's warm pool).
    pub in_group: bool,
    /// The group is terminating the instance: it has lowered its capacity already, or not, as it wanted.
    #[serde(default)]
    pub leaving_group: bool,
    /// Until when an operator wants the machine kept.
    pub hold: Option<Time>,
    /// The Docker daemon was restarted because it did not answer; it gets no second try.
    #[serde(default)]
    pub docker_restarted: bool,
    /// In a warm pool: when systemd's timer of the lifetime is renewed next.
    #[serde(default)]
    pub renewal: Option<Time>,
    /// The machine is being shut down. Before a runner is there, what its group wants is asked before that counts as an end: a
    /// warm pool stops its instances. Later the shutdown waits for this process, and the process for no more than an accepted
    /// termination. This agent process only; the next one was started, so there is no shutdown any more.
    #[serde(default, skip_serializing_if = "is_false")]
    pub shutdown: bool,
    /// A limit of the runner has passed, and what happened meanwhile is looked at: until then nothing ends it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub poll: Option<Time>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
const fn is_false(flag: &bool) -> bool {
    !*flag
}

/// The limit over all phases, counted from launch or from leaving the warm pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Lifetime {
    /// In a warm pool: time does not count.
    Paused,
    /// The run ends at this moment at the latest.
    Until(Time),
    /// It has passed; the run is ending.
    Passed,
}

/// Where a run is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "state", rename_all_fields = "kebab-case")]
pub enum Phase {
    /// Learning who the machine is.
    Booting {
        /// Then the metadata service counts as unavailable.
        deadline: Time,
    },
    /// In a warm pool: nothing is wanted yet.
    Warm,
    /// The JIT configuration is not there yet.
    WaitingForJitConfig {
        /// Then nobody will write it any more.
        deadline: Time,
    },
    /// The runner was spawned and does not listen yet.
    Starting {
        /// Then it never will.
        deadline: Time,
        /// What is known of the runner.
        runner: Runner,
    },
    /// Listening; nothing is assigned.
    Idle {
        /// Then no job comes.
        deadline: Time,
        /// What is known of the runner.
        runner: Runner,
    },
    /// A job request was seen; no worker yet.
    Assigned {
        /// Then the listener is wedged.
        deadline: Time,
        /// What is known of the runner.
        runner: Runner,
    },
    /// A worker is at work.
    Busy {
        /// Then the job takes too long.
        deadline: Time,
        /// What is known of the runner.
        runner: Runner,
    },
    /// The job is done and the listener still there; or the listener is gone and the worker still there.
    Finishing {
        /// Then what is left is killed.
        deadline: Time,
        /// What is known of the runner.
        runner: Runner,
    },
    /// The listener is replacing itself.
    Updating {
        /// Then it takes too long.
        deadline: Time,
        /// The idle deadline that goes on if the update fails.
        idle: Time,
        /// What is known of the runner.
        runner: Runner,
    },
    /// The runner was told to stop.
    Draining {
        /// Then its tree is killed; after the kill, then the run goes on without it.
        deadline: Time,
        /// Why.
        reason: Outcome,
        /// The tree was killed.
        killed: bool,
        /// What is known of the runner.
        runner: Runner,
    },
    /// The runner is gone: flush logs, write the record, tag.
    Closing {
        /// Then the run goes on without.
        deadline: Time,
        /// How it ended.
        end: End,
    },
    /// The machine is kept for a person.
    Held {
        /// Then it is ended after all.
        deadline: Time,
        /// How it ended.
        end: End,
    },
    /// The machine is being ended.
    Terminating {
        /// Then the next method is tried.
        deadline: Time,
        /// The method being tried.
        method: TerminationMethod,
        /// It was accepted: the machine goes away.
        accepted: bool,
        /// How it ended.
        end: End,
    },
    /// Nothing is left to do: the agent process ends.
    Ended {
        /// How it ended.
        end: End,
    },
}

/// What is known of a runner that was started, or is about to be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Runner {
    /// What was seen of it.
    pub evidence: Evidence,
    /// The listener has ended this way.
    pub exit: Option<Exit>,
    /// A notice that will take the machine away while the job runs.
    pub interruption: Option<Interruption>,
    /// What the steps of the job have left, once the runner was told to stop.
    #[serde(default)]
    pub steps: Option<StepsLeft>,
    /// Then GitHub has given the job up: its lock was not renewed for so long. `None` until a renewal was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lock: Option<Time>,
}

impl Runner {
    /// When the job's lock was last renewed, as far as that was seen.
    #[must_use]
    pub fn lock_renewed(&self, policy: &Policy) -> Option<Time> {
        self.lock.map(|lost| lost.before(policy.limits.lock))
    }
}

/// How long the steps of a job have while the runner is being stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct StepsLeft {
    /// Then they are killed, so that the worker still reports before it is killed itself.
    pub until: Time,
    /// They were killed.
    pub killed: bool,
}

/// A notice that the machine goes away at a known time, while a job uses what is left of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Interruption {
    /// The outcome if it comes to that.
    pub outcome: Outcome,
    /// Then the machine goes. (A journal of an earlier version does not tell.)
    #[serde(default)]
    pub at: Time,
    /// Then the runner is told to stop.
    pub stop: Time,
    /// Then the tree is killed.
    pub kill: Time,
}

/// One way to end the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum TerminationMethod {
    /// Let the Auto Scaling group go on with the termination that waits for its hook.
    LifecycleAction,
    /// `TerminateInstanceInAutoScalingGroup`
    AutoScaling {
        /// `ShouldDecrementDesiredCapacity`
        decrement: bool,
    },
    /// `TerminateInstances` on itself.
    Ec2,
    /// Power off through the operating system.
    PowerOff,
}

/// The timers a state can have running.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Timer {
    /// The phase's own deadline.
    Phase,
    /// A notice asks for the runner's stop.
    Interruption,
    /// The limit over all phases.
    Lifetime,
    /// The steps of a job that is being stopped are killed, without their worker.
    Steps,
    /// In a warm pool: systemd's timer of the lifetime wants to be renewed.
    Renewal,
    /// The job's lock has run out, and GitHub has given the job up.
    Lock,
}

impl State {
    /// The first state of a run that begins at `now`.
    #[must_use]
    pub fn new(policy: &Policy, now: Time) -> Self {
        Self {
            phase: Phase::Booting { deadline: now + policy.limits.booting },
            lifetime: Lifetime::Until(now + policy.limits.lifetime),
            in_group: false,
            leaving_group: false,
            hold: None,
            docker_restarted: false,
            renewal: None,
            shutdown: false,
            poll: None,
        }
    }

    /// Until when the machine is kept for a person, or will be if its run ends before.
    #[must_use]
    pub const fn held_until(&self) -> Option<Time> {
        match &self.phase {
            Phase::Held { deadline, .. } => Some(*deadline),
            _ => self.hold,
        }
    }

    /// Every timer this state has running.
    pub fn timers(&self) -> impl Iterator<Item = (Timer, Time)> + '_ {
        self.limits().map(|(timer, at)| (timer, self.poll.map_or(at, |until| at.max(until))))
    }

    /// The moments of the timers, whether or not a poll puts them off.
    pub(super) fn limits(&self) -> impl Iterator<Item = (Timer, Time)> + '_ {
        let lifetime = match self.lifetime {
            Lifetime::Until(at) if !self.phase.is_ending() => Some((Timer::Lifetime, at)),
            _ => None,
        };
        let interruption = self.phase.interruption().map(|notice| (Timer::Interruption, notice.stop));
        let steps = self.phase.steps_until().map(|at| (Timer::Steps, at));
        let renewal = self.renewal.filter(|_| self.phase == Phase::Warm).map(|at| (Timer::Renewal, at));
        let phase = self.phase.deadline().map(|at| (Timer::Phase, at));
        let lock = self.phase.lock().map(|at| (Timer::Lock, at));
        [phase, interruption, lifetime, steps, renewal, lock].into_iter().flatten()
    }

    /// The timer that fires next.
    #[must_use]
    pub fn next_timer(&self) -> Option<(Timer, Time)> {
        self.timers().min_by_key(|(timer, at)| (*at, *timer))
    }
}

impl Phase {
    /// The phase's name, as in the documentation.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Booting { .. } => "Booting",
            Self::Warm => "Warm",
            Self::WaitingForJitConfig { .. } => "WaitingForJitConfig",
            Self::Starting { .. } => "Starting",
            Self::Idle { .. } => "Idle",
            Self::Assigned { .. } => "Assigned",
            Self::Busy { .. } => "Busy",
            Self::Finishing { .. } => "Finishing",
            Self::Updating { .. } => "Updating",
            Self::Draining { .. } => "Draining",
            Self::Closing { .. } => "Closing",
            Self::Held { .. } => "Held",
            Self::Terminating { .. } => "Terminating",
            Self::Ended { .. } => "Ended",
        }
    }

    /// The phase's own deadline.
    #[must_use]
    pub const fn deadline(&self) -> Option<Time> {
        match self {
            Self::Booting { deadline }
            | Self::WaitingForJitConfig { deadline }
            | Self::Starting { deadline, .. }
            | Self::Idle { deadline, .. }
            | Self::Assigned { deadline, .. }
            | Self::Busy { deadline, .. }
            | Self::Finishing { deadline, .. }
            | Self::Updating { deadline, .. }
            | Self::Draining { deadline, .. }
            | Self::Closing { deadline, .. }
            | Self::Held { deadline, .. }
            | Self::Terminating { deadline, .. } => Some(*deadline),
            Self::Warm | Self::Ended { .. } => None,
        }
    }

    /// What is known of the runner, in the phases that have one.
    #[must_use]
    pub const fn runner(&self) -> Option<&Runner> {
        match self {
            Self::Starting { runner, .. }
            | Self::Idle { runner, .. }
            | Self::Assigned { runner, .. }
            | Self::Busy { runner, .. }
            | Self::Finishing { runner, .. }
            | Self::Updating { runner, .. }
            | Self::Draining { runner, .. } => Some(runner),
            _ => None,
        }
    }

    pub(super) const fn runner_mut(&mut self) -> Option<&mut Runner> {
        match self {
            Self::Starting { runner, .. }
            | Self::Idle { runner, .. }
            | Self::Assigned { runner, .. }
            | Self::Busy { runner, .. }
            | Self::Finishing { runner, .. }
            | Self::Updating { runner, .. }
            | Self::Draining { runner, .. } => Some(runner),
            _ => None,
        }
    }

    /// The end that is being carried out.
    #[must_use]
    pub const fn end(&self) -> Option<&End> {
        match self {
            Self::Closing { end, .. }
            | Self::Held { end, .. }
            | Self::Terminating { end, .. }
            | Self::Ended { end } => Some(end),
            _ => None,
        }
    }

    /// When the job that runs is lost to GitHub. A job that is over, or was told to stop, needs its lock no more.
    fn lock(&self) -> Option<Time> {
        match self {
            Self::Assigned { runner, .. } | Self::Busy { runner, .. } | Self::Finishing { runner, .. }
                if !runner.evidence.job_over() =>
            {
                runner.lock
            }
            _ => None,
        }
    }

    /// A notice that waits for its time. While draining, the reason's own deadline rules.
    const fn interruption(&self) -> Option<Interruption> {
        match self {
            Self::Draining { .. } => None,
            _ => match self.runner() {
                Some(runner) => runner.interruption,
                None => None,
            },
        }
    }

    /// When the steps of a job that is being stopped are killed, if they can still be there.
    fn steps_until(&self) -> Option<Time> {
        match self {
            Self::Draining { killed: false, runner, .. }
                if runner.evidence.assigned() && !runner.evidence.job_over() =>
            {
                runner.steps.filter(|steps| !steps.killed).map(|steps| steps.until)
            }
            _ => None,
        }
    }

    /// Whether there is a runner that its limits can still end.
    pub(super) const fn is_at_work(&self) -> bool {
        self.runner().is_some() && !matches!(self, Self::Draining { .. })
    }

    /// Closing and Terminating are bounded by themselves; the lifetime adds nothing there.
    pub const fn is_ending(&self) -> bool {
        matches!(self, Self::Closing { .. } | Self::Terminating { .. } | Self::Ended { .. })
    }
}
