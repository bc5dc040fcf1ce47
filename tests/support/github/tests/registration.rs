//! Registrations: what is accepted, what is refused and how.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail there")]

mod common;

use std::time::Duration;

use common::{Caller, LONG, ORG, REPO, SAMPLE, json_of, start};
use mayfly_core::runner::jit::JitConfig;
use mayfly_fake_github::{
    ClockKind, Conclusion, FakeGithub, Fault, JobSpec, JobStatus, Limit, Match, Options, Scope, Side,
};
use serde_json::{Value, json};

fn generate(caller: &Caller<'_>, body: &Value) -> (u16, Value) {
    let answer = caller.call("POST", &format!("{ORG}/generate-jitconfig"), Some(body));
    (answer.status, json_of(&answer))
}

#[test]
fn a_runner_is_registered_takes_a_job_and_vanishes() {
    let github = start();
    let caller = Caller::installation(&github);
    let job = github.queue_job(&JobSpec::new(SAMPLE, &["self-hosted", "EC2"])).unwrap();
    assert!(job.0 > u64::from(u32::MAX));
    let minted = caller.mint("mayfly-1", &["self-hosted", "Ec2"]);
    assert_eq!(minted.status, 201, "{}", minted.body);
    let minted = json_of(&minted);
    let labels: Vec<_> = minted["runner"]["labels"].as_array().unwrap().iter().map(|label| &label["name"]).collect();
    assert_eq!(labels, ["self-hosted", "ec2"], "labels are stored lower-cased, and none is added");
    let blob = minted["encoded_jit_config"].as_str().unwrap();
    JitConfig::decode(blob).unwrap();
    assert!((4088..4100).contains(&blob.len()), "{} characters", blob.len());
    assert_eq!(caller.get(ORG)["runners"][0]["status"], "offline");
    github.runner_online("mayfly-1").unwrap();
    assert!(github.wait_job(job, LONG, |job| job.status == JobStatus::InProgress));
    assert_eq!(caller.get(ORG)["runners"][0]["busy"], true);
    github.complete_job(job, Conclusion::Success).unwrap();
    assert_eq!(caller.get(ORG)["total_count"], 0);
    assert_eq!(github.violations(), []);
}

#[test]
fn what_github_refuses_is_refused_with_its_status() {
    let github = start();
    let caller = Caller::installation(&github);
    let good = json!({ "name": "r-1", "runner_group_id": 3, "labels": ["ec2"] });
    let with = |key: &str, value: Value| {
        let mut body = good.clone();
        body[key] = value;
        body
    };
    let without = |key: &str| {
        let mut body = good.clone();
        body.as_object_mut().unwrap().remove(key);
        body
    };
    let (status, answer) = generate(&caller, &without("runner_group_id"));
    assert_eq!(status, 422);
    assert_eq!(answer["message"], "Invalid input: object is missing required key: runner_group_id");
    for (status, body) in [
        (422, without("name")),
        (422, without("labels")),
        (422, with("labels", json!([]))),
        (422, with("labels", json!(vec!["x"; 101]))),
        (422, with("name", json!("x".repeat(65)))),
        (404, with("runner_group_id", json!(77))),
        (403, with("runner_group_id", json!(2))),
        (201, with("name", json!("x".repeat(64)))),
        (201, good.clone()),
        (409, good.clone()),
    ] {
        assert_eq!(generate(&caller, &body).0, status, "{body}");
    }
    for character in "\"/:<>\\|*?".chars() {
        assert_eq!(generate(&caller, &with("name", json!(format!("a{character}b")))).0, 422, "{character}");
    }
    let answer = generate(&caller, &good).1;
    assert_eq!(answer["message"], "Already exists - A runner with the name r-1 already exists.");
    let broken = github.take_violations();
    assert!(broken.iter().all(|found| found.side == Side::Request), "{broken:?}");
    assert_eq!(broken.len(), 5, "what the description forbids is recorded: {broken:?}");
}

#[test]
fn a_repository_has_its_own_runners_in_the_default_group_only() {
    let github = start();
    let caller = Caller::installation(&github);
    let path = format!("{REPO}/actions/runners/generate-jitconfig");
    let body = |group: u64| json!({ "name": "r-1", "runner_group_id": group, "labels": ["ec2"] });
    assert_eq!(caller.call("POST", &path, Some(&body(3))).status, 404);
    assert_eq!(caller.call("POST", &path, Some(&body(1))).status, 201);
    assert_eq!(caller.get(&format!("{REPO}/actions/runners"))["total_count"], 1);
    assert_eq!(caller.get(ORG)["total_count"], 0);
    assert_eq!(caller.mint("r-1", &["ec2"]).status, 201, "the name is free at the organisation");
    assert_eq!(github.violations(), []);
}

#[test]
fn an_error_may_have_registered_all_the_same() {
    let github = start();
    let caller = Caller::installation(&github);
    github.fault(Match::operation("generate-jitconfig"), Limit::times(1), Fault::StatusAfter(503));
    assert_eq!(caller.mint("r-1", &["ec2"]).status, 503);
    assert_eq!(caller.mint("r-1", &["ec2"]).status, 409, "the record exists");
    assert_eq!(caller.mint("r-2", &["ec2"]).status, 201);
    let names: Vec<String> = github.runners().into_iter().map(|runner| runner.name).collect();
    assert_eq!(names, ["r-1", "r-2"]);
}

