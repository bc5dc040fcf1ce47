//! GitHub holds a job for its runner for ten minutes after each renewal of its lock, and then reports it as lost.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail there")]

use std::time::Duration;

use mayfly_e2e::{Run, Running, WallClock};
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

/// A day.
const JUMP: i64 = 86_400;

/// When the job's lock runs out, by the last line of the journal that says so.
fn lock(run: &Run) -> Option<u64> {
    let journal = run.journal().concat();
    let (_, last) = journal.rsplit_once(r#""lock":"#)?;
    last.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

fn until_renewed(running: &mut Running<'_>, before: Option<u64>) -> Option<u64> {
    running.until("a renewal in the journal", |run| lock(run) > before);
    let mut now = None;
    running.until("it is read", |run| {
        now = lock(run);
        true
    });
    now
}

/// How far the wall clock of the record is from the real one, in whole days.
fn days_off(record: &serde_json::Value, key: &str) -> i64 {
    let told = record[key].as_str().unwrap_or_else(|| panic!("the record does not tell {key}: {record:#}"));
    let output =
        std::process::Command::new("date").args(["-u", "-d", &format!("{told} + 12 hours"), "+%s"]).output().unwrap();
    assert!(output.status.success(), "{told} is no time");
    let told: i64 = String::from_utf8(output.stdout).unwrap().trim().parse().unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    (told - i64::try_from(now).unwrap()).div_euclid(JUMP)
}

#[test]
fn a_clock_that_is_set_forward_and_back_takes_no_job_whose_lock_is_renewed() {
    let (run, clock) = WallClock::of(run(14_000, &[0, 500, 4000, 5500, 8000, 11_000, 13_000]));
    let mut running = run.start();
    let first = until_renewed(&mut running, None);
    clock.set(JUMP);
    let second = until_renewed(&mut running, first);
    clock.set(-JUMP);
    until_renewed(&mut running, second);
    let ended = running.end();
    ended.assert_outcome("job-succeeded");
    assert_eq!(
        days_off(&ended.record, "ended_at"),
        -1,
        "the clock of this test is not the agent's: {:#}",
        ended.record
    );
    assert_eq!(
        days_off(&ended.record, "lock_renewed_at"),
        -1,
        "times of one record are by different clocks: {:#}",
        ended.record
    );
}

#[test]
fn a_clock_that_is_set_back_keeps_no_machine_whose_job_is_lost() {
    let (run, clock) = WallClock::of(run(120_000, &[0, 600]));
    let mut running = run.start();
    until_renewed(&mut running, None);
    clock.set(-JUMP);
    let ended = running.end();
    ended.assert_outcome("job-abandoned");
    assert!(ended.took >= LOST, "GitHub still waited for the job when it was stopped, after {:?}", ended.took);
    assert_eq!(
        days_off(&ended.record, "ended_at"),
        -1,
        "the clock of this test is not the agent's: {:#}",
        ended.record
    );
}
