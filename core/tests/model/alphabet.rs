//! What is let happen in a model: the runner, AWS, the operator, the clock, and the deaths of agent and machine.
//!
//! Everything at once is too much to visit, so each model has an alphabet of its own: rich in one of them, and with as
//! much of the others as reaches every phase. An event of the alphabet can come at any time, in any order, any number
//! of times, whether it was asked for or not; only what would be a lie is left out (see `World::truths`).

use mayfly_core::lifecycle::*;

use crate::variants::{EventKind, NoticeKind, ObservationKind, StopKind};
use crate::world::{NOW, seconds};

/// What is let happen in one model.
#[derive(Clone)]
pub(crate) struct Alphabet {
    /// Everything that needs no runner to have been started.
    pub(crate) events: Vec<Event>,
    /// What can be seen of a runner that was started.
    pub(crate) runner: Vec<Event>,
    /// Why a runner may not have been started.
    pub(crate) not_started: Vec<Event>,
    /// The agent dies at any point, and another one begins: a crash, a restart, an upgrade. The state it finds is the
    /// last one that was journaled, and what the dead one wanted done may have been done or not.
    pub(crate) deaths: bool,
    /// The machine reboots, and the journal can be lost in whole or lose its last line.
    pub(crate) reboots: bool,
    /// Things happen between two deadlines, and timers go off late; else time goes from one deadline to the next.
    pub(crate) any_time: bool,
}

impl Alphabet {
    pub(crate) fn of(kinds: &[EventKind], observations: &[ObservationKind], exits: &[Exit]) -> Self {
        let events = kinds.iter().flat_map(|kind| samples(*kind)).collect();
        let mut runner: Vec<Event> =
            observations.iter().flat_map(|kind| observed(*kind)).map(Event::Observed).collect();
        runner.extend(exits.iter().copied().map(Event::Exited));
        runner.push(Event::Started);
        let not_started = vec![Event::NotStarted { outcome: Outcome::RunnerMissing, detail: String::new() }];
        Self { events, runner, not_started, deaths: true, reboots: false, any_time: false }
    }

