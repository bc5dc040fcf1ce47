//! Docker is dead, slow, killed or hung.

#![allow(missing_docs, reason = "scenarios say it by their names")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a test may fail there, and tells its figures"
)]

use mayfly_instance::{Machine, Spec, job, named, seconds};

const REQUIRED: &str = "[docker]\nmode = \"required\"\n";

fn required() -> Machine {
    Spec::new("debian-13").agent(REQUIRED).restore().unwrap()
}

#[test]
fn dead_for_good_and_required_no_job_is_taken() {
    let mut machine = required();
    machine.guest("systemctl stop docker.socket docker.service; systemctl mask --runtime docker.service docker.socket");
    machine.live(&named("no-job"));
    machine.ends("docker-unavailable", seconds(240));
}

#[test]
fn dead_at_boot_it_is_started_and_the_job_has_it() {
    let mut machine = required();
    machine.guest("systemctl stop docker.socket docker.service");
    machine.live(&job(&["docker run --rm mayfly-test true"]));
    machine.ends("job-succeeded", seconds(240));
}

#[test]
fn slow_at_boot_the_job_waits_for_it() {
    let mut machine = required();
    machine.guest("systemctl stop docker.socket docker.service; mkdir -p /run/systemd/system/docker.service.d;         printf '[Service]\nExecStartPre=/bin/sleep 15\n' >/run/systemd/system/docker.service.d/t.conf;         systemctl daemon-reload; systemctl start --no-block docker.service");
    machine.live(&job(&["docker run --rm mayfly-test true"]));
    let record = machine.ends("job-succeeded", seconds(240));
    assert_eq!(record["exit"]["code"], 100, "the job began before Docker was there");
}

#[test]
fn killed_in_the_middle_of_a_job_it_is_the_jobs_business() {
    let mut machine = required();
    machine.live(&job(&["docker run --rm mayfly-test true; sudo systemctl kill --signal=KILL docker.service; sleep 3; docker run --rm mayfly-test true; true"]));
    machine.ends("job-succeeded", seconds(240));
}

#[test]
fn hung_while_idle_it_is_restarted() {
    let mut machine = required();
    machine.live(&named("no-job"));
    machine.until_state("Idle");
    let before = machine.guest("systemctl show -P MainPID docker");
    machine.guest("systemctl kill --kill-who=main --signal=STOP docker.service");
    machine.until(
        "Docker was restarted",
        seconds(300),
        &format!("[ \"$(systemctl show -P MainPID docker)\" != {} ] && timeout 20 docker version", before.trim()),
    );
    machine.guest("systemctl is-active mayfly-runner");
}

#[test]
fn a_job_on_a_machine_that_promised_docker_fails_with_a_clear_word() {
    let mut machine = required();
    machine.guest("systemctl stop docker.socket docker.service; systemctl mask --runtime docker.service docker.socket");
    // The job is assigned before the daemon counts as dead.
    machine.live(&named("success"));
    machine.until_terminated(seconds(240));
    let record = machine.record();
    let outcome = record["outcome"].as_str().unwrap().to_owned();
    assert!(matches!(outcome.as_str(), "job-failed" | "docker-unavailable"), "the job ran without Docker: {record:#}");
    machine.wait_for_power_off(seconds(120));
}
