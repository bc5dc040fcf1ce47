//! The JIT configuration: good ones do their work and leave nothing, bad ones start nothing, and no name in one leaves
//! the runner's directory.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail there")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use mayfly_e2e::Run;
use mayfly_fake_runner::jit::encode_outer;
use mayfly_fake_runner::recording::Event;
use mayfly_fake_runner::{JitConfig, Scenario};
use serde_json::{Value, json};

pub(crate) const REGISTRATION: [&str; 3] = [".runner", ".credentials", ".credentials_rsaparams"];

/// The runner's directory as a step sees it, which begins in `_work/<repository>/<repository>`.
const ROOT: &str = "../../..";

/// What is in a directory: each path with its mode and, of a plain file, its content.
type Snapshot = BTreeMap<PathBuf, (u32, Vec<u8>)>;

fn snapshot(directory: &Path, without: &[PathBuf]) -> Snapshot {
    let mut found = Snapshot::new();
    let mut directories = vec![directory.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).unwrap().flatten() {
            let path = entry.path();
            if without.contains(&path) {
                continue;
            }
            let metadata = path.symlink_metadata().unwrap();
            let content = if metadata.is_file() { fs::read(&path).unwrap() } else { Vec::new() };
            found.insert(path.clone(), (metadata.permissions().mode(), content));
            if metadata.is_dir() {
                directories.push(path);
            }
        }
    }
    found
}

/// What is different, by name only: contents can be secret and long.
fn differences(before: &Snapshot, after: &Snapshot) -> Vec<PathBuf> {
    let all = before.keys().chain(after.keys());
    let mut changed: Vec<_> = all.filter(|path| before.get(*path) != after.get(*path)).cloned().collect();
    changed.dedup();
    changed
}

/// Nothing around the runner's and the state directory changes while `act` runs. `inside` are those two, or only the
/// latter where the runner's directory must not change either.
pub(crate) fn unchanged_around<T>(run: &Run, inside: &[PathBuf], act: impl FnOnce() -> T) -> T {
    drop(run.command()); // writes the file with the JIT configuration, which is the user's and stays
    let before = snapshot(run.directory(), inside);
    let result = act();
    let changed = differences(&before, &snapshot(run.directory(), inside));
    assert!(changed.is_empty(), "something was written where nothing may be: {changed:#?}");
    result
}

pub(crate) fn assert_no_registration_is_left(run: &Run) {
    for name in REGISTRATION {
        let left = run.root().join(name).symlink_metadata().is_ok();
        assert!(!left, "{name} is left in the runner's directory: whoever reads this disk can act as the runner");
    }
}

/// One job with these steps.
pub(crate) fn job(steps: &[String]) -> Run {
    Run::with(&Scenario { steps: steps.to_vec(), ..Scenario::default() })
}

/// A step that fails unless the file is there, plain, and readable by its owner only.
pub(crate) fn is_private(name: &str) -> String {
    format!("test ! -L {ROOT}/{name} && test \"$(stat -c '%F %a' {ROOT}/{name})\" = 'regular file 600'")
}

fn succeeds(run: &Run) {
    let ended = unchanged_around(run, &[run.directory().join("runner"), run.state()], || run.run());
    ended.assert_outcome("job-succeeded");
    let recording = run.recording();
    assert_eq!(recording.starts().len(), 1, "one JIT configuration, one listener");
    for record in &recording.records {
        if let Event::Step { index, exit } = record.event {
            assert_eq!(exit, Some(0), "step {index} did not find what it expects");
        }
    }
    assert_no_registration_is_left(run);
}

/// Nothing is started, nothing is written, and nothing of the blob is told.
fn refused(blob: impl Into<String>, saying: &str) {
    let run = Run::named("success").jit(blob);
    let ended = unchanged_around(&run, &[run.state()], || run.run());
    ended.assert_outcome("jit-config-invalid");
    assert_eq!(ended.code(), Some(65), "the exit code does not tell the outcome");
    assert!(run.recording().starts().is_empty(), "a runner was started with a JIT configuration that was refused");
    let said = ended.record["detail"].as_str().unwrap_or_default();
    assert!(said.contains(saying), "the record does not tell what is wrong ({saying}): {said:?}");
    for secret in good().secrets() {
        let told = said.contains(&secret) || ended.stderr.contains(&secret);
        assert!(!told, "a piece of the JIT configuration is in the record or on the console");
    }
}