    /// Leaves out the events that this says no to.
    pub(crate) fn without(mut self, unwanted: impl Fn(&Event) -> bool) -> Self {
        self.events.retain(|event| !unwanted(event));
        self.runner.retain(|event| !unwanted(event));
        self
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Event> {
        self.events.iter().chain(&self.runner).chain(&self.not_started)
    }
}

/// Enough of each kind of event for every branch that reads it. Empty for what the world brings by itself.
fn samples(kind: EventKind) -> Vec<Event> {
    let detail = String::new;
    let identity = |target, launched, notice| Event::Identified(Identity { target, launched, notice });
    match kind {
        EventKind::Begin
        | EventKind::Passed
        | EventKind::Observed
        | EventKind::Exited
        | EventKind::Started
        | EventKind::NotStarted => Vec::new(),
        EventKind::Identified => vec![
            identity(Target::Absent, None, None),
            identity(Target::Unknown, None, None),
            identity(Target::InService, Some(Time(NOW.0 - 1_000)), None),
            identity(Target::Warm, None, None),
            identity(Target::Absent, None, Some(Notice::Spot { at: NOW + seconds(4) })),
            identity(Target::Warm, None, Some(Notice::Rebalance)),
        ],
        EventKind::NotIdentified => vec![Event::NotIdentified { detail: detail() }],
        EventKind::NotIsolated => vec![Event::NotIsolated { detail: detail() }],
        EventKind::NotFit => vec![Event::NotFit { outcome: Outcome::DiskFull, detail: detail() }],
        EventKind::InService => vec![Event::InService],
        EventKind::Warmed => vec![Event::Warmed],
        EventKind::DockerDown => vec![Event::DockerDown { detail: detail() }],
        EventKind::InGroup => vec![Event::InGroup],
        EventKind::JitConfigReady => vec![Event::JitConfigReady],
        EventKind::JitConfigFailed => {
            vec![Event::JitConfigFailed { outcome: Outcome::JitConfigDenied, detail: detail() }]
        }
        EventKind::Polled => vec![Event::Polled],
        EventKind::Stop => StopKind::ALL.iter().map(|kind| Event::Stop(stop(*kind))).collect(),
        EventKind::Notice => NoticeKind::ALL.iter().flat_map(|kind| notices(*kind)).map(Event::Notice).collect(),
        EventKind::Withdrawn => {
            vec![Event::Withdrawn(Notice::Spot { at: NOW + seconds(4) }), Event::Withdrawn(Notice::GroupTerminates)]
        }
        EventKind::Hold => vec![Event::Hold(NOW), Event::Hold(NOW + seconds(2))],
        EventKind::Release => vec![Event::Release],
        EventKind::Resumed => vec![Event::Resumed],
        EventKind::Closed => vec![Event::Closed],
        EventKind::TerminationAccepted => METHODS.map(Event::TerminationAccepted).to_vec(),
        EventKind::TerminationRefused => METHODS
            .into_iter()
            .flat_map(|method| {
                [true, false].map(|at_min_size| Event::TerminationRefused {
                    method,
                    at_min_size,
                    detail: String::new(),
                })
            })
            .collect(),
    }
}

/// Two job names, two results and two troubles are enough for every branch of the core.
fn observed(kind: ObservationKind) -> Vec<Observation> {
    let job = || "build".to_owned();
    match kind {
        ObservationKind::Listening => vec![Observation::Listening],
        ObservationKind::JobMessage => vec![Observation::JobMessage],
        ObservationKind::Running => vec![Observation::Running { job: job() }],
        ObservationKind::WorkerSeen => vec![Observation::WorkerSeen],
        ObservationKind::WorkerGone => vec![Observation::WorkerGone],
        ObservationKind::HookStarted => vec![Observation::HookStarted(JobInfo::default())],
        ObservationKind::HookCompleted => vec![Observation::HookCompleted],
        ObservationKind::Completed => vec![
            Observation::Completed { job: job(), result: JobResult::Succeeded },
            Observation::Completed { job: job(), result: JobResult::Failed },
            Observation::Completed { job: "forged".to_owned(), result: JobResult::Succeeded },
        ],
        ObservationKind::UpdateStarted => vec![Observation::UpdateStarted],
        ObservationKind::UpdateFailed => vec![Observation::UpdateFailed],
        ObservationKind::ConsoleError => vec![
            Observation::ConsoleError(ConsoleError::Unreachable),
            Observation::ConsoleError(ConsoleError::RegistrationRemoved),
        ],
        ObservationKind::Reconnected => vec![Observation::Reconnected],
        ObservationKind::LockRenewed => vec![Observation::LockRenewed],
        ObservationKind::LockUnknown => vec![Observation::LockUnknown],
    }
}

/// Near and far, before the run's own deadlines and after them.
fn notices(kind: NoticeKind) -> Vec<Notice> {
    match kind {
        NoticeKind::Spot => [1, 4].map(|lead| Notice::Spot { at: NOW + seconds(lead) }).to_vec(),
        NoticeKind::SpotHibernate => vec![Notice::SpotHibernate],
        NoticeKind::Rebalance => vec![Notice::Rebalance],
        NoticeKind::Scheduled => [1, 122].map(|lead| Notice::Scheduled { at: NOW + seconds(lead) }).to_vec(),
        NoticeKind::GroupTerminates => vec![Notice::GroupTerminates],
    }
}

fn stop(kind: StopKind) -> Stop {
    match kind {
        StopKind::Shutdown => Stop::Shutdown,
        StopKind::Drain => Stop::Drain,
        StopKind::DrainNow => Stop::DrainNow,
        StopKind::RunnerUnit => Stop::RunnerUnit,
    }
}

const METHODS: [TerminationMethod; 5] = [
    TerminationMethod::AutoScaling { decrement: true },
    TerminationMethod::AutoScaling { decrement: false },
    TerminationMethod::LifecycleAction,
    TerminationMethod::Ec2,
    TerminationMethod::PowerOff,
];

/// What every model needs to get through a whole run.
const PLAIN: [EventKind; 5] = [
    EventKind::Identified,
    EventKind::JitConfigReady,
    EventKind::JitConfigFailed,
    EventKind::Polled,
    EventKind::Closed,
];

/// The shortest list of observations that reaches every phase but Updating.
const SIGNS_OF_A_JOB: [ObservationKind; 4] =
    [ObservationKind::Listening, ObservationKind::JobMessage, ObservationKind::WorkerSeen, ObservationKind::WorkerGone];

fn is_plain_identity(event: &Event) -> bool {
    !matches!(event, Event::Identified(identity)
        if identity.target != Target::Absent || identity.launched.is_some() || identity.notice.is_some())
}

/// Everything a runner that gets on with it can show, in any order; of the rest only what stops it.
pub(crate) fn runner() -> Alphabet {
    let observations: Vec<ObservationKind> = ObservationKind::ALL
        .iter()
        .copied()
        .filter(|kind| {
            use ObservationKind as Is;
            !matches!(kind, Is::HookCompleted | Is::ConsoleError | Is::Reconnected | Is::LockRenewed | Is::LockUnknown)
        })
        .collect();
    with_a_runner(&observations, &[Exit::Code(0), Exit::Code(100), Exit::Code(102)])
}

/// A runner in trouble, and the less likely ways to end.
pub(crate) fn troubles() -> Alphabet {
    use ObservationKind as Is;
    let observations = [
        Is::Listening,
        Is::WorkerSeen,
        Is::WorkerGone,
        Is::HookStarted,
        Is::HookCompleted,
        Is::ConsoleError,
        Is::Reconnected,
        Is::UpdateStarted,
        Is::LockRenewed,
        Is::LockUnknown,
    ];
    with_a_runner(
        &observations,
        &[Exit::Code(3), Exit::Code(5), Exit::Code(7), Exit::Code(104), Exit::Signal(9), Exit::Lost],
    )
}

fn with_a_runner(observations: &[ObservationKind], exits: &[Exit]) -> Alphabet {
    let kinds = [&PLAIN[..], &[EventKind::Stop, EventKind::Notice]].concat();
    Alphabet::of(&kinds, observations, exits).without(|event| match event {
        Event::Identified(_) => !is_plain_identity(event),
        Event::Stop(stop) => *stop == Stop::Drain,
        Event::Notice(notice) => *notice != Notice::Spot { at: NOW + seconds(4) } && *notice != Notice::Rebalance,
        _ => false,
    })
}

/// Everything operators, EC2 and the Auto Scaling group can do to a runner with or without a job.
pub(crate) fn outside() -> Alphabet {
    let kinds = [
        &PLAIN[..],
        &[
            EventKind::Stop,
            EventKind::Notice,
            EventKind::Withdrawn,
            EventKind::Resumed,
            EventKind::DockerDown,
            EventKind::InGroup,
        ],
    ]
    .concat();
    // The unit's stop, holds and the listener's update are in the others: here they would only multiply the states.
    Alphabet::of(&kinds, &SIGNS_OF_A_JOB, &[Exit::Code(100), Exit::Signal(9)]).without(|event| {
        *event == Event::Stop(Stop::RunnerUnit) || (matches!(event, Event::Identified(_)) && !is_plain_identity(event))
    })
}

/// Everything before a runner listens: the warm pool, groups that tell late, reboots, lost journals.
pub(crate) fn beginning() -> Alphabet {
    let kinds = [
        &PLAIN[..],
        &[
            EventKind::NotIdentified,
            EventKind::NotIsolated,
            EventKind::NotFit,
            EventKind::InService,
            EventKind::Warmed,
            EventKind::DockerDown,
            EventKind::Stop,
            EventKind::Notice,
            EventKind::Hold,
            EventKind::Release,
            EventKind::Resumed,
        ],
    ]
    .concat();
    let observations = [ObservationKind::Listening, ObservationKind::WorkerSeen];
    let alphabet = Alphabet::of(&kinds, &observations, &[Exit::Code(102)]).without(|event| *event == Event::Hold(NOW));
    Alphabet { reboots: true, any_time: true, ..alphabet }
}

/// Everything from a run's end to the machine's: the termination methods, and people who want to look.
pub(crate) fn ending() -> Alphabet {
    let kinds = [
        &PLAIN[..],
        &[
            EventKind::Stop,
            EventKind::Notice,
            EventKind::InGroup,
            EventKind::Hold,
            EventKind::Release,
            EventKind::Resumed,
            EventKind::TerminationAccepted,
            EventKind::TerminationRefused,
        ],
    ]
    .concat();
    let alphabet = Alphabet::of(&kinds, &[ObservationKind::WorkerSeen], &[Exit::Code(102)])
        .without(|event| matches!(event, Event::Identified(_)) && !is_plain_identity(event));
    Alphabet { reboots: true, any_time: true, ..alphabet }
}
