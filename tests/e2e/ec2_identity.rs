//! The metadata service in bad times, notices that wait at start, crashes between AWS acts, and secrets.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail there")]

use std::fs;
use std::time::{Duration, SystemTime};

use mayfly_e2e::{Cloud, leaks, processes};
use mayfly_fake_aws::Limit;
use mayfly_fake_aws::imds::Fault;
use mayfly_fake_runner::JitConfig;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Does something to the cloud around an instance.
type Fails = fn(&Cloud);

#[test]
fn a_metadata_service_that_stumbles_is_waited_for() {
    let faults: [(&str, Fails); 6] = [
        ("refuses", |cloud| cloud.imds.refuse(Some(Duration::from_secs(5))).unwrap()),
        ("401", |cloud| {
            cloud.imds.fault("/latest/dynamic", Limit::times(1), Fault::Status(401));
        }),
        ("503", |cloud| {
            cloud.imds.fault("/latest/", Limit::times(4), Fault::Status(503));
        }),
        ("hangs", |cloud| {
            cloud.imds.fault("/latest/dynamic", Limit::times(1), Fault::Hang);
        }),
        ("drops mid-body", |cloud| {
            cloud.imds.fault("/latest/dynamic", Limit::times(2), Fault::HalfBody);
        }),
        ("refuses the token", |cloud| {
            cloud.imds.fault("/latest/api/token", Limit::times(2), Fault::Status(503));
        }),
    ];
    for (name, fault) in faults {
        let cloud = Cloud::standalone("success").launched().live(|run| run.limits(&[("booting", "15s")]));
        fault(&cloud);
        let gone = cloud.run();
        assert_eq!(gone.outcome(), "job-succeeded", "{name}: {:#}\n{}", gone.record, gone.log);
        assert_eq!(cloud.state(), "terminated", "{name}");
    }
}

#[test]
fn a_metadata_service_that_never_answers_ends_in_the_power_off() {
    for fault in [Fault::Hang, Fault::Status(403), Fault::Status(503)] {
        let cloud = Cloud::standalone("success").launched().configured("poweroff = \"always\"\n");
        let cloud = cloud.live(|run| run.limits(&[("booting", "2s")]));
        cloud.imds.fault("/latest/", Limit::default(), fault);
        let gone = cloud.run();
        gone.assert_outcome("imds-unavailable");
        assert!(cloud.powered_off().exists(), "nothing ended this machine: {:#}", gone.record);
        assert!(cloud.aws.requests().is_empty(), "AWS was called by an instance that does not know who it is");
        assert!(gone.took < Duration::from_secs(25), "{:?}", gone.took);
    }
}

/// Whose journal and marker these are nobody knows then, and taking them for another instance's could start a second runner.
#[test]
fn a_reboot_without_the_metadata_service_forgets_no_runner() {
    let cloud = Cloud::standalone("long-job").launched().configured("poweroff = \"always\"\n");
    let cloud = cloud.live(|run| run.limits(&[("booting", "1s")]));
    let mut running = cloud.start();
    running.until_state("Busy");
    running.kill_dead();
    for process in processes::of_run(&cloud.run) {
        let _ = kill(Pid::from_raw(process.pid), Signal::SIGKILL);
    }
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    for name in ["journal.jsonl", "runner.started"] {
        let path = cloud.run.state().join(name);
        let text = String::from_utf8(fs::read(&path).unwrap()).unwrap();
        fs::write(path, text.replace(boot.trim(), "00000000-0000-4000-8000-000000000000")).unwrap();
    }
    cloud.imds.fault("/latest/", Limit::default(), Fault::Status(503));
    let gone = cloud.run();
    gone.assert_outcome("second-boot");
    assert!(cloud.run.state().join("runner.started").exists(), "the next agent would start a second runner");
    assert!(!cloud.run.root().join(".credentials").exists(), "the registration was left behind");
    assert!(cloud.powered_off().exists(), "nothing ended this machine: {:#}", gone.record);
    assert_eq!(cloud.run.recording().starts().len(), 1);
}

