//! A model checker (stateright) over the real `lifecycle::step`: every state that can be reached is visited, and every
//! transition is held against the invariants of the design.
//!
//! Why every run ends, whatever happens and in whatever order: before a stop, nothing moves the lifetime
//! (`LifetimeBounds`), and when it passes the run is on its way out. From then on a step moves it further along a line
//! of 16 positions or leaves its deadline where it is or earlier (`EndGoesOn`), and the deadline's timer is always set
//! (`HasDeadline`, `AlarmIsNextDeadline`) and always moves it on (`TimerMovesOn`). So there is no cycle without the
//! clock, and the clock's is bounded. What is assumed: timers go off, the agent is restarted and the machine rebooted
//! finitely often, and a warm pool lets its instance go. A person's hold is bounded by the lifetime.

#![allow(clippy::panic, clippy::print_stderr, reason = "a test may fail, and tell its figures")]

mod alphabet;
mod invariants;
mod planted;
mod promises;
mod variants;
mod world;

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use alphabet::Alphabet;
use mayfly_core::lifecycle::{Ending, Event, Limits, Policy, step};
use stateright::{Checker as _, HasDiscoveries, Model as _, Path};
use variants::{EventKind, NoticeKind, ObservationKind, StopKind};
use world::{Action, Run, StepFn, World, policy, seconds};

const EC2: Ending = Ending::Instance { decrement: true };

/// What a model check came to.
struct Verdict {
    broken: Option<(&'static str, String)>,
    ends: bool,
    figures: String,
}

fn check(step: Box<StepFn>, policy: Policy, alphabet: Alphabet) -> Verdict {
    let began = Instant::now();
    let run = Run::new(step, policy, alphabet);
    let transitions = Arc::clone(&run.transitions);
    let checker = run.checker().threads(2).finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    let mut discoveries = checker.discoveries();
    let ends = discoveries.remove("a run ends").is_some();
    let figures = format!(
        "{} states, {} transitions, depth {}, {:.0} s",
        checker.unique_state_count(),
        transitions.load(Ordering::Relaxed),
        checker.max_depth(),
        began.elapsed().as_secs_f32()
    );
    let broken = discoveries.into_iter().next().map(|(invariant, path)| (invariant, story(path)));
    Verdict { broken, ends, figures }
}

/// The path to a broken invariant, as a person reads it.
fn story(path: Path<World, Action>) -> String {
    let mut story = String::new();
    for (world, action) in path.into_vec() {
        let _ = match action {
            Some(action) => writeln!(story, "{:<20} {action:?}", world.run.phase.name()),
            None => writeln!(story, "and that is wrong: {world:?}"),
        };
    }
    story
}

fn keeps_the_invariants(name: &str, policy: Policy, alphabet: Alphabet) {
    let verdict = check(Box::new(step), policy, alphabet);
    if let Some((invariant, story)) = verdict.broken {
        panic!("not kept: {invariant}\n{story}");
    }
    eprintln!("{name}: {}", verdict.figures);
    assert!(verdict.ends, "no run came to its end: the model has lost its way");
}

#[test]
fn whatever_the_runner_does_the_invariants_hold() {
    keeps_the_invariants("runner", policy(Ending::Process), alphabet::runner());
}

#[test]
fn whatever_troubles_the_runner_has_the_invariants_hold() {
    keeps_the_invariants("troubles", policy(Ending::Process), alphabet::troubles());
}

#[test]
fn whatever_people_and_aws_do_the_invariants_hold() {
    keeps_the_invariants("outside", policy(EC2), alphabet::outside());
}

#[test]
fn however_a_run_begins_the_invariants_hold() {
    let policy = Policy { drain_on_rebalance: false, docker_required: false, ..policy(EC2) };
    keeps_the_invariants("beginning", policy, alphabet::beginning());
}

#[test]
fn however_a_run_ends_the_invariants_hold() {
    let policy = policy(EC2);
    // Long enough for something to happen in the middle of them.
    let limits = Limits { draining: seconds(2), closing: seconds(2), terminating: seconds(2), ..policy.limits.clone() };
    let policy = Policy { limits, hold_on_failure: seconds(2), ..policy };
    keeps_the_invariants("ending", policy, alphabet::ending());
}

/// What is not in an alphabet is not proved. Begin and Passed are the world's own.
#[test]
fn every_event_and_sign_is_let_happen() {
    let alphabets =
        [alphabet::runner(), alphabet::troubles(), alphabet::outside(), alphabet::beginning(), alphabet::ending()];
    let events: Vec<_> = alphabets.iter().flat_map(Alphabet::all).collect();
    for kind in EventKind::ALL.iter().filter(|kind| !matches!(kind, EventKind::Begin | EventKind::Passed)) {
        assert!(events.iter().any(|event| EventKind::of(event) == *kind), "no model lets {kind:?} happen");
    }
    for kind in ObservationKind::ALL {
        let is_it =
            |event: &&Event| matches!(event, Event::Observed(observation) if ObservationKind::of(observation) == *kind);
        assert!(events.iter().copied().any(|event| is_it(&event)), "no model shows {kind:?}");
    }
    for kind in NoticeKind::ALL {
        let is_it = |event: &&Event| matches!(event, Event::Notice(notice) if NoticeKind::of(notice) == *kind);
        assert!(events.iter().copied().any(|event| is_it(&event)), "no model announces {kind:?}");
    }
    for kind in StopKind::ALL {
        let is_it = |event: &&Event| matches!(event, Event::Stop(stop) if StopKind::of(stop) == *kind);
        assert!(events.iter().copied().any(|event| is_it(&event)), "no model asks for {kind:?}");
    }
}
