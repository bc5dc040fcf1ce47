//! Signals to the agent, at every moment of a run.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail there")]

use mayfly_e2e::Run;
use mayfly_fake_runner::scenarios;
use nix::sys::signal::Signal;

/// Sends the signal once the run is in this state, and says how it ended.
fn signalled(scenario: &str, state: &str, signals: &[Signal]) -> (Run, mayfly_e2e::Ended) {
    let run = Run::named(scenario);
    let ended = {
        let mut running = run.start();
        running.until_state(state);
        if state == "Starting" {
            // The signal is for a listener that is there.
            running.until("the listener's start", |run| !run.recording().starts().is_empty());
        }
        for signal in signals {
            running.signal(*signal);
            running.until("the drain", |run| run.journal().iter().any(|line| line.contains("Draining")));
        }
        running.end()
    };
    (run, ended)
}

fn only_sigint(run: &Run) {
    let recording = run.recording();
    let signals: Vec<_> = recording.signals().iter().map(|(_, signal, _)| (*signal).to_owned()).collect();
    assert!(!signals.is_empty(), "the listener was never told to stop");
    assert!(
        signals.iter().all(|signal| signal == "SIGINT"),
        "SIGTERM after SIGINT kills the listener and leaves the worker: {signals:?}"
    );
}

#[test]
fn sigterm_and_sigint_while_starting() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let (run, ended) = signalled("never-listens", "Starting", &[signal]);
        ended.assert_outcome("external-shutdown");
        only_sigint(&run);
    }
}

#[test]
fn sigterm_and_sigint_while_idle() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let (run, ended) = signalled("no-job", "Idle", &[signal]);
        ended.assert_outcome("external-shutdown");
        only_sigint(&run);
    }
}

#[test]
fn sigterm_and_sigint_while_busy_cancel_the_job_politely() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let (run, ended) = signalled("long-job", "Busy", &[signal]);
        ended.assert_outcome("external-shutdown");
        only_sigint(&run);
        let canceled = run.recording().results().iter().any(|result| format!("{result:?}") == "Canceled");
        assert!(canceled, "the listener could not report the job as cancelled");
    }
}

#[test]
fn a_second_signal_kills_what_ignores_the_first() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let run = Run::named("ignores-sigint-with-job").limits(&[("draining", "50s")]);
        let mut running = run.start();
        running.until_state("Busy");
        running.signal(signal);
        running.until_state("Draining");
        running.signal(signal);
        let ended = running.end();
        ended.assert_outcome("external-shutdown");
        assert!(ended.took.as_secs() < 20, "the second signal did not kill: {:?}", ended.took);
    }
}

#[test]
fn a_signal_before_the_jit_configuration_ends_at_once() {
    let run = Run::named("success");
    let pipe = run.directory().join("jit-config");
    // A pipe that nobody writes: the configuration never comes.
    let mut command = run.command();
    std::fs::remove_file(&pipe).unwrap();
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
    let mut child = command.spawn().unwrap();
    let waiting = || run.journal().iter().any(|line| line.contains("WaitingForJitConfig"));
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while !waiting() {
        assert!(std::time::Instant::now() < deadline, "it does not wait");
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGTERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(75));
    assert!(run.recording().starts().is_empty(), "stopping started a listener");
}

/// The listener learns of a job at every moment around the idle deadline. Either the job runs, or the outcome says that
/// one was lost: never a silent kill.
#[test]
fn a_job_at_every_moment_around_the_idle_stop_is_run_or_told_of() {
    let idle = 400;
    let mut told = Vec::new();
    for offset in (-50_i64..=50).step_by(5) {
        let mut scenario = scenarios::named("late-job").unwrap();
        scenario.idle_ms = u64::try_from(idle + offset).unwrap();
        scenario.shutdown_delay_ms = 150;
        scenario.job_ms = 50;
        let run = Run::with(&scenario).limits(&[("idle", &format!("{idle}ms"))]);
        let ended = run.run();
        let recording = run.recording();
        let ran = recording.results().iter().any(|result| format!("{result:?}") == "Succeeded");
        let arrived = !recording.workers().is_empty();
        let right = match ended.outcome() {
            "job-succeeded" => ran,
            "idle-raced" => arrived && !ran,
            "idle-timeout" => !arrived,
            _ => false,
        };
        assert!(right, "offset {offset} ms: {}, job arrived: {arrived}, ran: {ran}", ended.outcome());
        told.push(ended.outcome().to_owned());
    }
    assert!(told.iter().any(|outcome| outcome == "job-succeeded"), "no job ran at all: {told:?}");
    assert!(told.iter().any(|outcome| outcome == "idle-raced"), "no race was ever hit: {told:?}");
}

/// The listener gets a job after it was told to stop for this reason; nobody had seen one before.
fn lost_to(reason: &str, stop: impl Fn(&Run)) {
    let late = scenarios::named("late-job").unwrap();
    let late = mayfly_fake_runner::Scenario { idle_ms: 6_000, shutdown_delay_ms: 20_000, ..late };
    let run = Run::with(&late).limits(&[("idle", "30s"), ("draining", "40s")]);
    let mut running = run.start();
    running.until_state("Idle");
    match reason {
        "external-shutdown" => running.signal(Signal::SIGTERM),
        _ => stop(&run),
    }
    let ended = running.end();
    assert!(!run.recording().workers().is_empty(), "no job came: the test is wrong\n{}", ended.stderr);
    ended.assert_outcome("idle-raced");
    assert_eq!(ended.code(), Some(75), "{}", ended.stderr);
    assert_eq!(ended.record["stopped_for"], reason, "why it was stopped is forgotten: {:#}", ended.record);
}

#[test]
fn a_job_lost_to_a_shutdown_that_did_not_know_of_it_is_told_so() {
    lost_to("external-shutdown", |_| {});
}

#[test]
fn a_job_lost_to_a_drain_that_did_not_know_of_it_is_told_so() {
    lost_to("operator-drain", |run| {
        let mut drain = std::process::Command::new(mayfly_e2e::mayfly_binary());
        drain.arg("drain").arg("--state-directory").arg(run.state()).env_clear();
        assert!(drain.status().unwrap().success(), "nobody could drain it");
    });
}
