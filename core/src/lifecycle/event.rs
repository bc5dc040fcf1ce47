//! What can happen to a run, and what the run then wants done.
//!
//! No secret is ever in here: effects name the JIT configuration, the performer reads it.

use super::evidence::{Exit, Observation};
use super::outcome::End;
use super::outcome::Outcome;
use super::state::{TerminationMethod, Timer};
use super::time::Time;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// The agent process begins, or begins again. Always the first event.
    Begin(Begin),
    /// Result of [`Effect::Identify`].
    Identified(Identity),
    /// [`Effect::Identify`] gave up.
    NotIdentified {
        /// What came back.
        detail: String,
    },
    /// What a job must not be able to do, it can do on this machine.
    NotIsolated {
        /// What was tried and what came back.
        detail: String,
    },
    /// The machine cannot run a job as it is.
    NotFit {
        /// Why.
        outcome: Outcome,
        /// What was seen of it.
        detail: String,
    },
    /// The group wants the instance to work: it leaves the warm pool, or was never in it.
    InService,
    /// The group wants the instance in its warm pool.
    Warmed,
    /// The Docker daemon does not come, or does not come back.
    DockerDown {
        /// What was seen of it.
        detail: String,
    },
    /// The instance turned out to be in an Auto Scaling group (learned off the critical path).
    InGroup,
    /// Result of [`Effect::FetchJitConfig`]: it is here, checked, and held by the performer.
    JitConfigReady,
    /// [`Effect::FetchJitConfig`] gave up.
    JitConfigFailed {
        /// Why.
        outcome: Outcome,
        /// What came back; never any of the configuration itself.
        detail: String,
    },
    /// Result of [`Effect::StartRunner`]: there is a listener, from this start or an earlier one.
    Started,
    /// [`Effect::StartRunner`] did not start anything, and nothing else did.
    NotStarted {
        /// Why.
        outcome: Outcome,
        /// What was tried and what came back.
        detail: String,
    },
    /// Something was seen of the runner.
    Observed(Observation),
    /// Result of [`Effect::Poll`]: everything there was to see has been sent before this.
    Polled,
    /// The listener ended. Everything it printed was sent before this.
    Exited(Exit),
    /// A timer fired.
    Passed(Timer),
    /// Somebody wants the run to end.
    Stop(Stop),
    /// EC2 or the Auto Scaling group takes the machine away.
    Notice(Notice),
    /// A notice that was told is no longer there.
    Withdrawn(Notice),
    /// An operator wants the machine kept until then.
    Hold(Time),
    /// An operator no longer wants the machine kept.
    Release,
    /// The machine was resumed from hibernation.
    Resumed,
    /// Result of [`Effect::Close`].
    Closed,
    /// A method of [`Effect::Terminate`] was accepted: the machine goes away.
    TerminationAccepted(TerminationMethod),
    /// A method of [`Effect::Terminate`] was refused.
    TerminationRefused {
        /// Which.
        method: TerminationMethod,
        /// The group is at its minimum size and does not allow a decrement.
        at_min_size: bool,
        /// What was tried and what came back.
        detail: String,
    },
}

/// What the agent process found when it began.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Begin {
    /// No journal and no trace of a runner: the first process of this run.
    Fresh,
    /// A journal of this boot.
    Again(Found),
    /// A journal of an earlier boot of this instance.
    SecondBoot {
        /// A runner had been started.
        marked: bool,
    },
    /// The journal could not be read and was set aside; the marker tells what it would have said.
    JournalLost(Found),
}

/// What is left of a runner of an earlier agent process: the marker, the exit file and the processes say so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Found {
    /// No marker: no runner was started, and none is about to be.
    Nothing,
    /// A marker: a runner was started. Whether it still runs is seen by attaching to it.
    Marker,
}

/// Who the machine is, as far as the lifecycle cares.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    /// What its group wants of it.
    pub target: Target,
    /// When EC2 launched it; may lie before the boot (then it is zero).
    pub launched: Option<Time>,
    /// A notice that was already there.
    pub notice: Option<Notice>,
}

/// What an Auto Scaling group wants of the instance, as far as that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// There is nothing to be read: the instance is in no group, or so new that nothing was told yet.
    Absent,
    /// Nobody answered.
    Unknown,
    /// In the warm pool (`Warmed:*`).
    Warm,
    /// At work, or anything else that a group wants of an instance that it counts.
    InService,
}

