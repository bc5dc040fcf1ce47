//! The end of the machine, whatever AWS answers.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail there")]

use std::fs;
use std::process::Command;
use std::time::{Duration, SystemTime};

use mayfly_e2e::{Cloud, Gone};
use mayfly_fake_aws::Limit;
use mayfly_fake_aws::imds::Credentials;
use mayfly_fake_aws::proxy::{AwsError, Fault, Match};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const IN_GROUP: &str = "TerminateInstanceInAutoScalingGroup";
const ON_ITSELF: &str = "TerminateInstances";

fn methods(gone: &Gone) -> Vec<(String, bool)> {
    gone.methods()
}

fn method(name: &str, accepted: bool) -> (String, bool) {
    (name.to_owned(), accepted)
}

/// The machine of the test may be powered off: the command only leaves a file.
fn can_power_off(cloud: Cloud) -> Cloud {
    cloud.configured("poweroff = \"always\"\n")
}

#[test]
fn in_a_group_the_desired_capacity_goes_down() {
    let cloud = Cloud::in_group("success").launched();
    let gone = cloud.run();
    gone.assert_outcome("job-succeeded");
    assert_eq!(methods(&gone)[0], method("group-decrement", true));
    assert_eq!(cloud.moto.desired_capacity("runners").unwrap(), 0, "the group replaces what ended on purpose");
    assert_eq!(cloud.calls(IN_GROUP), 1, "the end is asked for once per method that worked");
    assert_eq!(cloud.calls(ON_ITSELF), 0);
}

#[test]
fn a_group_at_its_minimum_is_asked_once_more_without_the_decrement() {
    let cloud = Cloud::in_group("success").launched();
    cloud.aws.fault(Match::action(IN_GROUP).containing("=true"), Limit::default(), Fault::Error(AwsError::MinSize));
    let gone = cloud.run();
    assert_eq!(methods(&gone)[..2], [method("group-decrement", false), method("group", true)]);
    assert_eq!(cloud.calls(IN_GROUP), 2);
}

#[test]
fn a_busy_group_and_throttling_are_waited_out_inside_the_method() {
    for error in [AwsError::ScalingActivityInProgress, AwsError::ResourceContention, AwsError::Throttled] {
        let cloud = Cloud::in_group("success").launched();
        cloud.aws.fault(Match::action(IN_GROUP), Limit::times(2), Fault::Error(error));
        let gone = cloud.run();
        assert_eq!(methods(&gone)[0], method("group-decrement", true), "{:#}", gone.record);
        assert_eq!(cloud.calls(IN_GROUP), 3);
    }
}

#[test]
fn what_the_group_denies_the_instance_does_itself() {
    let cloud = Cloud::in_group("success").launched();
    cloud.aws.fault(Match::action(IN_GROUP), Limit::default(), Fault::Error(AwsError::AccessDenied));
    let gone = cloud.run();
    assert_eq!(methods(&gone)[..2], [method("group-decrement", false), method("ec2", true)]);
    assert_eq!(cloud.state(), "terminated");
    assert_eq!(cloud.calls(IN_GROUP), 1, "a denial is final at once");
}

#[test]
fn what_aws_denies_the_power_off_does() {
    let cloud = can_power_off(Cloud::standalone("success").launched());
    cloud.aws.fault(Match::action(ON_ITSELF), Limit::default(), Fault::Error(AwsError::AccessDenied));
    let gone = cloud.run();
    gone.assert_outcome("job-succeeded");
    assert_eq!(methods(&gone), [method("ec2", false), method("power-off", true)]);
    assert!(cloud.powered_off().exists(), "nothing ended this machine");
    let refused = gone.record["terminations"][0]["refused"].as_str().unwrap();
    assert!(refused.contains("UnauthorizedOperation") || refused.contains("AccessDenied"), "no reason: {refused}");
}

#[test]
fn every_way_in_which_aws_does_not_answer_falls_to_the_power_off_in_time() {
    let faults: [fn(&Cloud); 4] = [
        |cloud| {
            cloud.aws.fault(Match::action(ON_ITSELF), Limit::default(), Fault::Error(AwsError::Throttled));
        },
        |cloud| {
            cloud.aws.fault(Match::action(ON_ITSELF), Limit::default(), Fault::Hang);
        },
        |cloud| {
            cloud.aws.fault(Match::action(ON_ITSELF), Limit::default(), Fault::Reset);
        },
        |cloud| {
            cloud.aws.fault(Match::action(ON_ITSELF), Limit::default(), Fault::Error(AwsError::ExpiredCredentials));
        },
    ];
    for fault in faults {
        let cloud = can_power_off(Cloud::standalone("success").launched());
        fault(&cloud);
        let gone = cloud.run();
        assert_eq!(methods(&gone), [method("ec2", false), method("power-off", true)], "{:#}", gone.record);
        assert!(cloud.powered_off().exists());
        assert!(gone.took < Duration::from_secs(20), "the machine went on for {:?}", gone.took);
    }
}

