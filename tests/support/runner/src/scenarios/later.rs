//! What can go wrong with a job at work, and how a listener is stopped.

use super::*;

/// k, l: the network.
pub(super) fn network() -> Vec<Scenario> {
    let retry = |times| Act::Repeat { times, acts: vec![retry_pause(), Act::Connect] };
    let back = vec![Act::Connect, connect_error(), retry(Some(2)), out(strings::RECONNECTED), Act::Listening];
    vec![
        scenario(
            "network-down",
            "one error line, then retries without end",
            vec![Act::Connect, connect_error(), retry(None)],
        ),
        scenario(
            "network-down-then-reconnect",
            "down, reconnected, then a job",
            [back, job(), vec![Act::Finish]].concat(),
        ),
        polls_fail("poll-failure-mid-job", "one outage cancels the job, exit 2", 1, 10_000),
        polls_fail("poll-failures-spread", "ten failures over the job, exit 2", 10, 3_000),
    ]
}

/// The poll fails `times` times while a job runs: the job is cancelled. The
/// error line appears once however often the poll fails.
fn polls_fail(name: &str, summary: &str, times: u32, pause_ms: u64) -> Scenario {
    let mut acts = started(WorkerBehaviour::Normal);
    acts.extend([
        Act::Wait { ms: 300 },
        connect_error(),
        Act::Repeat { times: Some(times), acts: vec![Act::WaitUpstream { ms: pause_ms }] },
        Act::CancelWorker,
        Act::AwaitWorker,
        Act::Completed { result: Some(JobResult::Canceled) },
        error_occurred(REFUSED),
        Act::Exit { code: 2 },
    ]);
    Scenario { job_ms: 600_000, ..listener(name, summary, acts) }
}

/// m, n, o, w and relatives: the worker.
pub(super) fn worker_troubles() -> Vec<Scenario> {
    let ending = |behaviour, end: &[Act]| [started(behaviour), end.to_vec()].concat();
    let completed = [Act::AwaitWorker, Act::Completed { result: None }, Act::Finish];
    let success = Act::ExitWithResult { result: JobResult::Succeeded };
    vec![
        listener(
            "100-without-worker",
            "Running line, then exit as for success, and never a worker",
            [message(), vec![Act::Running, success.clone()]].concat(),
        ),
        listener(
            "worker-crash",
            "the worker dies of SIGKILL after the started hook: Failed",
            ending(WorkerBehaviour::KilledAfterHook, &completed),
        ),
        listener(
            "worker-exit-1",
            "the worker ends with code 1: Failed",
            ending(WorkerBehaviour::ExitsWith { code: 1 }, &completed),
        ),
        listener(
            "disk-full",
            "w: the worker aborts on a failed write to _diag: Failed",
            ending(WorkerBehaviour::ExitsWith { code: 134 }, &completed),
        ),
        listener("worker-hang", "n: the worker never ends, nor obeys", ending(WorkerBehaviour::Hangs, &completed)),
        listener(
            "worker-ipc-timeout",
            "o: the worker never gets its job; no completed line, exit as success",
            ending(
                WorkerBehaviour::NoMessage,
                &[Act::WaitUpstream { ms: 30_000 }, Act::KillWorker, Act::AwaitWorker, success],
            ),
        ),
    ]
}

/// p, q, y: the listener around a worker.
pub(super) fn listener_troubles() -> Vec<Scenario> {
    let started = started(WorkerBehaviour::Normal);
    let with = |end: &[Act]| [started.clone(), end.to_vec()].concat();
    let completed = Act::Completed { result: None };
    vec![
        Scenario {
            job_ms: 1300,
            ..listener(
                "listener-killed",
                "p: SIGKILL during the job; the worker goes on for a second",
                with(&[Act::Wait { ms: 300 }, Act::SelfKill]),
            )
        },
        listener(
            "completes-never-exits",
            "q: completed line, then deaf to all but SIGTERM's cap and SIGKILL",
            with(&[Act::AwaitWorker, completed.clone(), Act::Hang]),
        ),
        listener(
            "worker-gone-listener-alive",
            "the worker ends, no completed line, the listener stays",
            with(&[Act::AwaitWorker, Act::Forever]),
        ),
        listener(
            "flood",
            "y: 500 MB on the console during the job",
            with(&[Act::Flood { bytes: 500_000_000 }, Act::AwaitWorker, completed, Act::Finish]),
        ),
    ]
}

