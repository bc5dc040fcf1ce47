//! `mayfly doctor` where it cannot try everything: without root, without systemd, with a broken configuration.
//! What it tries on a booted machine is tried there.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail there")]

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use std::time::{Duration, SystemTime};

use mayfly_e2e::run::mayfly_binary;
use mayfly_e2e::{Cloud, OnInstance};
use mayfly_fake_aws::Limit;
use mayfly_fake_aws::proxy::{AwsError, Fault, Match};
use nix::sys::signal::Signal;
use serde_json::Value;

/// The user that owns nothing.
const NOBODY: u32 = 65534;

/// A machine-like place: a runner directory and a configuration that names it.
struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Self { directory: tempfile::tempdir().unwrap() };
        fs::create_dir_all(place.runner().join("bin")).unwrap();
        place.configure("");
        place
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn runner(&self) -> PathBuf {
        self.path().join("runner")
    }

    fn configure(&self, more: &str) {
        let text = format!(
            "platform = \"local\"\nstate_directory = {:?}\n[runner]\ndirectory = {:?}\nuser = \"\"\nsupervisor = \"process\"\n{more}",
            self.path().join("state"),
            self.runner(),
        );
        fs::write(self.path().join("agent.toml"), text).unwrap();
    }

    fn doctor(&self, binary: &Path) -> Command {
        let mut command = Command::new(binary);
        command.args(["doctor", "--config"]).arg(self.path().join("agent.toml")).env_clear().stdin(Stdio::null());
        // The daemon of whoever runs this test is none of its business.
        command.env("PATH", "/usr/bin:/bin").env("DOCKER_HOST", "unix:///nonexistent/docker.sock");
        command
    }

    fn json(&self, arguments: &[&str]) -> (Value, Option<i32>) {
        let output = self.doctor(mayfly_binary().as_ref()).arg("--json").args(arguments).output().unwrap();
        (parse(&output), output.status.code())
    }
}

fn parse(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: no JSON:\n{}\n{}", text(&output.stdout), text(&output.stderr)))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn finding<'a>(report: &'a Value, name: &str) -> &'a Value {
    let sections = report["sections"].as_array().unwrap().iter();
    let mut findings = sections.flat_map(|section| section["findings"].as_array().unwrap());
    findings.find(|finding| finding["name"] == name).unwrap_or_else(|| panic!("nothing is said of {name}: {report:#}"))
}

#[test]
fn every_problem_of_a_broken_configuration_is_reported_and_the_rest_is_still_looked_at() {
    let place = Place::new();
    place.configure("[limits]\nidel = \"5m\"\njob = \"6 hurs\"\n[isolation]\nlevel = \"strict\"\n");
    let (report, code) = place.json(&[]);
    assert_eq!(code, Some(1), "a broken configuration passes an image build");
    assert_eq!(report["holds"], false);
    let found = finding(&report, "config.valid");
    assert_eq!(found["verdict"], "broken");
    for part in ["limits.idel; did you mean limits.idle?", "limits.job:", "\"compatible\" or \"restricted\""] {
        assert!(found["what"].as_str().unwrap().contains(part), "missing {part:?}: {found:#}");
    }
    finding(&report, "machine.swap");
}

