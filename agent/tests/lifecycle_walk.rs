//! An exhaustive walk over states and events, on the real `step`.
//!
//! Time is made small (every limit is a second or two) and relative (a state is known by how far its deadlines are away),
//! so that the states are finite and all of them are visited. Every transition is held against the invariants of the
//! design; and each invariant is shown to catch a bug that is planted for it.

#![allow(clippy::panic, clippy::print_stderr, reason = "a test may fail, and tell its figures")]

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use mayfly::lifecycle::*;

/// Now, always: states are shifted instead.
const NOW: Time = Time(1_000_000);

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn policy(ending: Ending) -> Policy {
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
        ending,
    }
}

/// The world around a life, as far as the invariants need it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct World {
    /// A start was asked for; it may take effect at any time, even after the agent that asked is dead.
    asked: bool,
    /// The marker exists: a runner was started.
    marked: bool,
    /// The life was told so.
    told: bool,
    /// What the loop's alarm is set to, relative.
    alarm: Option<(Timer, Time)>,
}

type Node = (State, World);
type StepFn = dyn Fn(&Policy, &State, &Event, Time) -> (State, Vec<Effect>);

#[derive(Debug)]
struct Report {
    states: usize,
    transitions: usize,
}

/// Something that must not be, and the transition that did it.
#[derive(Debug)]
struct Violation {
    invariant: &'static str,
    transition: String,
}

/// Visits every state that can be reached.
fn walk(step: &StepFn, policy: &Policy, alphabet: &Alphabet) -> Result<Report, Violation> {
    let first = State::new(policy, NOW);
    let mut queue: VecDeque<Node> = VecDeque::new();
    let mut seen: HashSet<Node> = HashSet::new();
    let mut transitions = 0;
    let world = World::default();
    let begun = take(step, policy, &(first, world), &Event::Begin(Begin::Fresh), NOW)?;
    seen.extend(begun.clone());
    queue.extend(begun);
    while let Some(node) = queue.pop_front() {
        ends_by_itself(step, policy, &node)?;
        let mut found = Vec::new();
        for event in events(&node, alphabet) {
            transitions += 1;
            found.extend(take(step, policy, &node, &event, NOW)?);
        }
        // Time passes: the loop's alarm goes off.
        if let Some((timer, at)) = node.1.alarm {
            transitions += 1;
            found.extend(take(step, policy, &node, &Event::Passed(timer), at.max(NOW))?);
        }
        if node.1.asked && !node.1.marked {
            found.push((node.0.clone(), World { marked: true, ..node.1 }));
        }
        for next in found {
            if seen.insert(next.clone()) {
                queue.push_back(next);
            }
        }
    }
    Ok(Report { states: seen.len(), transitions })
}

/// One transition, checked, and shifted back to [`NOW`].
fn take(step: &StepFn, policy: &Policy, node: &Node, event: &Event, now: Time) -> Result<Option<Node>, Violation> {
    let (state, mut world) = (&node.0, node.1);
    let (next, effects) = step(policy, state, event, now);
    let broken =
        |invariant| Violation { invariant, transition: format!("{node:#?}\n--{event:?}--> {next:#?}\n{effects:#?}") };
    check(state, &next, event, &effects, world).map_err(broken)?;
    for effect in &effects {
        match effect {
            Effect::StartRunner => world.asked = true,
            Effect::Arm { timer, at } => world.alarm = Some((*timer, *at)),
            _ => {}
        }
    }
    let watched = state.phase.run().is_some() && matches!(event, Event::Started | Event::Saw(_) | Event::Exited(_));
    world.told |=
        watched || matches!(event, Event::Begin(Begin::Again(Found::Marker) | Begin::SecondBoot { marked: true }));
    if next.next_timer().is_none() {
        world.alarm = None;
    }
    let alarm_matches = next.next_timer().is_none() || world.alarm == next.next_timer();
    if !alarm_matches {
        return Err(broken("the loop's alarm is set to the next deadline"));
    }
    let delta = now.since(NOW);
    let mut shifted = next;
    for_each_time(&mut shifted, &mut |time| *time = time.before(delta).max(Time(NOW.0 - 1)));
    if let Some(run) = run_mut(&mut shifted.phase) {
        run.evidence.stopped = run.evidence.stopped.map(|_| NOW); // only whether, not when, matters to a step
    }
    world.alarm = shifted.next_timer();
    Ok(Some((shifted, world)))
}

