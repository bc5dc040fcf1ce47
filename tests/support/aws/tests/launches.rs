//! Launches as the proxy lets them through: client tokens, errors inside a 200, stale lists, buckets.
//!
//! The service behind the proxy under test is the double of this process, which has a proxy of its own; so what
//! reached the service is seen there.
#![allow(clippy::unwrap_used, reason = "a test may fail there")]

mod common;

use std::io::ErrorKind;
use std::time::Duration;

use common::{Client, Reply};
use mayfly_fake_aws::Limit;
use mayfly_fake_aws::ec2::{FakeEc2, Options, Pool};
use mayfly_fake_aws::proxy::{AwsError, AwsProxy, Bucket, Counts, Fault, Match};

const PATIENCE: Duration = Duration::from_secs(60);
const RUN: &str = "MinCount=1&MaxCount=1&InstanceType=m7i.large&ImageId=ami-1&ClientToken=";
const FLEET: &str = "Type=instant&TargetCapacitySpecification.TotalTargetCapacity=3\
    &TargetCapacitySpecification.DefaultTargetCapacityType=spot\
    &LaunchTemplateConfigs.1.LaunchTemplateSpecification.LaunchTemplateName=runners\
    &LaunchTemplateConfigs.1.LaunchTemplateSpecification.Version=1\
    &LaunchTemplateConfigs.1.Overrides.1.InstanceType=m7i.large\
    &LaunchTemplateConfigs.1.Overrides.1.AvailabilityZone=eu-central-1a\
    &LaunchTemplateConfigs.1.Overrides.2.InstanceType=m6i.large\
    &LaunchTemplateConfigs.1.Overrides.2.AvailabilityZone=eu-central-1b&ClientToken=";

/// The service, the proxy under test, and a client of the latter.
fn start() -> (FakeEc2, AwsProxy, Client) {
    let service = FakeEc2::start(Options::default()).unwrap();
    let proxy = AwsProxy::start(service.proxy().address()).unwrap();
    let client = Client::connect(proxy.address()).unwrap();
    (service, proxy, client)
}

fn code(reply: &Reply) -> String {
    let text = reply.text();
    text.split("<Code>").nth(1).unwrap_or_default().split('<').next().unwrap().to_owned()
}

fn errors(reply: &Reply) -> usize {
    reply.text().matches("<errorCode>").count()
}

fn instances(reply: &Reply) -> usize {
    reply.text().matches("<item>i-").count()
}

#[test]
fn the_same_token_and_request_gets_the_same_answer_and_no_second_instance() {
    let (service, _proxy, mut client) = start();
    for (action, body, launched) in [("RunInstances", RUN, 1), ("CreateFleet", FLEET, 3)] {
        let before = service.instances().len();
        let first = client.call("ec2", action, &format!("{body}job-1")).unwrap();
        assert_eq!(first.status, 200, "{}", first.text());
        // The same fields in another order are the same request.
        let turned: Vec<&str> = body.trim_end_matches("&ClientToken=").rsplit('&').collect();
        let again = client.call("ec2", action, &format!("ClientToken=job-1&{}", turned.join("&"))).unwrap();
        assert_eq!((again.status, &again.body), (200, &first.body), "a second answer to {action} with one token");
        let ids = service.instances().split_off(before);
        assert_eq!(ids.len(), launched, "a launch that was asked for twice was made twice");

        for instance in &ids {
            assert!(service.end(&instance.id));
        }
        let dead = client.call("ec2", action, &format!("{body}job-1")).unwrap();
        assert_eq!(dead.body, first.body, "a token outlives its instance");
        assert_eq!(service.instances().len(), before + launched);
        let other = client.call("ec2", action, &format!("{body}job-2")).unwrap();
        assert_ne!(other.body, first.body, "another token is another launch");
    }
}

