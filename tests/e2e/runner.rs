//! The runner ends: by itself, badly, or before it began. Each ending has its outcome, and none has a second listener.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail there")]

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::Path;
use std::process::Command;

use mayfly_e2e::{Ended, Run, processes};
use mayfly_fake_runner::recording::Who;
use mayfly_fake_runner::{Act, Scenario, Stream, strings};

const REGISTRATION: [&str; 3] = [".runner", ".credentials", ".credentials_rsaparams"];

pub(crate) fn scenario(name: &str) -> Scenario {
    mayfly_fake_runner::scenarios::named(name).unwrap()
}

/// A scenario of these acts, whatever its name.
pub(crate) fn playing(acts: Vec<Act>) -> Run {
    Run::with(&Scenario { name: "of-this-test".to_owned(), acts, ..Scenario::default() })
}

pub(crate) fn prints(line: &str) -> Act {
    Act::Print { stream: Stream::Err, line: line.to_owned() }
}

fn assert_no_registration_is_left(run: &Run) {
    for name in REGISTRATION {
        let left = run.root().join(name).symlink_metadata().is_ok();
        assert!(!left, "{name} is left in the runner's directory: whoever reads this disk can act as the runner");
    }
}

/// Whatever the runner did: the outcome and its exit code, one listener, no registration.
pub(crate) fn assert_ended(run: &Run, ended: &Ended, outcome: &str, code: i32) {
    ended.assert_outcome(outcome);
    assert_eq!(ended.code(), Some(code), "the exit code does not tell the outcome");
    assert_eq!(run.recording().starts().len(), 1, "one JIT configuration, one listener: a second one is a second job");
    assert_no_registration_is_left(run);
}

/// The runner ends by itself, and nobody disturbs it.
pub(crate) fn ends_by_itself(run: &Run, outcome: &str, code: i32) -> Ended {
    let ended = run.run();
    assert_ended(run, &ended, outcome, code);
    let recording = run.recording();
    assert!(recording.signals().is_empty(), "a runner that ends by itself was signalled: {:?}", recording.signals());
    ended
}

/// The runner ends by itself, and the record tells a person how.
fn ends_saying(run: &Run, outcome: &str, code: i32, detail: &str) {
    let ended = ends_by_itself(run, outcome, code);
    let said = ended.record["detail"].as_str().unwrap_or_default();
    assert!(said.contains(detail), "the record does not tell how the listener ended ({detail}): {said:?}");
}

/// Mayfly itself stopped the runner: SIGINT, once, to the listener alone.
fn assert_asked_once(run: &Run) {
    let recording = run.recording();
    let signals: Vec<_> = recording.signals().into_iter().map(|(who, signal, _)| (who, signal)).collect();
    assert_eq!(signals, [(Who::Listener, "SIGINT")], "any other signal cuts a job's report to GitHub short");
}

// Exit codes.

#[test]
fn exit_0_without_a_job_proves_nothing() {
    ends_saying(&Run::named("exit-0-no-job"), "runner-crashed", 70, "exit code 0");
}

/// `Failed to create session. Access denied.`: refused, but nothing says that the registration is gone.
#[test]
fn exit_1_with_a_refused_session_is_a_crash() {
    ends_saying(&Run::named("exit-1"), "runner-crashed", 70, "exit code 1");
}

#[test]
fn exit_1_with_a_deleted_registration_says_so() {
    ends_by_itself(&Run::named("registration-deleted"), "registration-deleted", 69);
}

#[test]
fn exit_2_is_a_crash() {
    ends_saying(&Run::named("exit-2"), "runner-crashed", 70, "exit code 2");
}

#[test]
fn exit_2_after_a_connection_error_blames_the_network() {
    let line = strings::with_message(strings::CONNECT_ERROR, "Connection refused");
    let run = playing(vec![Act::Connect, prints(&line), Act::Exit { code: 2 }]);
    ends_by_itself(&run, "network-unreachable", 69);
}

#[test]
fn exit_2_is_not_followed_by_another_start() {
    ends_saying(&Run::named("exit-2-then-success"), "runner-crashed", 70, "exit code 2");
}

#[test]
fn exit_3_is_an_update() {
    ends_by_itself(&Run::named("exit-3"), "runner-updating", 69);
}