/// The invariants of one transition.
fn check(from: &State, to: &State, event: &Event, effects: &[Effect], world: World) -> Result<(), &'static str> {
    let wants = |wanted: fn(&Effect) -> bool| effects.iter().any(wanted);
    if wants(|effect| *effect == Effect::StartRunner)
        && (world.told || effects.iter().filter(|e| **e == Effect::StartRunner).count() > 1)
    {
        return Err("at most one start");
    }
    let is_final = matches!(to.phase, Phase::Ended { .. });
    if to.phase != Phase::Warm && !is_final && to.phase.deadline().is_none() {
        return Err("every state but Warm has a deadline");
    }
    let works = |effect: &Effect| matches!(effect, Effect::StartRunner | Effect::FetchJitConfig | Effect::Identify);
    if rank(&from.phase) >= 3 && effects.iter().any(works) {
        return Err("stopping never starts work");
    }
    let begun = matches!(event, Event::Begin(_)); // a machine that is still there is ended once more
    if rank(&from.phase) >= 3 && rank(&to.phase) < rank(&from.phase) && !(begun && rank(&to.phase) >= 4) {
        return Err("an end that has begun is never taken back");
    }
    if let (Some(before), Some(after)) = (from.phase.end(), to.phase.end())
        && before != after
    {
        return Err("an outcome stands");
    }
    let worker_alive = from.phase.run().is_some_and(|run| run.evidence.worker == Worker::Alive)
        && *event != Event::Saw(Sign::WorkerGone);
    let stops = wants(|effect| matches!(effect, Effect::Interrupt { .. } | Effect::Kill | Effect::Close(_)));
    if worker_alive && stops && !may_stop_a_job(from, to, event) {
        return Err("a running job is stopped only for a reason on the list");
    }
    if let (Event::Exited(_), Some(run)) = (event, from.phase.run())
        && run.evidence.worker != Worker::Alive
        && to.phase.end().is_none()
    {
        return Err("the end of the listener is the end of the run");
    }
    Ok(())
}

fn may_stop_a_job(from: &State, to: &State, event: &Event) -> bool {
    let told_before = matches!(from.phase, Phase::Draining { .. });
    let reason = match &to.phase {
        Phase::Draining { reason, .. } => Some(*reason),
        phase => phase.end().map(|end| end.outcome),
    };
    let listed = matches!(
        reason,
        Some(
            Outcome::JobTimeout
                | Outcome::Lifetime
                | Outcome::SpotInterruption
                | Outcome::ScheduledEvent
                | Outcome::ExternalShutdown
                | Outcome::OperatorDrain
                | Outcome::SecondBoot
                | Outcome::Resumed
        )
    );
    let cause = matches!(
        event,
        Event::Passed(_)
            | Event::Stop(Stop::Shutdown | Stop::DrainNow)
            | Event::Notice(Notice::Spot { .. } | Notice::SpotHibernate | Notice::Scheduled { .. })
            | Event::Resumed
            | Event::Begin(Begin::SecondBoot { .. })
    );
    let orphan = from.phase.run().is_some_and(|run| run.exit.is_some());
    // The supervisor itself says that nothing was started: no job can be running.
    told_before || (listed && cause) || (orphan && cause) || matches!(event, Event::NotStarted { .. })
}

const fn rank(phase: &Phase) -> u8 {
    match phase {
        Phase::Booting { .. } | Phase::Warm => 0,
        Phase::WaitingForJitConfig { .. } => 1,
        Phase::Starting { .. }
        | Phase::Idle { .. }
        | Phase::Assigned { .. }
        | Phase::Busy { .. }
        | Phase::Finishing { .. }
        | Phase::Updating { .. } => 2,
        Phase::Draining { .. } => 3,
        Phase::Closing { .. } => 4,
        Phase::Held { .. } => 5,
        Phase::Terminating { .. } => 6,
        Phase::Ended { .. } => 7,
    }
}

