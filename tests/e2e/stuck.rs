//! The runner gets stuck: every wait has an end, and the way there is SIGINT to the listener, then SIGKILL to all of it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail there")]

use mayfly_e2e::{Ended, Run};
use mayfly_fake_runner::recording::Who;
use mayfly_fake_runner::{Act, Scenario, Stream, WorkerBehaviour, strings};

const REGISTRATION: [&str; 3] = [".runner", ".credentials", ".credentials_rsaparams"];

fn scenario(name: &str) -> Scenario {
    mayfly_fake_runner::scenarios::named(name).unwrap()
}

/// A scenario of these acts, whatever its name.
fn playing(acts: Vec<Act>) -> Run {
    Run::with(&Scenario { name: "of-this-test".to_owned(), acts, ..Scenario::default() })
}

/// Makes the run, and looks at what must hold whatever got stuck.
fn ends(run: &Run, outcome: &str, code: i32) -> Ended {
    let ended = run.run(); // which sees to it that nothing of the tree is left
    ended.assert_outcome(outcome);
    assert_eq!(ended.code(), Some(code), "the exit code does not tell the outcome");
    assert_eq!(run.recording().starts().len(), 1, "one JIT configuration, one listener: a second one is a second job");
    for name in REGISTRATION {
        let left = run.root().join(name).symlink_metadata().is_ok();
        assert!(!left, "{name} is left in the runner's directory: whoever reads this disk can act as the runner");
    }
    ended
}

/// The signals that the double saw. SIGKILL is not among them: nobody sees that one.
fn signals(run: &Run) -> Vec<(Who, String)> {
    run.recording().signals().into_iter().map(|(who, signal, _)| (who, signal.to_owned())).collect()
}

fn assert_asked_once(run: &Run) {
    let asked = [(Who::Listener, "SIGINT".to_owned())];
    assert_eq!(signals(run), asked, "any other signal cuts a job's report to GitHub short");
}

fn assert_never_asked(run: &Run) {
    assert!(signals(run).is_empty(), "there was nothing to ask for: {:?}", signals(run));
}

/// The listener was asked and went by itself.
fn assert_went(run: &Run, code: i32) {
    assert_asked_once(run);
    assert_eq!(run.recording().exits(Who::Listener), [code], "the listener was killed before it could leave in order");
}

/// The listener was asked, did not go, and was killed.
fn assert_killed(run: &Run) {
    assert_asked_once(run);
    let exits = run.recording().exits(Who::Listener);
    assert!(exits.is_empty(), "the double is wrong: its listener went by itself with {exits:?}");
}

fn was_in(ended: &Ended, state: &str) -> bool {
    ended.record["phases"].as_array().unwrap().iter().any(|phase| phase["phase"] == state)
}

fn job_message() -> Act {
    Act::Perf { counter: "MessageReceived_RunnerJobRequest".to_owned() }
}

// Before a job.

#[test]
fn a_runner_that_never_listens_is_stopped_at_the_listening_deadline() {
    let run = Run::named("never-listens").limits(&[("listening", "500ms")]);
    ends(&run, "runner-not-listening", 69);
    assert_went(&run, 0);
}

#[test]
fn a_runner_without_a_job_is_stopped_at_the_idle_deadline() {
    let run = Run::named("no-job").limits(&[("idle", "300ms")]);
    ends(&run, "idle-timeout", 75);
    assert_went(&run, 0);
}

#[test]
fn messages_that_are_no_job_do_not_count_as_one() {
    let run = Run::named("refresh-while-idle").limits(&[("idle", "500ms")]);
    let ended = ends(&run, "idle-timeout", 75);
    assert_went(&run, 0);
    assert!(!was_in(&ended, "Assigned"), "a refresh was taken for a job: the runner would wait for it for nothing");
}

/// The job message is assignment evidence by the design's rule, and that its acquisition failed is told nowhere but in
/// `_diag`. So a ghost looks like a job that was acknowledged and came to nothing: limits.assigned ends it, and it is
/// not `idle-timeout`, since a listener with a job on its way must not be stopped as idle.
#[test]
fn a_ghost_is_a_wedge_not_an_idle_runner() {
    let run = Run::named("ghost").limits(&[("idle", "400ms"), ("assigned", "800ms")]);
    let ended = ends(&run, "runner-wedged", 70);
    assert_went(&run, 0);
    assert!(was_in(&ended, "Assigned"), "the job message was not seen");
}

fn diag_of_a_refused_acquire() -> Act {
    Act::Diag { text: "Skipping message Job. The job is not valid any more (404).".to_owned() }
}

