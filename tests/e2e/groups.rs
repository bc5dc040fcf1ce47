//! Auto Scaling during a life: terminations and launches that wait for a hook, and warm pools.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail there")]

use std::time::{Duration, SystemTime};

use mayfly_e2e::Cloud;
use mayfly_fake_aws::Limit;
use mayfly_fake_aws::proxy::{AwsError, Fault, Match, Transition};
use mayfly_fake_runner::Scenario;

const HOOKS: &str = "[autoscaling]\nlaunch_hook = \"runners-launch\"\ntermination_hook = \"runners-end\"\n";
const LAUNCH: &str = "runners-launch";
const END: &str = "runners-end";
const HEARTBEAT: &str = "RecordLifecycleActionHeartbeat";
const COMPLETE: &str = "CompleteLifecycleAction";
const IN_GROUP: &str = "TerminateInstanceInAutoScalingGroup";

/// In a group, with a job of two seconds.
fn member(idle_ms: u64) -> Cloud {
    let scenario = Scenario { idle_ms, job_ms: 2_000, ..Scenario::default() };
    Cloud::with(&scenario, Some("runners")).launched()
}

fn waits(cloud: &Cloud, hook: &str, transition: Transition, seconds: u64) {
    cloud.aws.wait_for_hook("runners", hook, &cloud.instance, transition, Duration::from_secs(seconds));
}

/// The group has decided to terminate the instance, and waits for its hook.
fn scale_in(cloud: &Cloud) {
    waits(cloud, END, Transition::Termination, 3);
    cloud.imds.target_lifecycle_state("Terminated");
}

#[test]
fn a_termination_with_nothing_assigned_drains_and_lets_the_group_go_on() {
    let cloud = member(60_000).configured(HOOKS);
    let mut agent = cloud.start();
    agent.until_state("Idle");
    scale_in(&cloud);
    let gone = agent.end();
    gone.assert_outcome("asg-termination");
    assert_eq!(cloud.aws.hook_result(END).as_deref(), Some("CONTINUE"), "the group waits for an hour:\n{}", gone.log);
    assert_eq!(cloud.calls(IN_GROUP), 0, "the group's capacity would be lowered twice");
    assert_eq!(cloud.state(), "terminated");
    assert_eq!(gone.rungs()[0], ("lifecycle-action".to_owned(), true), "{:#}", gone.record);
}

#[test]
fn a_job_is_finished_while_heartbeats_keep_the_group_waiting() {
    let scenario = Scenario { job_ms: 8_000, ..Scenario::default() };
    let cloud = Cloud::with(&scenario, Some("runners")).launched().configured(HOOKS);
    let hooks = "<DescribeLifecycleHooksResponse xmlns=\"http://autoscaling.amazonaws.com/doc/2011-01-01/\">\
        <DescribeLifecycleHooksResult><LifecycleHooks><member><LifecycleHookName>runners-end</LifecycleHookName>\
        <AutoScalingGroupName>runners</AutoScalingGroupName><HeartbeatTimeout>60</HeartbeatTimeout>\
        <GlobalTimeout>6000</GlobalTimeout><DefaultResult>ABANDON</DefaultResult>\
        <LifecycleTransition>autoscaling:EC2_INSTANCE_TERMINATING</LifecycleTransition></member></LifecycleHooks>\
        </DescribeLifecycleHooksResult></DescribeLifecycleHooksResponse>";
    let answer = Fault::Answer { status: 200, content_type: "text/xml", body: hooks.into() };
    cloud.aws.canned(Match::action("DescribeLifecycleHooks"), answer);
    let mut agent = cloud.start();
    agent.until_state("Busy");
    scale_in(&cloud); // the group waits 3 s at a time: 60 s, scaled
    let gone = agent.end();
    gone.assert_outcome("job-succeeded");
    let beats: Vec<Duration> = cloud.aws.requests_of(HEARTBEAT).iter().map(|beat| beat.at).collect();
    assert!((3..=12).contains(&beats.len()), "every 20 s, scaled to one: {beats:?}\n{}", gone.log);
    assert!(cloud.aws.requests_of(HEARTBEAT).iter().all(|beat| beat.status == Some(200)), "the group was kept waiting");
    assert_eq!(cloud.aws.hook_result(END).as_deref(), Some("CONTINUE"), "{}", gone.log);
    let done = cloud.aws.requests_of(COMPLETE).iter().map(|call| call.at).max().unwrap();
    assert!(beats.iter().all(|beat| *beat < done), "the group is kept waiting although all is done");
    assert_eq!(cloud.calls(IN_GROUP), 0, "the group's capacity would be lowered twice");
    assert_eq!(cloud.state(), "terminated");
}

#[test]
fn refused_heartbeats_and_completions_cost_no_job_and_say_what_to_allow() {
    let cloud = member(100).configured(HOOKS);
    for action in [HEARTBEAT, COMPLETE, "DescribeLifecycleHooks"] {
        cloud.aws.fault(Match::action(action), Limit::default(), Fault::Error(AwsError::AccessDenied));
    }
    let mut agent = cloud.start();
    agent.until_state("Busy");
    scale_in(&cloud);
    let gone = agent.end();
    gone.assert_outcome("job-succeeded");
    for action in [HEARTBEAT, COMPLETE] {
        let advice = format!("allow the instance role autoscaling:{action}");
        assert!(gone.log.contains(&advice), "{advice}\n{}", gone.log);
    }
    let rungs = &gone.rungs()[..2];
    assert_eq!(rungs, [("lifecycle-action".to_owned(), false), ("ec2".to_owned(), true)], "{:#}", gone.record);
    assert_eq!(cloud.state(), "terminated");
}

