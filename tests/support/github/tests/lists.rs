//! Lists: paged, filtered, stale and inflated.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail there")]

mod common;

use std::time::Duration;

use common::{Caller, ORG, REPO, SAMPLE, start};
use mayfly_fake_github::{ClockKind, Conclusion, FakeGithub, JobSpec, List, Options, Scope, Served};

fn ghosts(github: &FakeGithub, count: usize) {
    for number in 0..count {
        let scope = Scope::Org("mayfly-example".to_owned());
        github.add_runner(scope, &format!("ghost-{number}"), 3, &["ec2"]).unwrap();
    }
}

#[test]
fn a_long_list_comes_in_pages_of_at_most_100() {
    let github = start();
    ghosts(&github, 230);
    let caller = Caller::installation(&github);
    let mut path = format!("{ORG}?per_page=500");
    let mut seen = Vec::new();
    loop {
        let answer = caller.call("GET", &path, None);
        let page = common::json_of(&answer);
        assert_eq!(page["total_count"], 230);
        seen.push(page["runners"].as_array().unwrap().len());
        let next = answer.header("link").and_then(|link| {
            let next = link.split(", ").find(|part| part.ends_with("rel=\"next\""))?;
            Some(next.trim_start_matches('<').split('>').next()?.to_owned())
        });
        let Some(next) = next else { break };
        path = next.trim_start_matches(&github.url()).to_owned();
    }
    assert_eq!(seen, [100, 100, 30]);
    assert_eq!(caller.get(ORG)["runners"].as_array().unwrap().len(), 30, "30 without a word");
    assert_eq!(caller.get(&format!("{ORG}?name=Ghost-17"))["total_count"], 1);
    assert_eq!(caller.get(&format!("{ORG}?page=9"))["runners"].as_array().unwrap().len(), 0);
    assert_eq!(github.violations(), []);
}

#[test]
fn a_list_can_be_of_a_while_ago_and_count_too_many() {
    let github = FakeGithub::start(Options { clock: ClockKind::Manual, ..Options::default() }).unwrap();
    let caller = Caller::installation(&github);
    ghosts(&github, 2);
    let job = github.queue_job(&JobSpec::new(SAMPLE, &["ec2"])).unwrap();
    let run = github.job(job).unwrap().run_id;
    github.advance(Duration::from_secs(60));
    github.remove_runner("ghost-0").unwrap();
    github.complete_job(job, Conclusion::Success).unwrap();
    for list in [List::Runners, List::Jobs, List::Runs] {
        github.serve_list(list, Served { stale: Duration::from_secs(30), inflated: 5 });
    }
    let total = |path: &str| caller.get(path)["total_count"].as_u64().unwrap();
    let jobs = format!("{REPO}/actions/runs/{run}/jobs");
    assert_eq!(total(ORG), 2 + 5);
    assert_eq!(caller.get(&jobs)["jobs"][0]["status"], "queued");
    assert_eq!(total(&format!("{REPO}/actions/runs?status=queued")), 1 + 5);
    let now = caller.get(&format!("{REPO}/actions/jobs/{job}"));
    assert_eq!(now["status"], "completed", "asked for by its id, it is as it is");
    github.advance(Duration::from_secs(30));
    assert_eq!(total(ORG), 1 + 5);
    assert_eq!(caller.get(&jobs)["jobs"][0]["status"], "completed");
    github.serve_list(List::Runners, Served::default());
    assert_eq!(total(ORG), 1);
}

#[test]
fn the_limits_are_told_and_kept() {
    let options = Options { clock: ClockKind::Manual, spent_status: 429, ..Options::default() };
    let github = FakeGithub::start(options).unwrap();
    let caller = Caller::installation(&github);
    let first = caller.call("GET", ORG, None);
    assert_eq!(first.header("x-ratelimit-remaining"), Some("4999"));
    assert_eq!(first.header("x-ratelimit-resource"), Some("core"));
    let limits = caller.get("/rate_limit");
    assert_eq!(limits["resources"]["core"]["remaining"], 4999, "asking costs nothing");
    assert_eq!(limits["resources"]["actions_runner_registration"]["limit"], 10_000);
    github.spend_requests(mayfly_fake_github::FIRST_INSTALLATION, 1);
    caller.get(ORG);
    let spent = caller.call("GET", ORG, None);
    assert_eq!((spent.status, spent.header("x-ratelimit-remaining")), (429, Some("0")));
    assert_eq!(github.violations(), []);
}
