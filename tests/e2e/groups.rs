//! Auto Scaling during a run: terminations and launches that wait for a hook, and warm pools.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail there")]

use std::time::{Duration, SystemTime};

use mayfly_e2e::Cloud;
use mayfly_fake_aws::Limit;
use mayfly_fake_aws::proxy::{AwsError, Fault, Match, Transition};
use mayfly_fake_runner::Scenario;
use nix::sys::signal::Signal;

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
    assert_eq!(gone.methods()[0], ("lifecycle-action".to_owned(), true), "{:#}", gone.record);
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
    let methods = &gone.methods()[..2];
    assert_eq!(methods, [("lifecycle-action".to_owned(), false), ("ec2".to_owned(), true)], "{:#}", gone.record);
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
    let methods = &gone.methods()[..2];
    let expected = [("group-decrement".to_owned(), true), ("lifecycle-action".to_owned(), true)];
    assert_eq!(methods, expected, "{:#}\n{}", gone.record, gone.log);
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

    let cloud = Cloud::in_group("success").configured(HOOKS).live(|run| run.set("MAYFLY_JIT_WAIT", "1s"));
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
    cloud.boot_again();
    let mut agent = cloud.start();
    agent.until("the second boot", |cloud| cloud.run.journal().concat().contains("Warm"));
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

/// Nothing of the machine was ended, and the journal's last word is that it waits in the pool.
fn assert_left_in_the_pool(cloud: &Cloud, status: std::process::ExitStatus) {
    assert_eq!(status.code(), Some(0), "systemd would read the stop as a failure:\n{}", cloud.log());
    assert_eq!(
        cloud.state(),
        "running",
        "the pool's instance has ended itself; the pool refills for ever:\n{}",
        cloud.log()
    );
    assert!(!cloud.powered_off().exists(), "the power was switched off");
    let journal = cloud.run.journal();
    let last = journal.last().unwrap();
    assert!(last.contains("\"state\":\"Warm\""), "the next boot would go on with an end: {last}");
}

/// Auto Scaling stops an instance of a `Warmed:Stopped` pool: systemd sends SIGTERM, and the next boot has another id.
#[test]
fn a_warm_instance_that_its_pool_stops_takes_its_job_in_a_later_boot() {
    let cloud = Cloud::in_group("success").launched().live(|run| run.limits(&[("terminating", "20s")]));
    cloud.imds.target_lifecycle_state("Warmed:Stopped");
    let mut agent = cloud.start();
    agent.until_state("Warm");
    assert_left_in_the_pool(&cloud, agent.shut_down());
    cloud.boot_again();
    // Started once more to be stopped once more, and this time a SIGTERM comes twice.
    let mut agent = cloud.start();
    agent.until("the second boot", |cloud| cloud.log().matches("in the warm pool").count() == 2);
    agent.signal(Signal::SIGTERM);
    assert_left_in_the_pool(&cloud, agent.shut_down());
    cloud.boot_again();
    cloud.imds.target_lifecycle_state("InService");
    let gone = cloud.run();
    gone.assert_outcome("job-succeeded");
    assert_eq!(gone.methods()[0], ("group-decrement".to_owned(), true), "{:#}", gone.record);
}

/// In the pool nobody is asked twice: what is not answered is no reason to end it.
#[test]
fn a_warm_instance_is_left_to_its_pool_though_the_metadata_service_is_silent() {
    let cloud = Cloud::in_group("success").launched();
    cloud.imds.target_lifecycle_state("Warmed:Stopped");
    let mut agent = cloud.start();
    agent.until_state("Warm");
    cloud.imds.fault("/latest/", Limit::default(), mayfly_fake_aws::imds::Fault::Status(503));
    assert_left_in_the_pool(&cloud, agent.shut_down());
}

/// The group wants it gone, and the agent has not looked since.
#[test]
fn a_warm_instance_that_is_shut_down_when_its_pool_no_longer_wants_it_ends() {
    // The watch looks too seldom to have seen it.
    let cloud = Cloud::in_group("success").launched().live(|run| run.set("MAYFLY_TIME_SCALE", "20"));
    cloud.imds.target_lifecycle_state("Warmed:Running");
    let mut agent = cloud.start();
    agent.until_state("Warm");
    cloud.imds.target_lifecycle_state("Warmed:Terminated");
    agent.signal(Signal::SIGTERM);
    agent.end().assert_outcome("asg-termination");
    assert_eq!(cloud.state(), "terminated");
}

