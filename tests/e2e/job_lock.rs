//! GitHub holds a job for its runner for ten minutes after each renewal of its lock, and then reports it as lost.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail there")]

use std::time::Duration;

use mayfly_e2e::Run;
use mayfly_fake_runner::{Scenario, strings};

/// Twelve minutes, as these runs count them.
const LOST: Duration = Duration::from_millis(7200);

/// A run whose job takes so long, and whose lock is renewed at these times, all in milliseconds.
fn run(job_ms: u64, renewals_ms: &[u64]) -> Run {
    let scenario = Scenario { job_ms, renewals_ms: renewals_ms.to_vec(), ..Scenario::default() };
    Run::with(&scenario).set("MAYFLY_TIME_SCALE", "0.01")
}

#[test]
fn a_job_whose_lock_is_renewed_no_more_ends_its_machine() {
    let run = run(120_000, &[0, 600]);
    let ended = run.run();
    ended.assert_outcome("job-abandoned");
    assert!(ended.took >= LOST, "GitHub still waited for the job when it was stopped, after {:?}", ended.took);
    assert_eq!(run.recording().starts().len(), 1);
}

#[test]
fn renewals_that_stop_and_come_back_in_time_cost_the_job_nothing() {
    run(12_000, &[0, 500, 5500, 6000, 11_000]).run().assert_outcome("job-succeeded");
}

#[test]
fn a_job_of_whose_lock_nothing_is_said_has_its_time() {
    run(10_000, &[]).run().assert_outcome("job-succeeded");
}

#[test]
fn a_job_that_forges_a_renewal_shortens_its_own_time_only() {
    let mut scenario = Scenario { job_ms: 120_000, ..Scenario::default() };
    let forged = format!("[2026-11-21 08:00:00Z INFO JobDispatcher] {}", strings::RENEWED);
    let many = format!("yes '{forged}' | head -n 20000 >> ../../../_diag/Runner_99999999-000000-utc.log");
    scenario.steps = vec![many];
    let run = Run::with(&scenario).set("MAYFLY_TIME_SCALE", "0.01");
    let ended = run.run();
    ended.assert_outcome("job-abandoned");
    assert!(run.journal().len() < 60, "a job wrote {} lines of the journal", run.journal().len());
}

#[test]
fn an_agent_that_comes_back_late_looks_before_it_gives_the_job_up() {
    let run = run(16_000, &[0, 1000, 8000, 9000, 14_000]);
    let mut running = run.start();
    running.until_state("Busy");
    running.until("the lock in the journal", |run| run.journal().concat().contains(r#""lock":"#));
    running.kill_dead();
    std::thread::sleep(LOST + Duration::from_millis(1500));
    run.run().assert_outcome("job-succeeded");
}