/// Who wants the run to end, and how soon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stop {
    /// SIGTERM, SIGINT or a shutdown of the machine: a running job is stopped too. A second one kills.
    Shutdown,
    /// `mayfly drain`: a running job may finish.
    Drain,
    /// `mayfly drain --now`: a running job is stopped.
    DrainNow,
    /// Something on the machine stops the runner's unit, and nothing is shutting down: systemd is at it already.
    RunnerUnit,
}

/// A notice that the machine goes away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Notice {
    /// Spot interruption with action terminate or stop.
    Spot {
        /// When EC2 takes the machine.
        at: Time,
    },
    /// Spot interruption with action hibernate: it gives no lead.
    SpotHibernate,
    /// Rebalance recommendation.
    Rebalance,
    /// Scheduled maintenance.
    Scheduled {
        /// `NotBefore`
        at: Time,
    },
    /// The group's target lifecycle state is `Terminated`.
    GroupTerminates,
}

impl Notice {
    /// When it comes true, if it says so.
    #[must_use]
    pub const fn due(self) -> Option<Time> {
        match self {
            Self::Spot { at } | Self::Scheduled { at } => Some(at),
            Self::SpotHibernate | Self::Rebalance | Self::GroupTerminates => None,
        }
    }

    /// The outcome of a run that ends because of it.
    #[must_use]
    pub const fn outcome(self) -> Outcome {
        match self {
            Self::Spot { .. } | Self::SpotHibernate => Outcome::SpotInterruption,
            Self::Rebalance => Outcome::Rebalance,
            Self::Scheduled { .. } => Outcome::ScheduledEvent,
            Self::GroupTerminates => Outcome::AsgTermination,
        }
    }
}

/// Something the run wants done. All of them may be repeated but [`Effect::StartRunner`], which is guarded where it
/// happens by a marker file that only one start can create, and [`Effect::InterruptSteps`], which is wanted once.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Wake the run with [`Event::Passed`] at this moment; replaces the earlier one.
    Arm {
        /// Which timer.
        timer: Timer,
        /// When.
        at: Time,
    },
    /// Find out who the machine is. While a shutdown waits for the answer (`State::shutdown`): patiently, for a few seconds.
    Identify,
    /// Let systemd's timer of the lifetime begin anew: the time in a warm pool does not count.
    RenewDeadline,
    /// End the agent process and nothing else: the next one goes on with this run.
    Leave,
    /// Get the JIT configuration, until told otherwise.
    FetchJitConfig,
    /// Restart the Docker daemon: nothing runs, and it does not answer.
    RestartDocker,
    /// Put the files of the JIT configuration in place and start the listener. At most once in a run.
    StartRunner,
    /// Watch the listener that an earlier agent process started.
    Attach,
    /// Delete the source of the JIT configuration, in the background: it is spent.
    DeleteJitConfig,
    /// Send everything there is to see right now, then [`Event::Polled`].
    Poll,
    /// Signal the listener, and nothing but the listener.
    Interrupt {
        /// The machine goes away: SIGQUIT with a `.service` file, so that the job gets the clearer annotation.
        machine_goes: bool,
    },
    /// Right after [`Effect::Interrupt`], and only if that reached the listener: SIGINT, once, to what the shells of the
    /// job's steps wait for. The worker's own children get theirs from the worker.
    InterruptSteps,
    /// Kill the job's steps with all that is below them, and leave the worker alone, so that it reports.
    KillSteps,
    /// Kill the runner's whole tree.
    Kill,
    /// Watch what EC2 and the Auto Scaling group announce, until the machine is being ended.
    WatchNotices,
    /// Tell people and the launcher that the machine goes away under a job.
    Publish {
        /// The outcome if it comes to that.
        outcome: Outcome,
        /// When the machine goes.
        at: Time,
    },
    /// What was announced does not happen.
    Clear,
    /// Keep the Auto Scaling group waiting with its termination, until the machine is being ended.
    DelayTermination,
    /// Answer the launch hook of the Auto Scaling group.
    AnswerLaunch {
        /// The instance is of use; else the group is to give it up.
        ready: bool,
    },
    /// Clear the tree and the JIT files away, flush the logs, write the record.
    Close {
        /// How the run ended.
        end: End,
        /// When the lifecycle goes on, whatever is not done by then.
        until: Time,
    },
    /// End the machine.
    Terminate(TerminationMethod),
}
