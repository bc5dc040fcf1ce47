//! What can be made to go wrong.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail there")]

mod common;

use std::time::{Duration, Instant};

use common::{Caller, ORG, start};
use mayfly_fake_github::{ClockKind, FakeGithub, Fault, Limit, Match, Options};

#[test]
fn an_outage_lasts_as_long_as_it_is_told_by_the_doubles_clock() {
    let github = FakeGithub::start(Options { clock: ClockKind::Manual, ..Options::default() }).unwrap();
    let caller = Caller::installation(&github);
    let outage = github.fault(Match::default(), Limit::lasting(Duration::from_secs(600)), Fault::Status(502));
    assert_eq!(caller.call("GET", ORG, None).status, 502);
    github.advance(Duration::from_secs(599));
    assert_eq!(caller.call("GET", ORG, None).status, 502);
    github.advance(Duration::from_secs(1));
    assert_eq!(caller.call("GET", ORG, None).status, 200);
    assert_eq!(github.hits(outage), 2);
    assert_eq!(github.violations(), []);
}

#[test]
fn the_nth_matching_call_is_hit() {
    let github = start();
    let caller = Caller::installation(&github);
    github.fault(Match::operation("GET /orgs/{org}/actions/runners"), Limit::times(1).after(1), Fault::Status(500));
    let statuses: Vec<u16> = (0..3).map(|_| caller.call("GET", ORG, None).status).collect();
    assert_eq!(statuses, [200, 500, 200]);
    github.fault(Match::path("name=x").containing(""), Limit::default(), Fault::Forbidden);
    assert_eq!(caller.call("GET", &format!("{ORG}?name=x"), None).status, 403);
    assert_eq!(caller.call("GET", ORG, None).status, 200);
}

#[test]
fn a_secondary_limit_is_a_403_with_its_message() {
    let github = start();
    let caller = Caller::installation(&github);
    github.fault(Match::default(), Limit::times(1), Fault::Secondary(Some(7)));
    github.fault(Match::default(), Limit::times(1), Fault::Secondary(None));
    let first = caller.call("GET", ORG, None);
    assert_eq!((first.status, first.header("retry-after")), (403, Some("7")));
    assert!(first.body.contains("You have exceeded a secondary rate limit"), "{}", first.body);
    let forbidden = caller.mint("r-1", &["ec2"]);
    assert_eq!(forbidden.status, 403);
    assert_eq!(forbidden.header("retry-after"), None);
    assert_eq!(caller.call("GET", ORG, None).status, 200);
}

#[test]
fn calls_can_be_late_cut_or_never_answered() {
    let github = start();
    let caller = Caller::installation(&github);
    github.latency(Duration::from_millis(60));
    let began = Instant::now();
    caller.get(ORG);
    assert!(began.elapsed() >= Duration::from_millis(60));
    github.latency(Duration::ZERO);
    github.fault(Match::default(), Limit::times(1), Fault::HalfBody);
    let half = caller.call("GET", ORG, None);
    assert!(serde_json::from_str::<serde_json::Value>(&half.body).is_err(), "half of an answer: {}", half.body);
    github.refuse(None).unwrap();
    assert!(caller.try_call("GET", ORG, None).is_err());
    github.clear_all().unwrap();
    caller.get(ORG);
    github.black_hole(None).unwrap();
    assert!(caller.try_call("GET", ORG, None).is_err(), "nobody answers");
    github.clear_all().unwrap();
    caller.get(ORG);
}