#[test]
fn without_a_hook_a_job_has_the_time_that_is_left() {
    let cloud = member(100);
    let mut agent = cloud.start();
    agent.until_state("Busy");
    cloud.imds.target_lifecycle_state("Terminated");
    let gone = agent.end();
    gone.assert_outcome("job-succeeded");
    assert_eq!((cloud.calls(HEARTBEAT), cloud.calls(COMPLETE), cloud.calls(IN_GROUP)), (0, 0, 0));
    assert_eq!(cloud.state(), "terminated");
}

/// What the instance asks its group for waits for the hook, too.
#[test]
fn a_termination_that_the_instance_asked_for_does_not_wait_either() {
    let cloud = member(100).configured(HOOKS);
    waits(&cloud, END, Transition::Termination, 60);
    let gone = cloud.run();
    gone.assert_outcome("job-succeeded");
    let rungs = &gone.rungs()[..2];
    let expected = [("group-decrement".to_owned(), true), ("lifecycle-action".to_owned(), true)];
    assert_eq!(rungs, expected, "{:#}\n{}", gone.record, gone.log);
    assert_eq!(cloud.moto.desired_capacity("runners").unwrap(), 0);
}

#[test]
fn the_launch_hook_goes_on_once_the_runner_listens_and_is_abandoned_if_it_never_does() {
    let cloud = member(100).configured(HOOKS);
    waits(&cloud, LAUNCH, Transition::Launch, 60);
    let mut agent = cloud.start();
    agent.until("the answer", |cloud| cloud.aws.hook_result(LAUNCH).is_some());
    assert_eq!(cloud.aws.hook_result(LAUNCH).as_deref(), Some("CONTINUE"));
    agent.end().assert_outcome("job-succeeded");

    let cloud = Cloud::in_group("success").configured(HOOKS).live(|life| life.set("MAYFLY_JIT_WAIT", "1s"));
    waits(&cloud, LAUNCH, Transition::Launch, 60);
    let gone = cloud.run();
    gone.assert_outcome("jit-config-timeout");
    assert_eq!(cloud.aws.hook_result(LAUNCH).as_deref(), Some("ABANDON"), "the group counts on it:\n{}", gone.log);
}

#[test]
fn every_warm_state_waits_until_the_instance_is_wanted() {
    for state in ["Warmed:Stopped", "Warmed:Running", "Warmed:Hibernated"] {
        let cloud = Cloud::in_group("success").launched().configured(HOOKS);
        cloud.imds.target_lifecycle_state(state);
        waits(&cloud, LAUNCH, Transition::Launch, 60);
        let mut agent = cloud.start();
        agent.until_state("Warm");
        agent.until("the launch hook", |cloud| cloud.aws.hook_result(LAUNCH).is_some());
        assert_eq!(cloud.aws.hook_result(LAUNCH).as_deref(), Some("CONTINUE"), "it never gets into the pool");
        cloud.imds.fault("/latest/meta-data/autoscaling", Limit::times(2), mayfly_fake_aws::imds::Fault::Status(503));
        let mark = cloud.imds.mark();
        agent.until("looks", |cloud| cloud.imds.requests_since(mark).len() > 20);
        assert_eq!(cloud.calls("GetParameter"), 0, "{state}: a JIT configuration was fetched for nobody");
        cloud.imds.target_lifecycle_state("InService");
        agent.end().assert_outcome("job-succeeded");
        assert_eq!(cloud.state(), "terminated", "{state}");
    }
}

/// The boot id changes when a stopped instance is started again; nothing was started in the boot before.
#[test]
fn a_warm_instance_that_was_stopped_and_started_runs_its_job() {
    let cloud = Cloud::in_group("success").launched();
    cloud.imds.target_lifecycle_state("Warmed:Stopped");
    let mut agent = cloud.start();
    agent.until_state("Warm");
    agent.kill_dead();
    let path = cloud.life.state().join("journal.jsonl");
    let journal = std::fs::read_to_string(&path).unwrap();
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    assert!(journal.contains(boot.trim()));
    std::fs::write(&path, journal.replace(boot.trim(), "00000000-0000-4000-8000-000000000000")).unwrap();
    let mut agent = cloud.start();
    agent.until("the second boot", |cloud| cloud.life.journal().concat().contains("Warm"));
    cloud.imds.target_lifecycle_state("InService");
    agent.end().assert_outcome("job-succeeded");
}

#[test]
fn a_warm_instance_that_the_pool_no_longer_wants_ends() {
    let cloud = Cloud::in_group("success").launched();
    cloud.imds.target_lifecycle_state("Warmed:Running");
    let mut agent = cloud.start();
    agent.until_state("Warm");
    cloud.imds.target_lifecycle_state("Warmed:Terminated");
    agent.end().assert_outcome("asg-termination");
    assert_eq!(cloud.calls(IN_GROUP), 0, "Auto Scaling refuses that in a warm pool");
    assert_eq!(cloud.state(), "terminated");
}

/// Capacity rebalancing: first the recommendation, then the group takes the instance out.
#[test]
fn capacity_rebalancing_lets_the_job_finish() {
    let cloud = member(100).configured(HOOKS);
    let mut agent = cloud.start();
    agent.until_state("Busy");
    cloud.imds.rebalance(SystemTime::now());
    scale_in(&cloud);
    let gone = agent.end();
    gone.assert_outcome("job-succeeded");
    let mut notices: Vec<_> = gone.record["notices"].as_array().unwrap().iter().map(|seen| &seen["notice"]).collect();
    notices.sort_by_key(|notice| notice.as_str());
    assert_eq!(notices, ["asg-termination", "rebalance"]);
    assert_eq!(cloud.aws.hook_result(END).as_deref(), Some("CONTINUE"), "{}", gone.log);
}
