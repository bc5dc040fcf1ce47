//! Where the JIT configuration comes from: a file that is waited for, or standard input.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail there")]

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use mayfly_e2e::Run;
use mayfly_e2e::run::{TIMEOUT, mayfly_binary};
use serde_json::Value;

use crate::jit::{REGISTRATION, assert_no_registration_is_left, is_private, job, unchanged_around};

/// `mayfly run` of this run with another source of the JIT configuration, and with this on standard input.
fn run_from(run: &Run, source: &Path, input: &str) -> Output {
    let mut command = Command::new(mayfly_binary());
    command.arg("run").arg("--json").arg("--jit-config").arg(source);
    command.arg("--runner-dir").arg(run.root()).arg("--state-directory").arg(run.state());
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HOME", "/tmp");
    command.envs(run.environment.iter().map(|(name, value)| (name, value)));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let deadline = Instant::now() + TIMEOUT;
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > deadline {
            let _ = child.kill();
            panic!("mayfly hangs: not ended after {TIMEOUT:?}; journal: {:#?}", run.journal());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    child.wait_with_output().unwrap()
}

fn outcome(output: &Output) -> Value {
    let record: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    record["outcome"].clone()
}

#[test]
fn a_file_that_is_not_there_is_refused() {
    let run = Run::named("success");
    let nowhere = run.directory().join("nowhere");
    let output = unchanged_around(&run, &[run.state()], || run_from(&run, &nowhere, ""));
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(outcome(&output), "jit-config-invalid", "{output:?}");
    assert_eq!(output.status.code(), Some(65), "the exit code does not tell the outcome");
    assert!(text.contains(nowhere.to_str().unwrap()), "a person is not told which file is missing: {text}");
    assert!(run.recording().starts().is_empty(), "a runner was started without a JIT configuration");
}

#[test]
fn standard_input_is_taken() {
    let run = job(&REGISTRATION.map(is_private));
    let inside = [run.directory().join("runner"), run.state()];
    let output = unchanged_around(&run, &inside, || run_from(&run, Path::new("-"), &run.jit));
    assert_eq!(outcome(&output), "job-succeeded", "{output:?}");
    assert_eq!(run.recording().starts().len(), 1, "one JIT configuration, one listener");
    assert_no_registration_is_left(&run);
}

#[test]
fn empty_standard_input_is_refused() {
    let run = Run::named("success");
    let output = unchanged_around(&run, &[run.state()], || run_from(&run, Path::new("-"), ""));
    assert_eq!(outcome(&output), "jit-config-invalid", "{output:?}");
    assert!(run.recording().starts().is_empty(), "a runner was started without a JIT configuration");
}
