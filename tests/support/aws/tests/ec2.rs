//! The double of this process: what it keeps, lists, and launches; and a burst.
#![allow(clippy::unwrap_used, reason = "a test may fail there")]

mod common;

use std::collections::BTreeSet;
use std::process::Command;
use std::time::{Duration, Instant};

use common::Client;
use mayfly_fake_aws::Limit;
use mayfly_fake_aws::ec2::{FakeEc2, Options, Pool};
use mayfly_fake_aws::moto::environment;
use mayfly_fake_aws::proxy::{Fault, Match};

const PATIENCE: Duration = Duration::from_secs(60);

fn run(client: &mut Client, count: u32, more: &str) -> Vec<String> {
    let body = format!("MinCount={count}&MaxCount={count}{more}");
    let reply = client.call("ec2", "RunInstances", &body).unwrap();
    assert_eq!(reply.status, 200, "{}", reply.text());
    ids(&reply.text())
}

fn ids(xml: &str) -> Vec<String> {
    let parts = xml.split("<instanceId>").skip(1);
    parts.map(|part| part.split('<').next().unwrap().to_owned()).collect()
}

fn list(client: &mut Client, body: &str) -> String {
    let reply = client.call("ec2", "DescribeInstances", body).unwrap();
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.text()
}

/// Until a list says so; each question is asked anew, as a launcher does.
fn until(client: &mut Client, body: &str, done: impl Fn(&[String]) -> bool) {
    let end = Instant::now() + PATIENCE;
    while !done(&ids(&list(client, body))) {
        assert!(Instant::now() < end, "the list never came to it: {body}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn instances_are_pending_then_running_and_listed_after_their_end() {
    let second = Duration::from_secs(1);
    let options = Options { boot: second, shutdown: second, listed: second, ..Options::default() };
    let ec2 = FakeEc2::start(options).unwrap();
    let mut client = Client::connect(ec2.proxy().address()).unwrap();
    let id = run(&mut client, 1, "").remove(0);
    let state = |name: &str| format!("Filter.1.Name=instance-state-name&Filter.1.Value.1={name}");
    assert_eq!(ec2.instances()[0].state, "pending");
    until(&mut client, &state("running"), |ids| ids == [id.clone()]);
    let reply = client.call("ec2", "TerminateInstances", &format!("InstanceId.1={id}")).unwrap();
    assert!(reply.text().contains("<name>shutting-down</name>"), "{}", reply.text());
    let again = client.call("ec2", "TerminateInstances", &format!("InstanceId.1={id}")).unwrap();
    assert_eq!(again.status, 200, "to end what ends is no error");
    until(&mut client, &state("terminated"), |ids| ids == [id.clone()]);
    until(&mut client, "", <[String]>::is_empty);
    let gone = client.call("ec2", "DescribeInstances", &format!("InstanceId.1={id}")).unwrap();
    assert!(gone.text().contains("InvalidInstanceID.NotFound"));
    assert_eq!(ec2.instances()[0].state, "terminated");
}

#[test]
fn lists_are_filtered_and_paged() {
    let ec2 = FakeEc2::start(Options::default()).unwrap();
    let mut client = Client::connect(ec2.proxy().address()).unwrap();
    let tag = "&TagSpecification.1.ResourceType=instance&TagSpecification.1.Tag.1.Key=class\
               &TagSpecification.1.Tag.1.Value=small";
    let tagged = run(&mut client, 12, tag);
    let other = run(&mut client, 1, "").remove(0);
    let by_tag = "Filter.1.Name=tag%3Aclass&Filter.1.Value.1=sm*&MaxResults=5";
    let (mut pages, mut found, mut token) = (0, Vec::new(), String::new());
    loop {
        let page = list(&mut client, &format!("{by_tag}{token}"));
        found.extend(ids(&page));
        pages += 1;
        let Some((_, next)) = page.split_once("<nextToken>") else { break };
        token = format!("&NextToken={}", next.split('<').next().unwrap());
    }
    assert_eq!((pages, &found), (3, &tagged));
    let created = "Tag.1.Key=job&Tag.1.Value=7";
    let reply = client.call("ec2", "CreateTags", &format!("ResourceId.1={other}&{created}")).unwrap();
    assert_eq!(reply.status, 200);
    let with =
        list(&mut client, "Filter.1.Name=tag-key&Filter.1.Value.1=job&Filter.2.Name=instance-id&Filter.2.Value.1=i-*");
    assert_eq!(ids(&with), [other]);
    let unknown = client.call("ec2", "DescribeInstances", "Filter.1.Name=colour&Filter.1.Value.1=red").unwrap();
    assert_eq!(unknown.status, 400, "a filter that the double does not know is no empty list");
}

#[test]
fn a_stale_list_is_the_list_of_that_time() {
    let ec2 = FakeEc2::start(Options::default()).unwrap();
    let mut client = Client::connect(ec2.proxy().address()).unwrap();
    let first = run(&mut client, 1, "").remove(0);
    let running = "Filter.1.Name=instance-state-name&Filter.1.Value.1=running";
    let describe = || Match::action("DescribeInstances");
    let hour = ec2.proxy().fault(describe(), Limit::default(), Fault::Stale(Duration::from_secs(3600)));
    assert!(ids(&list(&mut client, running)).is_empty(), "the list of an hour ago has what was launched since");
    let named = client.call("ec2", "DescribeInstances", &format!("InstanceId.1={first}")).unwrap();
    assert!(named.text().contains("InvalidInstanceID.NotFound"), "{}", named.text());
    ec2.proxy().clear(hour);
    assert_eq!(ids(&list(&mut client, running)), std::slice::from_ref(&first));
    // A list that is a little behind comes to what happened, and to nothing else before.
    ec2.proxy().fault(describe(), Limit::default(), Fault::Stale(Duration::from_millis(250)));
    let second = run(&mut client, 1, "").remove(0);
    assert!(ec2.end(&first));
    until(&mut client, running, |ids| ids == [second.clone()]);
}

#[test]
fn a_fleet_goes_through_its_pools_and_tells_which_were_short() {
    let ec2 = FakeEc2::start(Options::default()).unwrap();
    let mut client = Client::connect(ec2.proxy().address()).unwrap();
    ec2.set_capacity(Pool::spot("m7i.large", "eu-central-1a"), 2);
    ec2.set_capacity(Pool::spot("m6i.large", "eu-central-1b"), 1);
    let fleet = |token: &str, capacity: u32| {
        format!(
            "Type=instant&ClientToken={token}&TargetCapacitySpecification.TotalTargetCapacity={capacity}\
             &TargetCapacitySpecification.DefaultTargetCapacityType=spot\
             &SpotOptions.AllocationStrategy=capacity-optimized-prioritized\
             &LaunchTemplateConfigs.1.LaunchTemplateSpecification.LaunchTemplateId=lt-1\
             &LaunchTemplateConfigs.1.Overrides.1.InstanceType=m6i.large&LaunchTemplateConfigs.1.Overrides.1.Priority=2\
             &LaunchTemplateConfigs.1.Overrides.1.AvailabilityZone=eu-central-1b\
             &LaunchTemplateConfigs.1.Overrides.2.InstanceType=m7i.large&LaunchTemplateConfigs.1.Overrides.2.Priority=1\
             &LaunchTemplateConfigs.1.Overrides.2.AvailabilityZone=eu-central-1a"
        )
    };
    let reply = client.call("ec2", "CreateFleet", &fleet("a", 2)).unwrap().text();
    assert!(!reply.contains("<errorCode>"), "{reply}");
    let first = ec2.instances();
    assert!(first.iter().all(|instance| instance.pool.instance_type == "m7i.large"), "{first:?}");
    assert_eq!(first[0].client_token.as_deref(), Some("a"));
    let reply = client.call("ec2", "CreateFleet", &fleet("b", 2)).unwrap().text();
    assert_eq!((reply.matches("<item>i-").count(), reply.matches("<errorCode>").count()), (1, 2), "{reply}");
    // What ends gives its place back.
    assert!(ec2.end(&first[0].id));
    assert!(!ec2.end(&first[0].id));
    let reply = client.call("ec2", "CreateFleet", &fleet("c", 1)).unwrap().text();
    assert!(!reply.contains("<errorCode>"), "{reply}");
}

/// A thousand launches, each with its parameter and its end, from eight connections at once: nothing is made twice
/// and nothing is forgotten.
#[test]
fn a_burst_of_a_thousand_launches() {
    let ec2 = FakeEc2::start(Options::default()).unwrap();
    let address = ec2.proxy().address();
    let workers: Vec<_> = (0..8)
        .map(|worker| {
            std::thread::spawn(move || {
                let mut client = Client::connect(address).unwrap();
                for number in 0..125 {
                    let token = format!("&ClientToken=job-{worker}-{number}");
                    let id = run(&mut client, 1, &token).remove(0);
                    assert_eq!(run(&mut client, 1, &token), std::slice::from_ref(&id));
                    let parameter = format!(r#"{{"Name":"/jit/{id}","Value":"x","Type":"SecureString"}}"#);
                    assert_eq!(client.call("ssm", "PutParameter", &parameter).unwrap().status, 200);
                    let end = client.call("ec2", "TerminateInstances", &format!("InstanceId.1={id}")).unwrap();
                    assert_eq!(end.status, 200);
                }
            })
        })
        .collect();
    workers.into_iter().for_each(|worker| worker.join().unwrap());
    let instances = ec2.instances();
    assert!(instances.iter().all(|instance| instance.state == "terminated"));
    let names: BTreeSet<String> = instances.iter().map(|instance| format!("/jit/{}", instance.id)).collect();
    assert_eq!(names.len(), 1000);
    assert_eq!(ec2.parameters().keys().cloned().collect::<BTreeSet<String>>(), names);
    assert_eq!(ec2.calls().len(), 4000);
}

/// AWS's own client, which nobody here wrote, reads every answer: fleets with errors, pages, parameters, refusals.
#[test]
fn answers_and_errors_as_botocore_reads_them() {
    let ec2 = FakeEc2::start(Options::default()).unwrap();
    ec2.set_capacity(Pool::spot("m7i.large", "eu-central-1a"), 7);
    let output = Command::new(environment().unwrap().join("bin/python"))
        .args(["-I", "-c", include_str!("botocore_launcher.py"), &ec2.url()])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(ec2.instances().len(), 10);
}
