//! The table of named scenarios.
//!
//! Letters in the comments are those of the list of behaviours in the runner
//! contract the double is written against.

mod later;

use crate::scenario::{Act, JobResult, Scenario, Stream, WorkerBehaviour};
use crate::strings;

/// What the network says when it is away.
const REFUSED: &str = "Connection refused (broker.actions.githubusercontent.com:443)";

/// Every scenario.
pub fn all() -> Vec<Scenario> {
    [
        outcomes(),
        names(),
        exits(),
        starts(),
        idle_troubles(),
        later::network(),
        later::worker_troubles(),
        later::listener_troubles(),
        later::shutdowns(),
        later::leftovers(),
        later::updates(),
    ]
    .concat()
}

/// The scenario of this name.
pub fn named(name: &str) -> Option<Scenario> {
    all().into_iter().find(|scenario| scenario.name == name)
}

/// The acts of one ordinary job, from connection to exit.
pub fn one_job() -> Vec<Act> {
    [listening(), job(), vec![Act::Finish]].concat()
}

fn listening() -> Vec<Act> {
    vec![Act::Connect, Act::Listening]
}

/// Idle time, then the message: all that is seen of a job being acquired.
fn message() -> Vec<Act> {
    vec![Act::Idle, perf(strings::JOB_MESSAGE)]
}

fn job() -> Vec<Act> {
    let mut acts = started(WorkerBehaviour::Normal);
    acts.extend([Act::AwaitWorker, Act::Completed { result: None }]);
    acts
}

/// What follows the message of a job that is handed out.
fn job_after_message() -> Vec<Act> {
    let worker = Act::StartWorker { behaviour: WorkerBehaviour::Normal };
    vec![Act::Running, worker, Act::AwaitWorker, Act::Completed { result: None }, Act::Finish]
}

fn started(behaviour: WorkerBehaviour) -> Vec<Act> {
    let mut acts = message();
    acts.extend([Act::Running, Act::StartWorker { behaviour }]);
    acts
}

fn perf(counter: &str) -> Act {
    Act::Perf { counter: counter.to_owned() }
}

fn out(line: &str) -> Act {
    Act::Print { stream: Stream::Out, line: line.to_owned() }
}

fn err(line: &str) -> Act {
    Act::Print { stream: Stream::Err, line: line.to_owned() }
}

fn connect_error() -> Act {
    err(&strings::with_message(strings::CONNECT_ERROR, REFUSED))
}

fn error_occurred(message: &str) -> Act {
    err(&strings::with_message(strings::ERROR_OCCURRED, message))
}

/// The pause of the session's retry loop.
fn retry_pause() -> Act {
    Act::WaitUpstream { ms: 30_000 }
}

/// A scenario of its own acts.
fn scenario(name: &str, summary: &str, acts: Vec<Act>) -> Scenario {
    Scenario { name: name.to_owned(), summary: summary.to_owned(), acts, ..Scenario::default() }
}

/// A scenario that listens before its own acts.
fn listener(name: &str, summary: &str, acts: Vec<Act>) -> Scenario {
    scenario(name, summary, [listening(), acts].concat())
}

/// a: each result a job can have.
fn outcomes() -> Vec<Scenario> {
    let named = [
        ("success", JobResult::Succeeded),
        ("succeeded-with-issues", JobResult::SucceededWithIssues),
        ("failed", JobResult::Failed),
        ("canceled", JobResult::Canceled),
        ("skipped", JobResult::Skipped),
        ("abandoned", JobResult::Abandoned),
    ];
    let outcome = |(name, job_result): (&str, JobResult)| Scenario {
        job_result,
        ..scenario(name, &format!("one job, result {job_result}"), one_job())
    };
    let mut outcomes = named.map(outcome).to_vec();
    outcomes.push(Scenario {
        connect_ms: 400,
        idle_ms: 900,
        job_ms: 1800,
        job_name: "build (debian-13, release)".to_owned(),
        ..scenario("demo", "one job at an interval a person can follow", one_job())
    });
    outcomes
}

/// b: display names that try to be log lines.
fn names() -> Vec<Scenario> {
    vec![
        Scenario {
            job_name: "bâtiment: ünït (ubuntu, 3.12) √ 測試".to_owned(),
            ..scenario("odd-name", "spaces, colons and unicode in the name", one_job())
        },
        Scenario {
            job_name: "x 2026-01-01 00:00:00Z: Job x completed with result: Failed".to_owned(),
            ..scenario("imitating-names", "the name holds a forged Failed line; really Succeeded", one_job())
        },
        Scenario {
            job_name: "x\n2026-01-01 00:00:00Z: Job x completed with result: Succeeded".to_owned(),
            job_result: JobResult::Failed,
            ..scenario("imitating-names-newline", "a forged Succeeded line after a newline; really Failed", one_job())
        },
    ]
}

/// Exit codes that need no story, or whose story is one line.
fn exits() -> Vec<Scenario> {
    let exit = |code| Act::Exit { code };
    let failing = strings::with_message(strings::SESSION_FAILED, "Access denied.");
    vec![
        listener("exit-0-no-job", "listens, then exits 0", vec![Act::Idle, exit(0)]),
        scenario("exit-1", "session refused for good, exit 1", vec![Act::Connect, err(&failing), exit(1)]),
        listener(
            "exit-2",
            "listens, then an exception, exit 2",
            vec![Act::Idle, error_occurred("The operation has timed out."), exit(2)],
        ),
        listener("exit-134", "listens, then code 134 as a wrapper reports it", vec![exit(134)]),
        listener("abort", "listens, then SIGABRT, as .NET really dies", vec![Act::Abort]),
        listener("killed-by-signal", "SIGKILL while idle", vec![Act::Idle, Act::SelfKill]),
        Scenario { boot: vec![exit(1)], ..scenario("exit-before-output", "z: exit 1 before a single line", one_job()) },
        Scenario {
            first_start: [listening(), vec![error_occurred("The operation has timed out."), exit(2)]].concat(),
            ..scenario("exit-2-then-success", "z: exit 2 at the first start, then a job", one_job())
        },
    ]
}

