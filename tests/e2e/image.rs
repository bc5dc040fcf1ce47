//! What an image says of itself, and how old its runner is: in doctor, the figures, the record and the status.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail there")]

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mayfly_e2e::Cloud;
use mayfly_e2e::run::mayfly_binary;
use serde_json::{Value, json};

const DAY: u64 = 86_400;

/// The day so many days ago, as the image tells it.
fn day(days_ago: u64) -> String {
    let then = SystemTime::now() - Duration::from_secs(days_ago * DAY);
    humantime::format_rfc3339_seconds(then).to_string()[..10].to_owned()
}

/// Gives the runner in this directory a version.
fn name_version(runner: &Path, version: &str) {
    let deps = json!({ "libraries": { format!("Runner.Listener/{version}"): {} } });
    fs::create_dir_all(runner.join("bin")).unwrap();
    fs::write(runner.join("bin/Runner.Listener.deps.json"), deps.to_string()).unwrap();
}

/// What an image says that was made with this runner.
fn image(version: &str, newest_on: &str) -> String {
    json!({
        "schema": 1,
        "built_at": "2026-11-30T12:00:00Z",
        "mayfly": "0.1.0",
        "runner": { "version": version, "newest_on": newest_on },
        "source_image": "ami-0123",
    })
    .to_string()
}

/// A machine of an image.
struct Place(tempfile::TempDir);

impl Place {
    fn new(version: &str, days_old: u64) -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        name_version(&place.0.path().join("runner"), version);
        let listener = place.0.path().join("runner/bin/Runner.Listener");
        let file = fs::File::create(&listener).unwrap();
        file.set_permissions(fs::Permissions::from_mode(0o755)).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(days_old * DAY)).unwrap();
        let (state, runner) = (place.0.path().join("state"), place.0.path().join("runner"));
        let text = format!(
            "platform = \"local\"\nstate_directory = {state:?}\n[runner]\ndirectory = {runner:?}\nuser = \"\"\n\
             supervisor = \"process\"\n"
        );
        fs::write(place.0.path().join("agent.toml"), text).unwrap();
        place
    }

    /// What doctor says with this file, by the findings' names.
    fn doctor(&self, image: &[u8]) -> impl Fn(&str) -> (String, String) + use<> {
        let file = self.0.path().join("image.json");
        fs::write(&file, image).unwrap();
        let mut command = Command::new(mayfly_binary());
        command.args(["doctor", "--json", "--config"]).arg(self.0.path().join("agent.toml")).env_clear();
        command.env("PATH", "/usr/bin:/bin").env("DOCKER_HOST", "unix:///nonexistent/docker.sock");
        command.env("MAYFLY_IMAGE_FILE", &file).stdin(Stdio::null());
        let output = command.output().unwrap();
        let report: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
        move |name| {
            let sections = report["sections"].as_array().unwrap().iter();
            let mut findings = sections.flat_map(|section| section["findings"].as_array().unwrap());
            let found = findings.find(|finding| finding["name"] == name);
            let text = |key| found.and_then(|found| found[key].as_str()).unwrap_or("nothing").to_owned();
            (text("verdict"), text("what"))
        }
    }
}

#[test]
fn a_runner_that_was_the_newest_a_week_ago_is_young_however_old_its_file_is() {
    let found = Place::new("2.338.0", 60).doctor(image("2.338.0", &day(7)).as_bytes());
    let (verdict, what) = found("runner.age");
    assert_eq!(verdict, "holds", "an alarm for a runner that GitHub takes for weeks to come: {what}");
    for part in ["2.338.0", "7 days ago", &day(7), "until "] {
        assert!(what.contains(part), "{part:?} is not told: {what}");
    }
    assert!(!what.contains("guess"), "what is known is told as a guess: {what}");
    assert_eq!(found("image.file").0, "holds");
}

#[test]
fn a_runner_that_was_last_known_to_be_the_newest_25_days_ago_is_warned_of_although_its_file_is_young() {
    let place = Place::new("2.338.0", 1);
    let (verdict, what) = place.doctor(image("2.338.0", &day(25)).as_bytes())("runner.age");
    assert_eq!(verdict, "warning", "an image that gets no jobs in five days passes: {what}");
    assert!(what.contains("25 days ago"), "{what}");
    let (verdict, what) = place.doctor(image("2.338.0", &day(24)).as_bytes())("runner.age");
    assert_eq!(verdict, "holds", "the alarm comes before its time: {what}");
}