/// A new instance is told nothing for a moment (404). The pool stops it before that was over, or just after.
#[test]
fn a_shutdown_before_the_group_has_told_what_it_wants_ends_no_instance_of_a_pool() {
    // In Booting, while nobody answers; and later, while the answer is 404.
    for answer in [mayfly_fake_aws::imds::Fault::Status(503), mayfly_fake_aws::imds::Fault::Status(404)] {
        let cloud = Cloud::in_group("success");
        cloud.imds.target_lifecycle_state("Warmed:Stopped");
        let silent = matches!(answer, mayfly_fake_aws::imds::Fault::Status(503));
        let fault = cloud.imds.fault("/latest/meta-data/autoscaling", Limit::default(), answer);
        let mut agent = cloud.start();
        if !silent {
            agent.until_state("WaitingForJitConfig");
        }
        agent.until("a poll of the group", |cloud| {
            cloud.imds.requests().iter().any(|request| request.path.contains("autoscaling"))
        });
        agent.signal(Signal::SIGTERM);
        if !silent {
            cloud.imds.clear(fault);
        }
        let status = agent.shut_down();
        assert_eq!((status.code(), cloud.state().as_str()), (Some(0), "running"), "it ended itself:\n{}", cloud.log());
        cloud.boot_again();
        cloud.imds.clear(fault);
        cloud.put_jit_config();
        let mut agent = cloud.start();
        agent.until("the pool", |cloud| cloud.run.journal().concat().contains("\"Warm\""));
        cloud.imds.target_lifecycle_state("InService");
        agent.end().assert_outcome("job-succeeded");
    }
}

#[test]
fn a_new_instance_that_learns_late_that_it_is_in_a_pool_waits_there() {
    let late = |run: mayfly_e2e::Run| run.set("MAYFLY_JIT_WAIT", "2s").limits(&[("terminating", "20s")]);
    let cloud = Cloud::in_group("success").live(late);
    cloud.imds.remove("meta-data/autoscaling");
    let mut agent = cloud.start();
    agent.until_state("WaitingForJitConfig");
    cloud.imds.target_lifecycle_state("Warmed:Running");
    agent.until_state("Warm");
    // For longer than it would have waited for a job.
    let mark = cloud.imds.mark();
    let began = std::time::Instant::now();
    agent.until("time", |_| began.elapsed() > Duration::from_secs(3));
    assert!(!cloud.imds.requests_since(mark).is_empty(), "nobody looks whether the instance is wanted");
    let calls = cloud.calls("GetParameter");
    agent.until("more looks", |cloud| cloud.imds.requests_since(mark).len() > 40);
    assert_eq!(cloud.calls("GetParameter"), calls, "a JIT configuration is fetched in the pool");
    cloud.put_jit_config();
    cloud.imds.target_lifecycle_state("InService");
    let gone = agent.end();
    gone.assert_outcome("job-succeeded");
    assert_eq!(gone.methods()[0], ("group-decrement".to_owned(), true), "{:#}", gone.record);
}

/// Neither the group's tag is in the metadata nor, at first, what the group wants.
#[test]
fn a_new_instance_that_learns_late_that_it_is_in_a_group_ends_through_it() {
    let limits = [("idle", "2s"), ("terminating", "20s")];
    let cloud = Cloud::in_group("no-job").launched().live(|run| run.limits(&limits));
    cloud.imds.remove("meta-data/autoscaling");
    cloud.imds.remove("meta-data/tags");
    let mut agent = cloud.start();
    agent.until_state("Idle");
    cloud.imds.target_lifecycle_state("InService");
    let gone = agent.end();
    gone.assert_outcome("idle-timeout");
    assert_eq!(gone.methods()[0], ("group-decrement".to_owned(), true), "{:#}\n{}", gone.record, gone.log);
    assert_eq!(cloud.moto.desired_capacity("runners").unwrap(), 0, "an empty queue churns for ever");
}

/// What asking again costs an instance that is in no group.
#[test]
fn an_instance_in_no_group_is_not_slowed_by_being_asked_for_one() {
    let cloud = Cloud::standalone("success").launched();
    let gone = cloud.run();
    gone.assert_outcome("job-succeeded");
    let asked = cloud.imds.requests();
    let running = asked.iter().filter(|request| request.path.contains("target-lifecycle-state")).count();
    // Every 5 s, scaled to four a second, and one soon after the start.
    let most = 3 + usize::try_from(gone.took.as_millis() / 200).unwrap();
    assert!(running <= most, "{running} looks at the group in {:?}", gone.took);
}
