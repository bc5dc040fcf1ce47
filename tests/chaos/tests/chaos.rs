//! Runs in which anything may go wrong, each judged by witnesses. `scripts/chaos` makes thousands.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail there")]

use std::process::Command;

use mayfly_chaos::plan::Plan;
use mayfly_chaos::stories;

#[test]
fn two_hundred_runs_of_chaos_keep_every_promise() {
    let output =
        Command::new(env!("CARGO_BIN_EXE_mayfly-chaos")).args(["--seed", "1", "--runs", "200"]).output().unwrap();
    let told = format!("{}{}", String::from_utf8_lossy(&output.stderr), String::from_utf8_lossy(&output.stdout));
    assert!(output.status.success(), "{told}");
    assert!(told.contains("200 runs"), "not every run was ran: {told}");
}

#[test]
fn a_seed_makes_the_same_plan_again() {
    for seed in 0..1000 {
        assert_eq!(Plan::of(seed), Plan::of(seed), "seed {seed} cannot be replayed");
    }
    let alike = (0..1000).filter(|seed| Plan::of(*seed).faults == Plan::of(seed + 1).faults).count();
    assert!(alike < 50, "{alike} of 1000 neighbours are alike but for the story");
}

#[test]
fn every_story_of_the_runners_double_is_lived() {
    let left_out = ["demo", "exit-4", "deprecated"]; // an interval for people; the same as another
    for scenario in mayfly_fake_runner::scenarios::all() {
        let ran = stories::ALL.iter().any(|story| story.name == scenario.name);
        assert!(ran || left_out.contains(&scenario.name.as_str()), "{} never happens", scenario.name);
    }
}
