//! What the instance does to itself: tags, its shutdown behaviour, its end.

use std::time::{Duration, Instant};

use super::common::{cloud, failing, instance, moto};
use mayfly::platform::aws::group::{
    GroupError, HookResult, complete_lifecycle_action, record_heartbeat, terminate_in_group,
};
use mayfly::platform::aws::instance::{Behavior, shutdown_behavior, tag, terminate};
use mayfly::platform::aws::{CallError, Class};
use mayfly_fake_aws::moto::InstanceSpec;

const DEADLINE: Duration = Duration::from_secs(2);
const IN_GROUP: &str = "TerminateInstanceInAutoScalingGroup";

#[tokio::test]
async fn the_instance_ends_itself_and_may_say_so_twice() {
    let (cloud, id) = (cloud(), instance());
    for _ in 0..2 {
        terminate(&cloud.aws, &id, DEADLINE).await.unwrap();
        let state = moto().instance_state(id.as_str()).unwrap();
        assert!(matches!(&*state, "shutting-down" | "terminated"), "{state}");
    }
    assert_eq!(cloud.asked("TerminateInstances")[0].field("InstanceId.1").as_deref(), Some(id.as_str()));
    assert_eq!((cloud.proxy.requests().len(), cloud.proxy.connections().opened), (2, 1));
}

#[tokio::test]
async fn what_does_not_pass_is_said_at_once() {
    for (fault, class, words) in [
        ("access-denied", Class::Denied, "UnauthorizedOperation: You are not authorized to perform this operation."),
        (
            "code:400:OperationNotPermitted:protected",
            Class::Denied,
            "OperationNotPermitted: protected (HTTP status 400",
        ),
        ("expired", Class::Credentials, "RequestExpired"),
        ("code:400:NewError:so what", Class::Other, "NewError: so what"),
        ("code:400:InvalidInstanceID.NotFound:gone", Class::NotFound, "gone"),
    ] {
        let (cloud, id) = (failing("TerminateInstances", None, fault), instance());
        let error = terminate(&cloud.aws, &id, DEADLINE).await.unwrap_err();
        let text = error.to_string();
        assert_eq!((error.class, error.attempts), (class, 1), "{text}");
        assert!(text.starts_with(&format!("ec2:TerminateInstances on {id} failed: ")), "{text}");
        assert!(text.contains(words) && text.contains("1 attempts in "), "{text}");
    }
}

#[tokio::test]
async fn what_passes_is_repeated_inside_the_deadline() {
    for (fault, times) in
        [("throttled", 4), ("internal", 3), ("html:503", 2), ("reset", 2), ("lose-answer", 1), ("half", 1), ("hang", 1)]
    {
        let (cloud, id) = (failing("TerminateInstances", Some(times), fault), instance());
        terminate(&cloud.aws, &id, DEADLINE).await.unwrap();
        assert_eq!(cloud.asked("TerminateInstances").len(), times as usize + 1, "{fault}");
        assert_ne!(moto().instance_state(id.as_str()).unwrap(), "running");
    }
}

#[tokio::test]
async fn the_deadline_holds() {
    let deadline = Duration::from_millis(500);
    for (fault, words) in [
        ("throttled", "RequestLimitExceeded: Request limit exceeded. (HTTP status 503"),
        ("hang", "no complete answer in the time of one attempt"),
    ] {
        let (cloud, id) = (failing("TerminateInstances", None, fault), instance());
        let begun = Instant::now();
        let error = terminate(&cloud.aws, &id, deadline).await.unwrap_err();
        assert!(begun.elapsed() >= deadline && begun.elapsed() < deadline * 2, "{:?}", begun.elapsed());
        assert!(error.to_string().contains(words) && error.attempts > 1, "{error}");
        // The last attempt may have been given up before it was on its way.
        let seen = cloud.asked("TerminateInstances").len();
        assert!((seen..=seen + 1).contains(&(error.attempts as usize)), "{seen}: {error}");
    }
    let (cloud, id) = (failing("TerminateInstances", None, "hang"), instance());
    let error = terminate(&cloud.aws, &id, Duration::from_millis(100)).await.unwrap_err();
    assert_eq!((&*error.detail, error.class, error.attempts), ("no answer in time", Class::Transient, 1));
}

#[tokio::test]
async fn tags_are_set() {
    let (cloud, id) = (cloud(), instance());
    tag(&cloud.aws, &id, &[], DEADLINE).await.unwrap();
    assert!(cloud.proxy.requests().is_empty());
    let tags = [("mayfly:outcome", "job-succeeded".to_owned()), ("mayfly:job", "a & <b>".to_owned())];
    tag(&cloud.aws, &id, &tags, DEADLINE).await.unwrap();
    let found = moto().instance_tags(id.as_str()).unwrap();
    assert_eq!(
        found.into_iter().collect::<Vec<_>>(),
        [("mayfly:job".to_owned(), "a & <b>".to_owned()), ("mayfly:outcome".to_owned(), "job-succeeded".to_owned())]
    );
}