#[test]
fn exit_4_is_an_update() {
    ends_by_itself(&Run::named("exit-4"), "runner-updating", 69);
}

#[test]
fn a_finished_update_is_not_followed_by_another_start() {
    ends_by_itself(&Run::named("update-then-success"), "runner-updating", 69);
}

#[test]
fn exit_5_is_a_session_conflict() {
    let run = Run::with(&Scenario { time_scale: 0.002, ..scenario("exit-5") });
    ends_by_itself(&run, "session-conflict", 69);
}

#[test]
fn exit_7_is_a_deprecated_version() {
    ends_by_itself(&Run::named("exit-7"), "runner-version-deprecated", 69);
}

#[test]
fn a_deprecated_version_is_known_in_its_old_spelling() {
    ends_by_itself(&Run::named("deprecated-old-spelling"), "runner-version-deprecated", 69);
}

#[test]
fn a_deprecated_version_that_knows_no_exit_7_is_known_by_its_console() {
    for template in [strings::ERROR_OCCURRED, strings::ERROR_OCCURED_OLD] {
        let line = strings::with_message(template, strings::DEPRECATED);
        let run = playing(vec![Act::Connect, Act::Listening, prints(&line), Act::Exit { code: 1 }]);
        ends_by_itself(&run, "runner-version-deprecated", 69);
    }
}

#[test]
fn exit_134_is_a_crash() {
    ends_saying(&Run::named("exit-134"), "runner-crashed", 70, "exit code 134");
}

#[test]
fn an_aborted_listener_is_a_crash() {
    ends_saying(&Run::named("abort"), "runner-crashed", 70, "signal 6");
}

#[test]
fn a_listener_killed_while_idle_is_a_crash() {
    ends_saying(&Run::named("killed-by-signal"), "runner-crashed", 70, "signal 9");
}

#[test]
fn an_exit_before_any_output_is_a_crash() {
    ends_saying(&Run::named("exit-before-output"), "runner-crashed", 70, "exit code 1");
}

#[test]
fn an_abort_before_any_output_is_a_crash() {
    ends_saying(&Run::named("diag-not-writable"), "runner-crashed", 70, "signal 6");
}

// The worker.

#[test]
fn exit_100_without_a_worker_is_no_success() {
    let run = Run::named("100-without-worker");
    ends_saying(&run, "job-unknown", 70, "exit code 100");
    assert!(run.recording().workers().is_empty(), "the double is wrong: it had a worker");
}

#[test]
fn a_worker_that_dies_in_its_job_is_a_crash() {
    ends_by_itself(&Run::named("worker-crash"), "worker-crashed", 70);
}

#[test]
fn a_worker_that_ends_with_a_code_of_no_result_is_a_crash() {
    ends_by_itself(&Run::named("worker-exit-1"), "worker-crashed", 70);
}

#[test]
fn a_worker_that_aborts_on_a_full_disk_is_a_crash() {
    ends_by_itself(&Run::named("disk-full"), "worker-crashed", 70);
}

/// The listener gives its worker up, prints no completed line and exits with its default result, "succeeded"; GitHub
/// keeps the job queued. A worker that was seen is no witness of its success.
#[test]
fn a_worker_that_never_got_its_job_is_no_success() {
    let run = Run::named("worker-ipc-timeout");
    let ended = ends_by_itself(&run, "job-unknown", 70);
    assert_eq!(run.recording().workers().len(), 1, "the double is wrong: it had no worker");
    assert!(ended.record["job"].is_null(), "no hook ran, and still the record knows the job");
}

#[test]
fn a_worker_may_finish_without_its_listener() {
    let run = Run::named("listener-killed");
    ends_saying(&run, "runner-crashed", 70, "signal 9");
    let finished = run.recording().exits(Who::Worker);
    assert_eq!(finished, [100], "the worker was not allowed to finish what it could report to GitHub itself");
}

#[test]
fn polls_that_fail_in_the_middle_of_a_job_cancel_it() {
    for name in ["poll-failure-mid-job", "poll-failures-spread"] {
        ends_by_itself(&Run::named(name), "job-canceled", 103);
    }
}

