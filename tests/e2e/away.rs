//! A job that ends while no agent is there, or while it stands still, until its state's limit has passed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail there")]

use std::fs;

use mayfly_e2e::Run;
use mayfly_e2e::run::TIMEOUT;
use mayfly_fake_runner::{Act, JobResult, Scenario, Stream, WorkerBehaviour, strings};
use nix::sys::signal::Signal;

use crate::crash::one_listener;

/// The agent is away from this state on until the job has failed and the state's limit has passed.
struct Away {
    state: &'static str,
    limit: &'static str,
    acts: Vec<Act>,
}

/// A second and a half in every state in which something can still happen before the job is over.
fn aways() -> Vec<Away> {
    let wait = || Act::Wait { ms: 1_500 };
    let begin = || vec![Act::Connect, Act::Listening, Act::Idle];
    let message = || Act::Perf { counter: "MessageReceived_RunnerJobRequest".to_owned() };
    let work = || vec![Act::Running, Act::StartWorker { behaviour: WorkerBehaviour::Normal }, Act::AwaitWorker];
    let done = || vec![Act::Completed { result: None }, Act::Finish];
    let update = |line: &str| Act::Print { stream: Stream::Out, line: line.to_owned() };
    let updating = vec![update(strings::UPDATE_IN_PROGRESS), wait(), update(strings::UPDATE_FAILED), message()];
    let away = |state, limit, acts: Vec<Vec<Act>>| Away { state, limit, acts: acts.concat() };
    vec![
        away("Starting", "listening", vec![vec![wait()], begin(), vec![message()], work(), done()]),
        away("Idle", "idle", vec![begin(), vec![wait(), message()], work(), done()]),
        away("Updating", "updating", vec![begin(), updating, work(), done()]),
        away("Assigned", "assigned", vec![begin(), vec![message(), wait()], work(), done()]),
        away("Busy", "job", vec![begin(), vec![message()], work(), done()]),
        away("Finishing", "finishing", vec![begin(), vec![message()], work(), vec![wait()], done()]),
    ]
}

/// Makes it with the agent away, by a kill or by standing still.
fn run_away(away: &Away, killed: bool) {
    let Away { state, limit, acts } = away;
    let when = format!("{} in {state} until limits.{limit} had passed", if killed { "killed" } else { "frozen" });
    let scenario = Scenario {
        name: "of-this-test".to_owned(),
        acts: acts.clone(),
        job_result: JobResult::Failed,
        job_ms: 1_500,
        ..Scenario::default()
    };
    let run = Run::with(&scenario).limits(&[
        ("listening", "20s"),
        ("idle", "20s"),
        ("updating", "20s"),
        ("assigned", "20s"),
        ("finishing", "20s"),
        ("job", "20s"),
        ("lifetime", "100s"),
    ]);
    let run = run.limits(&[(limit, "6s")]);
    let mut running = run.start();
    running.until_state(state);
    running.until("the listener's start", |run| !run.recording().starts().is_empty());
    let left = running;
    let frozen = if killed {
        left.kill_dead();
        None
    } else {
        left.signal(Signal::SIGSTOP);
        Some(left)
    };
    let last: serde_json::Value = serde_json::from_str(run.journal().last().unwrap()).unwrap();
    assert_eq!(last["state"]["phase"]["state"], *state, "the agent was too quick for this test: {when}");
    let limit_at = last["state"]["phase"]["deadline"].as_u64().unwrap();
    let deadline = std::time::Instant::now() + TIMEOUT;
    while !run.state().join("runner.exit").exists() || uptime_ms() <= limit_at {
        assert!(std::time::Instant::now() < deadline, "the job does not end: {when}");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let ended = match frozen {
        Some(frozen) => {
            frozen.signal(Signal::SIGCONT);
            frozen.end()
        }
        None => run.run(),
    };
    assert_eq!(
        ended.outcome(),
        "job-failed",
        "{when}, and its job's result was lost: {:#}\n{}",
        ended.record,
        ended.stderr
    );
    one_listener(&run, &when);
}

fn uptime_ms() -> u64 {
    let text = fs::read_to_string("/proc/uptime").unwrap();
    let seconds: f64 = text.split_whitespace().next().unwrap().parse().unwrap();
    (seconds * 1000.0) as u64
}

#[test]
fn a_job_that_ended_while_the_agent_was_dead_is_told_though_the_states_limit_has_passed() {
    std::thread::scope(|runs| aways().into_iter().for_each(|away| drop(runs.spawn(move || run_away(&away, true)))));
}

#[test]
fn a_job_that_ended_while_the_agent_stood_still_is_told_though_the_states_limit_has_passed() {
    std::thread::scope(|runs| aways().into_iter().for_each(|away| drop(runs.spawn(move || run_away(&away, false)))));
}