#[test]
fn a_token_that_is_asked_for_again_while_it_is_on_its_way_launches_once() {
    let (service, proxy, mut client) = start();
    let slow = Fault::Delay(Duration::from_millis(500));
    service.proxy().fault(Match::action("RunInstances"), Limit::times(1), slow);
    let address = proxy.address();
    let first = std::thread::spawn(move || {
        Client::connect(address).unwrap().call("ec2", "RunInstances", &format!("{RUN}job")).unwrap()
    });
    let arrived = |requests: &[_]| requests.len() == 1;
    assert!(service.proxy().wait(PATIENCE, arrived), "the first request never reached the service");
    let second = client.call("ec2", "RunInstances", &format!("{RUN}job")).unwrap();
    let other = client.call("ec2", "RunInstances", &format!("EbsOptimized=true&{RUN}job")).unwrap();
    assert_eq!(code(&other), "IdempotentParameterMismatch");
    assert_eq!(first.join().unwrap().body, second.body);
    assert_eq!(service.instances().len(), 1);
}

#[test]
fn another_request_under_a_token_is_refused_and_launches_nothing() {
    let (service, _proxy, mut client) = start();
    for (action, body, other) in [
        ("RunInstances", RUN, RUN.replace("m7i.large", "m6i.large")),
        ("CreateFleet", FLEET, FLEET.replace("CapacityType=spot", "CapacityType=on-demand")),
    ] {
        assert_eq!(client.call("ec2", action, &format!("{body}job")).unwrap().status, 200);
        let before = service.instances().len();
        let reply = client.call("ec2", action, &format!("{other}job")).unwrap();
        assert_eq!((reply.status, code(&reply)), (400, "IdempotentParameterMismatch".to_owned()));
        assert_eq!(service.instances().len(), before);
    }
    let long = client.call("ec2", "RunInstances", &format!("{RUN}{}", "x".repeat(65))).unwrap();
    assert_eq!(code(&long), "InvalidParameterValue", "EC2 takes at most 64 characters");
}

#[test]
fn the_answer_that_was_lost_is_given_to_the_next_request_with_its_token() {
    let (service, proxy, mut client) = start();
    proxy.fault(Match::action("CreateFleet"), Limit::times(1), Fault::LoseAnswer);
    let lost = client.call("ec2", "CreateFleet", &format!("{FLEET}job")).unwrap_err();
    assert_eq!(lost.kind(), ErrorKind::ConnectionReset);
    let launched: Vec<String> = service.instances().into_iter().map(|instance| instance.id).collect();
    assert_eq!(launched.len(), 3, "it was carried out");
    let mut client = Client::connect(proxy.address()).unwrap();
    let reply = client.call("ec2", "CreateFleet", &format!("{FLEET}job")).unwrap();
    assert!(launched.iter().all(|id| reply.text().contains(id)), "{}", reply.text());
    assert_eq!(service.instances().len(), 3);
}

#[test]
fn a_caller_that_hangs_up_has_launched_nevertheless() {
    let (service, proxy, mut client) = start();
    let slow = Fault::Delay(Duration::from_millis(300));
    service.proxy().fault(Match::action("RunInstances"), Limit::times(1), slow);
    client.set_timeout(Duration::from_millis(20));
    assert!(client.call("ec2", "RunInstances", &format!("{RUN}job")).is_err());
    assert!(service.proxy().wait(PATIENCE, |requests| requests.len() == 1));
    drop(client);
    let mut client = Client::connect(proxy.address()).unwrap();
    assert_eq!(client.call("ec2", "RunInstances", &format!("{RUN}job")).unwrap().status, 200);
    assert_eq!(service.instances().len(), 1, "the launcher that was killed in its call has launched twice");
}