/// From every state the timers alone lead to the end, in a bounded number of steps and a bounded time.
fn ends_by_itself(step: &StepFn, policy: &Policy, node: &Node) -> Result<(), Violation> {
    let (mut state, mut now) = (node.0.clone(), NOW);
    if state.phase == Phase::Warm {
        return Ok(());
    }
    for _ in 0..24 {
        if matches!(state.phase, Phase::Ended { .. }) {
            return Ok(());
        }
        let Some((timer, at)) = state.next_timer() else { break };
        now = now.max(at);
        (state, _) = step(policy, &state, &Event::Passed(timer), now);
    }
    let ended = matches!(state.phase, Phase::Ended { .. }) && now.since(NOW) < seconds(3600);
    if ended {
        return Ok(());
    }
    Err(Violation { invariant: "every path reaches an end", transition: format!("{node:#?}\n...\n{state:#?}") })
}

/// Every event that can happen in a world, but for the passing of time.
fn events(node: &Node, alphabet: &Alphabet) -> Vec<Event> {
    let world = node.1;
    let found = if world.marked { Found::Marker } else { Found::Nothing };
    let identity = |warm, in_group, notice| Event::Identified(Identity { warm, in_group, launched: None, notice });
    let spot = |lead| Notice::Spot { at: NOW + seconds(lead) };
    let detail = String::new;
    let mut events = vec![
        Event::Begin(Begin::Again(found)),
        Event::Begin(Begin::SecondBoot { marked: world.marked }),
        identity(false, false, None),
        Event::NotIdentified { detail: detail() },
        Event::JitConfigReady,
        Event::JitConfigFailed { outcome: Outcome::JitConfigDenied, detail: detail() },
        Event::Looked,
        Event::Stop(Stop::Shutdown),
        Event::Notice(spot(4)),
        Event::Notice(Notice::Rebalance),
        Event::Closed,
    ];
    if alphabet.outside {
        events.extend([
            identity(false, true, None),
            identity(true, true, None),
            identity(false, false, Some(spot(4))),
            Event::InService,
            Event::InGroup,
            Event::NotIsolated { detail: String::new() },
            Event::Stop(Stop::Drain),
            Event::Stop(Stop::DrainNow),
            Event::Notice(spot(1)),
            Event::Notice(Notice::SpotHibernate),
            Event::Notice(Notice::Scheduled { at: NOW + seconds(1) }),
            Event::Notice(Notice::GroupTerminates),
            Event::Hold(NOW + seconds(1)),
            Event::Release,
            Event::Resumed,
        ]);
        for rung in
            [Rung::AutoScaling { decrement: true }, Rung::AutoScaling { decrement: false }, Rung::Ec2, Rung::PowerOff]
        {
            events.push(Event::RungAccepted(rung));
            events.push(Event::RungRefused { rung, at_min_size: true, detail: detail() });
            events.push(Event::RungRefused { rung, at_min_size: false, detail: detail() });
        }
    }
    if !world.marked {
        events.push(Event::NotStarted { outcome: Outcome::RunnerMissing, detail: detail() });
    }
    if world.marked {
        events.push(Event::Started);
        events.extend(alphabet.signs.iter().cloned().map(Event::Saw));
        events.extend([Exit::Code(0), Exit::Code(100), Exit::Code(102), Exit::Signal(9)].map(Event::Exited));
    }
    events
}

/// What is let happen in a walk.
struct Alphabet {
    /// What can be seen of the runner.
    signs: Vec<Sign>,
    /// Everything that operators, EC2 and the Auto Scaling group can do; without it only a signal and two notices.
    outside: bool,
}

/// Signs that move a life. Two job names and two results are enough for every branch.
fn signs() -> Vec<Sign> {
    let job = || "build".to_owned();
    vec![
        Sign::Listening,
        Sign::JobMessage,
        Sign::Running { job: job() },
        Sign::WorkerSeen,
        Sign::WorkerGone,
        Sign::Completed { job: job(), result: JobResult::Succeeded },
        Sign::Completed { job: job(), result: JobResult::Failed },
        Sign::UpdateStarted,
        Sign::UpdateFailed,
    ]
}

fn run_mut(phase: &mut Phase) -> Option<&mut Run> {
    match phase {
        Phase::Starting { run, .. }
        | Phase::Idle { run, .. }
        | Phase::Assigned { run, .. }
        | Phase::Busy { run, .. }
        | Phase::Finishing { run, .. }
        | Phase::Updating { run, .. }
        | Phase::Draining { run, .. } => Some(run),
        _ => None,
    }
}