#[test]
fn a_runner_that_is_not_the_images_own_is_a_finding_and_its_age_a_guess() {
    let found = Place::new("2.336.0", 40).doctor(image("2.338.0", &day(1)).as_bytes());
    let (verdict, what) = found("image.runner");
    assert_eq!(verdict, "warning", "nobody is told that the image has another runner: {what}");
    assert!(what.contains("2.336.0") && what.contains("2.338.0"), "{what}");
    let (verdict, what) = found("runner.age");
    assert!(verdict == "warning" && what.contains("guess"), "an old runner passes as the image's: {verdict} {what}");
}

#[test]
fn garbage_in_the_images_file_is_told_and_the_rest_goes_on() {
    let place = Place::new("2.338.0", 3);
    let endless = vec![b' '; 4 << 20];
    let forged = image("2.338.0", "today");
    for (content, said) in [
        (&b"\x00\xff{"[..], "expected"),
        (&endless[..], "longer than"),
        (forged.as_bytes(), "runner.newest_on is \"today\""),
        (&b"{\"schema\":9}"[..], "built_at"),
    ] {
        let found = place.doctor(content);
        let (verdict, what) = found("image.file");
        assert!(verdict == "warning" && what.contains(said), "{said:?} is not told: {verdict} {what}");
        let (verdict, what) = found("runner.age");
        assert!(verdict == "holds" && what.contains("guess"), "{verdict} {what}");
    }
}

fn scrape(address: &str) -> String {
    let Ok(mut stream) = TcpStream::connect(address) else { return String::new() };
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: metrics\r\n\r\n").unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    answer
}

/// A run on a machine of an image: what is scraped and what `mayfly status` says while it waits, its record and its log.
fn run(file_content: &str) -> (String, String, Value, String) {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let cloud = Cloud::standalone("no-job").launched();
    let cloud = cloud.live(|run| {
        let file = run.directory().join("image.json");
        fs::write(&file, file_content).unwrap();
        name_version(run.root(), "2.338.0");
        let run = run.limits(&[("idle", "50s"), ("lifetime", "20m")]).set("MAYFLY_METRICS_LISTEN", &address);
        run.set("MAYFLY_IMAGE_FILE", file.to_str().unwrap())
    });
    let mut agent = cloud.start();
    agent.until_state("Idle");
    let mut scraped = String::new();
    agent.until("its figures", |_| {
        scraped = scrape(&address);
        scraped.contains("mayfly_runner_newest_timestamp_seconds{")
    });
    let command = |words: &[&str]| {
        let output = Command::new(mayfly_binary()).args(words).arg("--state-directory").arg(cloud.run.state()).output();
        String::from_utf8(output.unwrap().stdout).unwrap()
    };
    let status = command(&["status"]) + &command(&["status", "--json"]);
    command(&["drain"]);
    let gone = agent.end();
    (scraped, status, gone.record, gone.log)
}

#[test]
fn figures_status_and_record_tell_on_which_day_the_runner_was_known_to_be_the_newest() {
    let newest = day(7);
    let (scraped, status, record, _) = run(&image("2.338.0", &newest));
    let since = humantime::parse_rfc3339(&format!("{newest}T00:00:00Z")).unwrap().duration_since(UNIX_EPOCH).unwrap();
    let series = "mayfly_runner_newest_timestamp_seconds{version=\"2.338.0\",source=\"image\"}";
    let sample = format!("{series} {}", since.as_secs());
    assert!(scraped.lines().any(|line| line == sample), "the alert goes by something else, not {sample}:\n{scraped}");
    for part in ["2.338.0", "7 days ago", &newest, "\"days\": 7", "\"source\": \"image\""] {
        assert!(status.contains(part), "mayfly status hides {part:?}:\n{status}");
    }
    assert_eq!(record["image"]["runner_newest_on"], newest, "nobody can tell it of a machine that is gone: {record:#}");
    assert_eq!(record["image"]["built_at"], "2026-11-30T12:00:00Z", "{record:#}");
}

#[test]
fn without_the_images_word_the_figures_and_the_status_say_that_the_age_is_a_guess() {
    let (scraped, status, record, log) = run("no json at all");
    let series = "mayfly_runner_newest_timestamp_seconds{version=\"2.338.0\",source=\"file-date\"}";
    assert!(scraped.contains(series), "a guess is told as knowledge, or not at all:\n{scraped}");
    assert!(status.contains("days old") && status.contains("a guess"), "{status}");
    assert!(record["image"].is_null(), "what is not understood is believed: {record:#}");
    assert!(log.contains("image.json"), "nobody is told that the image's file is garbage:\n{log}");
    assert_eq!(record["outcome"], "operator-drain", "garbage in a file cost the run: {record:#}");
}