#[test]
fn what_a_job_leaves_behind_is_gone_with_it() {
    let run = Run::with(&Scenario { job_ms: 600, ..scenario("leaves-children") });
    let mut running = run.start();
    running.until("the job has left a daemon", |run| {
        let daemon =
            |process: &processes::Process| process.arguments.first().is_some_and(|a| a == "mayfly-left-daemon");
        processes::of_run(run).iter().any(daemon)
    });
    let ended = running.end(); // which sees to it that nothing is left, in whatever session
    assert_ended(&run, &ended, "job-succeeded", 0);
}

// Registration, clock and network.

#[test]
fn a_runner_deleted_while_idle_was_removed() {
    for name in ["deleted-while-idle", "deleted-while-idle-old"] {
        ends_by_itself(&Run::named(name), "registration-removed", 69);
    }
}

#[test]
fn a_skewed_clock_is_named_when_the_runner_gives_up() {
    let run = Run::with(&Scenario { time_scale: 0.0005, ..scenario("clock-skew") });
    ends_by_itself(&run, "clock-skew", 69);
}

#[test]
fn a_skewed_clock_is_named_at_the_listening_deadline() {
    let run = Run::named("clock-skew").limits(&[("listening", "900ms")]);
    let ended = run.run();
    assert_ended(&run, &ended, "clock-skew", 69);
    assert_asked_once(&run);
}

#[test]
fn a_network_that_is_down_is_named_at_the_listening_deadline() {
    let run = Run::named("network-down").limits(&[("listening", "900ms")]);
    let ended = run.run();
    assert_ended(&run, &ended, "network-unreachable", 69);
    assert_asked_once(&run);
}

#[test]
fn a_network_that_comes_back_costs_nothing() {
    ends_by_itself(&Run::named("network-down-then-reconnect"), "job-succeeded", 0);
}

#[test]
fn a_slow_start_is_waited_for() {
    ends_by_itself(&Run::named("slow-start").limits(&[("listening", "15s")]), "job-succeeded", 0);
}

// A runner that cannot be started.

fn is_missing(run: &Run, naming: &Path) {
    let ended = run.run();
    ended.assert_outcome("runner-missing");
    assert_eq!(ended.code(), Some(72), "the exit code does not tell the outcome");
    let said = ended.record["detail"].as_str().unwrap_or_default();
    assert!(said.contains(&*naming.to_string_lossy()), "the record does not name {}: {said:?}", naming.display());
    assert!(run.recording().starts().is_empty(), "a runner was started all the same");
    assert_no_registration_is_left(run);
}

/// The double's programs are hard links to the build's own file, which must keep its mode.
fn own_copy_of_listener(run: &Run) {
    let (listener, copy) = (run.runner.listener(), run.directory().join("copy"));
    assert!(Command::new("cp").arg(&listener).arg(&copy).status().unwrap().success());
    fs::rename(&copy, &listener).unwrap();
}

#[test]
fn a_listener_that_is_not_there_is_missing() {
    let run = Run::named("success");
    fs::remove_file(run.runner.listener()).unwrap();
    is_missing(&run, &run.runner.listener());
}

#[test]
fn a_listener_that_is_not_executable_is_missing() {
    let run = Run::named("success");
    own_copy_of_listener(&run);
    fs::set_permissions(run.runner.listener(), Permissions::from_mode(0o644)).unwrap();
    is_missing(&run, &run.runner.listener());
}

#[test]
fn a_listener_that_is_no_program_is_missing() {
    let run = Run::named("success");
    let listener = run.runner.listener();
    fs::remove_file(&listener).unwrap();
    fs::write(&listener, format!("touch {}/was-run\n", run.directory().display())).unwrap();
    fs::set_permissions(&listener, Permissions::from_mode(0o755)).unwrap();
    is_missing(&run, &listener);
    assert!(!run.directory().join("was-run").exists(), "a shell was given what is no program");
}

#[test]
fn a_runner_directory_that_cannot_be_written_is_as_good_as_missing() {
    let mut run = Run::named("success");
    if nix::unistd::geteuid().is_root() {
        let nobody = 65_534;
        for path in [run.directory(), run.root()] {
            chown(path, Some(nobody), Some(nobody)).unwrap();
        }
        run.uid = Some(nobody);
    }
    fs::set_permissions(run.root(), Permissions::from_mode(0o555)).unwrap();
    is_missing(&run, run.root());
    fs::set_permissions(run.root(), Permissions::from_mode(0o755)).unwrap();
}