#[test]
fn sigterm_while_the_metadata_service_is_silent_waits_and_ends_the_machine() {
    let cloud = Cloud::standalone("success").launched();
    cloud.imds.fault("/latest/dynamic", Limit::lasting(Duration::from_millis(1500)), Fault::Status(503));
    let mut running = cloud.start();
    running.until("the first request", |cloud| !cloud.imds.requests().is_empty());
    kill(Pid::from_raw(i32::try_from(running.child.id()).unwrap()), Signal::SIGTERM).unwrap();
    let gone = running.end();
    gone.assert_outcome("external-shutdown");
    assert_eq!(cloud.state(), "terminated", "the agent went and left the machine");
    assert!(cloud.run.recording().starts().is_empty(), "a runner was started for a machine that was to end");
}

#[test]
fn an_empty_or_strange_identity_calls_nothing() {
    for document in ["", "{}", r#"{"instanceId":"","region":"eu-central-1"}"#, "<html>"] {
        let cloud = Cloud::standalone("success").launched().configured("poweroff = \"always\"\n");
        let cloud = cloud.live(|run| run.limits(&[("booting", "1s")]));
        cloud.imds.set("/latest/dynamic/instance-identity/document", document);
        cloud.run().assert_outcome("imds-unavailable");
        assert!(cloud.aws.requests().is_empty(), "AWS was called for the document {document:?}");
    }
}

#[test]
fn user_data_that_is_compressed_or_binary_harms_nothing() {
    let cloud = Cloud::standalone("success").launched();
    cloud.imds.set("/latest/user-data", vec![0x1f, 0x8b, 0, 0xff, 0xfe, 0]);
    cloud.run().assert_outcome("job-succeeded");
}

#[test]
fn a_notice_that_waits_at_start_is_honoured_before_anything_is_fetched() {
    let notices: [(&str, Fails); 4] = [
        ("spot-interruption", |cloud| {
            cloud.imds.spot_action("terminate", SystemTime::now() + Duration::from_secs(120))
        }),
        ("spot-interruption", |cloud| cloud.imds.spot_action("hibernate", SystemTime::now())),
        ("spot-interruption", |cloud| cloud.imds.set("meta-data/spot/instance-action", "garbage")),
        ("asg-termination", |cloud| cloud.imds.target_lifecycle_state("Terminated")),
    ];
    for (outcome, notice) in notices {
        let cloud = Cloud::in_group("success").launched();
        notice(&cloud);
        cloud.run().assert_outcome(outcome);
        assert_eq!(cloud.calls("GetParameter"), 0, "a JIT configuration was fetched for a job that cannot finish");
        assert!(cloud.run.recording().starts().is_empty());
        assert_eq!(cloud.state(), "terminated");
    }
}

#[test]
fn killed_after_every_journal_line_with_aws_in_between() {
    let mut scenario = mayfly_fake_runner::scenarios::named("success").unwrap();
    scenario.job_ms = 300;
    let whole = Cloud::with(&scenario, Some("runners")).launched();
    whole.run().assert_outcome("job-succeeded");
    let count = whole.run.journal().len();
    for line in 1..count {
        let cloud = Cloud::with(&scenario, Some("runners")).launched();
        let mut agent = cloud.start();
        agent.until("the journal line", |cloud| cloud.run.journal().len() >= line);
        agent.kill_dead();
        let gone = cloud.run();
        assert_eq!(gone.outcome(), "job-succeeded", "killed at line {line}: {:#}\n{}", gone.record, gone.log);
        assert_eq!(cloud.run.recording().starts().len(), 1, "killed at line {line}: a second listener");
        assert_eq!(cloud.state(), "terminated", "killed at line {line}: the instance goes on");
        assert!(
            !cloud.moto.parameter_exists(&cloud.parameter()).unwrap(),
            "killed at line {line}: the parameter stays"
        );
    }
}

