//! The binary as a shell script drives it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail there")]

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use mayfly_fake_github::FIRST_INSTALLATION;
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
