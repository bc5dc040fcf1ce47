//! Who may call what.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail there")]

mod common;

use std::time::Duration;

use common::{Caller, ORG, REPO, good_jwt, json_of, jwt, start, unix};
use mayfly_fake_aws::http::send;
use mayfly_fake_github::{
    APP_ID, CLIENT_ID, ClockKind, FIRST_INSTALLATION, FakeGithub, JobSpec, Options, OwnerSpec, Side,
};
use serde_json::{Value, json};

fn app_with(github: &FakeGithub, secret: &str) -> u16 {
    let auth = format!("Bearer {secret}");
    let headers = [("authorization", auth.as_str()), ("user-agent", "x")];
    send(github.address(), "GET", "/app", &headers, "").unwrap().status
}

#[test]
fn a_jwt_is_signed_by_the_app_begun_and_not_too_long() {
    let github = start();
    let now = unix();
    let head = json!({ "alg": "RS256", "typ": "JWT" });
    let claims = |iat: u64, exp: u64, iss: Value| json!({ "iat": iat, "exp": exp, "iss": iss });
    for (status, claims) in [
        (200, claims(now - 60, now + 540, json!(APP_ID.to_string()))),
        (200, claims(now - 60, now + 540, json!(APP_ID))),
        (200, claims(now - 60, now + 540, json!(CLIENT_ID))),
        (401, claims(now - 60, now + 540, json!("17"))),
        (401, claims(now + 300, now + 540, json!(CLIENT_ID))),
        (401, claims(now - 600, now - 1, json!(CLIENT_ID))),
        (401, claims(now - 60, now + 700, json!(CLIENT_ID))),
        (401, json!({ "iss": CLIENT_ID })),
    ] {
        assert_eq!(app_with(&github, &jwt(&github, &head, &claims)), status, "{claims}");
    }
    let good = good_jwt(&github);
    let forged = format!("{}AAAA", &good[..good.len() - 4]);
    assert_eq!(app_with(&github, &forged), 401, "a wrong signature");
    let none = jwt(&github, &json!({ "alg": "none" }), &claims(now, now + 60, json!(CLIENT_ID)));
    assert_eq!(app_with(&github, &none), 401, "another algorithm");
    assert_eq!(app_with(&github, "rubbish"), 401);
}

#[test]
fn every_call_needs_a_user_agent_and_a_credential() {
    let github = start();
    let get = |headers: &[(&str, &str)]| send(github.address(), "GET", ORG, headers, "").unwrap();
    let refused = get(&[("authorization", "Bearer x")]);
    assert_eq!(refused.status, 403);
    assert!(refused.body.contains("User-Agent"), "{}", refused.body);
    assert_eq!(get(&[("user-agent", "x")]).status, 401);
    assert_eq!(get(&[("user-agent", "x"), ("authorization", "Bearer ghs_unknown")]).status, 401);
    let other = [("user-agent", "x"), ("authorization", "Bearer x"), ("x-github-api-version", "2020-01-01")];
    assert_eq!(get(&other).status, 400, "no such version");
    let jwt = format!("Bearer {}", good_jwt(&github));
    assert_eq!(get(&[("user-agent", "x"), ("authorization", &jwt)]).status, 401, "a JWT is no token");
    let broken = github.take_violations();
    assert_eq!((broken.len(), broken[0].side), (2, Side::Request));
    assert_eq!(github.requests().len(), 5);
}

#[test]
fn a_token_lives_for_an_hour_or_as_long_as_it_is_told() {
    let options = Options { clock: ClockKind::Manual, token_lifetime: Duration::from_secs(90), ..Options::default() };
    let github = FakeGithub::start(options).unwrap();
    let caller = Caller::installation(&github);
    github.advance(Duration::from_secs(89));
    caller.get(ORG);
    github.advance(Duration::from_secs(1));
    assert_eq!(caller.call("GET", ORG, None).status, 401);
    let caller = Caller::installation(&github);
    caller.get(ORG);
    github.invalidate_tokens();
    assert_eq!(caller.call("GET", ORG, None).status, 401);
}

