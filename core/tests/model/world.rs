//! The model: a run under the real `step`, and the world around it.
//!
//! Time is made small (every limit is some seconds) and relative (a state is known by how far its deadlines are away),
//! so that the states are finite and all of them are visited.

use std::mem::discriminant;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mayfly_core::lifecycle::*;
use stateright::{Model, Property};

use crate::alphabet::Alphabet;
use crate::invariants::{Transition, broken};
use crate::promises::Invariant;
use crate::variants::EffectKind;

/// Now, always: states are shifted instead.
pub(crate) const NOW: Time = Time(1_000_000);

pub(crate) const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(crate) fn policy(ending: Ending) -> Policy {
    Policy {
        limits: Limits {
            booting: seconds(1),
            jit_wait: seconds(1),
            listening: seconds(2),
            idle: seconds(1),
            assigned: seconds(1),
            job: seconds(1),
            finishing: seconds(1),
            orphaned: seconds(1),
            lock: seconds(1),
            updating: seconds(1),
            draining: seconds(1),
            closing: seconds(1),
            terminating: seconds(1),
            lifetime: seconds(3),
        },
        stop_at: seconds(2),
        kill_at: seconds(1),
        drain_on_rebalance: true,
        docker_required: true,
        hold_on_failure: Duration::ZERO,
        launch_hook: true,
        termination_hook: true,
        ending,
    }
}

/// Whether a start of the runner was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Asked {
    Never,
    /// By an agent process that is dead. It may take effect all the same: the supervisor process was only slow.
    Before,
    /// By this agent process.
    Now,
}

/// A run and the world around it, as far as the invariants need it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct World {
    pub(crate) run: State,
    pub(crate) asked: Asked,
    /// The marker exists: a runner was started.
    pub(crate) marked: bool,
    /// The run was told so.
    pub(crate) told: bool,
    /// The agent process has ended without an end of the run; the next one comes.
    pub(crate) left: bool,
    /// This agent process has asked for a poll since the phase was entered.
    pub(crate) looked: bool,
    /// The runner was told to stop when nothing said that there was a job.
    pub(crate) stopped_idle: bool,
    /// What the loop's alarm is set to.
    pub(crate) alarm: Option<(Timer, Time)>,
    /// The invariant that the transition to here has broken.
    pub(crate) broken: Option<Invariant>,
}

/// One thing that happens.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Action {
    Happens(Arc<Event>),
    /// The agent dies, and another one goes on from the journal.
    AgentDies,
    /// The same, and the line of the start is missing from the journal.
    AgentDiesAndTheLastLineIsLost,
    AgentDiesAndTheJournalIsLost,
    Reboot,
    /// A start that was asked for takes effect.
    RunnerStarts,
    /// Nothing happens until the loop's alarm goes off.
    AlarmGoesOff,
    /// It goes off a second late.
    AlarmGoesOffLate,
    /// Nothing happens for a second, and the alarm is not due yet.
    ASecondPasses,
}

/// The function that is checked: the real one, or one with a fault planted in it.
pub(crate) type StepFn = dyn Fn(&Policy, &State, &Event, Time) -> (State, Vec<Effect>) + Send + Sync;

pub(crate) struct Run {
    step: Box<StepFn>,
    policy: Policy,
    alphabet: Alphabet,
    anywhere: Vec<Arc<Event>>,
    runner: Vec<Arc<Event>>,
    not_started: Vec<Arc<Event>>,
    pub(crate) transitions: Arc<AtomicU64>,
}

impl Run {
    pub(crate) fn new(step: Box<StepFn>, policy: Policy, alphabet: Alphabet) -> Self {
        let shared = |events: &[Event]| events.iter().cloned().map(Arc::new).collect();
        Self {
            anywhere: shared(&alphabet.events),
            runner: shared(&alphabet.runner),
            not_started: shared(&alphabet.not_started),
            step,
            policy,
            alphabet,
            transitions: Arc::default(),
        }
    }

