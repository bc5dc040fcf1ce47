//! The promises of the design, by name.

use mayfly_core::lifecycle::Phase;
use stateright::Property;

use crate::world::{Run, World};

macro_rules! invariants {
    ($($name:ident $says:literal;)*) => {
        /// One promise of the design.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub(crate) enum Invariant { $($name),* }

        impl Invariant {
            pub(crate) const ALL: &'static [Self] = &[$(Self::$name),*];

            pub(crate) const fn says(self) -> &'static str {
                match self { $(Self::$name => $says),* }
            }

            pub(crate) fn properties() -> Vec<Property<Run>> {
                vec![
                    $(Property::always($says, |_, world: &World| world.broken != Some(Self::$name)),)*
                    Property::sometimes("a run ends", |_, world: &World| matches!(world.run.phase, Phase::Ended { .. })),
                ]
            }
        }
    };
}

invariants! {
    OneStart "at most one start";
    HasDeadline "every state but Warm has a deadline within its limit";
    AlarmIsNextDeadline "the loop's alarm is set to the next deadline";
    TimerMovesOn "a timer that fires brings the run on";
    LifetimeBounds "the lifetime bounds all";
    EndGoesOn "an end that has begun is neither taken back nor put off";
    NoWorkAfterStop "stopping never starts work";
    StopIsObeyed "a stop is obeyed at once where no job is lost by it";
    OutcomeStands "an outcome stands";
    JobIsSafe "a running job is stopped only for a reason on the list";
    AssignedIsNotIdle "a runner with a job is not ended as idle";
    ExitEndsRun "the end of the listener is the end of the run";
    FlushedFirst "the machine is kept or ended only after the flush or its deadline";
    RebootEndsRun "a reboot after a start ends the run";
    IdentityIsEnough "a run that learns who it is goes on";
    AskedBeforeKilled "a listener is asked to stop before it is killed";
    StepsInterruptedOnce "the steps of a job are interrupted once, with their listener";
    ReportBeforeKill "the steps of a job are killed in time for its report, and only in a stop";
    DeadlineRenewed "the timer of the lifetime is renewed in the warm pool and on leaving it, and never else";
    PoolIsStopped "a shutdown ends no instance that may be in its warm pool";
    LeavesWithNothing "an agent process leaves only a run in which nothing was started";
    TargetCounts "what the group wants counts whenever it is told, and nothing else does";
    JobHasItsTime "a job on its way has its whole time, whatever came to nothing before it";
    LostJobIsTold "a job that came to a runner stopped without one is told as lost";
    LockCounts "a job that GitHub has given up is stopped once the runner was looked at";
    PolledFirst "no limit ends a runner that was not looked at";
}
