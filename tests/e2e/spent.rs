//! One JIT configuration starts one runner, also over several lives in one state directory.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail there")]

use std::fs;
use std::process::{Command, Stdio};

use mayfly_e2e::life::{drop_file, mayfly_binary};
use mayfly_e2e::{Ended, Life, processes};
use mayfly_fake_runner::{JitConfig, Scenario, scenarios};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

/// The JIT configuration that every life has.
const SEED: u64 = 7;

fn assert_spent(life: &Life, ended: &Ended, starts: usize) {
    ended.assert_outcome("jit-config-invalid");
    assert_eq!(ended.code(), Some(65), "another exit code could invite a wrapper to try again");
    let said = ended.record["detail"].as_str().unwrap_or_default();
    assert!(said.contains("spent"), "a person is not told that the JIT configuration was used before: {said:?}");
    assert_eq!(life.recording().starts().len(), starts, "two listeners from one JIT configuration");
    for secret in JitConfig::new(SEED).secrets() {
        assert!(!said.contains(&secret) && !ended.stderr.contains(&secret), "a piece of it is told");
    }
}

#[test]
fn a_jit_configuration_is_refused_once_its_run_is_over() {
    let mut life = Life::named("success");
    life.run().assert_outcome("job-succeeded");
    assert_spent(&life, &life.run(), 1);
    // The one after the refusal is not the first one again.
    assert_spent(&life, &life.run(), 1);
    // Written differently, with another file or another setting, it is the same registration.
    let blob = JitConfig::new(SEED).encode();
    life.jit = format!(" {}\n{}\n", &blob[..100], &blob[100..]);
    assert_spent(&life, &life.run(), 1);
    life.jit = JitConfig::new(SEED).file(".attestation", b"x").setting("WorkFolder", Some(json!("_other"))).encode();
    assert_spent(&life, &life.run(), 1);
    life.jit = JitConfig::new(SEED + 1).encode();
    life.run().assert_outcome("job-succeeded");
    assert_eq!(life.recording().starts().len(), 2, "a new JIT configuration was not used");
    assert_spent(&life, &life.run(), 2);
    let list = fs::read_to_string(life.state().join("spent")).unwrap();
    for secret in JitConfig::new(SEED).secrets() {
        assert!(!list.contains(&secret), "the list of what is spent holds a piece of it");
    }
}

/// Exit code 75 says "try again later", and a wrapper does: with a new JIT configuration, or not at all.
#[test]
fn a_jit_configuration_is_refused_although_its_run_failed() {
    let idle = Life::named("no-job").limits(&[("idle", "300ms")]);
    let ended = idle.run();
    ended.assert_outcome("idle-timeout");
    assert_eq!(ended.code(), Some(75));
    assert_spent(&idle, &idle.run(), 1);
}

#[test]
fn a_run_that_is_refused_before_its_start_spends_nothing() {
    let mut life = Life::named("success").set("MAYFLY_HOST_MIN_DISK", "8EiB");
    life.run().assert_outcome("disk-full");
    life = life.set("MAYFLY_HOST_MIN_DISK", "1MiB");
    let listener = life.root().join("bin/Runner.Listener");
    let away = listener.with_extension("away");
    fs::rename(&listener, &away).unwrap();
    life.run().assert_outcome("runner-missing");
    fs::rename(&away, &listener).unwrap();
    life.run().assert_outcome("job-succeeded");
    assert_spent(&life, &life.run(), 1);
}

/// The marker is there, and agent and runner die before anything comes of it: whether the listener ran is not known any
/// more, so it counts.
#[test]
fn a_crash_right_after_the_start_was_marked_starts_nothing_twice() {
    let life = Life::with(&Scenario { idle_ms: 60_000, ..Scenario::default() });
    let mut running = life.start();
    running.until("the marker", |life| life.state().join("runner.started").exists());
    running.kill_dead();
    // The marker is whole as soon as it is there. The shim has nothing of the life about it; alive, it would start the listener yet.
    let marker: Value = serde_json::from_slice(&fs::read(life.state().join("runner.started")).unwrap()).unwrap();
    let shim = Pid::from_raw(i32::try_from(marker["shim"]["pid"].as_i64().unwrap()).unwrap());
    while kill(shim, Signal::SIGKILL).is_ok() {
        std::thread::yield_now();
    }
    loop {
        let left = processes::of_life(&life);
        if left.is_empty() {
            break;
        }
        for process in left {
            let _ = kill(Pid::from_raw(process.pid), Signal::SIGKILL);
        }
    }
    let before = life.recording().starts().len();
    assert_ne!(life.run().outcome(), "no record", "the life does not end");
    assert_spent(&life, &life.run(), before);
}

/// The list is there and nobody can read it: nothing is started on "unknown".
#[test]
fn a_list_that_cannot_be_read_starts_nothing_and_says_which_file_it_is() {
    let mut life = Life::named("success");
    life.run().assert_outcome("job-succeeded");
    let list = life.state().join("spent");
    fs::write(&list, "not a list").unwrap();
    life.jit = JitConfig::new(SEED + 1).encode();
    let ended = life.run();
    assert_ne!(ended.code(), Some(0), "{:#}", ended.record);
    assert!(ended.stderr.contains(list.to_str().unwrap()), "a person is not told which file: {}", ended.stderr);
    assert_eq!(life.recording().starts().len(), 1, "a runner was started although nobody knows what is spent");
}

/// An operator in a hurry removes whatever says "never again" and drops the same file once more.
#[test]
fn the_agent_refuses_it_too_although_marker_and_journal_were_removed() {
    let mut scenario = scenarios::named("success").unwrap();
    scenario.idle_ms = 300;
    let life = Life::with(&scenario);
    let jit = life.directory().join("dropped");
    let config = life.directory().join("agent.toml");
    let toml = format!(
        "platform = \"local\"\nstate_directory = {:?}\n[jit]\nfile = {jit:?}\n[runner]\ndirectory = {:?}\nuser = \"\"\nsupervisor = \"process\"\n",
        life.state(),
        life.root()
    );
    fs::write(&config, toml).unwrap();
    let run = || {
        drop_file(&jit, &life.jit);
        let mut command = Command::new(mayfly_binary());
        command.args(["agent", "--config"]).arg(&config).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.envs(life.environment.iter().cloned()).stdin(Stdio::null()).stderr(Stdio::null());
        assert!(command.status().unwrap().success());
        let record: Value = serde_json::from_slice(&fs::read(life.state().join("record.json")).unwrap()).unwrap();
        record["outcome"].as_str().unwrap_or_default().to_owned()
    };
    assert_eq!(run(), "job-succeeded");
    for name in ["journal.jsonl", "runner.started", "record.json"] {
        fs::remove_file(life.state().join(name)).unwrap();
    }
    assert_eq!(run(), "jit-config-invalid");
    assert_eq!(life.recording().starts().len(), 1, "two listeners from one JIT configuration");
}
