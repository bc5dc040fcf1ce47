//! The variants of the lifecycle's own enums, so that none is forgotten.
//!
//! A new variant does not compile here until somebody has put it on its list; from then on the model is not complete
//! until an alphabet offers it (`every_event_and_sign_is_let_happen`).

use mayfly_core::lifecycle::{Effect, Event, Notice, Observation, Stop};

macro_rules! variants {
    ($($name:ident of $enum:ident: $($variant:ident)*;)*) => {$(
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum $name { $($variant),* }

        impl $name {
            #[allow(dead_code, reason = "effects are the world's to see, and in no alphabet")]
            pub(crate) const ALL: &'static [Self] = &[$(Self::$variant),*];

            pub(crate) const fn of(value: &$enum) -> Self {
                match value { $($enum::$variant { .. } => Self::$variant),* }
            }
        }
    )*};
}

variants! {
    EventKind of Event:
        Begin Identified NotIdentified NotIsolated NotFit InService Warmed DockerDown InGroup JitConfigReady JitConfigFailed Started
        NotStarted Observed Polled Exited Passed Stop Notice Withdrawn Hold Release Resumed Closed TerminationAccepted TerminationRefused;
    ObservationKind of Observation:
        Listening JobMessage Running WorkerSeen WorkerGone HookStarted HookCompleted Completed UpdateStarted
        UpdateFailed ConsoleError Reconnected LockRenewed LockUnknown;
    NoticeKind of Notice: Spot SpotHibernate Rebalance Scheduled GroupTerminates;
    StopKind of Stop: Shutdown Drain DrainNow RunnerUnit;
    EffectKind of Effect:
        Arm Identify RenewDeadline Leave FetchJitConfig RestartDocker StartRunner Attach DeleteJitConfig Poll Interrupt
        InterruptSteps KillSteps Kill WatchNotices
        Publish Clear DelayTermination AnswerLaunch Close Terminate;
}
