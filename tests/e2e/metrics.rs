//! The figures of a run, as Prometheus scrapes them and as CloudWatch finds them in the log.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail there")]

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

use mayfly_core::metrics::{self, Kind};
use mayfly_e2e::{Cloud, OnInstance};
use mayfly_fake_aws::Limit;
use mayfly_fake_aws::proxy::{AwsError, Fault, Match};
use mayfly_fake_runner::Scenario;
use nix::sys::signal::Signal;
use serde_json::Value;

/// A machine whose job goes on until somebody stops it, and the address of its figures.
fn at_work() -> (Cloud, String) {
    let address = free_address();
    let cloud = Cloud::with(&Scenario { job_ms: 30_000, ..Scenario::default() }, None).launched();
    let cloud = cloud.live(|run| run.set("MAYFLY_METRICS_LISTEN", &address).limits(&[("job", "40s")]));
    (cloud, address)
}

/// An address that nobody listens on.
fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

fn scrape(address: &str) -> String {
    let Ok(mut stream) = TcpStream::connect(address) else { return String::new() };
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: metrics\r\n\r\n").unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default()
}

fn has(text: &str, sample: &str) -> bool {
    text.lines().any(|line| line == sample)
}

/// Scrapes until this sample is there.
fn until(agent: &mut OnInstance<'_>, address: &str, sample: &str) -> String {
    let mut last = String::new();
    agent.until(sample, |_| {
        last = scrape(address);
        has(&last, sample)
    });
    last
}

#[test]
fn a_scrape_tells_which_machine_it_is_what_it_does_and_how_its_start_went() {
    let (cloud, address) = at_work();
    let cloud = cloud.live(|run| run.set("MAYFLY_CLASS", "linux-x64"));
    let mut agent = cloud.start();
    agent.until_state("Busy");
    let text = until(&mut agent, &address, "mayfly_shutdown_behavior_stop 0");
    for sample in ["mayfly_state{state=\"Busy\"} 1", "mayfly_job_running 1", "mayfly_held 0"] {
        assert!(has(&text, sample), "missing {sample}:\n{text}");
    }
    let about = text.lines().find(|line| line.starts_with("mayfly_info{")).unwrap_or_default();
    for part in [&format!("instance_id=\"{}\"", cloud.instance), "class=\"linux-x64\"", "zone=\"", "version=\""] {
        assert!(about.contains(part), "a series of which nobody knows the machine: {about}");
    }
    for step in ["identity", "jit-config", "runner-start", "session", "listening", "job-message", "worker"] {
        let sample = format!("mayfly_startup_seconds{{step=\"{step}\"}} ");
        agent.until(&sample, |_| scrape(&address).contains(&sample));
    }
    assert!(text.contains("mayfly_aws_calls_total{operation=\"ssm:GetParameter\"} "), "{text}");
    assert!(
        text.contains("mayfly_memory_available_bytes ") && text.contains("mayfly_disk_free_bytes{disk=\""),
        "{text}"
    );
    assert!(!has(&text, "mayfly_lock_remaining_seconds 0"), "what is not known is told as zero:\n{text}");
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let name = line.split(['{', ' ']).next().unwrap();
        assert!(metrics::ALL.iter().any(|figure| figure.name == name), "{name} is in no list");
    }
    agent.signal(Signal::SIGTERM);
    let _ = agent.end();
}

#[test]
fn a_permission_that_is_missing_is_a_figure() {
    let (cloud, address) = at_work();
    cloud.aws.fault(Match::action("CreateTags"), Limit::default(), Fault::Error(AwsError::AccessDenied));
    let mut agent = cloud.start();
    agent.until_state("Busy");
    let text = until(&mut agent, &address, "mayfly_denied_permissions 1");
    assert!(text.contains("mayfly_aws_errors_total{operation=\"ec2:CreateTags\",error=\"denied\"} "), "{text}");
    agent.signal(Signal::SIGTERM);
    let _ = agent.end();
}