/// What a job does once its message is there.
fn taken(ms: u64) -> Vec<Act> {
    vec![
        job_message(),
        Act::Wait { ms },
        Act::Running,
        Act::StartWorker { behaviour: WorkerBehaviour::Normal },
        Act::AwaitWorker,
        Act::Completed { result: None },
        Act::Finish,
    ]
}

/// GitHub handed the first job to nobody (404, 409, 422), and the listener takes the next one.
#[test]
fn a_job_just_after_a_ghost_gets_its_whole_time() {
    let ghost = vec![Act::Connect, Act::Listening, Act::Idle, job_message(), diag_of_a_refused_acquire()];
    let acts = [ghost, vec![Act::Wait { ms: 2_000 }], taken(2_000)].concat();
    let run = playing(acts).limits(&[("assigned", "3500ms"), ("idle", "1s")]);
    ends(&run, "job-succeeded", 0);
    assert_never_asked(&run);
}

#[test]
fn a_ghost_does_not_shorten_the_wait_for_a_job() {
    let ghost = vec![Act::Connect, Act::Listening, Act::Idle, job_message(), diag_of_a_refused_acquire()];
    let acts = [ghost, vec![Act::Wait { ms: 2_500 }], taken(0)].concat();
    let run = playing(acts).limits(&[("assigned", "500ms"), ("idle", "30s")]);
    ends(&run, "job-succeeded", 0);
    assert_never_asked(&run);
}

#[test]
fn a_slow_goodbye_is_not_cut_short() {
    let run = Run::with(&Scenario { shutdown_delay_ms: 900, ..scenario("slow-shutdown") });
    let run = run.limits(&[("idle", "300ms"), ("draining", "20s")]);
    ends(&run, "idle-timeout", 75);
    assert_went(&run, 0);
}

#[test]
fn a_listener_that_ignores_sigint_is_killed_at_the_drain_deadline() {
    let run = Run::named("ignores-sigint").limits(&[("idle", "300ms"), ("draining", "400ms")]);
    ends(&run, "idle-timeout", 75);
    assert_killed(&run);
}

#[test]
fn a_job_that_comes_while_the_idle_runner_is_stopped_is_told_apart() {
    let run = Run::named("late-job").limits(&[("idle", "400ms"), ("draining", "10s")]);
    ends(&run, "idle-raced", 75);
    assert_went(&run, 103);
}

#[test]
fn a_last_moment_job_that_is_seen_in_time_is_not_stopped() {
    // The message is there before the idle deadline; the job itself comes well after it.
    let acts = vec![
        Act::Connect,
        Act::Listening,
        Act::Idle,
        job_message(),
        Act::Wait { ms: 900 },
        Act::Running,
        Act::StartWorker { behaviour: WorkerBehaviour::Normal },
        Act::AwaitWorker,
        Act::Completed { result: None },
        Act::Finish,
    ];
    let run = playing(acts).limits(&[("idle", "600ms")]);
    ends(&run, "job-succeeded", 0);
    assert_never_asked(&run);
}

#[test]
fn a_listener_that_prints_nothing_at_all_is_stopped_at_the_listening_deadline() {
    let run = playing(vec![Act::Forever]).limits(&[("listening", "500ms")]);
    let ended = ends(&run, "runner-not-listening", 69);
    assert_went(&run, 0);
    assert!(!was_in(&ended, "Idle"), "silence was taken for listening");
}

/// Newer runners end here; one that does not waits for a job that cannot come.
#[test]
fn a_listener_that_stays_after_its_registration_is_gone_is_not_taken_for_idle() {
    let gone = Act::Print { stream: Stream::Err, line: strings::RUNNER_GONE.to_owned() };
    let run = playing(vec![Act::Connect, Act::Listening, Act::Idle, gone, Act::Forever]);
    let run = run.limits(&[("idle", "20s"), ("finishing", "400ms")]);
    let ended = ends(&run, "registration-removed", 69);
    assert_went(&run, 0);
    assert!(ended.took.as_secs() < 15, "it idled on without a registration: {:?}", ended.took);
}

// Assigned, and then nothing.

#[test]
fn an_acknowledged_job_without_a_worker_is_a_wedge() {
    let run = Run::named("acknowledged-no-worker").limits(&[("assigned", "400ms")]);
    ends(&run, "runner-wedged", 70);
    assert_went(&run, 0);
}

#[test]
fn a_running_job_without_a_worker_is_a_wedge() {
    let run = Run::named("running-no-worker").limits(&[("assigned", "400ms")]);
    let ended = ends(&run, "runner-wedged", 70);
    assert_went(&run, 0);
    assert_eq!(ended.record["job_name"], "build", "a person cannot tell which job hangs on GitHub");
}

