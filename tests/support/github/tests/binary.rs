//! The binary as a shell script drives it, and that every operation is answered in GitHub's shape.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail there")]

mod common;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use common::{Caller, LONG, ORG, REPO, Receiver, SAMPLE, start};
use mayfly_fake_github::{Conclusion, FIRST_INSTALLATION, JobSpec};
use serde_json::{Value, json};

#[test]
fn fake_github_obeys_and_ends() {
    let directory = tempfile::tempdir().unwrap();
    let key = directory.path().join("key.pem");
    let mut child = Command::new(env!("CARGO_BIN_EXE_fake-github"))
        .args(["--owner", "acme", "--repo", "app", "--group", "ec2", "--manual-clock", "--key-file"])
        .arg(&key)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut line = || serde_json::from_str::<Value>(&lines.next().unwrap().unwrap()).unwrap();
    assert_eq!(line()["installations"]["acme"], FIRST_INSTALLATION);
    assert!(std::fs::read_to_string(&key).unwrap().contains("RSA PRIVATE KEY"));
    let mut ask = |command: &str| {
        writeln!(input, "{command}").unwrap();
        let answer = line();
        assert!(answer["ok"].is_boolean(), "{answer}");
        answer
    };
    let queued = ask(r#"queue {"repo": "acme/app", "labels": ["ec2"], "name": "unit"}"#);
    let job = &queued["job"];
    assert_eq!(ask(&format!("job {job}"))["job"]["status"], "queued");
    let added = ask(r#"add-runner {"scope": "acme", "name": "r-1", "group_id": 3, "labels": ["ec2"]}"#);
    assert_eq!(added["ok"], true);
    assert_eq!(ask("online r-1")["ok"], true);
    assert_eq!(ask(&format!("job {job}"))["job"]["runner"], "r-1");
    assert_eq!(ask("advance 3600")["moved"], true);
    assert_eq!(ask(&format!(r#"complete {{"job": {job}, "conclusion": "success"}}"#))["ok"], true);
    assert_eq!(ask("runners")["runners"], json!([]));
    assert_eq!(ask(r#"fault {"fault": "secondary:5", "operation": "generate", "times": 1}"#)["ok"], true);
    assert_eq!(ask(r#"webhook-fault {"fault": "lose", "action": "queued"}"#)["ok"], true);
    assert_eq!(ask(r#"serve-list {"list": "runners", "stale": 60}"#)["ok"], true);
    for command in ["jobs", "requests", "webhooks", "check-runs", "clear"] {
        assert_eq!(ask(command)["ok"], true, "{command}");
    }
    assert_eq!(ask("violations")["violations"], json!([]));
    assert_eq!(ask("nonsense")["ok"], false);
    drop(input);
    assert!(child.wait().unwrap().success());
}

#[test]
fn every_operation_answers_in_the_shape_that_github_describes() {
    let (github, receiver) = (start(), Receiver::start());
    github.webhook_to(&receiver.url, "s");
    let (app, caller) = (Caller::app(&github), Caller::installation(&github));
    let job = github.queue_job(&JobSpec::new(SAMPLE, &["ec2"])).unwrap();
    let run = github.job(job).unwrap().run_id;
    assert!(github.wait_webhooks(LONG, |sent| sent.len() == 1));
    let delivery = github.webhooks()[0].id;
    let get = |caller: &Caller<'_>, path: &str| assert_eq!(caller.call("GET", path, None).status, 200, "{path}");
    let paths = ["/app", "/app/hook/config", "/app/hook/deliveries", "/app/installations"];
    paths.iter().for_each(|path| get(&app, path));
    get(&app, &format!("/app/hook/deliveries/{delivery}"));
    get(&app, "/orgs/mayfly-example/installation");
    get(&app, &format!("{REPO}/installation"));
    app.call("POST", &format!("/app/hook/deliveries/{delivery}/attempts"), None);
    let mut ids = Vec::new();
    for (base, group) in [(ORG.to_owned(), 3), (format!("{REPO}/actions/runners"), 1)] {
        let body = json!({ "name": "r-1", "runner_group_id": group, "labels": ["other"] });
        let made = caller.call("POST", &format!("{base}/generate-jitconfig"), Some(&body));
        ids.push((base, common::json_of(&made)["runner"]["id"].clone()));
    }
    for (base, id) in &ids {
        get(&caller, base);
        get(&caller, &format!("{base}/{id}"));
        assert_eq!(caller.call("POST", &format!("{base}/registration-token"), None).status, 201);
        assert_eq!(caller.call("DELETE", &format!("{base}/{id}"), None).status, 204);
    }
    let groups = "/orgs/mayfly-example/actions/runner-groups";
    for path in ["/installation/repositories", "/rate_limit", REPO, groups] {
        get(&caller, path);
    }
    get(&caller, &format!("{groups}/3"));
    get(&caller, &format!("{groups}/3/repositories"));
    get(&caller, &format!("{REPO}/actions/jobs/{job}"));
    get(&caller, &format!("{REPO}/actions/runs"));
    get(&caller, &format!("{REPO}/actions/runs/{run}"));
    get(&caller, &format!("{REPO}/actions/runs/{run}/jobs"));
    github.complete_job(job, Conclusion::TimedOut).unwrap();
    get(&caller, &format!("{REPO}/actions/jobs/{job}"));
    let post = |what: &str| caller.call("POST", &format!("{REPO}/actions/runs/{run}/{what}"), None).status;
    assert_eq!((post("rerun-failed-jobs"), post("cancel")), (201, 202));
    let made = caller.call("POST", &format!("{REPO}/check-runs"), Some(&json!({ "name": "n", "head_sha": "a" })));
    let id = &common::json_of(&made)["id"];
    let update = json!({ "status": "completed", "conclusion": "success" });
    assert_eq!(caller.call("PATCH", &format!("{REPO}/check-runs/{id}"), Some(&update)).status, 200);
    assert_eq!(github.violations(), []);
    let described: Value = serde_json::from_str(include_str!("../openapi/openapi.json")).unwrap();
    let all: BTreeSet<String> = described["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, methods)| {
            methods.as_object().unwrap().keys().map(move |method| format!("{} {path}", method.to_uppercase()))
        })
        .collect();
    let seen: BTreeSet<String> = github.requests().into_iter().map(|request| request.operation).collect();
    assert_eq!(seen, all, "an operation that is described is not served, or not looked at here");
}