#[test]
fn files_that_an_image_must_not_have_are_found() {
    let place = Place::new();
    let listener = place.runner().join("bin/Runner.Listener");
    fs::write(&listener, "").unwrap();
    fs::set_permissions(&listener, Permissions::from_mode(0o755)).unwrap();
    fs::write(place.runner().join("bin/Runner.Listener.deps.json"), r#"{"libraries":{"Runner.Listener/2.336.0":{}}}"#)
        .unwrap();
    let (report, _) = place.json(&[]);
    assert_eq!(finding(&report, "runner.stray")["verdict"], "holds", "{report:#}");
    assert_eq!(finding(&report, "runner.program")["verdict"], "holds", "{report:#}");
    for name in [".env", ".runner", ".credentials"] {
        fs::write(place.runner().join(name), "").unwrap();
    }
    let (report, code) = place.json(&[]);
    let found = finding(&report, "runner.stray");
    assert_eq!((&found["verdict"], code), (&Value::from("broken"), Some(1)), "a used image passes: {found:#}");
    for name in [".env", ".runner", ".credentials"] {
        assert!(found["what"].as_str().unwrap().contains(&format!("/{name}: ")), "{name} is not named: {found:#}");
    }
    assert!(!found["advice"].as_str().unwrap().is_empty(), "nobody is told what to do");
}

#[test]
fn a_missing_runner_is_broken_and_says_what_to_do() {
    let (report, code) = Place::new().json(&[]);
    let found = finding(&report, "runner.program");
    assert_eq!((&found["verdict"], code), (&Value::from("broken"), Some(1)), "{found:#}");
    assert!(found["advice"].as_str().unwrap().contains("runner.directory"), "{found:#}");
}

/// Whoever cannot try must not be told that it holds.
#[test]
fn without_root_nothing_that_needs_it_is_said_to_hold() {
    let place = Place::new();
    let text =
        format!("state_directory = {:?}\n[runner]\ndirectory = {:?}\n", place.path().join("state"), place.runner(),);
    fs::write(place.path().join("agent.toml"), text).unwrap();
    let mut command = if nix::unistd::geteuid().is_root() {
        // Where this user can reach it.
        let binary = place.path().join("mayfly");
        fs::copy(mayfly_binary(), &binary).unwrap();
        fs::set_permissions(place.path(), Permissions::from_mode(0o755)).unwrap();
        let mut command = place.doctor(&binary);
        command.uid(NOBODY).gid(NOBODY);
        command
    } else {
        place.doctor(mayfly_binary().as_ref())
    };
    let output = command.arg("--json").output().unwrap();
    let report = parse(&output);
    let found = finding(&report, "isolation");
    assert_eq!(found["verdict"], "not-tried", "{found:#}");
    assert!(found["what"].as_str().unwrap().contains("only root"), "{found:#}");
    assert!(!text_of(&report).contains("panicked"), "{}", self::text(&output.stderr));
}

fn text_of(report: &Value) -> String {
    report.to_string()
}

/// In a container or on a laptop the units cannot be looked at; where there is a systemd they must be.
#[test]
fn without_systemd_the_units_and_the_isolation_are_not_tried() {
    let place = Place::new();
    let text = format!("state_directory = {:?}\n", place.path().join("state"));
    fs::write(place.path().join("agent.toml"), text).unwrap();
    let (report, _) = place.json(&[]);
    if Path::new("/run/systemd/system").is_dir() {
        finding(&report, "units.enabled");
    } else {
        let found = finding(&report, "units");
        assert_eq!(found["verdict"], "not-tried", "{found:#}");
        assert!(found["what"].as_str().unwrap().contains("systemd does not run here"), "{found:#}");
        assert_eq!(finding(&report, "isolation")["verdict"], "not-tried", "{report:#}");
    }
}

#[test]
fn each_level_says_what_it_does_not_promise() {
    let place = Place::new();
    for (level, said, unsaid) in [
        ("compatible", "Jobs have sudo", "Closed against accident"),
        ("restricted", "Closed against accident", "Jobs have sudo"),
    ] {
        place.configure(&format!("[isolation]\nlevel = {level:?}\n"));
        let output = place.doctor(mayfly_binary().as_ref()).output().unwrap();
        let shown = text(&output.stdout);
        let (_, promises) =
            shown.split_once("What this level does not promise").expect("the closing section is missing");
        assert!(promises.contains("Docker socket is root"), "{level} hides it:\n{promises}");
        assert!(promises.contains(said) && !promises.contains(unsaid), "{level}:\n{promises}");
        assert!(promises.contains(&format!("(level {level})")), "{promises}");
        assert!(!shown.contains('\x1b'), "colours where no terminal is:\n{shown}");
        assert!(shown.lines().any(|line| line.starts_with("  BROKEN     runner.program")), "not aligned:\n{shown}");
    }
}

#[test]
fn a_runner_that_github_may_refuse_is_warned_of_by_the_date_of_its_file() {
    let place = Place::new();
    let listener = place.runner().join("bin/Runner.Listener");
    fs::write(&listener, "").unwrap();
    let deps = r#"{"libraries":{"Runner.Listener/2.336.0":{}}}"#;
    fs::write(place.runner().join("bin/Runner.Listener.deps.json"), deps).unwrap();
    let (report, _) = place.json(&[]);
    assert_eq!(finding(&report, "runner.age")["verdict"], "holds", "{report:#}");
    let file = fs::File::options().write(true).open(&listener).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(40 * 86_400)).unwrap();
    let (report, _) = place.json(&[]);
    let found = finding(&report, "runner.age");
    assert_eq!(found["verdict"], "warning", "an image that gets no jobs passes: {found:#}");
    for part in ["2.336.0", "40 days", "a guess"] {
        assert!(found["what"].as_str().unwrap().contains(part), "missing {part:?}: {found:#}");
    }
}

