//! The agent dies, is restarted or upgraded. The job must not notice, and there is never a second listener.

#![allow(missing_docs, reason = "scenarios say it by their names")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a test may fail there, and tells its figures"
)]

use mayfly_fake_runner::Scenario;
use mayfly_fake_runner::scenario::{Act, JobResult};
use mayfly_instance::{Machine, Spec, job_until_let_go, named, seconds};

const KILL: &str = "systemctl kill --signal=KILL mayfly-agent";
/// systemd leaves a killed agent alone for an hour.
const NO_RESTART: &str = "mkdir -p /run/systemd/system/mayfly-agent.service.d; printf '[Service]\nRestartSec=1h\n'     >/run/systemd/system/mayfly-agent.service.d/t.conf; systemctl daemon-reload";

#[test]
fn killed_twice_in_a_row_in_the_middle_of_a_job() {
    let mut machine = Machine::restored("debian-13");
    machine.live(&Scenario { renewals_ms: vec![0], ..job_until_let_go() });
    kill_twice(&mut machine, "Busy");
    let renewed = r#"grep -q '"lock":' /var/lib/mayfly/journal.jsonl"#;
    machine.until("the agent may read that GitHub has renewed the job's lock", seconds(60), renewed);
    machine.let_go();
    machine.until_terminated(seconds(120));
    let started =
        machine.guest("journalctl --output=cat --unit mayfly-runner | grep -c 'Started mayfly-runner.service'");
    assert_eq!(started.trim(), "1", "systemd started the runner more than once");
    let lines = machine.guest("journalctl --output=cat --unit mayfly-runner | grep -c 'Running job: build'");
    assert_eq!(lines.trim(), "1", "a restarted agent repeats what was told already");
    let record = machine.ends("job-succeeded", seconds(60));
    assert_eq!(record["agent_restarted"], true, "the record hides that the agent was restarted");
}

/// Kills the agent, and the one that comes after it, in the same state.
fn kill_twice(machine: &mut Machine, state: &str) {
    machine.until_state(state);
    for restarts in 1..=2 {
        machine.guest(KILL);
        let again = format!("[ \"$(systemctl show -P NRestarts mayfly-agent)\" = {restarts} ]");
        machine.until("another agent is at work", seconds(60), &again);
        machine.until_state(state);
    }
}

#[test]
fn killed_twice_while_it_waits_for_the_jit_configuration() {
    let mut machine = Machine::restored("debian-13");
    machine.play(&named("success"));
    machine.start_mayfly();
    kill_twice(&mut machine, "WaitingForJitConfig");
    machine.launch();
    machine.ends("job-succeeded", seconds(120));
}

#[test]
fn killed_twice_while_the_runner_starts() {
    let mut machine = Machine::restored("debian-13");
    machine.live(&Scenario { connect_ms: 30_000, ..named("success") });
    kill_twice(&mut machine, "Starting");
    machine.ends("job-succeeded", seconds(120));
}

#[test]
fn killed_twice_while_the_runner_is_idle() {
    let mut machine = Machine::restored("debian-13");
    machine.live(&Scenario { idle_ms: 40_000, ..named("success") });
    kill_twice(&mut machine, "Idle");
    machine.ends("job-succeeded", seconds(120));
}

#[test]
fn killed_twice_while_a_job_is_assigned_that_never_gets_a_worker() {
    // A message alone may be a ghost, which does not shorten limits.idle.
    let mut machine = Spec::new("debian-13").agent("[limits]\nassigned = \"40s\"\nidle = \"30s\"\n").restore().unwrap();
    machine.live(&named("acknowledged-no-worker"));
    kill_twice(&mut machine, "Assigned");
    machine.ends("runner-wedged", seconds(180));
}

#[test]
fn killed_twice_while_the_runner_finishes() {
    let mut machine = Machine::restored("debian-13");
    machine.live(&named("completes-never-exits"));
    kill_twice(&mut machine, "Finishing");
    machine.guest("systemctl is-active mayfly-runner");
    machine.ends("job-succeeded", seconds(240));
}

#[test]
fn killed_twice_while_the_runner_is_told_to_stop() {
    let mut machine = Spec::new("debian-13").agent("[limits]\nidle = \"5s\"\ndraining = \"40s\"\n").restore().unwrap();
    machine.live(&named("ignores-sigint"));
    kill_twice(&mut machine, "Draining");
    machine.ends("idle-timeout", seconds(240));
}

