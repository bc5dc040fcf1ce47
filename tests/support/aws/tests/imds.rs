//! The metadata double as its clients see it.
#![allow(clippy::unwrap_used, reason = "a test may fail there")]

mod common;

use std::io::ErrorKind;
use std::time::{Duration, Instant, SystemTime};

use common::Client;
use mayfly_fake_aws::Limit;
use mayfly_fake_aws::imds::{Fault, ImdsDouble, Instance};

const TTL: &str = "x-aws-ec2-metadata-token-ttl-seconds";
const ID: &str = "/latest/meta-data/instance-id";

fn start() -> (ImdsDouble, Client) {
    let instance = Instance {
        auto_scaling_group: Some("runners".to_owned()),
        user_data: Some(vec![0x1f, 0x8b, 0xff, 0x00]),
        ..Instance::default().tag("mayfly:class", "small")
    };
    let imds = ImdsDouble::start(instance).unwrap();
    let client = Client::connect(imds.address()).unwrap();
    (imds, client)
}

#[test]
fn tokens_are_needed_bounded_and_expire() {
    let (imds, mut client) = start();
    assert_eq!(client.send("GET", ID, &[], "").unwrap().status, 401);
    assert_eq!(client.get("guess", ID).unwrap().status, 401);
    for (headers, status) in [
        (&[][..], 400),
        (&[(TTL, "0")][..], 400),
        (&[(TTL, "21601")][..], 400),
        (&[(TTL, "60"), ("x-forwarded-for", "10.0.0.1")][..], 403),
    ] {
        let reply = client.send("PUT", "/latest/api/token", headers, "");
        assert_eq!(reply.unwrap().status, status, "{headers:?}");
    }
    let dated = client.send("PUT", "/2021-07-15/api/token", &[(TTL, "60")], "");
    assert_eq!(dated.unwrap().status, 403);

    let short = client.send("PUT", "/latest/api/token", &[(TTL, "1")], "");
    let short = short.unwrap();
    assert_eq!(short.header(TTL), Some("1"));
    let reply = client.get(&short.text(), ID).unwrap();
    assert_eq!((reply.status, reply.text().as_str()), (200, "i-0123456789abcdef0"));
    assert!(reply.header(TTL).is_some());
    std::thread::sleep(Duration::from_millis(1100));
    assert_eq!(client.get(&short.text(), ID).unwrap().status, 401);

    let token = client.token();
    imds.invalidate_tokens();
    assert_eq!(client.get(&token, ID).unwrap().status, 401);
    // All of it came over one connection, and the record says so.
    assert_eq!(imds.connections().opened, 1);
    assert!(imds.requests().iter().all(|r| r.connection == 1));
    assert!(!imds.requests()[0].with_token);
}

#[test]
fn paths_of_a_quiet_instance() {
    let (imds, mut client) = start();
    let token = client.token();
    let mut get = |path: &str| {
        let reply = client.get(&token, path).unwrap();
        (reply.status, reply.text())
    };
    for path in [
        "spot/instance-action",
        "spot/termination-time",
        "events/recommendations/rebalance",
        "public-ipv4",
        "tags/instance/absent",
    ] {
        assert_eq!(get(&format!("/latest/meta-data/{path}")).0, 404, "{path}");
    }
    for (path, body) in [
        ("events/maintenance/scheduled", "[]"),
        ("autoscaling/target-lifecycle-state", "InService"),
        ("iam/security-credentials/", "mayfly-runner"),
        ("placement/availability-zone", "eu-central-1a"),
        ("tags/instance", "aws:autoscaling:groupName\nmayfly:class"),
        ("tags/instance/mayfly%3Aclass", "small"),
        ("services/partition", "aws"),
    ] {
        let found = get(&format!("/2021-07-15/meta-data/{path}"));
        assert_eq!(found, (200, body.to_owned()), "{path}");
    }
    imds.spot_action("terminate", SystemTime::now());
    assert_eq!(get("/latest/meta-data/spot/instance-action").0, 200);
    assert_eq!(get("/latest/meta-data/spot/termination-time").0, 200);
    imds.remove("meta-data/spot");
    assert_eq!(get("/latest/meta-data/spot/instance-action").0, 404);
    let data = client.get(&token, "/latest/user-data").unwrap();
    assert_eq!(data.body, [0x1f, 0x8b, 0xff, 0x00]);
}