/// An agent on an instance that waits for a job, and its machine.
fn waiting(cloud: Cloud) -> Cloud {
    cloud.live(|run| run.limits(&[("idle", "50s"), ("lifetime", "20m")])).launched()
}

/// What doctor says beside the agent; with credentials of its own, if it may have them.
fn beside(cloud: &Cloud, has_credentials: bool) -> Value {
    let mut command = Command::new(mayfly_binary());
    command.args(["doctor", "--json", "--config"]).arg(cloud.run.directory().join("agent.toml")).env_clear();
    command.env("PATH", "/usr/bin:/bin").env("DOCKER_HOST", "unix:///nonexistent/docker.sock").stdin(Stdio::null());
    // As on an instance: the rules block this process like a job. Nobody listens on that port.
    command.env("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:1").env("AWS_ENDPOINT_URL", cloud.aws.url());
    if has_credentials {
        command.env("AWS_REGION", cloud.moto.region());
        command.env("AWS_ACCESS_KEY_ID", "AKIDTEST").env("AWS_SECRET_ACCESS_KEY", "secret");
    }
    parse(&command.output().unwrap())
}

fn over(agent: OnInstance<'_>) {
    agent.signal(Signal::SIGTERM);
    let _ = agent.end();
}

#[test]
fn permissions_are_tried_and_nothing_comes_of_it() {
    let cloud = waiting(Cloud::in_group("no-job"));
    let mut agent = cloud.start();
    agent.until_state("Idle");
    let tags = || cloud.moto.instance_tags(&cloud.instance).unwrap();
    agent.until("its tag", |_| tags().get("mayfly:phase").is_some_and(|phase| phase == "idle"));
    let before = tags();
    let report = beside(&cloud, true);
    for name in ["cloud.identity", "cloud.denied", "cloud.terminate", "cloud.tag", "cloud.parameter", "cloud.scale-in"]
    {
        assert_eq!(finding(&report, name)["verdict"], "holds", "{:#}", finding(&report, name));
    }
    // What the double of AWS makes in a group can only be stopped.
    let found = finding(&report, "cloud.shutdown");
    assert_eq!(found["verdict"], "broken", "a machine that would stay for ever passes: {found:#}");
    assert_eq!((cloud.state().as_str(), tags()), ("running", before), "to look at a machine changed it");

    for action in ["TerminateInstances", "GetParameter"] {
        cloud.aws.fault(Match::action(action), Limit::default(), Fault::Error(AwsError::AccessDenied));
    }
    let report = beside(&cloud, true);
    for (name, action) in [("cloud.terminate", "ec2:TerminateInstances"), ("cloud.parameter", "ssm:GetParameter")] {
        let found = finding(&report, name);
        assert_eq!(found["verdict"], "broken", "a machine that cannot do that passes: {found:#}");
        assert!(found["advice"].as_str().unwrap().contains(action), "nobody is told what to allow: {found:#}");
    }
    over(agent);
}

#[test]
fn where_this_process_is_blocked_the_agent_tells_what_it_was_denied() {
    let cloud = waiting(Cloud::standalone("no-job"));
    cloud.aws.fault(Match::action("CreateTags"), Limit::default(), Fault::Error(AwsError::AccessDenied));
    let mut agent = cloud.start();
    agent.until_state("Idle");
    let mut report = Value::Null;
    agent.until("the denial", |cloud| {
        report = beside(cloud, false);
        finding(&report, "cloud.denied")["verdict"] == "broken"
    });
    let denied = finding(&report, "cloud.denied");
    assert!(denied["what"].as_str().unwrap().contains("ec2:CreateTags"), "{denied:#}");
    assert_eq!(finding(&report, "cloud.permissions")["verdict"], "not-tried", "what nobody tried is said to hold");
    agent.until("the shutdown behaviour", |cloud| {
        report = beside(cloud, false);
        finding(&report, "cloud.shutdown")["verdict"] == "holds"
    });
    let identity = finding(&report, "cloud.identity");
    assert!(identity["what"].as_str().unwrap().contains(&cloud.instance), "{identity:#}");
    assert_ne!(finding(&report, "cloud.logs")["verdict"], "holds", "lines that nobody confirmed are said to arrive");
    over(agent);
}