#[test]
fn a_lost_answer_has_had_its_effect_and_a_reset_before_has_none() {
    let github = start();
    let caller = Caller::installation(&github);
    let mint = |name: &str| {
        let body = json!({ "name": name, "runner_group_id": 3, "labels": ["ec2"] });
        caller.try_call("POST", &format!("{ORG}/generate-jitconfig"), Some(&body))
    };
    github.fault(Match::operation("generate-jitconfig"), Limit::times(1), Fault::LoseAnswer);
    assert!(mint("lost").is_err());
    github.fault(Match::operation("generate-jitconfig"), Limit::times(1), Fault::Reset);
    assert!(mint("reset").is_err());
    assert!(github.runner("lost").is_some() && github.runner("reset").is_none());
}

#[test]
fn a_configuration_is_as_long_as_it_is_asked_to_be() {
    for size in [4096, 4100, 8192, 9000] {
        let github = FakeGithub::start(Options { jit_size: size, ..Options::default() }).unwrap();
        let minted = json_of(&Caller::installation(&github).mint("r-1", &["ec2"]));
        let blob = minted["encoded_jit_config"].as_str().unwrap();
        JitConfig::decode(blob).unwrap();
        assert!((size..size + 32).contains(&blob.len()), "{} for {size}", blob.len());
    }
}

#[test]
fn a_201_may_carry_nothing_or_nonsense() {
    let github = start();
    let caller = Caller::installation(&github);
    let fault = |fault| github.fault(Match::operation("generate-jitconfig"), Limit::times(1), fault);
    fault(Fault::Replace(json!({ "encoded_jit_config": "" })));
    let empty = caller.mint("r-1", &["ec2"]);
    assert_eq!((empty.status, json_of(&empty)["encoded_jit_config"].as_str()), (201, Some("")));
    fault(Fault::Replace(json!({ "encoded_jit_config": "?" })));
    assert_eq!(json_of(&caller.mint("r-2", &["ec2"]))["encoded_jit_config"], "?");
    fault(Fault::BodyAfter("<html>".to_owned()));
    let undecodable = caller.mint("r-3", &["ec2"]);
    assert_eq!((undecodable.status, undecodable.body.as_str()), (201, "<html>"));
    assert_eq!(github.runners().len(), 3, "each of them has registered");
    assert_eq!(github.violations(), []);
}

#[test]
fn registrations_are_limited_to_166_a_minute_with_headers() {
    let options = Options { clock: ClockKind::Manual, registration_burst: 166, ..Options::default() };
    let github = FakeGithub::start(options).unwrap();
    let caller = Caller::installation(&github);
    let mut made = 0;
    for minute in 0..3 {
        loop {
            let answer = caller.mint(&format!("r-{made}"), &["ec2"]);
            assert_eq!(answer.header("x-ratelimit-resource"), Some("actions_runner_registration"));
            if answer.status == 201 {
                made += 1;
                continue;
            }
            assert_eq!(answer.status, 403);
            assert!(answer.body.contains("secondary rate limit"), "{}", answer.body);
            assert_eq!(answer.header("retry-after"), Some("1"));
            break;
        }
        let expected = 166.0 + 166.67 * f64::from(minute);
        assert!((f64::from(made) - expected).abs() < 2.0, "{made} after {minute} minutes");
        assert!(github.advance(Duration::from_secs(60)));
    }
    github.spend_registrations(1);
    let last = caller.mint("last", &["ec2"]);
    assert_eq!((last.status, last.header("x-ratelimit-remaining")), (201, Some("0")));
    let spent = caller.mint("over", &["ec2"]);
    assert_eq!((spent.status, spent.header("x-ratelimit-remaining")), (403, Some("0")));
    assert!(spent.body.contains("API rate limit exceeded"), "{}", spent.body);
    github.advance(Duration::from_secs(3600));
    assert_eq!(Caller::installation(&github).mint("next-hour", &["ec2"]).status, 201);
}

#[test]
fn a_runner_is_removed_unless_it_is_busy() {
    let github = start();
    let caller = Caller::installation(&github);
    let minted = json_of(&caller.mint("r-1", &["ec2"]));
    let path = format!("{ORG}/{}", minted["runner"]["id"]);
    github.queue_job(&JobSpec::new(SAMPLE, &["ec2"])).unwrap();
    github.runner_online("r-1").unwrap();
    assert_eq!(caller.get(&path)["status"], "online");
    assert_eq!(caller.call("DELETE", &path, None).status, 422, "a busy runner cannot be removed");
    let idle = github.add_runner(Scope::Org("mayfly-example".to_owned()), "r-2", 3, &["ec2"]).unwrap();
    let removed = caller.call("DELETE", &format!("{ORG}/{idle}"), None);
    assert_eq!((removed.status, removed.body.as_str()), (204, ""));
    assert_eq!(caller.call("DELETE", &format!("{ORG}/{idle}"), None).status, 404);
    assert_eq!(caller.call("GET", &format!("{ORG}/{idle}"), None).status, 404);
    assert_eq!(github.violations(), []);
}

#[test]
fn an_idle_record_is_removed_by_github_where_that_is_asked_for() {
    let options =
        Options { clock: ClockKind::Manual, idle_removal: Some(Duration::from_secs(120)), ..Options::default() };
    let github = FakeGithub::start(options).unwrap();
    Caller::installation(&github).mint("r-1", &["ec2"]);
    github.runner_online("r-1").unwrap();
    github.advance(Duration::from_secs(119));
    assert!(github.runner("r-1").is_some());
    github.advance(Duration::from_secs(1));
    assert!(github.runner("r-1").is_none());
}
