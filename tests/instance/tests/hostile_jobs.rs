//! Jobs that want everything, or never want to end.

#![allow(missing_docs, reason = "scenarios say it by their names")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a test may fail there, and tells its figures"
)]

use mayfly_instance::{Machine, Spec, job, named, seconds};

fn with_limit(job: &str) -> Machine {
    Spec::new("debian-13").agent(&format!("[limits]\njob = \"{job}\"\ndraining = \"5s\"\n")).restore().unwrap()
}

#[test]
fn a_compiler_that_is_killed_for_memory_does_not_end_the_job() {
    let mut machine = Machine::restored("debian-13");
    machine.live(&job(&["tail /dev/zero || echo \"the step goes on after $?\" >/tmp/after"]));
    machine.until_terminated(seconds(240));
    assert!(machine.get("/tmp/after").contains("137"), "nothing was killed for its memory");
    assert!(
        machine.guest("journalctl -k | grep -iE 'oom|out of memory' | tail -3").contains("tail"),
        "no OOM kill of the step"
    );
    machine.ends("job-succeeded", seconds(60));
}

#[test]
fn a_fork_bomb_leaves_the_agent_in_control() {
    let mut machine = with_limit("20s");
    machine.live(&job(&["bomb() { bomb | bomb & }; bomb; sleep 600"]));
    machine.until_state("Busy");
    machine.ends("job-timeout", seconds(300));
}

#[test]
fn a_listener_that_a_job_stops_is_killed_in_time() {
    let mut machine = with_limit("10s");
    machine.live(&job(&["kill -STOP $(pgrep Runner.Listener); sleep 600"]));
    machine.ends("job-timeout", seconds(180));
}

#[test]
fn a_job_that_ignores_every_signal_is_killed_in_time() {
    let mut machine = with_limit("10s");
    machine.live(&job(&["trap '' INT TERM HUP QUIT; while :; do sleep 1; done"]));
    machine.ends("job-timeout", seconds(180));
}

#[test]
fn daemons_that_a_job_leaves_do_not_outlive_it() {
    let mut machine = Machine::restored("debian-13");
    machine
        .live(&job(&["for i in 1 2 3; do (setsid sh -c 'exec -a left-behind sleep 6000' >/dev/null 2>&1 &) ; done"]));
    machine.until_terminated(seconds(120));
    let left = machine.try_guest("pgrep -af left-behind").stdout;
    assert!(!left.contains("sleep 6000"), "a daemon of the job outlives it: {left}");
    machine.ends("job-succeeded", seconds(60));
}

#[test]
fn containers_that_always_restart_do_not_keep_the_machine() {
    let mut machine = Machine::restored("debian-13");
    machine.live(&job(&[
        "docker run -d --restart=always --name stay mayfly-test sh -c 'trap \"\" TERM; while :; do sleep 1; done'",
    ]));
    machine.ends("job-succeeded", seconds(240));
}

#[test]
fn containers_are_inside_the_jobs_slice() {
    let mut machine = Machine::restored("debian-13");
    machine
        .live(&job(&["docker run -d --name inside mayfly-test sleep 600; until [ -e /tmp/go ]; do sleep 0.2; done"]));
    machine.until("the container runs", seconds(60), "docker ps --format '{{.Names}}' | grep -q inside");
    let cgroup = machine.guest("cat /proc/$(docker inspect -f '{{.State.Pid}}' inside)/cgroup");
    assert!(cgroup.contains("mayfly-jobs.slice"), "a container escapes the jobs' limits: {cgroup}");
    machine.let_go();
    machine.ends("job-succeeded", seconds(120));
}

#[test]
fn a_hung_worker_is_killed_when_its_time_is_over() {
    let mut machine = with_limit("8s");
    machine.live(&named("worker-hang"));
    machine.ends("job-timeout", seconds(180));
}