#[test]
fn no_secret_is_in_the_log_at_the_finest_level() {
    let jit = JitConfig::new(99);
    let cloud =
        Cloud::standalone("success").live(|run| run.jit(jit.encode()).set("LOG_SENSITIVE_BODIES", "true")).launched();
    // The longest target would win over any cap in the same filter.
    let cloud = cloud.live(|run| run.set("MAYFLY_LOG", "trace,aws_smithy_runtime::client=trace"));
    let mut agent = cloud.start();
    agent.until_state("Busy");
    let mut secrets = jit.secrets();
    secrets.extend(["not+a+real/secret".to_owned(), "session+token/of+a+double".to_owned()]);
    let registration = |path: &std::path::Path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        name.starts_with(".credentials") || name.starts_with(".runner")
    };
    let found = leaks::find(&secrets, &[cloud.run.directory()], registration);
    let gone = agent.end();
    assert!(found.is_empty(), "{found:#?}");
    gone.assert_outcome("job-succeeded");
    assert!(gone.log.len() > 2000, "nothing was logged at trace; the test looks at nothing");
    for secret in &secrets {
        assert!(!gone.log.contains(secret), "the log shows {secret:?}");
    }
}

#[test]
fn a_shutdown_while_the_instance_ends_is_not_held_up() {
    let cloud = Cloud::standalone("success").launched().live(|run| run.limits(&[("terminating", "50s")]));
    let mut agent = cloud.start();
    agent.until("the termination", |cloud| cloud.state() == "terminated");
    agent.until("the answer", |cloud| cloud.run.journal().concat().contains("\"accepted\":true"));
    kill(Pid::from_raw(i32::try_from(agent.child.id()).unwrap()), Signal::SIGTERM).unwrap();
    let gone = agent.end();
    gone.assert_outcome("job-succeeded");
    assert!(gone.took < Duration::from_secs(30), "the shutdown waited {:?} for the agent", gone.took);
}

/// The machine goes away: SIGQUIT with a `.service` file, so that the job gets the clearer annotation. What a job planted
/// under that name is not written through.
#[test]
fn a_shutdown_of_the_machine_tells_the_job_so() {
    let cloud = Cloud::standalone("long-job").launched();
    let outside = cloud.run.directory().join("outside");
    fs::write(&outside, "untouched").unwrap();
    std::os::unix::fs::symlink(&outside, cloud.run.root().join(".service")).unwrap();
    let mut agent = cloud.start();
    agent.until_state("Busy");
    let pid = Pid::from_raw(i32::try_from(agent.child.id()).unwrap());
    kill(pid, Signal::SIGTERM).unwrap();
    agent.end().assert_outcome("external-shutdown");
    assert_eq!(fs::read_to_string(&outside).unwrap(), "untouched", "the agent wrote through a planted link");
    assert!(!cloud.run.root().join(".service").exists(), "the .service file is left behind");
    let recording = cloud.run.recording();
    let signals: Vec<_> = recording.signals().iter().map(|(_, signal, _)| (*signal).to_owned()).collect();
    assert!(signals.iter().any(|signal| signal == "SIGQUIT"), "the job was not told why: {signals:?}");
}

#[test]
fn an_instance_in_the_warm_pool_waits_until_it_is_wanted() {
    let cloud = Cloud::in_group("success").launched();
    cloud.imds.target_lifecycle_state("Warmed:Running");
    let mut agent = cloud.start();
    agent.until_state("Warm");
    assert_eq!(cloud.calls("GetParameter"), 0, "a JIT configuration was fetched for an instance nobody wants yet");
    cloud.imds.target_lifecycle_state("InService");
    agent.end().assert_outcome("job-succeeded");
    assert_eq!(cloud.state(), "terminated");
}