#[test]
fn a_failure_binds_a_token_to_nothing_and_a_fleet_of_errors_alone_binds_it() {
    let (service, _proxy, mut client) = start();
    let on_demand = Pool::on_demand("m7i.large", "eu-central-1a");
    service.set_capacity(on_demand.clone(), 0);
    let none = client.call("ec2", "RunInstances", &format!("{RUN}job")).unwrap();
    assert_eq!((none.status, code(&none)), (500, "InsufficientInstanceCapacity".to_owned()));
    service.set_capacity(on_demand, 1);
    assert_eq!(client.call("ec2", "RunInstances", &format!("{RUN}job")).unwrap().status, 200);

    let pools = [Pool::spot("m7i.large", "eu-central-1a"), Pool::spot("m6i.large", "eu-central-1b")];
    pools.clone().into_iter().for_each(|pool| service.set_capacity(pool, 0));
    let none = client.call("ec2", "CreateFleet", &format!("{FLEET}job")).unwrap();
    assert_eq!((none.status, errors(&none), instances(&none)), (200, 2, 0), "{}", none.text());
    pools.into_iter().for_each(|pool| service.set_capacity(pool, 9));
    let again = client.call("ec2", "CreateFleet", &format!("{FLEET}job")).unwrap();
    assert_eq!(again.body, none.body, "a fleet that launched nothing is the answer to its token for ever");
    let fall_back = FLEET.replace("CapacityType=spot", "CapacityType=on-demand");
    let reply = client.call("ec2", "CreateFleet", &format!("{fall_back}job")).unwrap();
    assert_eq!(code(&reply), "IdempotentParameterMismatch");
}

#[test]
fn a_fleet_tells_its_errors_inside_a_success() {
    let (service, proxy, mut client) = start();
    let mut fleet = |fault: &str, body: &str| {
        let id = proxy.fault(Match::action("CreateFleet"), Limit::default(), fault.parse().unwrap());
        let reply = client.call("ec2", "CreateFleet", body).unwrap();
        proxy.clear(id);
        assert_eq!(reply.status, 200, "{}", reply.text());
        reply
    };
    for code in ["UnfulfillableCapacity", "MaxSpotInstanceCountExceeded", "VcpuLimitExceeded", "UnauthorizedOperation"]
    {
        let reply = fleet(&format!("fleet-errors:{code}"), &format!("{FLEET}{code}"));
        assert_eq!((errors(&reply), instances(&reply)), (2, 0));
        assert!(reply.text().contains(&format!("<errorCode>{code}</errorCode>")));
        assert!(service.instances().is_empty() && service.calls().is_empty());
    }
    let rest = fleet("fleet-errors:InsufficientInstanceCapacity:2", &format!("{FLEET}rest"));
    assert_eq!((errors(&rest), instances(&rest)), (2, 2), "{}", rest.text());
    assert_eq!(service.instances().len(), 2);
    let minimum = fleet(
        "fleet-errors:InsufficientInstanceCapacity:2",
        &format!("SpotOptions.MinTargetCapacity=3&{FLEET}minimum"),
    );
    assert_eq!((errors(&minimum), instances(&minimum)), (2, 0), "less than the minimum is nothing");
    assert_eq!(service.instances().len(), 2);
}

#[test]
fn a_list_is_as_it_was_when_the_question_was_asked_before() {
    let (service, proxy, mut client) = start();
    let list = "Filter.1.Name=instance-state-name&Filter.1.Value.1=running";
    let count = |client: &mut Client| {
        client.call("ec2", "DescribeInstances", list).unwrap().text().matches("<instanceId>").count()
    };
    assert_eq!(count(&mut client), 0);
    let launch = client.call("ec2", "RunInstances", &format!("{RUN}job")).unwrap();
    assert_eq!(launch.status, 200);
    let stale = Fault::Stale(Duration::from_secs(3600));
    proxy.fault(Match::action("DescribeInstances"), Limit::times(2), stale);
    assert_eq!((count(&mut client), count(&mut client)), (0, 0), "the list of an hour ago has what was launched since");
    assert_eq!(count(&mut client), 1);
    assert_eq!(service.instances().len(), 1);
}

