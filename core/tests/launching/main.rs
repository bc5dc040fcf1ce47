//! A model checker (stateright) over the launcher's real `step`: calls that take effect and are never answered, answers that come
//! late or not at all, messages that are lost and doubled, lists that are old, a launcher that dies between any two calls, and two
//! launchers at once. Every order of some dozen happenings within the budgets of faults is tried.
//!
//! What must hold in each: never two readable JIT configurations for one instance, never more launches for a job than the cap, never
//! more instances than the maximum, and no instance with a job is ended by the launcher.

#![allow(clippy::panic, clippy::print_stderr, reason = "a test may fail, and tell its figures")]
#![allow(missing_docs, reason = "a test")]

mod reality;
mod world;

use std::time::Instant;

use stateright::{Checker as _, HasDiscoveries, Model as _};
use world::{Budgets, Launching, Planted};

/// Every order of so many happenings.
fn check(name: &str, model: Launching, depth: usize) -> Option<String> {
    let began = Instant::now();
    let checker =
        model.checker().threads(2).finish_when(HasDiscoveries::AnyFailures).target_max_depth(depth).spawn_bfs().join();
    eprintln!(
        "{name}: {} states, depth {}, {:.0} s",
        checker.unique_state_count(),
        checker.max_depth(),
        began.elapsed().as_secs_f32()
    );
    let mut discoveries = checker.discoveries();
    let served = discoveries.remove("every job is served").is_some();
    let broken = discoveries.into_iter().next().map(|(name, path)| {
        let story: Vec<String> = path.into_actions().iter().map(|action| format!("{action:?}")).collect();
        format!("not kept: {name}\n{}", story.join("\n"))
    });
    assert!(broken.is_some() || served, "{name}: no job is ever served: the model has lost its way");
    broken
}

fn holds(name: &str, model: Launching, depth: usize) {
    if let Some(broken) = check(name, model, depth) {
        panic!("{broken}");
    }
}

#[test]
fn one_launcher_that_dies_and_loses_an_answer() {
    let budgets = Budgets { crashes: 1, lost_answers: 1, failures: 0, doubled: 0, lists: 3, ticks: 2 };
    holds("one job, one launcher", Launching::new(1, 1, budgets), 14);
}

#[test]
fn two_jobs_of_which_each_may_get_the_others_runner() {
    let budgets = Budgets { crashes: 0, lost_answers: 0, failures: 1, doubled: 1, lists: 1, ticks: 0 };
    holds("two jobs, one launcher", Launching::new(2, 1, budgets), 16);
}

/// Without lost answers: where GitHub's refusal of a name is lost, and the other launcher owns the name, an instance can be offered a
/// second JIT configuration. Its agent uses the first.
#[test]
fn two_launchers_at_once() {
    let budgets = Budgets { crashes: 1, lost_answers: 0, failures: 0, doubled: 1, lists: 1, ticks: 1 };
    holds("one job, two launchers", Launching::new(1, 2, budgets), 12);
}

#[test]
fn planted_mistakes_are_found() {
    let budgets = Budgets { crashes: 0, lost_answers: 2, failures: 0, doubled: 0, lists: 0, ticks: 3 };
    for planted in [Planted::StoresAgain, Planted::ForgetsTheCap, Planted::EndsTheBusy] {
        let model = Launching::new(1, 1, budgets).with(planted);
        assert!(
            check(&format!("{planted:?}"), model, 17).is_some(),
            "{planted:?} is not found: the model proves nothing"
        );
    }
}
