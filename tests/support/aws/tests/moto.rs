//! The emulator behind the proxy. Needs the environment that `scripts/test` makes.
#![allow(clippy::unwrap_used, reason = "a test may fail there")]

use std::process::Command;

use mayfly_fake_aws::Limit;
use mayfly_fake_aws::moto::{InstanceSpec, Moto};
use mayfly_fake_aws::proxy::{AwsError, AwsProxy, Fault, Match};

/// Parameters, instances and groups are made and seen, and botocore, which
/// nobody here wrote, reads the made-up errors as AWS's own.
#[test]
fn seeding_and_the_errors_as_botocore_reads_them() {
    let moto = Moto::start().unwrap();
    moto.put_parameter("/mayfly/a", &"x".repeat(5000)).unwrap();
    assert!(moto.parameter_exists("/mayfly/a").unwrap());
    assert!(!moto.parameter_exists("/mayfly/b").unwrap());

    let mut spec = InstanceSpec::default();
    spec.tags.insert("mayfly:class".to_owned(), "a & b".to_owned());
    let id = moto.run_instance(&spec).unwrap();
    assert_eq!(moto.instance_state(&id).unwrap(), "running");
    assert_eq!(moto.instance_tags(&id).unwrap(), spec.tags);

    let group = moto.run_group("runners", &spec).unwrap();
    assert_eq!(moto.desired_capacity("runners").unwrap(), 1);
    let tags = moto.instance_tags(&group.instance_id).unwrap();
    assert_eq!(tags["aws:autoscaling:groupName"], "runners");
    assert_eq!(tags["mayfly:class"], "a & b");

    moto.create_log_group("/mayfly/small").unwrap();
    let aws = AwsProxy::start(moto.address()).unwrap();
    for (action, times, error) in [
        ("GetParameter", 1, AwsError::AccessDenied),
        ("TerminateInstances", 1, AwsError::AccessDenied),
        ("DescribeInstances", 1, AwsError::ExpiredCredentials),
        ("TerminateInstanceInAutoScalingGroup", 1, AwsError::MinSize),
    ] {
        aws.fault(Match::action(action), Limit::times(times), Fault::Error(error));
    }
    let python = mayfly_fake_aws::moto::environment().unwrap();
    let output = Command::new(python.join("bin/python"))
        .args(["-I", "-c", include_str!("botocore_client.py")])
        .args([&aws.url(), &group.instance_id])
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    assert_eq!(moto.instance_state(&group.instance_id).unwrap(), "terminated");
    assert_eq!(moto.desired_capacity("runners").unwrap(), 0);

    let messages = moto.log_messages("/mayfly/small", "i-1/agent").unwrap();
    assert_eq!(messages.len(), 12_000);
    assert_eq!((&*messages[0], &*messages[11_999]), ("line 0", "line 11999"));
    assert_eq!(moto.log_streams("/mayfly/small").unwrap(), ["i-1/agent"]);

    moto.reset().unwrap();
    assert!(!moto.parameter_exists("/mayfly/a").unwrap());
}

/// The same launcher's calls to the emulator: its fleets lack errors and its launches ignore client tokens, and with the
/// proxy before it botocore sees both as of EC2.
#[test]
fn launches_and_their_errors_as_botocore_reads_them() {
    let moto = Moto::start().unwrap();
    let aws = AwsProxy::start(moto.address()).unwrap();
    let short = |launched| Fault::FleetErrors { code: "InsufficientInstanceCapacity".to_owned(), launched };
    // The first fleet and its repetition, then the second.
    aws.fault(Match::action("CreateFleet"), Limit::times(2), short(7));
    aws.fault(Match::action("CreateFleet"), Limit::times(1), short(0));
    let python = mayfly_fake_aws::moto::environment().unwrap();
    let output = Command::new(python.join("bin/python"))
        .args(["-I", "-c", include_str!("botocore_launcher.py"), &aws.url(), "moto"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