/// The configuration every run is given, unless a test says otherwise.
fn good() -> JitConfig {
    JitConfig::new(7)
}

// Good ones.

#[test]
fn a_good_one_is_readable_by_the_runner_only() {
    let run = job(&REGISTRATION.map(is_private));
    succeeds(&run);
    assert_eq!(run.recording().starts()[0].argv[1..], ["run"], "the JIT configuration was given as an argument");
}

#[test]
fn line_breaks_in_it_are_not_part_of_it() {
    let blob = good().encode();
    let lines: Vec<&str> = (0..blob.len()).step_by(76).map(|at| &blob[at..blob.len().min(at + 76)]).collect();
    succeeds(&Run::named("success").jit(lines.join("\n") + "\n"));
}

#[test]
fn a_long_one_within_the_limit_is_taken() {
    let blob = good().padding(33_000).encode();
    assert!((60_000..=65_536).contains(&blob.len()), "the test is wrong: {} bytes", blob.len());
    succeeds(&Run::named("success").jit(blob));
}

#[test]
fn ephemeral_as_a_boolean_is_taken() {
    succeeds(&Run::named("success").jit(good().ephemeral(Some(json!(true))).encode()));
}

#[test]
fn ephemeral_as_a_string_is_taken() {
    succeeds(&Run::named("success").jit(good().ephemeral(Some(json!("True"))).encode()));
}

/// The runner then keeps its files and, asked for the job's result, still does one job only.
#[test]
fn ephemeral_left_out_is_taken_and_leaves_nothing() {
    succeeds(&Run::named("success").jit(good().ephemeral(None).encode()));
}

#[test]
fn a_file_that_is_new_upstream_is_there_for_the_job_and_gone_after_it() {
    let there = format!("test \"$(cat {ROOT}/.attestation)\" = 'from the future'");
    let run = job(&[is_private(".attestation"), there]);
    let run = run.jit(good().file(".attestation", b"from the future").encode());
    succeeds(&run);
    assert!(!run.root().join(".attestation").exists(), "a file of the spent JIT configuration is left");
}

// Bad ones.

#[test]
fn an_empty_one_is_refused() {
    refused("", "empty");
}

#[test]
fn one_of_white_space_is_refused() {
    refused(" \n\n", "empty");
}

#[test]
fn one_that_is_not_base64_is_refused() {
    refused("{\".runner\": \"not encoded at all\"}", "not base64");
}

#[test]
fn a_cut_one_is_refused() {
    let blob = good().encode();
    refused(&blob[..blob.len() / 2], "is not a usable JIT configuration");
}

#[test]
fn one_that_is_not_json_is_refused() {
    refused(encode_outer(b"this is not JSON"), "not a JSON object");
}

#[test]
fn one_that_is_not_an_object_is_refused() {
    for text in ["[]", "null", "\"text\"", "7"] {
        refused(encode_outer(text.as_bytes()), "not a JSON object");
    }
}

#[test]
fn one_with_a_value_that_is_not_a_string_is_refused() {
    refused(good().raw_entry(".credentials", json!(7)).encode(), "not a JSON object of strings");
}

#[test]
fn one_with_a_file_that_is_not_base64_is_refused() {
    refused(good().raw_entry(".credentials", json!("%%%")).encode(), ".credentials");
}

#[test]
fn one_without_settings_is_refused() {
    refused(good().without(".runner").encode(), ".runner");
}

/// A listener that lacks one of them starts, fails, and would be blamed for it.
#[test]
fn one_without_a_file_that_every_listener_needs_is_refused() {
    for name in REGISTRATION {
        refused(good().without(name).encode(), name);
    }
}

#[test]
fn one_with_settings_that_are_not_json_is_refused() {
    refused(good().file(".runner", b"not JSON").encode(), ".runner");
}

#[test]
fn a_key_that_climbs_out_is_refused() {
    // Two levels up from the runner's directory is the directory of all temporary files.
    let run = Run::named("success");
    let target = run.directory().parent().unwrap().join("etc/mayfly-e2e-x");
    assert!(!target.exists(), "{} is there already: remove it", target.display());
    refused(good().file("../../etc/mayfly-e2e-x", b"x").encode(), "../../etc/mayfly-e2e-x");
    assert!(!target.exists(), "{} was written through the JIT configuration", target.display());
    refused(good().file("../x", b"x").encode(), "../x");
    refused(good().file(".x/../../x", b"x").encode(), ".x/../../x");
}

