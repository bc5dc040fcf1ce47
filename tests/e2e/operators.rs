//! What people tell the agent on its machine: drain, hold, release.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail there")]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};

use mayfly_e2e::run::mayfly_binary;
use mayfly_e2e::{Cloud, Run};
use mayfly_fake_aws::Limit;
use mayfly_fake_aws::proxy::{AwsError, Fault, Match};
use mayfly_fake_runner::scenarios;
use nix::sys::signal::Signal;
use serde_json::Value;

/// A command's exit code and what it said.
struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

/// Runs an operator's command beside the agent of this run.
fn order(run: &Run, words: &[&str]) -> Said {
    let mut command = Command::new(mayfly_binary());
    command.args(words).arg("--state-directory").arg(run.state()).env_clear().stdin(Stdio::null());
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    Said { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
}

/// Runs one that the agent accepts, and returns what it said.
fn accepted(run: &Run, words: &[&str]) -> String {
    let said = order(run, words);
    assert_eq!(said.code, Some(0), "{words:?} was not accepted: {}{}", said.out, said.err);
    said.out
}

fn status(run: &Run) -> Value {
    serde_json::from_str(&accepted(run, &["status", "--json"])).unwrap()
}

/// A run whose job takes this long.
fn job_of(ms: u64) -> Run {
    let mut scenario = scenarios::named("success").unwrap();
    scenario.job_ms = ms;
    Run::with(&scenario)
}

fn signals(run: &Run) -> Vec<String> {
    run.recording().signals().iter().map(|(_, signal, _)| (*signal).to_owned()).collect()
}

#[test]
fn without_an_agent_every_command_says_so_and_what_to_look_at() {
    let run = Run::named("success");
    for words in [&["drain"][..], &["drain", "--now"], &["hold", "30m"], &["release"], &["status"]] {
        let said = order(&run, words);
        assert_eq!(said.code, Some(69), "{words:?} without an agent: {}{}", said.out, said.err);
        assert!(said.err.contains("no agent answers") && said.err.contains("record.json"), "{words:?}: {}", said.err);
    }
}

#[test]
fn a_hold_needs_a_duration() {
    let run = Run::named("success");
    for words in [&["hold"][..], &["hold", "soon"], &["hold", "0s"]] {
        assert_eq!(order(&run, words).code, Some(64), "{words:?} is no usage error");
    }
}

#[test]
fn draining_an_idle_machine_ends_it_politely() {
    let run = Run::named("no-job").limits(&[("idle", "15s")]);
    let mut running = run.start();
    running.until_state("Idle");
    let said = accepted(&run, &["drain"]);
    assert!(said.starts_with("no job is running: the runner stops, and the agent ends within"), "{said}");
    running.end().assert_outcome("operator-drain");
    assert_eq!(signals(&run), ["SIGINT"], "an idle runner is asked, not killed");
}

#[test]
fn draining_a_busy_machine_lets_its_job_finish() {
    let run = job_of(800);
    let mut running = run.start();
    running.until_state("Busy");
    assert_eq!(accepted(&run, &["drain"]), "the job goes on; the agent ends after it");
    running.end().assert_outcome("job-succeeded");
    assert_eq!(signals(&run), [""; 0], "a drain without --now stopped a job");
}

#[test]
fn draining_a_busy_machine_now_stops_its_job() {
    let run = Run::named("long-job");
    let mut running = run.start();
    running.until_state("Busy");
    let said = accepted(&run, &["drain", "--now"]);
    assert!(said.starts_with("the job is being stopped; the agent ends within"), "{said}");
    running.end().assert_outcome("operator-drain");
    assert!(signals(&run).iter().all(|signal| signal == "SIGINT"), "{:?}", signals(&run));
    let canceled = run.recording().results().iter().any(|result| format!("{result:?}") == "Canceled");
    assert!(canceled, "the runner could not report the job as cancelled");
}

#[test]
fn draining_before_the_jit_configuration_ends_without_a_runner() {
    let cloud = Cloud::standalone("success");
    let mut agent = cloud.start();
    agent.until_state("WaitingForJitConfig");
    assert_eq!(accepted(&cloud.run, &["drain"]), "no runner was started: the machine ends now");
    agent.end().assert_outcome("operator-drain");
    assert!(cloud.run.recording().starts().is_empty(), "a drained machine started a runner");
}

#[test]
fn a_held_machine_stays_says_so_everywhere_and_goes_when_released() {
    let cloud = Cloud::standalone("success").launched();
    let mut agent = cloud.start();
    agent.until_state("Starting"); // Idle may be too short to be seen
    let said = accepted(&cloud.run, &["hold", "25s"]);
    assert!(said.contains("if it is over before, the machine is kept until "), "{said}");
    assert!(said.contains("at most to the end of its lifetime at "), "{said}");
    agent.until_state("Held");
    let tags = || cloud.moto.instance_tags(&cloud.instance).unwrap();
    agent.until("the tag mayfly:phase=held", |_| tags().get("mayfly:phase").is_some_and(|phase| phase == "held"));
    let shown = status(&cloud.run);
    assert_eq!((&shown["state"], &shown["outcome"]), (&Value::from("Held"), &Value::from("job-succeeded")));
    let until = shown["held_until"].as_str().unwrap();
    assert_eq!(tags()["mayfly:held-until"][..19], until[..19], "the tag and the status disagree");
    assert!(accepted(&cloud.run, &["status"]).contains("mayfly release ends it"), "status does not tell how to end it");
    assert_eq!(cloud.state(), "running", "a held machine was ended");
    assert_eq!(accepted(&cloud.run, &["release"]), "released: the machine ends now");
    agent.end().assert_outcome("job-succeeded");
    assert_eq!(cloud.state(), "terminated");
}

#[test]
fn the_last_word_counts() {
    let run = job_of(1_500);
    let mut running = run.start();
    running.until_state("Starting");
    assert_eq!(accepted(&run, &["release"]), "nothing to release: nobody holds the agent");
    accepted(&run, &["hold", "50s"]);
    assert!(accepted(&run, &["release"]).starts_with("released: the agent ends when its run is over"));
    accepted(&run, &["hold", "50s"]);
    running.until_state("Held");
    assert!(accepted(&run, &["hold", "40s"]).starts_with("held until "));
    assert_eq!(accepted(&run, &["drain"]), "no longer held: the agent ends now");
    running.end().assert_outcome("job-succeeded");
}

#[test]
fn a_hold_ends_by_itself() {
    let run = Run::named("success");
    let mut running = run.start();
    running.until_state("Starting");
    accepted(&run, &["hold", "50s"]);
    running.until_state("Held");
    accepted(&run, &["hold", "1s"]);
    let ended = running.end();
    ended.assert_outcome("job-succeeded");
    assert!(ended.took.as_secs() < 30, "the shorter hold was not kept: {:?}", ended.took);
}

#[test]
fn a_hold_past_the_lifetime_tells_the_real_moment_and_ends_there() {
    let run = Run::named("success").limits(&[("listening", "2s"), ("idle", "2s"), ("job", "2s"), ("lifetime", "7s")]);
    let mut running = run.start();
    running.until_state("Starting");
    let said = accepted(&run, &["hold", "10h"]);
    assert!(said.ends_with("; that is the end of its lifetime"), "{said}");
    assert!(!said.contains("(in 10h)"), "what was asked for is told, not what will be: {said}");
    let ended = running.end();
    ended.assert_outcome("job-succeeded");
    let held = ended.record["phases"].as_array().unwrap().iter().any(|phase| phase["phase"] == "Held");
    assert!(held && ended.took.as_secs() < 20, "held: {held}, took {:?}", ended.took);
}

#[test]
fn a_machine_that_is_being_ended_cannot_be_held() {
    let cloud = Cloud::standalone("success").launched();
    let denied = Fault::Error(AwsError::Throttled);
    cloud.aws.fault(Match::action("TerminateInstances"), Limit::default(), denied);
    let mut agent = cloud.start();
    agent.until_state("Terminating");
    let said = order(&cloud.run, &["hold", "30m"]);
    assert_eq!(said.code, Some(69), "{}", said.out);
    assert!(said.err.contains("too late: the machine is being ended already"), "{}", said.err);
    agent.end().assert_outcome("job-succeeded");
}

/// What Prometheus gets.
fn metrics(address: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: metrics\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    answer
}

#[test]
fn a_failed_machine_is_held_if_the_configuration_says_so() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let cloud = Cloud::standalone("exit-1").configured("hold_on_failure = \"40s\"\n").launched();
    let cloud = cloud.live(|run| run.set("MAYFLY_METRICS_LISTEN", &free));
    let mut agent = cloud.start();
    agent.until_state("Held");
    let metrics = metrics(&free);
    assert!(metrics.contains("\nmayfly_held 1\n"), "no alert tells that a machine is held: {metrics}");
    assert!(metrics.contains("mayfly_state{state=\"Held\"} 1\n"), "{metrics}");
    let tags = || cloud.moto.instance_tags(&cloud.instance).unwrap();
    agent.until("the tag mayfly:held-until", |_| tags().contains_key("mayfly:held-until"));
    assert!(accepted(&cloud.run, &["status"]).contains("held      until "), "status does not say that it is held");
    accepted(&cloud.run, &["hold", "1s"]);
    let gone = agent.end();
    gone.assert_outcome("runner-crashed");
    assert_eq!(cloud.state(), "terminated", "a held machine outlives its hold");
}

