//! Jobs that end, well or badly: the result comes out, and nothing of the runner's tree is left.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail there")]

use mayfly_e2e::Run;

fn ends_with(scenario: &str, outcome: &str, code: i32) {
    let run = Run::named(scenario);
    let ended = run.run();
    ended.assert_outcome(outcome);
    assert_eq!(ended.code(), Some(code), "the exit code does not tell the result");
    assert_eq!(run.recording().starts().len(), 1, "one JIT configuration, one listener");
}

#[test]
fn a_job_that_succeeds() {
    ends_with("success", "job-succeeded", 0);
}

#[test]
fn a_job_that_succeeds_with_issues() {
    ends_with("succeeded-with-issues", "job-succeeded", 0);
}

#[test]
fn a_job_that_fails() {
    ends_with("failed", "job-failed", 102);
}

#[test]
fn a_job_that_is_cancelled() {
    ends_with("canceled", "job-canceled", 103);
}

#[test]
fn a_job_that_is_skipped() {
    ends_with("skipped", "job-succeeded", 0);
}

#[test]
fn a_job_that_is_abandoned() {
    ends_with("abandoned", "job-abandoned", 105);
}