#[test]
fn an_absolute_key_is_refused() {
    let outside = tempfile::tempdir().unwrap();
    let target = outside.path().join("x");
    refused(good().file(target.to_str().unwrap(), b"x").encode(), target.to_str().unwrap());
    assert!(!target.exists(), "{} was written through the JIT configuration", target.display());
}

#[test]
fn a_key_that_is_no_dot_name_is_refused() {
    refused(good().file("run.sh", b"x").encode(), "run.sh");
}

#[test]
fn a_key_with_a_nul_is_refused() {
    refused(good().file(".a\0b", b"x").encode(), ".a\\0b");
}

#[test]
fn an_env_file_is_refused() {
    refused(good().file(".env", b"PATH=/tmp").encode(), ".env");
}

#[test]
fn a_path_file_is_refused() {
    refused(good().file(".path", b"/tmp").encode(), ".path");
}

#[test]
fn a_service_file_is_refused() {
    refused(good().file(".service", b"x").encode(), ".service");
}

#[test]
fn a_setup_info_file_is_refused() {
    refused(good().file(".setup_info", b"[]").encode(), ".setup_info");
}

#[test]
fn one_that_is_not_ephemeral_is_refused() {
    refused(good().ephemeral(Some(Value::Bool(false))).encode(), "not ephemeral");
}

#[test]
fn one_that_is_not_ephemeral_in_a_string_is_refused() {
    refused(good().ephemeral(Some(json!("False"))).encode(), "not ephemeral");
}

#[test]
fn one_of_seventy_kilobytes_is_refused() {
    let blob = good().padding(40_000).encode();
    assert!(blob.len() > 70_000, "the test is wrong: {} bytes", blob.len());
    refused(blob, "65536");
}

// What is in the runner's directory already.

#[test]
fn an_earlier_registration_is_replaced() {
    let own = format!("grep -q mayfly-test-0000000000000007 {ROOT}/.runner");
    let replaced = format!("! grep -q stale {ROOT}/.credentials");
    let removed = format!("test ! -e {ROOT}/.credentials_migrated && test ! -e {ROOT}/.runner_migrated");
    let run = job(&[own, replaced, removed, is_private(".runner"), is_private(".credentials")]);
    for name in [".runner", ".credentials", ".credentials_migrated", ".runner_migrated"] {
        fs::write(run.root().join(name), r#"{"AgentName":"stale"}"#).unwrap();
    }
    succeeds(&run);
    for name in [".credentials_migrated", ".runner_migrated"] {
        assert!(!run.root().join(name).exists(), "{name} of an earlier registration is left");
    }
}

#[test]
fn a_planted_symbolic_link_is_not_followed() {
    let run = job(&REGISTRATION.map(is_private));
    for name in REGISTRATION {
        let outside = run.directory().join(format!("outside{name}"));
        fs::write(&outside, "of somebody else").unwrap();
        symlink(&outside, run.root().join(name)).unwrap();
    }
    succeeds(&run);
}

#[test]
fn a_planted_symbolic_link_to_nowhere_makes_nothing_there() {
    let run = job(&REGISTRATION.map(is_private));
    for name in REGISTRATION {
        symlink(run.directory().join(format!("outside{name}")), run.root().join(name)).unwrap();
    }
    succeeds(&run);
}

#[test]
fn a_planted_hard_link_is_not_written_through() {
    let run = job(&REGISTRATION.map(is_private));
    for name in REGISTRATION {
        let outside = run.directory().join(format!("outside{name}"));
        fs::write(&outside, "of somebody else").unwrap();
        fs::hard_link(&outside, run.root().join(name)).unwrap();
    }
    succeeds(&run);
}

/// The job's user owns the runner's directory. What cannot be removed there must not protect the keys beside it.
#[test]
fn a_job_that_plants_directories_does_not_keep_its_registration() {
    let plant = format!("cd {ROOT} && mkdir $(printf '.runner_%s .credentials_%s ' 1 1 2 2 3 3 4 4 5 5 6 6 7 7 8 8)");
    // Not ephemeral by its settings, so that the runner leaves the files to Mayfly, as it does when it is killed.
    let run = job(&[plant]).jit(good().ephemeral(None).encode());
    succeeds(&run);
}