#[test]
fn faults_of_a_request() {
    let (imds, mut client) = start();
    let token = client.token();
    let id = imds.fault(ID, Limit::times(2), Fault::Status(503));
    let statuses: Vec<u16> = (0..3).map(|_| client.get(&token, ID).unwrap().status).collect();
    assert_eq!(statuses, [503, 503, 200]);
    assert_eq!(imds.hits(id), 2);

    imds.fault(ID, Limit::times(1), Fault::HalfBody);
    let cut = client.get(&token, ID).unwrap_err();
    assert_eq!(cut.kind(), ErrorKind::UnexpectedEof);

    let mut client = Client::connect(imds.address()).unwrap();
    imds.fault(ID, Limit::times(1), Fault::Reset);
    let cut = client.get(&token, ID).unwrap_err();
    assert_eq!(cut.kind(), ErrorKind::ConnectionReset);

    let mut client = Client::connect(imds.address()).unwrap();
    imds.fault(ID, Limit::times(1), Fault::Hang);
    client.set_timeout(Duration::from_millis(100));
    let late = client.get(&token, ID).unwrap_err();
    assert_eq!(late.kind(), ErrorKind::WouldBlock);
    assert_eq!(imds.requests().last().unwrap().status, None);
}

#[test]
fn faults_of_the_port() {
    let (imds, mut client) = start();
    let token = client.token();
    imds.refuse(Some(Duration::from_millis(150))).unwrap();
    assert!(client.get(&token, ID).is_err(), "open connections are closed");
    let refused = Client::connect(imds.address()).err().unwrap();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    std::thread::sleep(Duration::from_millis(250));
    let mut client = Client::connect(imds.address()).unwrap();
    assert_eq!(client.get(&token, ID).unwrap().status, 200);

    imds.black_hole(None).unwrap();
    let lost = Client::connect(imds.address()).err().unwrap();
    assert_eq!(lost.kind(), ErrorKind::TimedOut);
    let asking = std::thread::spawn(move || client.get(&token, ID).unwrap().status);
    let seen = |n: usize| imds.wait(Duration::from_secs(2), |all| all.len() >= n);
    assert!(!asking.is_finished());
    std::thread::sleep(Duration::from_millis(100));
    assert!(!asking.is_finished(), "nothing is answered meanwhile");
    imds.clear_all().unwrap();
    assert_eq!(asking.join().unwrap(), 200);
    assert!(seen(3));
    assert!(Client::connect(imds.address()).is_ok());
}

#[test]
fn dates_of_a_wrong_clock_and_closing_connections() {
    let (imds, mut client) = start();
    let token = client.token();
    imds.clock_skew(-86_400 * 400);
    imds.keep_alive(false);
    let reply = client.get(&token, ID).unwrap();
    let year = reply.header("date").unwrap().split(' ').nth(3).unwrap();
    let now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    assert!(year < &now[..4]);
    assert_eq!(reply.header("connection"), Some("close"));
}

#[test]
fn commands() {
    let (imds, mut client) = start();
    let token = client.token();
    let command = |text: &str| imds.command(&serde_json::from_str(text).unwrap());
    command(r#"{"spot_action":["terminate","2026-01-01T00:02:00Z"]}"#).unwrap();
    command(r#"{"fault":{"path":"/latest/meta-data/spot","fault":"429","times":1}}"#).unwrap();
    let path = "/latest/meta-data/spot/instance-action";
    assert_eq!(client.get(&token, path).unwrap().status, 429);
    let notice: serde_json::Value = serde_json::from_slice(&client.get(&token, path).unwrap().body).unwrap();
    assert_eq!(notice["time"], "2026-01-01T00:02:00Z");
    let requests = command(r#"{"requests":null}"#).unwrap();
    assert_eq!(requests["requests"].as_array().unwrap().len(), 3);
    assert!(command(r#"{"nonsense":1}"#).is_err());
}

#[test]
fn stops_at_once_with_requests_hanging() {
    let (imds, mut client) = start();
    imds.fault("/", Limit::default(), Fault::Hang);
    let asking = std::thread::spawn(move || client.get("", ID).is_err());
    assert!(imds.wait(Duration::from_secs(2), |all| !all.is_empty()));
    let before = Instant::now();
    drop(imds);
    assert!(before.elapsed() < Duration::from_secs(1));
    assert!(asking.join().unwrap());
}