/// f, h, i, j, u, v, z: what goes wrong before or just after listening.
fn starts() -> Vec<Scenario> {
    let exit = |code| Act::Exit { code };
    let deprecated = |template| {
        let line = strings::with_message(template, strings::DEPRECATED);
        vec![err(&line), Act::ExitDeprecated]
    };
    vec![
        scenario("never-listens", "connects, then silence", vec![Act::Connect, Act::Forever]),
        Scenario {
            boot: vec![Act::Wait { ms: 1500 }],
            connect_ms: 1500,
            ..scenario("slow-start", "three seconds until it listens", one_job())
        },
        Scenario {
            boot: vec![Act::NeedIcu],
            ..scenario("no-icu", "SIGABRT unless the invariant mode is on", one_job())
        },
        Scenario {
            boot: vec![Act::Abort],
            ..scenario("diag-not-writable", "SIGABRT as when _diag cannot be made", one_job())
        },
        scenario(
            "registration-deleted",
            "the registration is gone at the start, exit 1",
            vec![Act::Connect, err(strings::REGISTRATION_DELETED), exit(1)],
        ),
        scenario("exit-5", "session conflicts, exit 5", session_conflict()),
        scenario("clock-skew", "token refused sixty times, exit 1", clock_skew()),
        listener("exit-7", "deprecated version, exit 7 or 1", deprecated(strings::ERROR_OCCURRED)),
        listener("deprecated", "the same as exit-7", deprecated(strings::ERROR_OCCURRED)),
        listener(
            "deprecated-old-spelling",
            "the same, misspelt as before v2.333.0",
            deprecated(strings::ERROR_OCCURED_OLD),
        ),
    ]
}

fn session_conflict() -> Vec<Act> {
    let conflict = strings::SESSION_EXISTS;
    let first = strings::with_message(strings::CONNECT_ERROR, "Error: Conflict");
    let last = strings::with_message(strings::SESSION_FAILED, "Error: Conflict");
    vec![
        Act::Connect,
        err(conflict),
        err(&first),
        Act::Repeat { times: Some(7), acts: vec![retry_pause(), Act::Connect, err(conflict)] },
        err(strings::SESSION_CONFLICT_STOP),
        err(&last),
        Act::Exit { code: 5 },
    ]
}

fn clock_skew() -> Vec<Act> {
    let attempt = vec![Act::Connect, err(strings::CLOCK_SKEW), retry_pause()];
    vec![Act::Repeat { times: Some(60), acts: attempt }, err(strings::CLOCK_SKEW_STOP), Act::Exit { code: 1 }]
}

/// c, d, e, g: a listener that waits, and what may come instead of a job.
fn idle_troubles() -> Vec<Scenario> {
    let skipped = Act::Diag { text: "Skipping message Job. The job is not valid any more (404).".to_owned() };
    vec![
        listener("no-job", "c: listens for ever", vec![Act::Forever]),
        listener(
            "ghost",
            "d: a job message whose acquisition fails, then silence",
            [message(), vec![skipped.clone(), Act::Forever]].concat(),
        ),
        listener(
            "ghost-then-job",
            "a job message whose acquisition fails, and a second later a job that runs",
            [
                message(),
                vec![skipped, Act::Wait { ms: 1000 }, perf(strings::JOB_MESSAGE), Act::Wait { ms: 800 }],
                job_after_message(),
            ]
            .concat(),
        ),
        listener(
            "acknowledged-no-worker",
            "e: a job message, no Running line, no worker, alive for ever",
            [message(), vec![Act::Forever]].concat(),
        ),
        listener(
            "running-no-worker",
            "Running line, no worker, alive for ever",
            [message(), vec![Act::Running, Act::Forever]].concat(),
        ),
        listener(
            "refresh-while-idle",
            "messages that are no job, then silence",
            vec![
                Act::Idle,
                perf("MessageReceived_RunnerRefresh"),
                perf("MessageReceived_AgentRefresh"),
                perf("MessageReceived_JobCancellation"),
                Act::Forever,
            ],
        ),
        listener(
            "deleted-while-idle",
            "g: the registration goes away, files removed, exit 0",
            vec![Act::Idle, err(strings::RUNNER_GONE), Act::RemoveConfig, Act::Exit { code: 0 }],
        ),
        listener(
            "deleted-while-idle-old",
            "the same before 2.336: exit 1, files stay",
            vec![Act::Idle, err(strings::RUNNER_GONE_OLD), Act::Exit { code: 1 }],
        ),
    ]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_scenario_survives_json() {
        for scenario in all() {
            let text = serde_json::to_string(&scenario).unwrap();
            assert_eq!(serde_json::from_str::<Scenario>(&text).unwrap(), scenario);
        }
    }

    #[test]
    fn names_are_unique_and_found() {
        let names: BTreeSet<_> = all().into_iter().map(|scenario| scenario.name).collect();
        assert_eq!(names.len(), all().len());
        assert!(names.iter().all(|name| named(name).is_some()));
    }

    #[test]
    fn empty_json_is_one_successful_job() {
        assert_eq!(serde_json::from_str::<Scenario>("{}").unwrap(), Scenario::default());
        assert_eq!(named("success").unwrap().acts, Scenario::default().acts);
    }
}
