//! Webhooks: signed, in GitHub's shape, and what goes wrong with them.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail there")]

mod common;

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

use common::{Caller, LONG, Receiver, SAMPLE, json_of, start};
use mayfly_fake_github::{
    ClockKind, Conclusion, FIRST_INSTALLATION, FakeGithub, JobId, JobSpec, Limit, Options, OwnerSpec, Scope,
    WebhookFault, WebhookMatch, signature,
};
use serde_json::Value;

fn queue(github: &FakeGithub) -> JobId {
    github.queue_job(&JobSpec::new(SAMPLE, &["ec2"])).unwrap()
}

/// A double that sends to a receiver.
fn sending() -> (FakeGithub, Receiver) {
    let (github, receiver) = (start(), Receiver::start());
    github.webhook_to(&receiver.url, "s3cret");
    (github, receiver)
}

fn faulty(fault: WebhookFault) -> (FakeGithub, Receiver) {
    let (github, receiver) = sending();
    github.webhook_fault(WebhookMatch::action("queued"), Limit::times(1), fault);
    (github, receiver)
}

fn sent(github: &FakeGithub, count: usize) {
    assert!(github.wait_webhooks(LONG, |sent| sent.len() == count), "{:?}", github.webhooks());
}

#[test]
fn the_signature_is_that_of_githubs_own_example() {
    let signed = signature("It's a Secret to Everybody", b"Hello, World!");
    assert_eq!(signed, "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17");
}

#[test]
fn the_life_of_a_job_is_told_in_order_and_signed() {
    let (github, receiver) = sending();
    let job = queue(&github);
    github.add_runner(Scope::Org("mayfly-example".to_owned()), "r-1", 3, &["ec2"]).unwrap();
    github.runner_online("r-1").unwrap();
    github.complete_job(job, Conclusion::Failure).unwrap();
    sent(&github, 3);
    assert_eq!(receiver.actions(), ["queued", "in_progress", "completed"]);
    for got in receiver.all() {
        assert_eq!(got.header("x-hub-signature-256"), signature("s3cret", &got.body));
        assert_eq!(got.header("x-github-event"), "workflow_job");
        assert_eq!(got.header("x-github-hook-installation-target-id"), mayfly_fake_github::APP_ID.to_string());
        assert!(got.header("user-agent").starts_with("GitHub-Hookshot/"));
        assert_eq!(got.json()["workflow_job"]["id"], job.0);
        assert_eq!(got.json()["repository"]["full_name"], SAMPLE);
        assert_eq!(got.json()["installation"]["id"], FIRST_INSTALLATION);
        assert_eq!(got.json()["organization"]["login"], "mayfly-example");
    }
    let queued = receiver.all()[0].json();
    assert!(queued["workflow_job"]["runner_id"].is_null(), "no runner while it is queued");
    assert_eq!(receiver.all()[2].json()["workflow_job"]["runner_name"], "r-1");
    assert_eq!(github.violations(), []);
}

#[test]
fn queued_waiting_queued_is_told_as_it_happens() {
    let (github, receiver) = sending();
    let job = queue(&github);
    github.hold(job).unwrap();
    github.approve(job).unwrap();
    sent(&github, 3);
    assert_eq!(receiver.actions(), ["queued", "waiting", "queued"]);
    let deployments: Vec<bool> = receiver.all().iter().map(|got| got.json()["deployment"].is_object()).collect();
    assert_eq!(deployments, [false, true, true]);
    assert_eq!(github.violations(), []);
}

#[test]
fn a_webhook_can_be_lost_with_or_without_a_trace() {
    let (github, receiver) = faulty(WebhookFault::Lose);
    let job = queue(&github);
    github.cancel(job);
    sent(&github, 1);
    assert_eq!(receiver.actions(), ["completed"], "the queued one never was");
    let (github, receiver) = faulty(WebhookFault::Fail);
    queue(&github);
    assert!(github.wait_delivered(LONG), "what has failed is not under way");
    assert_ne!(github.webhooks()[0].status, "OK");
    assert!(receiver.all().is_empty());
}

#[test]
fn a_webhook_can_come_twice_late_and_in_another_order() {
    let (github, receiver) = faulty(WebhookFault::Double);
    queue(&github);
    sent(&github, 2);
    let guids: BTreeSet<_> = receiver.all().iter().map(|got| got.header("x-github-delivery").to_owned()).collect();
    assert_eq!(guids.len(), 1, "one GUID, twice");
    let (github, receiver) = faulty(WebhookFault::Twice);
    queue(&github);
    sent(&github, 2);
    let guids: BTreeSet<_> = receiver.all().iter().map(|got| got.header("x-github-delivery").to_owned()).collect();
    assert_eq!(guids.len(), 2, "two GUIDs of one job");
    let (github, receiver) = faulty(WebhookFault::AfterNext);
    let job = queue(&github);
    github.cancel(job);
    sent(&github, 2);
    assert_eq!(receiver.actions(), ["completed", "queued"]);
    let (github, receiver) = faulty(WebhookFault::Hold);
    let job = queue(&github);
    github.cancel(job);
    sent(&github, 1);
    github.release_webhooks(false);
    sent(&github, 2);
    assert_eq!(receiver.actions(), ["completed", "queued"]);
}

#[test]
fn a_late_webhook_comes_by_the_doubles_clock() {
    let github = FakeGithub::start(Options { clock: ClockKind::Manual, ..Options::default() }).unwrap();
    let receiver = Receiver::start();
    github.webhook_to(&receiver.url, "s");
    github.webhook_fault(WebhookMatch::default(), Limit::times(1), WebhookFault::Delay(Duration::from_secs(300)));
    let job = queue(&github);
    github.cancel(job);
    sent(&github, 1);
    assert_eq!(receiver.actions(), ["completed"], "the queued one is late");
    github.advance(Duration::from_secs(300));
    sent(&github, 2);
}

