//! The runner's double behind the double of GitHub: a job runs by itself.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail there")]

mod common;

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use common::{Caller, LONG, Receiver, SAMPLE, json_of, start};
use mayfly_fake_github::{Conclusion, FakeGithub, JobSpec, JobStatus};
use mayfly_fake_runner::{FakeRunner, Scenario, scenarios};
use tempfile::TempDir;

/// A runner's process with a configuration fresh from the double.
fn runner(github: &FakeGithub, name: &str, scenario: &Scenario) -> (TempDir, Child) {
    let minted = Caller::installation(github).mint(name, &["self-hosted", "ec2"]);
    let blob = json_of(&minted)["encoded_jit_config"].as_str().unwrap().to_owned();
    let directory = tempfile::tempdir().unwrap();
    let installed = FakeRunner::install(directory.path(), scenario).unwrap();
    let mut command = Command::new(installed.listener());
    command.arg("run").current_dir(installed.root()).env("ACTIONS_RUNNER_INPUT_JITCONFIG", blob);
    command.env("ACTIONS_RUNNER_RETURN_JOB_RESULT_FOR_HOSTED", "1");
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    (directory, child)
}

#[test]
fn a_registered_runner_waits_for_its_job_runs_it_and_is_gone() {
    let (github, receiver) = (start(), Receiver::start());
    github.webhook_to(&receiver.url, "s");
    let (_root, child) = runner(&github, "mayfly-1", &Scenario::default());
    assert!(github.wait_runners(LONG, |runners| runners.iter().any(|runner| runner.online)));
    let job = github.queue_job(&JobSpec::new(SAMPLE, &["ec2"]).name("unit tests")).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("Running job: unit tests"), "{text}");
    assert_eq!(output.status.code(), Some(100));
    assert_eq!(github.job(job).unwrap().conclusion, Some(Conclusion::Success));
    assert_eq!(github.runners(), [], "the record of an ephemeral runner vanishes with its job");
    assert!(github.wait_webhooks(LONG, |sent| sent.len() == 3));
    assert_eq!(receiver.actions(), ["queued", "in_progress", "completed"]);
    assert_eq!(github.violations(), []);
}

#[test]
fn a_cancelled_run_stops_the_runners_job() {
    let github = start();
    let job = github.queue_job(&JobSpec::new(SAMPLE, &["ec2"])).unwrap();
    let scenario = Scenario { job_ms: 600_000, ..Scenario::default() };
    let (_root, child) = runner(&github, "mayfly-1", &scenario);
    assert!(github.wait_job(job, LONG, |job| job.status == JobStatus::InProgress));
    let run = github.job(job).unwrap().run_id;
    let path = format!("/repos/{SAMPLE}/actions/runs/{run}/cancel");
    assert_eq!(Caller::installation(&github).call("POST", &path, None).status, 202);
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(103));
    assert_eq!(github.job(job).unwrap().conclusion, Some(Conclusion::Cancelled));
}

#[test]
fn a_removed_registration_ends_the_idle_runner_with_0() {
    let github = start();
    let (_root, child) = runner(&github, "mayfly-1", &Scenario::default());
    assert!(github.wait_runners(LONG, |runners| runners.iter().any(|runner| runner.online)));
    github.remove_runner("mayfly-1").unwrap();
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(0));
}

#[test]
fn a_job_that_was_acknowledged_and_never_begun_is_queued_again() {
    let options = mayfly_fake_github::Options { pick_up: Duration::from_millis(300), ..Default::default() };
    let github = FakeGithub::start(options).unwrap();
    let job = github.queue_job(&JobSpec::new(SAMPLE, &["ec2"])).unwrap();
    let scenario = scenarios::named("acknowledged-no-worker").unwrap();
    let (_root, mut child) = runner(&github, "mayfly-1", &scenario);
    assert!(github.wait_job(job, LONG, |job| job.assigned.is_some()), "the job was never handed out");
    let again = github.wait_job(job, LONG, |job| job.assigned.is_none() && job.status == JobStatus::Queued);
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(again, "a job whose runner is stuck is lost");
}
