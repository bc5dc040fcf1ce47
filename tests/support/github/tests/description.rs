//! Every operation is answered as GitHub describes it: by the double's own judge, and by a second one.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail there")]

mod common;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use common::operations::call_all;
use common::start;
use serde_json::{Value, json};

#[test]
fn every_operation_answers_in_the_shape_that_github_describes() {
    let github = start();
    call_all(&github, github.address());
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

/// Prism, which knows nothing of the double: GitHub's whole description is the only thing that it has.
struct Prism(Child);

impl Drop for Prism {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// GitHub's description with the one correction that `openapi/cut` makes as well: octokit asks for an account that is a
/// user and an enterprise at once.
fn description(modules: &str, directory: &Path) -> PathBuf {
    let text = std::fs::read_to_string(format!("{modules}/@octokit/openapi/generated/api.github.com.json")).unwrap();
    let mut whole: Value = serde_json::from_str(&text).unwrap();
    let answer = &mut whole["paths"]["/app/installations"]["get"]["responses"]["200"];
    answer["content"]["application/json"]["schema"]["items"] = json!({ "$ref": "#/components/schemas/installation" });
    let path = directory.join("openapi.json");
    std::fs::write(&path, whole.to_string()).unwrap();
    path
}

#[test]
#[ignore = "needs the packages of tests/support/github/prism: see scripts/check-github-double"]
fn a_second_judge_finds_nothing_wrong() {
    let modules = std::env::var("MAYFLY_PRISM").unwrap();
    let directory = tempfile::tempdir().unwrap();
    let github = start();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut child = Command::new("node")
        .arg(format!("{modules}/@stoplight/prism-cli/dist/index.js"))
        .args(["proxy", "--errors", "--port", &port.to_string()])
        .arg(description(&modules, directory.path()))
        .arg(github.url())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let _prism = Prism(child);
    assert!(lines.any(|line| line.unwrap().contains("Prism is listening")), "it ended instead");
    // A pipe that nobody reads would stop it.
    std::thread::spawn(move || lines.for_each(drop));
    call_all(&github, ([127, 0, 0, 1], port).into());
    assert_eq!(github.violations(), []);
}