#[test]
fn without_dns_without_credentials_and_behind_a_black_hole_the_machine_ends_too() {
    for name in ["no DNS", "expired role", "black hole"] {
        let cloud = can_power_off(Cloud::standalone("success")).live(|run| run.set("MAYFLY_JIT_WAIT", "2s"));
        let cloud = match name {
            "no DNS" => cloud.live(|run| run.set("AWS_ENDPOINT_URL", "http://no-such-host.invalid")),
            "black hole" => {
                cloud.aws.black_hole(None).unwrap();
                cloud
            }
            _ => {
                let expired = Credentials {
                    code: "AssumeRoleUnauthorizedAccess".to_owned(),
                    expiration: SystemTime::now(),
                    ..Credentials::default()
                };
                cloud.imds.set_credentials("runner", &expired);
                cloud
            }
        };
        let gone = cloud.run();
        assert!(cloud.powered_off().exists(), "{name}: nothing ended this machine: {:#}\n{}", gone.record, gone.log);
        assert!(cloud.run.recording().starts().is_empty());
        assert!(gone.took < Duration::from_secs(30), "{name}: the machine went on for {:?}", gone.took);
    }
}

/// This machine's firmware does not say Amazon EC2: the default must never end it.
#[test]
fn a_machine_that_is_not_ec2_is_never_powered_off() {
    let cloud = Cloud::standalone("success").launched();
    cloud.aws.fault(Match::action(ON_ITSELF), Limit::default(), Fault::Error(AwsError::AccessDenied));
    let gone = cloud.run();
    assert_eq!(methods(&gone), [method("ec2", false), method("power-off", false)]);
    assert!(!cloud.powered_off().exists(), "a laptop was powered off");
    assert!(gone.record["terminations"][1]["refused"].as_str().unwrap().contains("DMI"), "{:#}", gone.record);
}

/// The same machine with Amazon's firmware, in a mount namespace of its own.
#[test]
fn a_machine_whose_firmware_says_ec2_is_powered_off() {
    let cloud = Cloud::standalone("success").launched();
    cloud.aws.fault(Match::action(ON_ITSELF), Limit::default(), Fault::Error(AwsError::AccessDenied));
    let plain = cloud.command();
    let mut command = Command::new("unshare");
    let firmware = "mount -t tmpfs firmware /sys/class && mkdir -p /sys/class/dmi/id && \
                    echo 'Amazon EC2' > /sys/class/dmi/id/sys_vendor && exec \"$@\"";
    command.args(["--map-root-user", "--mount", "sh", "-c", firmware, "sh"]);
    command.arg(plain.get_program()).args(plain.get_args());
    command.env_clear().envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = command.output().unwrap();
    assert!(cloud.powered_off().exists(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn an_answer_that_was_lost_is_asked_for_again_and_does_no_harm() {
    let cloud = Cloud::standalone("success").launched();
    cloud.aws.fault(Match::action(ON_ITSELF), Limit::times(1), Fault::LoseAnswer);
    let gone = cloud.run();
    assert_eq!(methods(&gone)[0], method("ec2", true));
    assert_eq!(cloud.state(), "terminated");
}

#[test]
fn tags_and_the_shutdown_behaviour_that_are_denied_cost_nothing() {
    let cloud = Cloud::standalone("success").launched();
    for action in ["CreateTags", "DescribeInstanceAttribute"] {
        cloud.aws.fault(Match::action(action), Limit::default(), Fault::Error(AwsError::AccessDenied));
    }
    cloud.run().assert_outcome("job-succeeded");
    assert_eq!(cloud.state(), "terminated");
}

#[test]
fn an_end_that_was_accepted_is_not_asked_for_again_by_the_next_agent() {
    let cloud = Cloud::standalone("success").launched().live(|run| run.limits(&[("terminating", "20s")]));
    let mut running = cloud.start();
    running.until("the accepted end", |cloud| cloud.run.journal().concat().contains("\"accepted\":true"));
    running.kill_dead();
    let mut again = cloud.start();
    again.until("the next agent", |cloud| cloud.log().contains("going on where an earlier agent process stopped"));
    kill(Pid::from_raw(i32::try_from(again.child.id()).unwrap()), Signal::SIGTERM).unwrap();
    again.end().assert_outcome("job-succeeded");
    assert_eq!(cloud.calls(ON_ITSELF), 1, "a machine that goes already was asked to go again");
}

/// The disk comes back between two agent processes, and the first has ended the machine already: chaos found it (seed 30110959).
#[test]
fn an_agent_whose_journal_could_not_be_written_has_not_forgotten_that_its_machine_ends() {
    let cloud = Cloud::standalone("success").launched();
    let runtime = cloud.run.directory().join("run");
    fs::create_dir_all(&runtime).unwrap();
    fs::create_dir_all(cloud.run.state()).unwrap();
    let cloud = cloud.live(|run| run.set("RUNTIME_DIRECTORY", runtime.to_str().unwrap()));
    let plain = cloud.command();
    let mut command = Command::new("unshare");
    let read_only = "mount -t tmpfs -o ro none \"$1\" && shift && exec \"$@\"";
    command.args(["--map-root-user", "--mount", "sh", "-c", read_only, "sh"]).arg(cloud.run.state());
    command.arg(plain.get_program()).args(plain.get_args());
    command.env_clear().envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let first = command.output().unwrap();
    let log = String::from_utf8_lossy(&first.stderr);
    assert!(log.contains("the run is over: journal-failed"), "the first agent did not refuse its start:\n{log}");
    assert_eq!(cloud.state(), "terminated", "{log}");

    let gone = cloud.run();
    gone.assert_outcome("journal-failed");
    assert!(
        cloud.run.recording().starts().is_empty(),
        "a listener was started on a machine that goes: its job is lost"
    );
}