/// r, s and the race of a stop against a job.
pub(super) fn shutdowns() -> Vec<Scenario> {
    vec![
        Scenario {
            ignore_interrupt: true,
            ..listener("ignores-sigint", "r: idle, deaf to SIGINT", vec![Act::Forever])
        },
        Scenario {
            ignore_interrupt: true,
            job_ms: 600_000,
            ..scenario("ignores-sigint-with-job", "r: a long job, deaf to SIGINT", one_job())
        },
        Scenario {
            shutdown_delay_ms: 5_000,
            ..listener(
                "slow-shutdown",
                "r, s: idle; five seconds to stop, longer than SIGTERM's cap",
                vec![Act::Forever],
            )
        },
        Scenario {
            idle_ms: 1_000,
            shutdown_delay_ms: 1_000,
            job_arrives_despite_interrupt: true,
            ..scenario("late-job", "the job comes one second after listening, into a shutdown too", one_job())
        },
        Scenario { job_ms: 600_000, ..scenario("long-job", "a job of ten minutes, to be stopped", one_job()) },
        Scenario {
            steps: vec!["trap '' INT TERM; while :; do sleep 0.1; done".to_owned()],
            ..scenario("stubborn-step", "a step that only SIGKILL ends", one_job())
        },
    ]
}

/// x: what a job leaves behind. The variable is changed, as jobs do that want
/// their children to outlive them; the tracked one is the clean-up's own prey.
pub(super) fn leftovers() -> Vec<Scenario> {
    let quiet = ">/dev/null 2>&1 </dev/null";
    let steps = [
        format!("(exec -a mayfly-left-tracked sleep 1000) {quiet} & :"),
        format!("export RUNNER_TRACKING_ID=0; (exec -a mayfly-left-plain sleep 1000) {quiet} & :"),
        format!("export RUNNER_TRACKING_ID=0; setsid bash -c '(exec -a mayfly-left-daemon sleep 1000) {quiet} & :'"),
        format!("export RUNNER_TRACKING_ID=0; (trap '' TERM; exec -a mayfly-left-stubborn sleep 1000) {quiet} & :"),
    ];
    vec![Scenario {
        steps: steps.to_vec(),
        ..scenario(
            "leaves-children",
            "x: a plain child, a daemon and a SIGTERM-proof child stay; a tracked one is reaped",
            one_job(),
        )
    }]
}

/// t: self-update.
pub(super) fn updates() -> Vec<Scenario> {
    let downloading = strings::UPDATE_DOWNLOADING.replace("{version}", "2.337.0");
    let begun =
        vec![Act::Idle, perf("MessageReceived_RunnerRefresh"), out(strings::UPDATE_IN_PROGRESS), out(&downloading)];
    let staged = vec![
        out(strings::UPDATE_WAITING),
        out(strings::UPDATE_SCRIPT),
        out(strings::UPDATE_EXIT),
        out(strings::UPDATE_FINISHED),
    ];
    let failed = strings::with_message(strings::UPDATE_FAILED, "Response status code 503");
    let finished = Act::Touch { path: "update.finished".to_owned() };
    let exit = |code| vec![Act::Exit { code }];
    vec![
        listener(
            "update-exit-4",
            "update of an ephemeral runner, exit 4, never finished",
            [begun.clone(), staged.clone(), exit(4)].concat(),
        ),
        listener("exit-4", "the same as update-exit-4", [begun.clone(), staged.clone(), exit(4)].concat()),
        Scenario {
            first_start: [listening(), begun.clone(), staged.clone(), vec![finished], exit(4)].concat(),
            ..scenario("update-then-success", "exit 4 and a finished update, then a job", one_job())
        },
        listener("exit-3", "update of a persistent runner, exit 3", [begun.clone(), staged, exit(3)].concat()),
        listener(
            "update-failed-goes-on",
            "the update fails; the job comes nevertheless",
            [begun, vec![err(&failed)], job(), vec![Act::Finish]].concat(),
        ),
    ]
}
