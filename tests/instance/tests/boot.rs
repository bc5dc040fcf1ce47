//! The machine itself: before Mayfly is tested on it, it must be what it claims to be.

#![allow(missing_docs, reason = "scenarios say it by their names")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a test may fail there, and tells its figures"
)]

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use mayfly_instance::{Machine, Spec, seconds};

fn cloud_init_runs_with_the_ec2_data_source(name: &str) {
    let began = Instant::now();
    let user_data = "#cloud-config\nwrite_files:\n- path: /etc/from-user-data\n  content: told at launch\n";
    let mut machine = Spec::new(name).user_data(user_data).boot().unwrap();
    machine.wait_until_booted();
    eprintln!("figure: {name}: cold boot until systemd is done {:.1} s", began.elapsed().as_secs_f64());
    let status = machine.guest("cloud-init status --long");
    assert!(status.contains("status: done"), "cloud-init is not done: {status}");
    assert!(status.contains("DataSourceEc2"), "cloud-init does not believe this is EC2: {status}");
    assert_eq!(machine.get("/etc/from-user-data"), "told at launch", "write_files of the user data did not happen");
    let address = machine.clouds.aws.address().port().to_string();
    assert!(machine.get("/etc/mayfly/test-cloud.env").contains(&address), "the agent would look for AWS elsewhere");
    let failed = machine.guest("systemctl --failed --plain --no-legend");
    assert_eq!(failed, "", "a unit of the image fails, and scenarios about failed units would see it");
}

#[test]
fn debian_13_boots_and_cloud_init_reads_user_data_from_the_metadata_service() {
    cloud_init_runs_with_the_ec2_data_source("debian-13");
}

#[test]
fn debian_12_boots_and_cloud_init_reads_user_data_from_the_metadata_service() {
    cloud_init_runs_with_the_ec2_data_source("debian-12");
}

fn the_power_key_ends_it(name: &str) {
    let mut machine = Machine::restored(name);
    machine.guest("true");
    machine.press_power();
    let ended = machine.wait_for_power_off(seconds(90));
    eprintln!("figure: {name}: power key to off {:.1} s", ended.took.as_secs_f64());
    assert_eq!(ended.reason, "guest-shutdown", "the machine did not shut itself down");
    assert!(!ended.by_ec2, "nobody terminated the instance");
}

#[test]
fn debian_13_is_ended_by_the_power_key() {
    the_power_key_ends_it("debian-13");
}

#[test]
fn debian_12_is_ended_by_the_power_key() {
    the_power_key_ends_it("debian-12");
}

#[test]
fn an_instance_terminated_in_ec2_is_powered_off_from_outside() {
    let mut machine = Machine::restored("debian-13");
    let id = machine.clouds.instance.clone();
    // What the agent does, with what the image has: EC2's query protocol, unsigned, since moto checks no signature.
    let scope = "AWS4-HMAC-SHA256 Credential=x/20260101/eu-central-1/ec2/aws4_request, SignedHeaders=host, Signature=x";
    machine.guest(&format!(
        ". /etc/mayfly/test-cloud.env; curl --silent --fail --max-time 20 -H 'Authorization: {scope}' \
         -d 'Action=TerminateInstances&Version=2016-11-15&InstanceId.1={id}' $AWS_ENDPOINT_URL/"
    ));
    let ended = machine.wait_for_power_off(seconds(90));
    assert!(ended.by_ec2, "the machine went off by itself: {ended:?}");
    assert_eq!(ended.reason, "guest-shutdown", "the guest did not obey the power button");
}

#[test]
fn two_machines_from_one_snapshot_know_nothing_of_each_other() {
    let began = Instant::now();
    let mut first = Machine::restored("debian-13");
    first.guest("true");
    eprintln!("figure: debian-13: restored to the first command {:.1} s", began.elapsed().as_secs_f64());
    let mut second = Machine::restored("debian-13");
    first.put("/root/here", "first");
    second.put("/root/here", "second");
    first.guest("sync");
    assert_eq!(first.get("/root/here"), "first", "the machines share a disk");
    assert_eq!(second.get("/root/here"), "second", "the machines share a disk");
    assert_ne!(first.clouds.instance, second.clouds.instance, "the machines share an instance");
    for machine in [&mut first, &mut second] {
        assert!(machine.guest("docker info --format '{{.ServerVersion}}'").contains('.'), "Docker is not up");
        let identity = machine.guest(IDENTITY);
        assert!(identity.contains(&machine.clouds.instance), "the machine is another instance: {identity}");
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let there: u64 = machine.guest("date +%s").trim().parse().unwrap();
        assert!(there.abs_diff(now) <= 5, "the restored clock is {} s off", there.abs_diff(now));
    }
    drop(first);
    assert_eq!(second.get("/root/here"), "second", "one machine's end ended the other");
}

/// With curl, as a job would.
const IDENTITY: &str = "t=$(curl --silent --fail --max-time 10 -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' \
    http://169.254.169.254/latest/api/token) && curl --silent --fail --max-time 10 -H \"X-aws-ec2-metadata-token: $t\" \
    http://169.254.169.254/latest/dynamic/instance-identity/document";

#[test]
fn the_metadata_service_answers_only_with_a_session_token() {
    let mut machine = Machine::restored("debian-13");
    let status = machine.guest(
        "curl --silent --max-time 10 --output /dev/null --write-out '%{http_code}' \
         http://169.254.169.254/latest/meta-data/instance-id",
    );
    assert_eq!(status, "401", "a request without a session token got through: isolation scenarios would prove nothing");
    let identity = machine.guest(IDENTITY);
    assert!(identity.contains(&machine.clouds.instance), "another instance's identity: {identity}");
    let seen = machine.clouds.imds.requests();
    assert!(seen.iter().any(|request| request.method == "PUT"), "the answers came from elsewhere: {seen:#?}");
}

#[test]
fn nothing_but_the_doubles_can_be_reached() {
    let mut machine = Machine::restored("debian-13");
    assert_eq!(machine.guest("ip route show default"), "", "scenarios could depend on the internet");
}