fn for_each_time(state: &mut State, each: &mut dyn FnMut(&mut Time)) {
    if let Lifetime::Until(at) = &mut state.lifetime {
        each(at);
    }
    if let Some(hold) = &mut state.hold {
        each(hold);
    }
    if let Some(Interruption { stop, kill, .. }) = run_mut(&mut state.phase).and_then(|run| run.interruption.as_mut()) {
        each(stop);
        each(kill);
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

fn few_signs() -> Vec<Sign> {
    let job = || "build".to_owned();
    let completed = Sign::Completed { job: job(), result: JobResult::Failed };
    vec![Sign::Listening, Sign::Running { job: job() }, Sign::WorkerSeen, Sign::WorkerGone, completed]
}

fn keeps_the_invariants(ending: Ending, alphabet: &Alphabet) {
    let report = walk(&step, &policy(ending), alphabet).unwrap_or_else(|violation| {
        panic!("{}\n{}", violation.invariant, violation.transition);
    });
    eprintln!("{ending:?}: {} states, {} transitions", report.states, report.transitions);
    assert!(report.states > 10_000, "only {} states were reached: the walk has lost its way", report.states);
}

#[test]
fn whatever_the_runner_does_the_invariants_hold() {
    keeps_the_invariants(Ending::Process, &Alphabet { signs: signs(), outside: false });
}

/// Everything at once: 1.5 million states, about a minute.
#[test]
fn whatever_runner_and_world_do_the_invariants_hold() {
    keeps_the_invariants(Ending::Instance { decrement: true }, &Alphabet { signs: signs(), outside: true });
}

/// A walk with a planted bug, and fewer signs so that it is quick.
fn caught(bug: impl Fn(&State, &Event, &mut State, &mut Vec<Effect>) + 'static) -> &'static str {
    let broken = move |policy: &Policy, state: &State, event: &Event, now: Time| {
        let (mut next, mut effects) = step(policy, state, event, now);
        bug(state, event, &mut next, &mut effects);
        (next, effects)
    };
    match walk(&broken, &policy(Ending::Process), &Alphabet { signs: few_signs(), outside: true }) {
        Ok(report) => panic!("the planted bug was not caught in {} states", report.states),
        Err(violation) => violation.invariant,
    }
}

#[test]
fn a_planted_second_start_is_caught() {
    let invariant = caught(|from, event, _, effects| {
        if from.phase.name() == "Idle" && *event == Event::Begin(Begin::Again(Found::Marker)) {
            effects.push(Effect::StartRunner);
        }
    });
    assert_eq!(invariant, "at most one start");
}

#[test]
fn a_planted_missing_deadline_is_caught() {
    let invariant = caught(|_, event, _, effects| {
        if *event == Event::Saw(Sign::Listening) {
            effects.retain(|effect| !matches!(effect, Effect::Arm { .. }));
        }
    });
    assert_eq!(invariant, "the loop's alarm is set to the next deadline");
}

#[test]
fn a_planted_lost_exit_is_caught() {
    let invariant = caught(|from, event, next, effects| {
        if *event == Event::Exited(Exit::Code(102)) {
            *next = from.clone();
            effects.clear();
        }
    });
    assert_eq!(invariant, "the end of the listener is the end of the run");
}

#[test]
fn a_planted_early_kill_is_caught() {
    let invariant = caught(|from, event, _, effects| {
        if *event == Event::Notice(Notice::Rebalance) && matches!(from.phase, Phase::Busy { .. }) {
            effects.push(Effect::Kill);
        }
    });
    assert_eq!(invariant, "a running job is stopped only for a reason on the list");
}

#[test]
fn a_planted_endless_state_is_caught() {
    let invariant = caught(|from, event, next, _| {
        if matches!((from.phase.name(), event), ("Closing", Event::Passed(Timer::Phase))) {
            *next = from.clone();
        }
    });
    assert_eq!(invariant, "every path reaches an end");
}

#[test]
fn planted_work_after_the_stop_is_caught() {
    let invariant = caught(|from, event, _, effects| {
        if matches!((from.phase.name(), event), ("Closing", Event::JitConfigReady)) {
            effects.push(Effect::FetchJitConfig);
        }
    });
    assert_eq!(invariant, "stopping never starts work");
}