    /// One event, held against the invariants, and the world shifted back to [`NOW`].
    fn take(&self, world: &World, from: &State, event: &Event, now: Time) -> World {
        let (to, effects) = (self.step)(&self.policy, from, event, now);
        let transition = Transition { world, from, event, to: &to, effects: &effects, policy: &self.policy, now };
        let mut after = World { broken: broken(&transition), ..world.clone() };
        if matches!(event, Event::Begin(_)) {
            (after.left, after.looked) = (false, false);
            if after.asked == Asked::Now {
                after.asked = Asked::Before;
            }
        }
        for effect in &effects {
            match EffectKind::of(effect) {
                EffectKind::StartRunner => after.asked = Asked::Now,
                EffectKind::Leave => after.left = true,
                EffectKind::Poll => after.looked = true,
                EffectKind::Arm => {
                    if let Effect::Arm { timer, at } = effect {
                        after.alarm = Some((*timer, *at));
                    }
                }
                // Their results are events that may come at any time, so nothing has to be remembered of them.
                EffectKind::Identify
                | EffectKind::RenewDeadline
                | EffectKind::FetchJitConfig
                | EffectKind::RestartDocker
                | EffectKind::Attach
                | EffectKind::DeleteJitConfig
                | EffectKind::Interrupt
                | EffectKind::InterruptSteps
                | EffectKind::KillSteps
                | EffectKind::Kill
                | EffectKind::WatchNotices
                | EffectKind::Publish
                | EffectKind::Clear
                | EffectKind::DelayTermination
                | EffectKind::AnswerLaunch
                | EffectKind::Close
                | EffectKind::Terminate => {}
            }
        }
        after.looked &= discriminant(&to.phase) == discriminant(&from.phase);
        let stopped = matches!(to.phase, Phase::Draining { .. }) && !matches!(from.phase, Phase::Draining { .. });
        after.stopped_idle |= stopped && from.phase.runner().is_some_and(|runner| !runner.evidence.assigned());
        after.stopped_idle &= matches!(to.phase, Phase::Draining { .. });
        let watched =
            from.phase.runner().is_some() && matches!(event, Event::Started | Event::Observed(_) | Event::Exited(_));
        let found = matches!(
            event,
            Event::Begin(Begin::Again(Found::Marker) | Begin::JournalLost(Found::Marker))
                | Event::Begin(Begin::SecondBoot { marked: true })
        );
        after.told |= watched || found;
        let next = to.next_timer();
        if next.is_none() {
            after.alarm = None;
        } else if after.alarm != next && after.broken.is_none() {
            after.broken = Some(Invariant::AlarmIsNextDeadline);
        }
        after.run = to;
        shift(&mut after, now.since(NOW));
        after
    }

    /// Whatever is found is the truth: the marker cannot be misread.
    fn begins(&self, world: &World, from: &State, begin: impl FnOnce(Found) -> Begin) -> World {
        let found = if world.marked { Found::Marker } else { Found::Nothing };
        self.take(world, from, &Event::Begin(begin(found)), NOW)
    }
}

impl Model for Run {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        let run = State::new(&self.policy, NOW);
        let world = World {
            run: run.clone(),
            asked: Asked::Never,
            marked: false,
            told: false,
            left: false,
            looked: false,
            stopped_idle: false,
            alarm: None,
            broken: None,
        };
        vec![self.take(&world, &run, &Event::Begin(Begin::Fresh), NOW)]
    }

    /// What can happen in this world. No runner is seen that was not started, and no start is said to have failed that
    /// did not; anything else can.
    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        if world.broken.is_some() {
            return; // what comes after a broken invariant proves nothing
        }
        if world.left {
            actions.push(Action::AgentDies); // it is dead already, and the next one begins
            actions.extend(self.alphabet.reboots.then_some(Action::Reboot));
            return;
        }
        actions.extend(self.anywhere.iter().cloned().map(Action::Happens));
        let of_the_start = if world.marked { &self.runner } else { &self.not_started };
        actions.extend(of_the_start.iter().cloned().map(Action::Happens));
        if world.asked != Asked::Never && !world.marked {
            actions.push(Action::RunnerStarts);
        }
        if self.alphabet.deaths {
            actions.push(Action::AgentDies);
        }
        if self.alphabet.reboots {
            actions.extend([Action::Reboot, Action::AgentDiesAndTheJournalIsLost]);
            if matches!(world.run.phase, Phase::Starting { .. }) {
                actions.push(Action::AgentDiesAndTheLastLineIsLost);
            }
        }
        if let Some((_, at)) = world.alarm {
            actions.push(Action::AlarmGoesOff);
            if self.alphabet.any_time {
                actions.push(Action::AlarmGoesOffLate);
                if at > NOW + seconds(1) {
                    actions.push(Action::ASecondPasses);
                }
            }
        }
    }

    fn next_state(&self, world: &World, action: Action) -> Option<World> {
        self.transitions.fetch_add(1, Ordering::Relaxed);
        let run = &world.run;
        let goes_off = |late| {
            let (timer, at) = world.alarm?;
            Some(self.take(world, run, &Event::Passed(timer), at.max(NOW) + late))
        };
        let next = match action {
            Action::Happens(event) => self.take(world, run, &event, NOW),
            Action::AgentDies => self.begins(world, run, Begin::Again),
            Action::AgentDiesAndTheLastLineIsLost => {
                let phase = Phase::WaitingForJitConfig { deadline: NOW + self.policy.limits.jit_wait };
                self.begins(world, &State { phase, ..run.clone() }, Begin::Again)
            }
            Action::AgentDiesAndTheJournalIsLost => {
                self.begins(world, &State::new(&self.policy, NOW), Begin::JournalLost)
            }
            Action::Reboot => {
                // No supervisor process of the earlier boot is left that could still make the marker.
                let asked = if world.marked { world.asked } else { Asked::Never };
                let marked = world.marked;
                self.begins(&World { asked, ..world.clone() }, run, |_| Begin::SecondBoot { marked })
            }
            Action::RunnerStarts => World { marked: true, ..world.clone() },
            Action::AlarmGoesOff => goes_off(Duration::ZERO)?,
            Action::AlarmGoesOffLate => goes_off(seconds(1))?,
            Action::ASecondPasses => {
                let mut later = world.clone();
                shift(&mut later, seconds(1));
                later
            }
        };
        (next != *world).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        Invariant::properties()
    }
}

