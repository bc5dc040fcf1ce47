//! EC2 or the group takes the machine away; a job fills its disk; an operator looks.

#![allow(missing_docs, reason = "scenarios say it by their names")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a test may fail there, and tells its figures"
)]

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mayfly_fake_aws::proxy::Transition;
use mayfly_instance::{Machine, Spec, job_until_let_go, named, seconds};
use serde_json::{Value, json};

fn tag(machine: &Machine, key: &str) -> Option<String> {
    machine.clouds.moto.instance_tags(&machine.clouds.instance).unwrap().remove(key)
}

fn with_a_job() -> Machine {
    let mut machine = Machine::restored("debian-13");
    machine.live(&job_until_let_go());
    machine.until_state("Busy");
    machine
}

/// EC2's notice, and the launcher learns of it while the job still runs.
fn spot(machine: &mut Machine, lead: u64) -> SystemTime {
    let due = SystemTime::now() + seconds(lead);
    machine.clouds.imds.spot_action("terminate", due);
    machine.until_cloud("the instance is tagged", seconds(60), |clouds| {
        clouds.moto.instance_tags(&clouds.instance).unwrap().contains_key("mayfly:interrupted-at")
    });
    due
}

/// When the listener was told that the machine goes.
fn told(machine: &mut Machine) -> SystemTime {
    let recording = machine.recording();
    let quit = recording.signals().into_iter().find(|(_, signal, _)| *signal == "SIGQUIT").map(|(_, _, at)| at);
    UNIX_EPOCH + Duration::from_millis(quit.expect("the listener got no SIGQUIT: the job does not learn why it ends"))
}

#[test]
fn a_spot_notice_ends_an_idle_machine_at_once() {
    let mut machine = Machine::restored("debian-13");
    machine.live(&named("no-job"));
    machine.until_state("Idle");
    machine.clouds.imds.spot_action("terminate", SystemTime::now() + seconds(120));
    machine.ends("spot-interruption", seconds(90));
}

#[test]
fn a_job_with_two_minutes_left_uses_them_and_may_end_by_itself() {
    let mut machine = with_a_job();
    spot(&mut machine, 120);
    machine.guest("sleep 20"); // long past what peers give a job, and before this one is told
    machine.let_go();
    let record = machine.ends("job-succeeded", seconds(90));
    assert_eq!(record["exit"]["code"], 100, "the job was cut short: {record:#}");
    assert!(!record["notices"].as_array().unwrap().is_empty(), "the record does not tell of the notice: {record:#}");
}

#[test]
fn a_job_that_cannot_use_its_two_minutes_is_told_25_seconds_before_the_end() {
    let mut machine = with_a_job();
    let due = spot(&mut machine, 120);
    machine.until_terminated(seconds(180));
    let left = due.duration_since(told(&mut machine)).unwrap_or_default();
    assert!(left > seconds(13) && left < seconds(30), "told {left:?} before the end, not some 25 s");
    let record = machine.ends("spot-interruption", seconds(60));
    assert!(tag(&machine, "mayfly:run").is_some(), "the launcher does not learn which run to start again: {record:#}");
}

#[test]
fn a_job_with_twenty_seconds_left_is_told_at_once() {
    let mut machine = with_a_job();
    let due = spot(&mut machine, 20);
    machine.until_terminated(seconds(90));
    assert!(told(&mut machine) < due, "the job was told after the machine was gone");
    machine.ends("spot-interruption", seconds(60));
}

#[test]
fn a_rebalance_recommendation_ends_an_idle_machine() {
    let mut machine = Machine::restored("debian-13");
    machine.live(&named("no-job"));
    machine.until_state("Idle");
    machine.clouds.imds.rebalance(SystemTime::now());
    machine.ends("rebalance", seconds(90));
}

#[test]
fn a_rebalance_recommendation_leaves_a_job_alone() {
    let mut machine = with_a_job();
    machine.clouds.imds.rebalance(SystemTime::now());
    let noticed = "mayfly status --json | grep -q rebalance";
    machine.until("the agent has seen it", seconds(60), noticed);
    machine.until_state("Busy");
    machine.let_go();
    machine.ends("job-succeeded", seconds(90));
}