#[tokio::test]
async fn the_shutdown_behaviour_is_told() {
    let cloud = cloud();
    for (word, behavior) in [("stop", Behavior::Stop), ("terminate", Behavior::Terminate)] {
        let spec = InstanceSpec { shutdown_behavior: word.to_owned(), ..InstanceSpec::default() };
        let id = moto().run_instance(&spec).unwrap().parse().unwrap();
        assert_eq!(shutdown_behavior(&cloud.aws, &id, DEADLINE).await.unwrap(), behavior);
    }
    cloud.fail("DescribeInstanceAttribute", None, "access-denied");
    let denied: CallError = shutdown_behavior(&cloud.aws, &instance(), DEADLINE).await.unwrap_err();
    assert_eq!((denied.class, denied.attempts), (Class::Denied, 1));
}

#[tokio::test]
async fn the_group_ends_its_instance_with_and_without_a_replacement() {
    let cloud = cloud();
    for (name, decrement, left) in [("shrinks", true, 0), ("replaces", false, 1)] {
        let group = moto().run_group(name, &InstanceSpec::default()).unwrap();
        let id = group.instance_id.parse().unwrap();
        terminate_in_group(&cloud.aws, &id, decrement, DEADLINE).await.unwrap();
        assert_eq!(moto().desired_capacity(name).unwrap(), left);
        let request = cloud.asked(IN_GROUP).pop().unwrap();
        assert_eq!(request.field("ShouldDecrementDesiredCapacity"), Some(decrement.to_string()));
    }
}

#[tokio::test]
async fn what_the_group_objects_to_is_told_apart() {
    type Fits = fn(&GroupError) -> bool;
    let not_found = "validation:Instance Id not found - No managed instance found for instance ID: i-0";
    let cases: [(&str, Fits); 6] = [
        ("min-size", |error| matches!(error, GroupError::AtMinSize(_))),
        ("access-denied", |error| matches!(error, GroupError::Denied(_))),
        (not_found, |error| matches!(error, GroupError::NotInGroup(_))),
        ("validation:something else", |error| matches!(error, GroupError::Other(e) if e.class == Class::Invalid)),
        ("expired", |error| matches!(error, GroupError::Other(e) if e.class == Class::Credentials)),
        ("code:400:NewError:so what", |error| matches!(error, GroupError::Other(e) if e.class == Class::Other)),
    ];
    for (fault, fits) in cases {
        let (cloud, id) = (failing(IN_GROUP, None, fault), instance());
        let error = terminate_in_group(&cloud.aws, &id, true, DEADLINE).await.unwrap_err();
        assert!(fits(&error), "{fault}: {error:?}");
        assert_eq!(cloud.asked(IN_GROUP).len(), 1, "{fault}: the next rung follows at once");
    }
}

#[tokio::test]
async fn a_busy_group_is_waited_for() {
    for fault in ["scaling-in-progress", "contention", "throttled", "code:400:ScalingActivityInProgressFault:x"] {
        let cloud = failing(IN_GROUP, Some(3), fault);
        cloud
            .proxy
            .canned(mayfly_fake_aws::proxy::Match::action(IN_GROUP), mayfly_fake_aws::proxy::Fault::EmptySuccess);
        terminate_in_group(&cloud.aws, &instance(), true, DEADLINE).await.unwrap();
        assert_eq!(cloud.asked(IN_GROUP).len(), 4, "{fault}");
        cloud.fail(IN_GROUP, None, fault);
        let error = terminate_in_group(&cloud.aws, &instance(), true, Duration::from_millis(100)).await.unwrap_err();
        match fault {
            "throttled" => assert!(matches!(error, GroupError::Throttled(_)), "{error:?}"),
            _ => assert!(matches!(error, GroupError::Busy(_)), "{error:?}"),
        }
    }
}

#[tokio::test]
async fn lifecycle_actions_are_kept_alive_and_completed() {
    let (cloud, id) = (cloud(), instance());
    record_heartbeat(&cloud.aws, &id, "group", "hook", DEADLINE).await.unwrap();
    complete_lifecycle_action(&cloud.aws, &id, "group", "hook", HookResult::Continue, DEADLINE).await.unwrap();
    for action in ["RecordLifecycleActionHeartbeat", "CompleteLifecycleAction"] {
        let [request] = &cloud.asked(action)[..] else { panic!("one {action}") };
        let field = |name| request.field(name).unwrap_or_default();
        assert_eq!([field("AutoScalingGroupName"), field("LifecycleHookName")], ["group", "hook"]);
        assert_eq!(field("InstanceId"), id.as_str());
    }
    let result = cloud.asked("CompleteLifecycleAction")[0].field("LifecycleActionResult");
    assert_eq!(result.as_deref(), Some("CONTINUE"));
}