/// Shifts a world back in time. What is past is past, however long.
fn shift(world: &mut World, delta: Duration) {
    for_each_time(&mut world.run, &mut |time| *time = time.before(delta).max(Time(NOW.0 - 1)));
    if let Some(runner) = runner_mut(&mut world.run.phase) {
        runner.evidence.stopped = runner.evidence.stopped.map(|_| NOW); // only whether, not when, matters to a step
        if let Some(steps) = runner.steps.as_mut().filter(|steps| steps.killed) {
            steps.until = NOW; // the same
        }
    }
    if world.broken.is_none() {
        world.alarm = world.run.next_timer();
    }
}

fn runner_mut(phase: &mut Phase) -> Option<&mut Runner> {
    match phase {
        Phase::Starting { runner, .. }
        | Phase::Idle { runner, .. }
        | Phase::Assigned { runner, .. }
        | Phase::Busy { runner, .. }
        | Phase::Finishing { runner, .. }
        | Phase::Updating { runner, .. }
        | Phase::Draining { runner, .. } => Some(runner),
        Phase::Booting { .. }
        | Phase::Warm
        | Phase::WaitingForJitConfig { .. }
        | Phase::Closing { .. }
        | Phase::Held { .. }
        | Phase::Terminating { .. }
        | Phase::Ended { .. } => None,
    }
}

fn for_each_time(state: &mut State, each: &mut dyn FnMut(&mut Time)) {
    if let Lifetime::Until(at) = &mut state.lifetime {
        each(at);
    }
    [&mut state.hold, &mut state.poll, &mut state.renewal].into_iter().flatten().for_each(&mut *each);
    if let Some(Interruption { at, stop, kill, .. }) =
        runner_mut(&mut state.phase).and_then(|runner| runner.interruption.as_mut())
    {
        each(at);
        each(stop);
        each(kill);
    }
    if let Some(lock) = runner_mut(&mut state.phase).and_then(|runner| runner.lock.as_mut()) {
        each(lock);
    }
    if let Some(steps) = runner_mut(&mut state.phase).and_then(|runner| runner.steps.as_mut()) {
        each(&mut steps.until);
    }
    match &mut state.phase {
        Phase::Booting { deadline }
        | Phase::WaitingForJitConfig { deadline }
        | Phase::Starting { deadline, .. }
        | Phase::Idle { deadline, .. }
        | Phase::Assigned { deadline, .. }
        | Phase::Busy { deadline, .. }
        | Phase::Finishing { deadline, .. }
        | Phase::Draining { deadline, .. }
        | Phase::Closing { deadline, .. }
        | Phase::Held { deadline, .. }
        | Phase::Terminating { deadline, .. } => each(deadline),
        Phase::Updating { deadline, idle, .. } => {
            each(deadline);
            each(idle);
        }
        Phase::Warm | Phase::Ended { .. } => {}
    }
}