#[test]
fn a_machine_whose_job_failed_is_not_held_for_it() {
    let cloud = Cloud::standalone("failed").configured("hold_on_failure = \"40s\"\n").launched();
    let gone = cloud.run();
    gone.assert_outcome("job-failed");
    let held = gone.record["phases"].as_array().unwrap().iter().any(|phase| phase["phase"] == "Held");
    assert!(!held, "a job that fails is no failure of the machine");
}

#[test]
fn an_order_for_machines_is_answered_as_json() {
    let run = Run::named("no-job").limits(&[("idle", "15s")]);
    let mut running = run.start();
    running.until_state("Idle");
    let held: Value = serde_json::from_str(&accepted(&run, &["hold", "30s", "--json"])).unwrap();
    assert_eq!((&held["accepted"], &held["state"]), (&Value::Bool(true), &Value::from("Idle")), "{held:#}");
    assert!(held["held_until"].as_str().is_some_and(|until| until.ends_with('Z')), "{held:#}");
    let drained: Value = serde_json::from_str(&accepted(&run, &["drain", "--json"])).unwrap();
    assert_eq!((&drained["state"], &drained["held_until"]), (&Value::from("Draining"), &Value::Null), "{drained:#}");
    running.end().assert_outcome("operator-drain");
}

#[test]
fn a_command_does_not_wait_for_an_agent_that_stands_still_or_dies() {
    let run = job_of(1_500);
    let mut running = run.start();
    running.until_state("Busy");
    running.signal(Signal::SIGSTOP);
    let said = order(&run, &["drain", "--now"]);
    assert_eq!(said.code, Some(69), "an agent that stands still accepted it: {}{}", said.out, said.err);
    assert!(said.err.contains("no agent answers"), "it does not say what is wrong: {}", said.err);

    let mut command = Command::new(mayfly_binary());
    command.args(["hold", "30m", "--state-directory"]).arg(run.state()).env_clear().stdin(Stdio::null());
    let asked = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    running.kill_dead();
    let status = asked.wait_with_output().unwrap().status;
    assert_eq!(status.code(), Some(69), "a command outlives the agent it asked: {status}");
    assert_eq!(run.start().end().outcome(), "job-succeeded", "the job was stopped by an order that nobody took");
}
