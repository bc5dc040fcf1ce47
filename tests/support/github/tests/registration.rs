//! Tokens, registrations and runners.
#![allow(clippy::unwrap_used, reason = "a test may fail there")]

mod common;

use common::{Caller, LONG, ORG, SAMPLE, json_of, start};
use mayfly_core::runner::jit::JitConfig;
use mayfly_fake_github::{Conclusion, JobSpec, JobStatus};

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
