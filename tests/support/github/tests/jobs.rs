//! Jobs and runs, and who gets which job.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail there")]

mod common;

use std::time::Duration;

use common::{Caller, LONG, REPO, SAMPLE, json_of, start};
use mayfly_fake_github::{ClockKind, Conclusion, FakeGithub, GroupSpec, JobSpec, JobStatus, Options, OwnerSpec, Scope};
use serde_json::json;

fn org() -> Scope {
    Scope::Org("mayfly-example".to_owned())
}

#[test]
fn a_job_goes_only_to_a_runner_with_every_label() {
    let github = FakeGithub::start(Options { auto_assign: false, ..Options::default() }).unwrap();
    let job = github.queue_job(&JobSpec::new(SAMPLE, &["self-hosted", "GPU"])).unwrap();
    github.add_runner(org(), "plain", 3, &["self-hosted"]).unwrap();
    github.add_runner(org(), "gpu", 3, &["Self-Hosted", "gpu", "big"]).unwrap();
    assert!(github.start_job(job, "nobody").is_err(), "no such runner");
    assert!(github.start_job(job, "gpu").is_err(), "it is offline");
    for name in ["plain", "gpu"] {
        github.runner_online(name).unwrap();
    }
    assert!(github.start_job(job, "plain").is_err(), "it lacks a label");
    github.start_job(job, "gpu").unwrap();
    assert!(github.is_busy("gpu") && github.job(job).unwrap().runner.unwrap().name == "gpu");
    let other = github.queue_job(&JobSpec::new(SAMPLE, &["gpu"])).unwrap();
    assert!(github.start_job(other, "gpu").is_err(), "it is busy");
}

#[test]
fn the_oldest_matching_job_is_given_first_so_jobs_are_stolen() {
    let github = start();
    let plain = github.queue_job(&JobSpec::new(SAMPLE, &["ec2"])).unwrap();
    let gpu = github.queue_job(&JobSpec::new(SAMPLE, &["ec2", "gpu"])).unwrap();
    github.add_runner(org(), "for-gpu", 3, &["ec2", "gpu"]).unwrap();
    github.runner_online("for-gpu").unwrap();
    assert_eq!(github.job(plain).unwrap().runner.unwrap().name, "for-gpu");
    assert_eq!(github.job(gpu).unwrap().status, JobStatus::Queued, "its runner took another job");
}

#[test]
fn groups_bound_repositories_and_a_job_may_ask_for_one() {
    let owner = OwnerSpec::new("mayfly-example")
        .repo("sample")
        .repo("other")
        .public_repo("open")
        .group(GroupSpec::new("ec2").only(&["sample"]))
        .group(GroupSpec::new("for-all").allow_public());
    let github = FakeGithub::start(Options { owners: vec![owner], auto_assign: false, ..Options::default() }).unwrap();
    github.add_runner(org(), "selected", 3, &["ec2"]).unwrap();
    github.add_runner(org(), "any", 4, &["ec2"]).unwrap();
    for name in ["selected", "any"] {
        github.runner_online(name).unwrap();
    }
    let queue = |repo: &str| github.queue_job(&JobSpec::new(&format!("mayfly-example/{repo}"), &["ec2"])).unwrap();
    assert!(github.start_job(queue("other"), "selected").is_err(), "the group is not for this repository");
    assert!(github.start_job(queue("open"), "selected").is_err(), "nor for public ones");
    let asks = github.queue_job(&JobSpec::new(SAMPLE, &["ec2"]).group("ec2")).unwrap();
    assert!(github.start_job(asks, "any").is_err(), "it asked for another group");
    github.start_job(queue("open"), "any").unwrap();
    github.start_job(asks, "selected").unwrap();
    let caller = Caller::installation(&github);
    let groups = caller.get("/orgs/mayfly-example/actions/runner-groups");
    let names: Vec<_> = groups["runner_groups"].as_array().unwrap().iter().map(|group| &group["name"]).collect();
    assert_eq!(names, ["Default", "ec2", "for-all"]);
    let visible = caller.get("/orgs/mayfly-example/actions/runner-groups?visible_to_repository=open");
    assert_eq!(visible["total_count"], 1);
    assert_eq!(caller.get("/orgs/mayfly-example/actions/runner-groups/1")["default"], true);
    let repos = caller.get("/orgs/mayfly-example/actions/runner-groups/3/repositories");
    assert_eq!(repos["repositories"][0]["full_name"], SAMPLE);
    assert_eq!(caller.get("/repos/mayfly-example/open")["visibility"], "public");
    assert_eq!(caller.get(REPO)["private"], true);
    assert_eq!(github.violations(), []);
}