#[test]
fn a_scale_in_waits_for_the_job_by_heartbeats() {
    let mut machine = Spec::new("debian-13")
        .in_group("runners")
        .agent("[autoscaling]\ntermination_hook = \"end\"\n")
        .restore()
        .unwrap();
    machine.live(&job_until_let_go());
    machine.until_state("Busy");
    let instance = machine.clouds.instance.clone();
    machine.clouds.aws.wait_for_hook("runners", "end", &instance, Transition::Termination, seconds(60));
    machine.clouds.imds.target_lifecycle_state("Terminated");
    let beats = |clouds: &mayfly_instance::Clouds| clouds.aws.requests_of("RecordLifecycleActionHeartbeat").len();
    machine.until_cloud("two heartbeats", seconds(120), |clouds| beats(clouds) >= 2);
    machine.until_state("Busy");
    machine.let_go();
    machine.ends("job-succeeded", seconds(90));
    assert_eq!(machine.clouds.aws.hook_result("end").as_deref(), Some("CONTINUE"), "the group waits for an hour");
}

fn assert_warned(record: &Value, kind: &str) {
    let warned = record["host"]["warnings"].as_array().unwrap().iter().any(|warning| warning["kind"] == kind);
    assert!(warned, "the record hides it: {record:#}");
}

#[test]
fn a_disk_that_a_job_fills_is_told_and_does_not_end_the_job() {
    let mut machine = with_a_job();
    // As the job would: all but 500 MiB.
    machine.guest(
        "runuser -u runner -- fallocate -l $(( $(df --output=avail -B1 /opt | tail -1) - 500*1024*1024 )) \
         /opt/actions-runner/filler",
    );
    machine.until("the warning", seconds(60), "mayfly status --json | grep -q '\"kind\": \"disk\"'");
    machine.until_state("Busy");
    machine.guest("rm /opt/actions-runner/filler");
    machine.let_go();
    let record = machine.ends("job-succeeded", seconds(90));
    assert_warned(&record, "disk");
}

#[test]
fn a_network_that_is_lost_under_a_job_is_told_and_does_not_end_the_job() {
    let mut machine = Machine::restored("debian-13");
    // Every instance has a default route; this machine has none, for it must reach nothing but its doubles.
    machine.guest("ip route add default via 169.254.169.2");
    machine.live(&job_until_let_go());
    machine.until_state("Busy");
    machine.qmp("set_link", json!({ "name": "net", "up": false }));
    machine.until("the warning", seconds(60), "mayfly status --json | grep -q '\"kind\": \"network\"'");
    machine.until_state("Busy");
    machine.qmp("set_link", json!({ "name": "net", "up": true }));
    machine.until("the network", seconds(60), "ip route show dev eth0 | grep -q ^169.254.169.0/24");
    machine.let_go();
    let record = machine.ends("job-succeeded", seconds(120));
    assert_warned(&record, "network");
}

#[test]
fn a_machine_that_slept_ends_as_resumed() {
    let mut machine = Machine::restored("debian-13");
    machine.live(&named("no-job"));
    machine.until_state("Idle");
    // To the two clocks a suspend to memory is what hibernation is: the world went on, the machine did not.
    machine.guest("rtcwake --mode mem --seconds 5");
    // Not until it is off: the emulated firmware cannot power off a machine that slept.
    machine.until_terminated(seconds(90));
    let console = machine.console();
    assert!(console.contains("mayfly: resumed: "), "another reason is told: {console}");
}

#[test]
fn a_failed_machine_is_held_says_so_and_goes_when_it_is_released() {
    let mut machine = Spec::new("debian-13").agent("[terminate]\nhold_on_failure = \"30m\"\n").restore().unwrap();
    machine.live(&named("exit-1"));
    machine.until_state("Held");
    machine.until_cloud("the tag", seconds(60), |clouds| {
        clouds.moto.instance_tags(&clouds.instance).unwrap().get("mayfly:phase").is_some_and(|phase| phase == "held")
    });
    let console = machine.console();
    assert!(console.contains("held until"), "nobody at the console learns why the machine stays:\n{console}");
    let said = machine.guest("mayfly release");
    assert!(said.contains("ends now"), "{said}");
    machine.ends("runner-crashed", seconds(90));
}
