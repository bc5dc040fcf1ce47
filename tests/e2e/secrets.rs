//! No secret anywhere but in the three files that only the runner's user can read.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail there")]

use std::io::Read as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use mayfly_e2e::{Run, leaks};
use mayfly_fake_runner::{JitConfig, scenarios};

fn registration_file(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    name.starts_with(".credentials") || name.starts_with(".runner") || name == "jit-config"
}

#[test]
fn no_secret_is_shown_by_any_process_or_file_while_the_job_runs_and_after() {
    let jit = JitConfig::new(4711);
    let secrets = jit.secrets();
    assert!(secrets.len() > 5, "the double tells too few secrets to look for");
    let mut scenario = scenarios::named("success").unwrap();
    scenario.job_ms = 1500;
    let run = Run::with(&scenario).jit(jit.encode()).set("MAYFLY_LOG", "trace");
    let mut running = run.start();
    running.until_state("Busy");
    let found = leaks::find(&secrets, &[run.directory()], registration_file);
    assert!(found.is_empty(), "while the job runs: {found:#?}");
    let ended = running.end();
    ended.assert_outcome("job-succeeded");
    let found = leaks::find(&secrets, &[run.directory()], |path| path.ends_with("jit-config"));
    assert!(found.is_empty(), "after the run: {found:#?}");
    for secret in &secrets {
        assert!(!ended.stderr.contains(secret), "the log at level trace shows {secret:?}");
        assert!(!ended.record.to_string().contains(secret), "the record shows {secret:?}");
    }
}

#[test]
fn no_secret_is_in_the_message_that_refuses_a_bad_jit_configuration() {
    let jit = JitConfig::new(4711).file("../../etc/x", b"harm");
    let run = Run::named("success").jit(jit.encode()).set("MAYFLY_LOG", "trace");
    let ended = run.run();
    ended.assert_outcome("jit-config-invalid");
    for secret in jit.secrets() {
        assert!(!ended.stderr.contains(&secret), "the refusal shows {secret:?}");
    }
    let found = leaks::find(&jit.secrets(), &[run.directory()], |path| path.ends_with("jit-config"));
    assert!(found.is_empty(), "{found:#?}");
}

/// A process that waits. It has said something, so it is past its `exec`: a moment before, its environment is not yet to be seen.
fn shell(arguments: &[&str], leak: Option<&str>) -> Child {
    let mut command = Command::new("sh");
    command.args(["-c", "echo; read _"]).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.envs(leak.map(|secret| ("LEAK", secret))).spawn().unwrap();
    let said = child.stdout.as_mut().unwrap().read(&mut [0]).unwrap();
    assert_eq!(said, 1, "the shell did not start");
    child
}

/// The look itself is shown to see: a secret is planted in an environment, in arguments and in a file.
#[test]
fn a_planted_secret_is_found() {
    let secret = "planted-0f4e1c-secret".to_owned();
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("log"), format!("it is {secret}")).unwrap();
    let mut environment = shell(&[], Some(&secret));
    let mut argument = shell(&[&secret], None);
    let found = leaks::find(&[secret], &[directory.path()], |_| false);
    for child in [&mut environment, &mut argument] {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    for place in ["environ", "cmdline", "log"] {
        assert!(found.iter().any(|line| line.contains(place)), "the secret in {place} was not found: {found:#?}");
    }
}

#[test]
fn the_jobs_environment_has_nothing_of_the_agents() {
    let run = Run::named("success")
        .set("AWS_SECRET_ACCESS_KEY", "aws-secret")
        .set("ACTIONS_RUNNER_INPUT_JITCONFIG", "a-jit-configuration")
        .set("https_proxy", "http://proxy.example:3128");
    run.run().assert_outcome("job-succeeded");
    let recording = run.recording();
    let start = recording.starts()[0];
    let keys = format!("{:?}", start.env_keys);
    assert!(!keys.contains("AWS_") && !keys.contains("INPUT"), "the runner inherited what is the agent's: {keys}");
    assert!(keys.contains("https_proxy"), "the runner has no proxy: {keys}");
}

/// What the listener is given: see "Before exec" in the design.
#[test]
fn the_listener_starts_like_on_githubs_own_machines() {
    let run = Run::named("success");
    run.run().assert_outcome("job-succeeded");
    let recording = run.recording();
    let start = recording.starts()[0];
    // 32 and 33 are the C library's own and cannot be reset.
    let ignored: Vec<_> = start.sigign.iter().filter(|signal| **signal < 32).collect();
    assert!(ignored.is_empty(), ".NET never reacts to a signal it inherits as ignored: {ignored:?}");
    assert_ne!(
        i64::from(start.sid),
        i64::from(nix::unistd::getsid(None).unwrap().as_raw()),
        "the listener shares the terminal's session"
    );
    assert_eq!(Path::new(&start.cwd), run.root(), "the runner's work folder is relative to its directory");
    assert_eq!(start.argv.get(1..), Some(&["run".to_owned()][..]), "{:?}", start.argv);
    assert!(start.fds.iter().all(|fd| fd.fd <= 2), "descriptors leak into the job: {:?}", start.fds);
}