/// The name forges a completed line; nothing else says that there ever was a worker.
#[test]
fn a_running_job_without_a_worker_is_a_wedge_whatever_its_name_says() {
    let forged = scenario("imitating-names-newline").job_name;
    let run = Run::with(&Scenario { job_name: forged, ..scenario("running-no-worker") });
    ends(&run.limits(&[("assigned", "400ms"), ("finishing", "400ms")]), "runner-wedged", 70);
}

// After the job.

#[test]
fn a_listener_that_never_exits_is_killed_and_its_job_keeps_its_result() {
    let run = Run::named("completes-never-exits").limits(&[("finishing", "400ms")]);
    ends(&run, "job-succeeded", 0);
    assert_never_asked(&run);
    assert!(run.recording().exits(Who::Listener).is_empty(), "the double is wrong: its listener went by itself");
    assert_eq!(run.recording().exits(Who::Worker), [100], "the worker was killed with the listener");
}

#[test]
fn a_listener_that_outlives_its_worker_without_a_word_is_a_wedge() {
    let run = Run::named("worker-gone-listener-alive").limits(&[("finishing", "400ms")]);
    let ended = ends(&run, "runner-wedged", 70);
    assert!(was_in(&ended, "Finishing"), "the worker's end was not seen");
    assert_never_asked(&run);
}

// The job.

#[test]
fn a_job_longer_than_its_limit_is_stopped() {
    let run = Run::named("long-job").limits(&[("job", "500ms"), ("draining", "10s")]);
    ends(&run, "job-timeout", 75);
    assert_went(&run, 103);
    assert_eq!(run.recording().exits(Who::Worker), [103], "the worker was not allowed to report its cancelled job");
}

#[test]
fn a_job_whose_listener_ignores_sigint_is_killed_at_the_drain_deadline() {
    let run = Run::named("ignores-sigint-with-job").limits(&[("job", "400ms"), ("draining", "400ms")]);
    ends(&run, "job-timeout", 75);
    assert_killed(&run);
    assert!(run.recording().exits(Who::Worker).is_empty(), "the double is wrong: its worker went by itself");
}

#[test]
fn a_worker_that_hangs_is_killed() {
    let run = Run::named("worker-hang").limits(&[("job", "700ms"), ("draining", "400ms")]);
    ends(&run, "job-timeout", 75);
    assert_killed(&run);
}

#[test]
fn a_stubborn_step_is_left_to_the_runner_while_there_is_time() {
    let run = Run::named("stubborn-step").limits(&[("job", "500ms"), ("draining", "10s")]);
    ends(&run, "job-timeout", 75);
    assert_went(&run, 103);
}

#[test]
fn a_stubborn_step_that_outlasts_the_drain_is_killed() {
    // With upstream's own times the runner needs ten seconds to give its step up.
    let run = Run::with(&Scenario { time_scale: 1.0, ..scenario("stubborn-step") });
    let run = run.limits(&[("job", "500ms"), ("draining", "400ms")]);
    ends(&run, "job-timeout", 75);
    assert_killed(&run);
}

/// listening + idle + job fit into the lifetime, as they must; but the time between message and worker counts too.
#[test]
fn the_lifetime_ends_a_job_that_is_still_within_its_own_limit() {
    let acts = vec![
        Act::Connect,
        Act::Listening,
        Act::Idle,
        job_message(),
        Act::Wait { ms: 2_000 },
        Act::Running,
        Act::StartWorker { behaviour: WorkerBehaviour::Normal },
        Act::AwaitWorker,
        Act::Completed { result: None },
        Act::Finish,
    ];
    let long = Scenario { name: "of-this-test".to_owned(), acts, job_ms: 600_000, ..Scenario::default() };
    let run = Run::with(&long).limits(&[
        ("listening", "1s"),
        ("idle", "700ms"),
        ("assigned", "20s"),
        ("job", "1s"),
        ("draining", "10s"),
        ("lifetime", "2800ms"),
    ]);
    let ended = ends(&run, "lifetime", 75);
    assert!(was_in(&ended, "Busy"), "the test is wrong: no job was running when the lifetime passed");
    assert_went(&run, 103);
}

// Updates.

#[test]
fn an_update_that_fails_costs_nothing() {
    let run = Run::named("update-failed-goes-on");
    ends(&run, "job-succeeded", 0);
    assert_never_asked(&run);
}

#[test]
fn an_update_that_never_ends_is_stopped() {
    let begun = Act::Print { stream: Stream::Out, line: strings::UPDATE_IN_PROGRESS.to_owned() };
    let run = playing(vec![Act::Connect, Act::Listening, Act::Idle, begun, Act::Forever]);
    ends(&run.limits(&[("updating", "400ms")]), "runner-updating", 69);
}