#[test]
fn a_payload_can_be_null_any_text_or_forged() {
    let (github, receiver) = faulty(WebhookFault::NullJob);
    queue(&github);
    sent(&github, 1);
    assert!(receiver.all()[0].json()["workflow_job"].is_null());
    let (github, receiver) = faulty(WebhookFault::Body("{".to_owned()));
    queue(&github);
    sent(&github, 1);
    let got = &receiver.all()[0];
    assert_eq!((got.body.as_slice(), got.header("x-hub-signature-256")), (&b"{"[..], &*signature("s3cret", b"{")));
    let (github, receiver) = faulty(WebhookFault::Forge);
    queue(&github);
    sent(&github, 1);
    let got = &receiver.all()[0];
    assert_ne!(got.header("x-hub-signature-256"), signature("s3cret", &got.body));
}

#[test]
fn any_event_can_be_sent_and_a_persons_repository_names_no_organisation() {
    let owner = OwnerSpec::new("somebody").user().repo("own");
    let github = FakeGithub::start(Options { owners: vec![owner], ..Options::default() }).unwrap();
    let receiver = Receiver::start();
    github.webhook_to(&receiver.url, "s");
    github.send_webhook("ping", "{}");
    sent(&github, 1);
    assert_eq!((receiver.all()[0].header("x-github-event"), github.webhooks()[0].job), ("ping", None));
    assert_eq!(receiver.all()[0].header("x-hub-signature-256"), signature("s", b"{}"));
    github.queue_job(&JobSpec::new("somebody/own", &["ec2"])).unwrap();
    sent(&github, 2);
    let payload = receiver.all()[1].json();
    assert!(payload.get("organization").is_none());
    assert_eq!(payload["repository"]["owner"]["type"], "User");
    let caller = Caller::installation(&github);
    assert_eq!(caller.call("GET", "/orgs/somebody/actions/runners", None).status, 404);
    assert_eq!(caller.get("/repos/somebody/own/actions/runners")["total_count"], 0);
    assert_eq!(Caller::app(&github).get("/app/hook/deliveries").as_array().unwrap().len(), 2);
    assert_eq!(github.violations(), []);
}

#[test]
fn deliveries_are_listed_newest_first_and_sent_again_with_the_same_guid() {
    let (github, receiver) = sending();
    receiver.status.store(503, Ordering::SeqCst);
    let jobs: Vec<JobId> = (0..5).map(|_| queue(&github)).collect();
    sent(&github, 5);
    receiver.status.store(200, Ordering::SeqCst);
    let app = Caller::app(&github);
    let mut path = "/app/hook/deliveries?per_page=2".to_owned();
    let (mut ids, mut pages): (Vec<u64>, _) = (Vec::new(), 0);
    loop {
        let answer = app.call("GET", &path, None);
        pages += 1;
        for delivery in json_of(&answer).as_array().unwrap() {
            assert_eq!(delivery["status"], "Invalid HTTP Response: 503");
            assert_eq!((&delivery["status_code"], &delivery["action"]), (&503.into(), &"queued".into()));
            ids.push(delivery["id"].as_u64().unwrap());
        }
        let Some(link) = answer.header("link") else { break };
        assert!(link.ends_with("rel=\"next\""), "{link}");
        path = link.trim_start_matches('<').split('>').next().unwrap().trim_start_matches(&github.url()).to_owned();
    }
    assert_eq!((ids.len(), pages), (5, 3));
    assert!(ids.is_sorted_by(|a, b| a > b), "newest first: {ids:?}");
    let one = app.get(&format!("/app/hook/deliveries/{}", ids[4]));
    let payload = &one["request"]["payload"];
    let first = jobs.iter().find(|job| payload["workflow_job"]["id"] == job.0).unwrap();
    assert_eq!(one["request"]["headers"]["X-GitHub-Event"], "workflow_job");
    let again = app.call("POST", &format!("/app/hook/deliveries/{}/attempts", ids[4]), None);
    assert_eq!(again.status, 202);
    sent(&github, 6);
    let last = github.webhooks()[5].clone();
    assert_eq!((last.redelivery, last.job, last.status.as_str()), (true, Some(*first), "OK"));
    assert_eq!(Value::from(last.guid), one["guid"]);
    assert_eq!(app.get("/app/hook/deliveries?status=success").as_array().unwrap().len(), 1);
    assert_eq!(app.call("GET", "/app/hook/deliveries/1", None).status, 404);
    assert_eq!(app.get("/app/hook/config")["url"], receiver.url);
    assert_eq!(github.violations(), []);
}

#[test]
fn the_payloads_have_the_members_of_githubs_examples() {
    let (github, receiver) = sending();
    let job = queue(&github);
    github.cancel(job);
    sent(&github, 2);
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>();
    let own = receiver.all()[0].json();
    let mut seen = 0;
    for file in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures")).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_none_or(|kind| kind != "json") {
            continue;
        }
        seen += 1;
        let example: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        let lacks: Vec<_> = keys(&example["workflow_job"]).difference(&keys(&own["workflow_job"])).cloned().collect();
        assert!(lacks.is_empty(), "the double's payload has no {lacks:?}, which are in {}", path.display());
        let extra: Vec<_> = keys(&own).difference(&keys(&example)).cloned().collect();
        assert!(extra.iter().all(|key| key == "organization" || key == "installation"), "{extra:?}");
    }
    assert_eq!(seen, 8);
}