/// Lines of CloudWatch's embedded metric format in an agent's log.
fn embedded(log: &str) -> Vec<Value> {
    let documents = log.lines().filter_map(|line| line.find("{\"").map(|at| &line[at..]));
    documents
        .filter_map(|text| serde_json::from_str(text).ok())
        .filter(|line: &Value| line["_aws"].is_object())
        .collect()
}

#[test]
fn the_last_figures_are_in_the_log_before_the_machine_dies() {
    let cloud = Cloud::standalone("success").launched();
    let cloud = cloud.live(|run| run.set("MAYFLY_CLASS", "linux-x64").set("MAYFLY_LOGS_SINK", "cloudwatch"));
    let gone = cloud.run();
    gone.assert_outcome("job-succeeded");
    let lines = embedded(&gone.log);
    let outcomes: Vec<&Value> = lines.iter().filter(|line| line["mayfly_run_outcome_info"] == 1).collect();
    let [outcome] = &outcomes[..] else { panic!("a run of {} outcomes: {lines:#?}", outcomes.len()) };
    assert_eq!((&outcome["outcome"], &outcome["class"]), (&Value::from("job-succeeded"), &Value::from("linux-x64")));
    assert_eq!(outcome["instance_id"], cloud.instance);
    for step in ["identity", "jit-config", "runner-start", "session", "listening"] {
        let told = lines.iter().filter(|line| line["step"] == step).count();
        assert_eq!(told, 1, "CloudWatch's mean of the start is wrong: {step} is told {told} times");
    }
    for line in &lines {
        for metric in line["_aws"]["CloudWatchMetrics"][0]["Metrics"].as_array().unwrap() {
            let name = metric["Name"].as_str().unwrap();
            let figure = metrics::ALL.iter().find(|figure| figure.name == name).unwrap();
            assert!(figure.cloudwatch && line[name].is_number(), "{name}: {line}");
            assert!(figure.kind != Kind::Counter || line[name].as_f64().unwrap() >= 0.0, "{name}: {line}");
        }
    }
}

#[test]
fn a_log_that_goes_nowhere_has_no_figures_in_it() {
    let cloud = Cloud::standalone("success").launched();
    let cloud = cloud.live(|run| run.set("MAYFLY_LOGS_SINK", "none"));
    assert_eq!(embedded(&cloud.run().log).len(), 0, "lines that nobody reads");
}

#[test]
fn the_last_renewal_of_the_jobs_lock_is_told_by_record_status_and_figures() {
    let address = free_address();
    let scenario = Scenario { job_ms: 30_000, renewals_ms: vec![0, 200], ..Scenario::default() };
    let cloud = Cloud::with(&scenario, None).launched();
    let cloud = cloud.live(|run| run.set("MAYFLY_METRICS_LISTEN", &address).limits(&[("job", "40s")]));
    let mut agent = cloud.start();
    let mut text = String::new();
    agent.until("the time of a renewal", |_| {
        text = scrape(&address);
        text.contains("mayfly_lock_renewed_timestamp_seconds ")
    });
    let value = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.and_then(|value| value.parse::<f64>().ok()).unwrap_or_else(|| panic!("no {name}:\n{text}"))
    };
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    assert!((now - value("mayfly_lock_renewed_timestamp_seconds")).abs() < 60.0, "another time: {text}");
    // Twelve minutes, as these runs count them.
    let left = value("mayfly_lock_remaining_seconds");
    assert!(left > 0.0 && left <= 36.0, "{left}");
    let status = std::process::Command::new(mayfly_e2e::mayfly_binary())
        .args(["status", "--json", "--state-directory"])
        .arg(cloud.run.state())
        .output()
        .unwrap();
    let status: Value = serde_json::from_slice(&status.stdout).unwrap();
    assert!(status["lock_renewed_seconds"].as_u64().is_some_and(|seconds| seconds < 60), "{status:#}");
    agent.signal(Signal::SIGTERM);
    let gone = agent.end();
    let told = gone.record["lock_renewed_at"].as_str().unwrap_or_default();
    assert!(told.ends_with('Z') && told > gone.record["started_at"].as_str().unwrap(), "{:#}", gone.record);
}
