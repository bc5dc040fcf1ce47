//! One JIT configuration starts one runner, also over several runs in one state directory.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail there")]

use std::fs;
use std::process::{Command, Stdio};

use mayfly_e2e::run::{drop_file, mayfly_binary};
use mayfly_e2e::{Ended, Run, processes};
use mayfly_fake_runner::{JitConfig, Scenario, scenarios};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

/// The JIT configuration that every run has.
const SEED: u64 = 7;

fn assert_spent(run: &Run, ended: &Ended, starts: usize) {
    ended.assert_outcome("jit-config-invalid");
    assert_eq!(ended.code(), Some(65), "another exit code could invite a wrapper to try again");
    let said = ended.record["detail"].as_str().unwrap_or_default();
    assert!(said.contains("spent"), "a person is not told that the JIT configuration was used before: {said:?}");
    assert_eq!(run.recording().starts().len(), starts, "two listeners from one JIT configuration");
    for secret in JitConfig::new(SEED).secrets() {
        assert!(!said.contains(&secret) && !ended.stderr.contains(&secret), "a piece of it is told");
    }
}

#[test]
fn a_jit_configuration_is_refused_once_its_run_is_over() {
    let mut run = Run::named("success");
    run.run().assert_outcome("job-succeeded");
    assert_spent(&run, &run.run(), 1);
    // The one after the refusal is not the first one again.
    assert_spent(&run, &run.run(), 1);
    // Written differently, with another file or another setting, it is the same registration.
    let blob = JitConfig::new(SEED).encode();
    run.jit = format!(" {}\n{}\n", &blob[..100], &blob[100..]);
    assert_spent(&run, &run.run(), 1);
    run.jit = JitConfig::new(SEED).file(".attestation", b"x").setting("WorkFolder", Some(json!("_other"))).encode();
    assert_spent(&run, &run.run(), 1);
    run.jit = JitConfig::new(SEED + 1).encode();
    run.run().assert_outcome("job-succeeded");
    assert_eq!(run.recording().starts().len(), 2, "a new JIT configuration was not used");
    assert_spent(&run, &run.run(), 2);
    let list = fs::read_to_string(run.state().join("spent")).unwrap();
    for secret in JitConfig::new(SEED).secrets() {
        assert!(!list.contains(&secret), "the list of what is spent holds a piece of it");
    }
}

/// Exit code 75 says "try again later", and a wrapper does: with a new JIT configuration, or not at all.
#[test]
fn a_jit_configuration_is_refused_although_its_run_failed() {
    let idle = Run::named("no-job").limits(&[("idle", "300ms")]);
    let ended = idle.run();
    ended.assert_outcome("idle-timeout");
    assert_eq!(ended.code(), Some(75));
    assert_spent(&idle, &idle.run(), 1);
}

#[test]
fn a_run_that_is_refused_before_its_start_spends_nothing() {
    let mut run = Run::named("success").set("MAYFLY_HOST_MIN_DISK", "8EiB");
    run.run().assert_outcome("disk-full");
    run = run.set("MAYFLY_HOST_MIN_DISK", "1MiB");
    let listener = run.root().join("bin/Runner.Listener");
    let away = listener.with_extension("away");
    fs::rename(&listener, &away).unwrap();
    run.run().assert_outcome("runner-missing");
    fs::rename(&away, &listener).unwrap();
    run.run().assert_outcome("job-succeeded");
    assert_spent(&run, &run.run(), 1);
}

/// The marker is there, and agent and runner die before anything comes of it: whether the listener ran is not known any
/// more, so it counts.
#[test]
fn a_crash_right_after_the_start_was_marked_starts_nothing_twice() {
    let run = Run::with(&Scenario { idle_ms: 60_000, ..Scenario::default() });
    let mut running = run.start();
    running.until("the marker", |run| run.state().join("runner.started").exists());
    running.kill_dead();
    // The marker is whole as soon as it is there. The supervisor process has nothing of the run about it; alive, it would start the listener yet.
    let marker: Value = serde_json::from_slice(&fs::read(run.state().join("runner.started")).unwrap()).unwrap();
    let supervisor_process =
        Pid::from_raw(i32::try_from(marker["supervisor_process"]["pid"].as_i64().unwrap()).unwrap());
    while kill(supervisor_process, Signal::SIGKILL).is_ok() {
        std::thread::yield_now();
    }
    loop {
        let left = processes::of_run(&run);
        if left.is_empty() {
            break;
        }
        for process in left {
            let _ = kill(Pid::from_raw(process.pid), Signal::SIGKILL);
        }
    }
    let before = run.recording().starts().len();
    assert_ne!(run.run().outcome(), "no record", "the run does not end");
    assert_spent(&run, &run.run(), before);
}

/// The list is there and nobody can read it: nothing is started on "unknown".
#[test]
fn a_list_that_cannot_be_read_starts_nothing_and_says_which_file_it_is() {
    let mut run = Run::named("success");
    run.run().assert_outcome("job-succeeded");
    let list = run.state().join("spent");
    fs::write(&list, "not a list").unwrap();
    run.jit = JitConfig::new(SEED + 1).encode();
    let ended = run.run();
    assert_ne!(ended.code(), Some(0), "{:#}", ended.record);
    assert!(ended.stderr.contains(list.to_str().unwrap()), "a person is not told which file: {}", ended.stderr);
    assert_eq!(run.recording().starts().len(), 1, "a runner was started although nobody knows what is spent");
}

/// An operator in a hurry removes whatever says "never again" and drops the same file once more.
#[test]
fn the_agent_refuses_it_too_although_marker_and_journal_were_removed() {
    let mut scenario = scenarios::named("success").unwrap();
    scenario.idle_ms = 300;
    let run = Run::with(&scenario);
    let jit = run.directory().join("dropped");
    let config = run.directory().join("agent.toml");
    let toml = format!(
        "platform = \"local\"\nstate_directory = {:?}\n[jit]\nfile = {jit:?}\n[runner]\ndirectory = {:?}\nuser = \"\"\nsupervisor = \"process\"\n",
        run.state(),
        run.root()
    );
    fs::write(&config, toml).unwrap();
    let again = || {
        drop_file(&jit, &run.jit);
        let mut command = Command::new(mayfly_binary());
        command.args(["agent", "--config"]).arg(&config).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.envs(run.environment.iter().cloned()).stdin(Stdio::null()).stderr(Stdio::null());
        assert!(command.status().unwrap().success());
        let record: Value = serde_json::from_slice(&fs::read(run.state().join("record.json")).unwrap()).unwrap();
        record["outcome"].as_str().unwrap_or_default().to_owned()
    };
    assert_eq!(again(), "job-succeeded");
    for name in ["journal.jsonl", "runner.started", "record.json"] {
        fs::remove_file(run.state().join(name)).unwrap();
    }
    assert_eq!(again(), "jit-config-invalid");
    assert_eq!(run.recording().starts().len(), 1, "two listeners from one JIT configuration");
}