#[test]
fn a_narrowed_token_does_no_more_than_it_was_asked_for() {
    let owner = OwnerSpec::new("mayfly-example").repo("sample").repo("other").permission("checks", "");
    let github = FakeGithub::start(Options { owners: vec![owner], ..Options::default() }).unwrap();
    let body = json!({ "repositories": ["sample"], "permissions": { "actions": "read", "metadata": "read" } });
    let caller = Caller::narrowed(&github, &body);
    assert_eq!(github.requests()[0].json(), body, "what was asked for is recorded");
    caller.get(&format!("{REPO}/actions/runs"));
    assert_eq!(caller.call("GET", ORG, None).status, 403, "no runners without their permission");
    let of_repo = caller.call("GET", &format!("{REPO}/actions/runners"), None).status;
    assert_eq!(of_repo, 403, "a repository's runners are its administration");
    assert_eq!(caller.call("GET", "/repos/mayfly-example/other", None).status, 404);
    assert_eq!(caller.get("/installation/repositories")["total_count"], 1);
    let path = format!("/app/installations/{FIRST_INSTALLATION}/access_tokens");
    let asking = |body: Value| Caller::app(&github).call("POST", &path, Some(&body)).status;
    assert_eq!(asking(json!({ "permissions": { "checks": "write" } })), 422, "more than the App has");
    assert_eq!(asking(json!({ "repositories": ["unknown"] })), 422);
    let all = Caller::installation(&github);
    let run = json!({ "name": "mayfly", "head_sha": "0".repeat(40) });
    let refused = all.call("POST", &format!("{REPO}/check-runs"), Some(&run));
    assert_eq!(refused.status, 403);
    assert_eq!(json_of(&refused)["message"], "Resource not accessible by integration");
    assert_eq!(github.violations(), []);
}

#[test]
fn an_installation_does_not_see_another_owners_things() {
    let owners = vec![OwnerSpec::new("mayfly-example").repo("sample"), OwnerSpec::new("second").repo("sample")];
    let github = FakeGithub::start(Options { owners, ..Options::default() }).unwrap();
    let caller = Caller::installation(&github);
    for path in ["/orgs/second/actions/runners", "/repos/second/sample", "/orgs/nobody/actions/runners"] {
        assert_eq!(caller.call("GET", path, None).status, 404, "{path}");
    }
    let app = Caller::app(&github);
    assert_eq!(app.get("/orgs/second/installation")["id"], FIRST_INSTALLATION + 1);
    assert_eq!(app.get("/repos/mayfly-example/sample/installation")["id"], FIRST_INSTALLATION);
    assert_eq!(app.call("GET", "/orgs/nobody/installation", None).status, 404);
    assert_eq!(app.get("/app/installations").as_array().unwrap().len(), 2);
    assert_eq!(app.get("/app")["id"], APP_ID);
    assert_eq!(app.call("POST", "/app/installations/1/access_tokens", None).status, 404);
    assert_eq!(github.violations(), []);
}

#[test]
fn an_enterprise_server_serves_below_its_prefix_and_without_limits() {
    let github = FakeGithub::start(Options { ghes: true, ..Options::default() }).unwrap();
    assert!(github.api_url().ends_with("/api/v3"));
    let caller = Caller::installation(&github);
    let job = github.queue_job(&JobSpec::new("mayfly-example/sample", &["ec2"])).unwrap();
    let path = format!("/api/v3{REPO}/actions/jobs/{job}");
    let auth = format!("Bearer {}", caller.secret);
    let headers = [("authorization", auth.as_str()), ("user-agent", "x")];
    let answer = send(github.address(), "GET", &path, &headers, "").unwrap();
    assert_eq!((answer.status, answer.header("x-ratelimit-limit")), (200, None));
    assert_eq!(send(github.address(), "GET", ORG, &headers, "").unwrap().status, 404, "the prefix is needed");
}
