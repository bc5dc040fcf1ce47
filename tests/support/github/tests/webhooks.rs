//! Webhooks: signed, in GitHub's shape, and what goes wrong with them.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail there")]

mod common;

use common::{LONG, Receiver, SAMPLE, start};
use mayfly_fake_github::{Conclusion, JobSpec, signature};

#[test]
fn the_signature_is_that_of_githubs_own_example() {
    let signed = signature("It's a Secret to Everybody", b"Hello, World!");
    assert_eq!(signed, "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17");
}

#[test]
fn the_life_of_a_job_is_told_in_order_and_signed() {
    let (github, receiver) = (start(), Receiver::start());
    github.webhook_to(&receiver.url, "s3cret");
    let job = github.queue_job(&JobSpec::new(SAMPLE, &["ec2"])).unwrap();
    let scope = mayfly_fake_github::Scope::Org("mayfly-example".to_owned());
    github.add_runner(scope, "r-1", 3, &["ec2"]).unwrap();
    github.runner_online("r-1").unwrap();
    github.complete_job(job, Conclusion::Failure).unwrap();
    assert!(github.wait_webhooks(LONG, |sent| sent.len() == 3), "{:?}", github.webhooks());
    assert_eq!(receiver.actions(), ["queued", "in_progress", "completed"]);
    for got in receiver.all() {
        assert_eq!(got.header("x-hub-signature-256"), signature("s3cret", &got.body));
        assert_eq!(got.header("x-github-event"), "workflow_job");
        assert!(got.header("user-agent").starts_with("GitHub-Hookshot/"));
        assert_eq!(got.json()["workflow_job"]["id"], job.0);
        assert_eq!(got.json()["repository"]["full_name"], SAMPLE);
        assert_eq!(got.json()["installation"]["id"], mayfly_fake_github::FIRST_INSTALLATION);
    }
    let queued = receiver.all()[0].json();
    assert!(queued["workflow_job"]["runner_id"].is_null(), "no runner while it is queued");
    assert_eq!(receiver.all()[2].json()["workflow_job"]["runner_name"], "r-1");
    assert_eq!(github.violations(), []);
}