#[test]
fn a_clock_that_is_off_is_found_by_what_the_agent_knows() {
    let cloud = waiting(Cloud::standalone("no-job"));
    cloud.imds.clock_skew(90);
    cloud.aws.clock_skew(90);
    let mut agent = cloud.start();
    agent.until_state("Idle");
    let report = beside(&cloud, false);
    let found = finding(&report, "machine.clock-aws");
    assert_eq!(found["verdict"], "warning", "{found:#}");
    assert!(!found["advice"].as_str().unwrap().is_empty(), "{found:#}");
    over(agent);
}

/// Packer runs it in root's home, which the job's user may not enter.
#[test]
fn the_runners_programs_are_looked_at_as_the_jobs_user_also_from_roots_home() {
    if !nix::unistd::geteuid().is_root() {
        return; // without root nothing can be tried as somebody else, and doctor says so: see above
    }
    let place = Place::new();
    let text = format!(
        "platform = \"local\"\nstate_directory = {:?}\n[runner]\ndirectory = {:?}\nuser = \"nobody\"\nsupervisor = \
         \"process\"\n",
        place.path().join("state"),
        place.runner(),
    );
    fs::write(place.path().join("agent.toml"), text).unwrap();
    fs::set_permissions(place.path(), Permissions::from_mode(0o755)).unwrap();
    let home = tempfile::tempdir().unwrap();
    fs::set_permissions(home.path(), Permissions::from_mode(0o700)).unwrap();
    let output = place.doctor(mayfly_binary().as_ref()).arg("--json").current_dir(home.path()).output().unwrap();
    let report = parse(&output);
    let found = finding(&report, "runner.protected");
    assert_eq!(found["verdict"], "holds", "in an image build nobody looks at the runner's programs: {found:#}");
}

#[test]
fn what_is_no_image_build_is_refused_as_an_image_and_every_reason_is_told() {
    let place = Place::new();
    let (report, code) = place.json(&["--image"]);
    assert_eq!(code, Some(1), "a machine that is no image build passes as one: {report:#}");
    let refused: Vec<&str> =
        report["refused"].as_array().unwrap().iter().map(|refusal| refusal["name"].as_str().unwrap()).collect();
    for name in ["image.build", "image.file", "runner.program"] {
        assert!(refused.contains(&name), "{name} does not refuse an image: {refused:?}");
    }
    let shown = text(&place.doctor(mayfly_binary().as_ref()).arg("--image").output().unwrap().stdout);
    let (_, last) = shown.rsplit_once("This image is refused").expect("nobody is told that it is refused");
    assert!(last.contains("runner.program (BROKEN)"), "nobody is told why:\n{last}");
    let (plain, _) = place.json(&[]);
    assert!(plain["refused"].is_null(), "a machine at work is judged as an image: {plain:#}");
}

#[test]
fn what_would_disturb_a_job_is_named_with_its_reason_and_how_it_is_turned_off() {
    let place = Place::new();
    let programs = place.path().join("programs");
    fs::create_dir(&programs).unwrap();
    let program = |name: &str, script: &str| {
        fs::write(programs.join(name), format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(programs.join(name), Permissions::from_mode(0o755)).unwrap();
    };
    // Whatever this machine has of these is asked for by the same names.
    program("perl", "printf l");
    program("snap", "echo forever");
    let found = |systemctl: &str| {
        program("systemctl", systemctl);
        let mut command = place.doctor(mayfly_binary().as_ref());
        let output =
            command.arg("--json").env("PATH", format!("{}:/usr/bin:/bin", programs.display())).output().unwrap();
        finding(&parse(&output), "machine.quiet").clone()
    };
    let off = found("echo apt-daily.timer masked enabled; echo man-db.timer disabled enabled");
    assert_eq!(off["verdict"], "holds", "what is off is called on: {off:#}");
    let listed =
        "echo apt-daily.timer enabled enabled; echo fwupd-refresh.timer static -; echo man-db.timer masked enabled";
    let on = found(listed);
    assert_eq!(on["verdict"], "warning", "an image that upgrades itself under its job passes: {on:#}");
    for part in ["apt-daily.timer is enabled: it ", "lock", "fwupd-refresh.timer is static: it "] {
        assert!(on["what"].as_str().unwrap().contains(part), "missing {part:?}: {on:#}");
    }
    assert!(!on["what"].as_str().unwrap().contains("man-db"), "what is off is called on: {on:#}");
    assert!(on["advice"].as_str().unwrap().contains("systemctl mask apt-daily.timer"), "{on:#}");
    let silent = found("echo 'Failed to connect to bus' >&2; exit 1");
    assert_eq!(silent["verdict"], "not-tried", "what nobody told is said to hold: {silent:#}");
}