#[test]
fn runs_are_listed_cancelled_and_tried_again() {
    let github = start();
    let caller = Caller::installation(&github);
    let first = github.queue_job(&JobSpec::new(SAMPLE, &["ec2"]).name("a")).unwrap();
    let run = github.job(first).unwrap().run_id;
    let second = github.queue_job(&JobSpec::new(SAMPLE, &["ec2"]).run(run).name("b")).unwrap();
    let path = format!("{REPO}/actions/runs/{run}");
    let post = |what: &str| caller.call("POST", &format!("{path}/{what}"), None);
    assert_eq!(caller.get(&format!("{REPO}/actions/runs?status=queued"))["total_count"], 1);
    assert_eq!(caller.get(&format!("{REPO}/actions/jobs/{first}"))["status"], "queued");
    github.complete_job(first, Conclusion::Success).unwrap();
    assert_eq!(caller.get(&path)["status"], "in_progress");
    let refused = post("rerun-failed-jobs");
    assert_eq!(refused.status, 403);
    assert_eq!(json_of(&refused)["message"], "This workflow is already running");
    assert_eq!(post("cancel").status, 202);
    assert_eq!(github.job(second).unwrap().conclusion, Some(Conclusion::Cancelled));
    assert_eq!(post("cancel").status, 409, "it is over");
    assert_eq!(caller.get(&path)["conclusion"], "cancelled");
    assert_eq!(post("rerun-failed-jobs").status, 201);
    let jobs = caller.get(&format!("{path}/jobs?filter=latest"));
    let shown: Vec<_> =
        jobs["jobs"].as_array().unwrap().iter().map(|job| (&job["name"], &job["run_attempt"])).collect();
    assert_eq!(shown, [(&json!("a"), &json!(1)), (&json!("b"), &json!(2))]);
    assert_eq!(caller.get(&format!("{path}/jobs?filter=all"))["total_count"], 3);
    assert_eq!(caller.call("GET", &format!("{REPO}/actions/jobs/7"), None).status, 404);
    assert_eq!(github.violations(), []);
}

#[test]
fn a_job_on_a_vanished_runner_fails_when_its_lease_is_over() {
    let github = FakeGithub::start(Options { clock: ClockKind::Manual, ..Options::default() }).unwrap();
    let job = github.queue_job(&JobSpec::new(SAMPLE, &["ec2"])).unwrap();
    github.add_runner(org(), "r-1", 3, &["ec2"]).unwrap();
    github.runner_online("r-1").unwrap();
    github.advance(Duration::from_secs(3600));
    github.runner_gone("r-1").unwrap();
    github.advance(Duration::from_secs(599));
    assert_eq!(github.job(job).unwrap().status, JobStatus::InProgress);
    github.advance(Duration::from_secs(1));
    assert_eq!(github.job(job).unwrap().conclusion, Some(Conclusion::Failure));
    assert_eq!(github.runners(), []);
}

#[test]
fn a_job_may_wait_for_an_environment_and_fails_after_a_day_in_the_queue() {
    let github = FakeGithub::start(Options { clock: ClockKind::Manual, ..Options::default() }).unwrap();
    let job = github.queue_job(&JobSpec::new(SAMPLE, &["ec2"]).waiting()).unwrap();
    let status = || github.job(job).unwrap().status;
    assert_eq!(status(), JobStatus::Waiting);
    github.approve(job).unwrap();
    github.hold(job).unwrap();
    github.approve(job).unwrap();
    assert_eq!(status(), JobStatus::Queued);
    github.advance(Duration::from_secs(24 * 3600));
    assert!(github.wait_job(job, LONG, |job| job.conclusion == Some(Conclusion::Failure)));
}

#[test]
fn a_check_run_is_made_and_annotated() {
    let github = start();
    let caller = Caller::installation(&github);
    let path = format!("{REPO}/check-runs");
    let made = caller.call("POST", &path, Some(&json!({ "name": "mayfly", "head_sha": "0".repeat(40) })));
    assert_eq!(made.status, 201, "{}", made.body);
    let annotation = json!({
        "path": ".github", "start_line": 1, "end_line": 1, "annotation_level": "failure", "message": "no capacity",
    });
    let output = json!({ "title": "t", "summary": "s", "annotations": [annotation] });
    let body = json!({ "status": "completed", "conclusion": "failure", "output": output });
    let updated = caller.call("PATCH", &format!("{path}/{}", json_of(&made)["id"]), Some(&body));
    assert_eq!(updated.status, 200, "{}", updated.body);
    assert_eq!(json_of(&updated)["output"]["annotations_count"], 1);
    let known = github.check_runs();
    assert_eq!((known.len(), &known[0].annotations[0]["message"]), (1, &json!("no capacity")));
    assert_eq!(caller.call("PATCH", &format!("{path}/1"), Some(&body)).status, 404);
    assert_eq!(github.violations(), []);
}