#[test]
fn buckets_throttle_requests_and_what_they_launch() {
    let (service, proxy, mut client) = start();
    // Nothing comes in within the time of a test.
    let bucket = |size| Bucket { size, per_second: 0.000_001 };
    proxy.quota(Match::action("DescribeInstances"), Counts::Requests, bucket(2));
    let mut lists = || client.call("ec2", "DescribeInstances", "").unwrap();
    assert_eq!([lists().status, lists().status], [200, 200]);
    let third = lists();
    assert_eq!((third.status, code(&third)), (503, "RequestLimitExceeded".to_owned()));
    let last = proxy.requests().pop().unwrap();
    assert_eq!(last.fault, Some(Fault::Error(AwsError::Throttled)), "the record says what was throttled");

    proxy.quota(Match::action("CreateFleet"), Counts::Instances, bucket(4));
    proxy.quota(Match::action("CreateFleet"), Counts::Requests, bucket(4));
    let mut fleet = |token: &str| client.call("ec2", "CreateFleet", &format!("{FLEET}{token}")).unwrap();
    let first = fleet("a");
    assert_eq!(instances(&first), 3);
    assert_eq!(code(&fleet("b")), "RequestLimitExceeded", "one token is left for three instances");
    assert_eq!(fleet("a").body, first.body, "what is asked for again launches nothing and costs nothing but a request");
    assert_eq!(service.instances().len(), 3);
    assert_eq!(fleet("a").status, 200);
    // The request that was refused took none of the request tokens either: three are used.
    assert_eq!(fleet("a").status, 200);
    assert_eq!(code(&fleet("a")), "RequestLimitExceeded");
    proxy.clear_quotas();
    assert_eq!(fleet("c").status, 200);
}

#[test]
fn a_bucket_refills_with_time() {
    let (_service, proxy, mut client) = start();
    let bucket = Bucket { size: 1, per_second: 20.0 };
    proxy.quota(Match::action("PutParameter"), Counts::Requests, bucket);
    let mut put = |name: &str| {
        let body = format!(r#"{{"Name":"/{name}","Value":"x","Type":"String"}}"#);
        client.call("ssm", "PutParameter", &body).unwrap().status
    };
    assert_eq!(put("first"), 200);
    let started = std::time::Instant::now();
    let refused = (0..).take_while(|number| put(&format!("more-{number}")) == 400).count();
    assert!(
        refused > 0 || started.elapsed() >= Duration::from_millis(50),
        "a full bucket of one let two through at once"
    );
}

/// What Parameter Store refuses, before any emulator.
#[test]
fn parameters_are_refused_as_parameter_store_does() {
    let (_service, proxy, mut client) = start();
    let mut put = |name: &str, tier: &str, value: &str| {
        let body = serde_json::json!({ "Name": name, "Value": value, "Type": "SecureString", "Tier": tier });
        let reply = client.call("ssm", "PutParameter", &body.to_string()).unwrap();
        let answer: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
        answer["__type"].as_str().map_or_else(|| reply.status.to_string(), str::to_owned)
    };
    let (at_most, more) = ("x".repeat(4096), "x".repeat(4097));
    assert_eq!(put("/jit/a", "Standard", &at_most), "200");
    assert_eq!(put("/jit/b", "Standard", &more), "ValidationException");
    assert_eq!(put("/jit/b", "Advanced", &more), "200");
    assert_eq!(put("/jit/c", "Advanced", &"x".repeat(8193)), "ValidationException");
    assert_eq!(put("/jit/c", "Standard", "a {{b}} c"), "ValidationException");
    assert_eq!(put("/jit/c d", "Standard", "x"), "ValidationException");
    assert_eq!(put("/jit/a", "Standard", "x"), "ParameterAlreadyExists");
    proxy.parameter_limit(Some(2));
    assert_eq!(put("/jit/c", "Standard", "x"), "ParameterLimitExceeded");
    let mut client = Client::connect(proxy.address()).unwrap();
    assert_eq!(client.call("ssm", "DeleteParameter", r#"{"Name":"/jit/a"}"#).unwrap().status, 200);
    let body = r#"{"Name":"/jit/c","Value":"x","Type":"String"}"#;
    assert_eq!(client.call("ssm", "PutParameter", body).unwrap().status, 200);
}