fn the_job_ends_while_the_agent_is_dead(scenario: &Scenario, outcome: &str) {
    let mut machine = Machine::restored("debian-13");
    machine.guest(NO_RESTART);
    let gate = job_until_let_go();
    machine.live(&Scenario { steps: gate.steps, ..scenario.clone() });
    machine.until_state("Busy");
    machine.guest(KILL);
    machine.let_go();
    machine.until("the runner ends", seconds(60), "[ \"$(systemctl show -P SubState mayfly-runner)\" = exited ]");
    machine.guest("systemctl start mayfly-agent");
    machine.ends(outcome, seconds(90));
}

#[test]
fn a_job_that_succeeds_while_the_agent_is_dead() {
    the_job_ends_while_the_agent_is_dead(&named("success"), "job-succeeded");
}

#[test]
fn a_job_that_fails_while_the_agent_is_dead() {
    let failed = Scenario { job_result: JobResult::Failed, ..named("failed") };
    the_job_ends_while_the_agent_is_dead(&failed, "job-failed");
}

#[test]
fn a_listener_that_ends_with_0_while_the_agent_is_dead() {
    let mut acts = named("success").acts;
    acts.pop();
    acts.push(Act::Completed { result: None });
    acts.push(Act::Exit { code: 0 });
    the_job_ends_while_the_agent_is_dead(&Scenario { acts, ..named("success") }, "job-succeeded");
}

#[test]
fn restarted_and_upgraded_in_the_middle_of_a_job() {
    let mut machine = Machine::restored("debian-13");
    let package = std::fs::read(std::env::var_os("MAYFLY_DEB").expect("MAYFLY_DEB names the package")).unwrap();
    machine.put("/root/mayfly.deb", package);
    machine.live(&job_until_let_go());
    machine.until_state("Busy");
    let listener = machine.guest("systemctl show -P MainPID mayfly-runner");
    machine.guest("systemctl restart mayfly-agent");
    machine.until_state("Busy");
    let agent = machine.guest("systemctl show -P MainPID mayfly-agent");
    machine.guest("dpkg --install /root/mayfly.deb");
    machine.until_state("Busy");
    assert_ne!(machine.guest("systemctl show -P MainPID mayfly-agent"), agent, "the old agent is still at work");
    assert_eq!(machine.guest("systemctl show -P MainPID mayfly-runner"), listener, "the upgrade touched the runner");
    machine.let_go();
    machine.ends("job-succeeded", seconds(120));
}

#[test]
fn a_crash_while_it_holds_the_jit_configuration_gives_nothing_to_a_core_pattern_that_is_a_pipe() {
    let mut machine = Machine::restored("debian-13");
    machine.put("/usr/local/bin/dump", "#!/bin/sh\nexec cat >\"/var/tmp/core.$1\"\n");
    machine.guest("chmod 755 /usr/local/bin/dump; echo '|/usr/local/bin/dump %p' >/proc/sys/kernel/core_pattern");
    // A limit of 0 is no limit to a pipe.
    let other = machine.guest("ulimit -c 0; sleep 100 & kill -SEGV $!; wait $! 2>/dev/null; echo $!");
    machine.until("the dump of another is there", seconds(30), &format!("[ -s /var/tmp/core.{} ]", other.trim()));
    // The last poll of the rules takes its time, and the agent has the JIT configuration in its hands.
    machine.guest(
        "mkdir -p /run/systemd/system/mayfly-isolation.service.d; printf '[Service]\nTimeoutStartSec=60\n\
         ExecStartPre=/bin/sleep 12\n' >/run/systemd/system/mayfly-isolation.service.d/t.conf; systemctl daemon-reload",
    );
    machine.live(&named("success"));
    machine.until_state("Starting");
    assert_eq!(machine.clouds.aws.requests_of("GetParameter").len(), 1, "it has no JIT configuration yet");
    assert_eq!(machine.try_guest("test -e /var/lib/mayfly/runner.started").status, 1, "it has handed it on already");
    machine.guest("systemctl kill --signal=ABRT mayfly-agent");
    machine.until("another agent is at work", seconds(60), "[ \"$(systemctl show -P NRestarts mayfly-agent)\" = 1 ]");
    let dumps = machine.guest("cd /var/tmp; ls core.*");
    assert_eq!(dumps.trim(), format!("core.{}", other.trim()), "the JIT configuration was written to disk");
    machine.ends("job-succeeded", seconds(120));
}
