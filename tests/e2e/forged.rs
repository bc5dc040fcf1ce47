//! A job tells lies about itself. Whoever acts on the instance's tags must not run somebody else's workflow again.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail there")]

use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use mayfly_e2e::{Cloud, OnInstance};
use mayfly_fake_aws::Limit;
use mayfly_fake_aws::proxy::{AwsError, Fault, Match};
use mayfly_fake_runner::Scenario;
use serde_json::json;

const RUN: &str = "mayfly-example/sample/1234567890/1";

fn cloud(scenario: &Scenario) -> Cloud {
    Cloud::with(scenario, None).launched()
}

fn tag(cloud: &Cloud, key: &str) -> Option<String> {
    cloud.moto.instance_tags(&cloud.instance).unwrap().remove(key)
}

fn call(repository: &str, run_id: &str, run_attempt: &str) -> String {
    let job =
        json!({ "repository": repository, "run_id": run_id, "run_attempt": run_attempt, "job": "x", "workflow": "x" });
    format!("{}\n", json!({ "hook": "job-started", "job": job }))
}

/// What a step can do: a line in the trace file, and a call of the hook's socket.
fn forge(cloud: &Cloud, call: &str) {
    let traces = cloud.run.state().join("run/perf/hooks.jsonl");
    OpenOptions::new().append(true).create(true).open(traces).unwrap().write_all(call.as_bytes()).unwrap();
    let mut stream = UnixStream::connect(cloud.run.state().join("run/hook.sock")).unwrap();
    stream.write_all(call.as_bytes()).unwrap();
    stream.read_to_end(&mut Vec::new()).unwrap();
}

fn until_known(agent: &mut OnInstance<'_>) {
    agent.until("the job's own call", |cloud| cloud.run.journal().concat().contains("run_id"));
}

#[test]
fn a_later_call_does_not_name_another_run() {
    let cloud = cloud(&Scenario { job_ms: 3_000, ..Scenario::default() });
    let mut agent = cloud.start();
    until_known(&mut agent);
    forge(&cloud, &call("somebody/else", "1", "1"));
    forge(&cloud, &call(&"x".repeat(300), "1", "1"));
    // A notice is told with the run's name while the job runs.
    cloud.imds.spot_action("terminate", std::time::SystemTime::now() + std::time::Duration::from_secs(60));
    agent.until("the notice", |cloud| tag(cloud, "mayfly:interrupted-at").is_some());
    assert_eq!(tag(&cloud, "mayfly:run").as_deref(), Some(RUN), "a launcher runs somebody else's workflow again");
    let gone = agent.end();
    gone.assert_outcome("job-succeeded");
    assert_eq!(gone.record["job"]["repository"], "mayfly-example/sample");
    assert_eq!(tag(&cloud, "mayfly:run").as_deref(), Some(RUN), "a launcher runs somebody else's workflow again");
}

/// On a machine where even the first call is forged: what does not look like GitHub's is left out, and costs nothing.
#[test]
fn what_github_cannot_have_said_becomes_no_tag_and_takes_none_down() {
    let long = "x".repeat(300);
    for (repository, run_id, attempt) in [(&*format!("o/{long}"), "1", "1"), ("o/r", "1", "1;2")] {
        let cloud = cloud(&Scenario { idle_ms: 3_000, job_ms: 200, ..Scenario::default() });
        let mut agent = cloud.start();
        agent.until_state("Idle");
        forge(&cloud, &call(repository, run_id, attempt));
        let gone = agent.end();
        gone.assert_outcome("job-succeeded");
        assert_eq!(
            tag(&cloud, "mayfly:outcome").as_deref(),
            Some("job-succeeded"),
            "the outcome was not told:\n{}",
            gone.log
        );
        assert_eq!(tag(&cloud, "mayfly:run"), None, "a run was made of {repository:?} {run_id:?} {attempt:?}");
        let said = gone.log.matches("GitHub cannot have said").count();
        assert_eq!(said, 1, "it was said {said} times that something is wrong:\n{}", gone.log);
        for request in cloud.aws.requests_of("CreateTags") {
            assert!(request.body.len() < 2_000, "what no tag can hold was sent to AWS");
        }
    }
}

/// AWS finds something wrong with the job's own tag that nobody knew of.
#[test]
fn a_tag_that_aws_refuses_takes_no_other_down() {
    for (status, code) in [(400, "InvalidParameterValue"), (400, "TagPolicyViolation"), (403, "UnauthorizedOperation")]
    {
        let cloud = cloud(&Scenario { job_ms: 200, ..Scenario::default() });
        let refused = AwsError::Code { status, code: code.to_owned(), message: "no such tag".to_owned() };
        let with_run = Match::action("CreateTags").containing("mayfly%3Arun");
        cloud.aws.fault(with_run, Limit::default(), Fault::Error(refused));
        let gone = cloud.run();
        gone.assert_outcome("job-succeeded");
        let outcome = tag(&cloud, "mayfly:outcome");
        assert_eq!(outcome.as_deref(), Some("job-succeeded"), "{code}: the outcome went down with it:\n{}", gone.log);
        assert_eq!(tag(&cloud, "mayfly:run"), None);
    }
}

/// The same for the notice that a launcher waits for.
#[test]
fn a_tag_that_aws_refuses_takes_no_notice_down() {
    let cloud = cloud(&Scenario { job_ms: 60_000, ..Scenario::default() });
    let cloud = cloud.configured("[interruption]\nstop_at = \"2s\"\nkill_at = \"1s\"\n");
    let refused = AwsError::Validation("the value is too long".to_owned());
    let with_run = Match::action("CreateTags").containing("mayfly%3Arun");
    cloud.aws.fault(with_run, Limit::default(), Fault::Error(refused));
    let mut agent = cloud.start();
    until_known(&mut agent);
    let at = std::time::SystemTime::now() + std::time::Duration::from_secs(8);
    cloud.imds.spot_action("terminate", at);
    agent.until("the notice", |cloud| tag(cloud, "mayfly:interrupted-at").is_some());
    agent.end().assert_outcome("spot-interruption");
    assert_eq!(tag(&cloud, "mayfly:outcome").as_deref(), Some("spot-interruption"));
}
