//! The proxy, in front of another proxy that answers everything with success.
#![allow(clippy::unwrap_used, reason = "a test may fail there")]

mod common;

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use common::Client;
use mayfly_fake_aws::Limit;
use mayfly_fake_aws::proxy::{AwsError, AwsProxy, Fault, Match, Transition};

/// The service, the proxy under test, and a client of the latter.
fn start() -> (AwsProxy, AwsProxy, Client) {
    let nobody = ([127, 0, 0, 1], 9).into();
    let service = AwsProxy::start(nobody).unwrap();
    service.canned(Match::default(), Fault::EmptySuccess);
    let proxy = AwsProxy::start(service.address()).unwrap();
    let client = Client::connect(proxy.address()).unwrap();
    (service, proxy, client)
}

#[test]
fn throttles_one_action_exactly_as_often_as_told() {
    let (service, proxy, mut client) = start();
    proxy.expect_key("AKIDTEST");
    let throttling = Fault::Error(AwsError::Throttled);
    let id = proxy.fault(Match::action("GetParameter"), Limit::times(3), throttling);
    let other = client.call("ssm", "PutParameter", "{}").unwrap();
    assert_eq!(other.status, 200);
    for _ in 0..3 {
        let reply = client.call("ssm", "GetParameter", "{}").unwrap();
        assert_eq!(reply.status, 400);
        let body: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
        assert_eq!(body["__type"], "ThrottlingException");
    }
    let reply = client.call("ssm", "GetParameter", r#"{"Name":"/a"}"#).unwrap();
    assert_eq!(reply.status, 200);
    assert_eq!(proxy.hits(id), 3);
    // The service saw only what passed, over one connection.
    assert_eq!(service.requests().len(), 2);
    assert_eq!(service.connections().opened, 1);
    let last = proxy.requests().pop().unwrap();
    assert_eq!(last.json()["Name"], "/a");
    assert_eq!((&*last.call.region, last.key_matched), ("eu-central-1", Some(true)));
    assert_eq!(proxy.requests_of("GetParameter").len(), 4);
}

#[test]
fn a_predicate_on_the_body_and_the_words_of_auto_scaling() {
    let (_service, proxy, mut client) = start();
    let action = "TerminateInstanceInAutoScalingGroup";
    let decrement = "ShouldDecrementDesiredCapacity=true";
    proxy.fault(Match::action(action).containing(decrement), Limit::default(), Fault::Error(AwsError::MinSize));
    let reply = client.call("autoscaling", action, decrement).unwrap();
    assert_eq!(reply.status, 400);
    assert!(reply.text().contains("<Code>ValidationError</Code>"));
    assert!(reply.text().contains("desiredSize equals minSize (1)"));
    let without = "ShouldDecrementDesiredCapacity=false";
    assert_eq!(client.call("autoscaling", action, without).unwrap().status, 200);
}

#[test]
fn denials_name_the_resource() {
    let (_service, proxy, mut client) = start();
    let denied = Fault::Error(AwsError::AccessDenied);
    proxy.fault(Match::default(), Limit::default(), denied);
    let reply = client.call("ssm", "GetParameter", r#"{"Name":"/mayfly/x"}"#);
    let text = reply.unwrap().text();
    assert!(
        text.contains("ssm:GetParameter on resource: arn:aws:ssm:eu-central-1:123456789012:parameter/mayfly/x"),
        "{text}"
    );
    let reply = client.call("ec2", "TerminateInstances", "InstanceId.1=i-1");
    let reply = reply.unwrap();
    assert_eq!(reply.status, 403);
    assert!(reply.text().contains("<Code>UnauthorizedOperation</Code>"));
}

#[test]
fn cut_and_lost_answers() {
    let (service, proxy, mut client) = start();
    let all = || Match::action("DeleteParameter");
    proxy.fault(all(), Limit::times(1), Fault::LoseAnswer);
    let lost = client.call("ssm", "DeleteParameter", "{}").unwrap_err();
    assert_eq!(lost.kind(), ErrorKind::ConnectionReset);
    assert_eq!(service.requests().len(), 1, "it was carried out");

    let mut client = Client::connect(proxy.address()).unwrap();
    proxy.fault(all(), Limit::times(1), Fault::Reset);
    assert!(client.call("ssm", "DeleteParameter", "{}").is_err());
    assert_eq!(service.requests().len(), 1, "it was not carried out");

    let mut client = Client::connect(proxy.address()).unwrap();
    proxy.fault(all(), Limit::times(1), Fault::HalfBody);
    let cut = client.call("ssm", "DeleteParameter", "{}").unwrap_err();
    assert_eq!(cut.kind(), ErrorKind::UnexpectedEof);

    let mut client = Client::connect(proxy.address()).unwrap();
    proxy.fault(all(), Limit::times(1), Fault::Html(503));
    let page = client.call("ssm", "DeleteParameter", "{}").unwrap();
    assert_eq!((page.status, page.header("content-type")), (503, Some("text/html")));
}

#[test]
fn a_fault_for_a_while_and_latency() {
    let (_service, proxy, mut client) = start();
    let period = Limit::lasting(Duration::from_millis(100));
    proxy.fault(Match::service("ssm"), period, "html:500".parse().unwrap());
    assert_eq!(client.call("ssm", "GetParameter", "{}").unwrap().status, 500);
    std::thread::sleep(Duration::from_millis(120));
    proxy.latency(Duration::from_millis(50));
    let before = Instant::now();
    assert_eq!(client.call("ssm", "GetParameter", "{}").unwrap().status, 200);
    assert!(before.elapsed() >= Duration::from_millis(50));
}

#[test]
fn proxy_form_is_passed_on_and_noted() {
    let (service, proxy, mut client) = start();
    let target = "http://ssm.eu-central-1.amazonaws.com/";
    let reply = client.send("POST", target, &[("x-amz-target", "A.B")], "{}");
    assert_eq!(reply.unwrap().status, 200);
    assert!(proxy.requests()[0].proxy_form);
    assert_eq!(proxy.requests()[0].target, target);
    assert!(!service.requests()[0].proxy_form);
    assert_eq!(client.send("CONNECT", "a:443", &[], "").unwrap().status, 405);
}

#[test]
fn lifecycle_calls_are_taken_while_the_group_waits_and_refused_else() {
    let (service, proxy, mut client) = start();
    let of = "Version=2011-01-01&AutoScalingGroupName=g&LifecycleHookName=h&InstanceId=i-1";
    let mut call = |action: &str, more: &str| {
        client.call("autoscaling", action, &format!("{of}{more}")).map(|reply| reply.text()).unwrap()
    };
    let refusal = "<Message>No active Lifecycle Action found with instance ID i-1</Message>";
    assert!(call("RecordLifecycleActionHeartbeat", "").contains(refusal));
    proxy.wait_for_hook("g", "h", "i-1", Transition::Launch, Duration::from_secs(60));
    assert!(call("RecordLifecycleActionHeartbeat", "").contains("<RecordLifecycleActionHeartbeatResult/>"));
    let done = "&LifecycleActionResult=CONTINUE";
    assert!(call("CompleteLifecycleAction", done).contains("<CompleteLifecycleActionResult/>"));
    assert_eq!(proxy.hook_result("h").as_deref(), Some("CONTINUE"));
    assert!(call("CompleteLifecycleAction", done).contains(refusal));
    assert!(service.requests().is_empty());
}
