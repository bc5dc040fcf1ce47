//! systemd keeps the runner and does not answer, or answers late. A runner that a first agent started is found again by a
//! second one, which asks systemd about it: over a bus, and with a `systemctl`, of this test's.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail there")]

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant, SystemTime};

use mayfly_e2e::run::TIMEOUT;
use mayfly_e2e::{Bus, Cloud};
use mayfly_fake_aws::Limit;
use mayfly_fake_aws::proxy::{Fault, Match};
use mayfly_fake_runner::Scenario;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

/// A run whose agent was killed in the middle of the job. The next one believes that systemd keeps the runner.
fn left_at_work(job_ms: u64) -> (Cloud, Bus) {
    left_at(&Scenario { job_ms, ..Scenario::default() }, "run_id")
}

/// The same once the journal tells of this.
pub(crate) fn left_at(scenario: &Scenario, what: &str) -> (Cloud, Bus) {
    let cloud = Cloud::with(scenario, None).launched();
    let mut agent = cloud.start();
    agent.until(what, |cloud| cloud.run.journal().concat().contains(what));
    agent.kill_dead();
    let pid = listener(&cloud);
    let bus = Bus::start(cloud.run.directory(), pid.unsigned_abs());
    let tools = cloud.run.directory().join("tools");
    fs::create_dir(&tools).unwrap();
    fs::write(tools.join("systemctl"), "#!/bin/sh\nexec sleep 60\n").unwrap();
    fs::set_permissions(tools.join("systemctl"), Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", tools.display(), std::env::var("PATH").unwrap());
    let address = bus.address();
    let cloud = cloud.live(|run| {
        run.set("MAYFLY_RUNNER_SUPERVISOR", "systemd").set("DBUS_SYSTEM_BUS_ADDRESS", &address).set("PATH", &path)
    });
    (cloud, bus)
}

fn listener(cloud: &Cloud) -> i32 {
    let known: Value = serde_json::from_slice(&fs::read(cloud.run.state().join("runner.pid")).unwrap()).unwrap();
    i32::try_from(known["pid"].as_i64().unwrap()).unwrap()
}

/// What the runner's double did while nobody kept it is over before the directory goes.
pub(crate) fn until_exit(cloud: &Cloud) {
    let deadline = Instant::now() + TIMEOUT;
    while !cloud.run.state().join("runner.exit").exists() {
        assert!(Instant::now() < deadline, "the listener does not end");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_job_is_not_given_up_by_an_agent_that_systemd_does_not_answer() {
    let (cloud, bus) = left_at_work(12_000);
    bus.be_silent();
    let mut agent = cloud.start();
    agent.until("a question to systemd", |_| bus.asked("AUTH") > 2);
    let gone = agent.end();
    until_exit(&cloud);
    gone.assert_outcome("job-succeeded");
    let recording = cloud.run.recording();
    assert!(recording.signals().is_empty(), "a healthy job was told to stop: {:?}", recording.signals());
}

/// The watchdog restarts the agent under just the load that makes systemd slow, and perhaps more than once.
#[test]
fn a_job_is_not_given_up_by_an_agent_that_dies_again_while_systemd_is_silent() {
    let (cloud, bus) = left_at_work(15_000);
    bus.be_silent();
    for so_far in [2, 4] {
        let mut agent = cloud.start();
        agent.until("a question to systemd", |_| bus.asked("AUTH") > so_far);
        agent.kill_dead();
    }
    let gone = cloud.run();
    until_exit(&cloud);
    gone.assert_outcome("job-succeeded");
}

/// It has read the job's end, waits for systemd's word about a shutdown, and is told to stop the runner meanwhile: chaos found it
/// (seed 30131830).
#[test]
fn a_result_that_was_read_is_not_lost_by_an_agent_that_dies_while_systemd_is_silent() {
    let (cloud, bus) = left_at_work(300);
    until_exit(&cloud);
    bus.be_silent();
    cloud.imds.spot_action("terminate", SystemTime::now() + Duration::from_secs(20));
    let mut agent = cloud.start();
    agent.until("a stop", |cloud| cloud.log().contains("stopping the runner: spot-interruption"));
    agent.kill_dead();
    bus.speak();
    cloud.run().assert_outcome("job-succeeded");
}

/// systemd stops the runner because the machine goes, and the job's end is seen before what systemd says of itself.
#[test]
fn a_job_that_a_shutdown_stopped_is_not_told_as_one_that_a_person_canceled() {
    let (cloud, bus) = left_at_work(60_000);
    let mut agent = cloud.start();
    agent.until("an answer of systemd", |_| bus.asked("GetAll") > 0);
    bus.shut_down();
    // What systemd sends to the unit.
    kill(Pid::from_raw(listener(&cloud)), Signal::SIGINT).unwrap();
    let gone = agent.end();
    let results = cloud.run.recording().results();
    assert!(results.iter().any(|result| format!("{result:?}") == "Canceled"), "the test is wrong: {results:?}");
    gone.assert_outcome("external-shutdown");
}

/// The other side of it: nobody shuts the machine down, and systemd says so.
#[test]
fn a_job_that_a_person_canceled_is_told_as_canceled() {
    let (cloud, bus) = left_at_work(60_000);
    let mut agent = cloud.start();
    agent.until("an answer of systemd", |_| bus.asked("GetAll") > 0);
    kill(Pid::from_raw(listener(&cloud)), Signal::SIGINT).unwrap();
    agent.end().assert_outcome("job-canceled");
}

/// systemd, SSM and EC2 are all silent at the end. Whatever is to be confirmed there (the last log lines) needs time that
/// no other part has taken.
#[test]
fn an_end_at_which_everything_is_slow_at_once_is_over_before_its_deadline() {
    let (cloud, bus) = left_at_work(3_000);
    let cloud = cloud.live(|run| run.limits(&[("closing", "8s")]));
    for action in ["CreateTags", "DeleteParameter"] {
        cloud.aws.fault(Match::action(action), Limit::default(), Fault::Hang);
    }
    bus.be_silent();
    let gone = cloud.start().end();
    until_exit(&cloud);
    gone.assert_outcome("job-succeeded");
    for late in
        ["could not be deleted in time", "could not be tagged in time", "a file of the spent JIT configuration is left"]
    {
        assert!(gone.log.contains(late), "the test is wrong, or nobody is told: {late:?} is not in\n{}", gone.log);
    }
    let journal: Vec<Value> = cloud.run.journal().iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let entered = |state: &str| journal.iter().find(|line| line["state"]["phase"]["state"] == state).unwrap();
    let deadline = entered("Closing")["state"]["phase"]["deadline"].as_u64().unwrap();
    let over = entered("Terminating")["at"].as_u64().unwrap();
    assert!(over < deadline, "the deadline ended it, at {over} and not before {deadline}: nothing could be confirmed");
}

/// The unit's start goes on while an agent asks about it. What is put together from answers of several moments (no process
/// yet, and nothing left of the start) reads as a runner that came and went.
#[test]
fn a_runner_that_starts_while_it_is_asked_about_is_not_given_up() {
    let (cloud, bus) = left_at(&Scenario { idle_ms: 4_000, ..Scenario::default() }, r#""state":"Idle""#);
    // Killed before it could note which process the listener is.
    fs::remove_file(cloud.run.state().join("runner.pid")).unwrap();
    bus.start_between_questions();
    let gone = cloud.start().end();
    until_exit(&cloud);
    gone.assert_outcome("job-succeeded");
    assert!(bus.asked("GetAll") > 0, "the test is wrong: nobody asked about the unit");
    for property in ["MainPID", "ExecMainPID", "ExecMainCode", "ExecMainStatus", "ActiveState", "SubState", "Result"] {
        assert_eq!(
            bus.asked(property),
            0,
            "{property} is asked for by itself: it belongs to another moment than the rest"
        );
    }
}

/// Whoever that is, it is not systemd, and what it says is not read: unknown, and the job goes on.
#[test]
fn an_answer_longer_than_any_of_systemds_is_none() {
    let (cloud, bus) = left_at(&Scenario { idle_ms: 4_000, ..Scenario::default() }, r#""state":"Idle""#);
    bus.be_too_long();
    let gone = cloud.start().end();
    until_exit(&cloud);
    assert!(bus.asked("GetAll") > 0, "the test is wrong: nobody asked about the unit");
    gone.assert_outcome("job-succeeded");
}
