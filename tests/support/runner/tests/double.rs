//! The double as a real process.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::io::Read as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use mayfly_fake_runner::install::Recording;
use mayfly_fake_runner::recording::Who;
use mayfly_fake_runner::{FakeRunner, JitConfig, JobResult, Scenario, scenarios};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

const HOSTED: &str = "ACTIONS_RUNNER_RETURN_JOB_RESULT_FOR_HOSTED";
const JIT: &str = "ACTIONS_RUNNER_INPUT_JITCONFIG";

struct Stage {
    directory: TempDir,
    runner: FakeRunner,
}

impl Stage {
    fn new(scenario: &Scenario) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let runner = FakeRunner::install(directory.path(), scenario).unwrap();
        Self { directory, runner }
    }

    fn named(name: &str) -> Self {
        Self::new(&scenarios::named(name).unwrap())
    }

    fn command(&self) -> Command {
        let mut command = Command::new(self.runner.listener());
        command
            .arg("run")
            .current_dir(self.runner.root())
            .env(JIT, JitConfig::new(1).encode())
            .env(HOSTED, "1")
            .env("LANG", "C.UTF-8")
            .env_remove("LC_ALL")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn start(&self) -> Child {
        self.command().spawn().unwrap()
    }

    fn finish(&self) -> Output {
        self.command().output().unwrap()
    }

    fn recording(&self) -> Recording {
        self.runner.recording().unwrap()
    }

    fn until(&self, what: impl Fn(&Recording) -> bool) {
        let end = Instant::now() + Duration::from_secs(20);
        while !what(&self.recording()) {
            assert!(Instant::now() < end, "{:?}", self.recording());
            thread::sleep(Duration::from_millis(10));
        }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }
}

fn signal(child: &Child, signal: Signal) {
    kill(Pid::from_raw(child.id().try_into().unwrap()), signal).unwrap();
}

/// Standard output without the times.
fn lines(output: &[u8]) -> Vec<String> {
    let text = String::from_utf8(output.to_vec()).unwrap();
    let stamped = "2026-01-01 00:00:00Z: ".len();
    text.lines()
        .map(|line| match line.as_bytes() {
            [b'2', b'0', _, _, b'-', ..] => line[stamped..].to_owned(),
            _ => line.to_owned(),
        })
        .collect()
}

#[test]
fn success_prints_the_exact_lines() {
    let stage = Stage::named("success");
    let output = stage.finish();
    assert_eq!(output.status.code(), Some(100));
    let expected = [
        "",
        "√ Connected to GitHub",
        "",
        "Current runner version: '2.336.0'",
        "Listening for Jobs",
        "Running job: build",
        "Job build completed with result: Succeeded",
        "√ Removed .credentials",
        "√ Removed .runner",
    ];
    assert_eq!(lines(&output.stdout), expected);
    assert!(output.stderr.is_empty());
    assert!(!stage.path().join(".runner").exists());
    assert!(!stage.path().join(".credentials_rsaparams").exists());
    let recording = stage.recording();
    assert_eq!(recording.results(), [JobResult::Succeeded]);
    assert_eq!(recording.exits(Who::Worker), [100]);
    assert!(recording.starts()[0].env_keys.iter().any(|key| key == JIT));
}

#[test]
fn exit_code_hides_the_result_unless_asked() {
    let stage = Stage::named("failed");
    let status = stage.command().env_remove(HOSTED).output().unwrap().status;
    assert_eq!(status.code(), Some(0));
    assert_eq!(Stage::named("failed").finish().status.code(), Some(102));
}

#[test]
fn interrupt_while_idle_exits_zero_and_keeps_the_files() {
    let stage = Stage::named("no-job");
    let child = stage.start();
    stage.until(Recording::listened);
    signal(&child, Signal::SIGINT);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(lines(&output.stdout).last().unwrap(), "Exiting...");
    assert!(stage.path().join(".runner").exists());
    assert_eq!(stage.recording().signals()[0].1, "SIGINT");
}

#[test]
fn terminate_after_interrupt_is_immediate() {
    let stage = Stage::named("slow-shutdown");
    let mut child = stage.start();
    stage.until(Recording::listened);
    signal(&child, Signal::SIGINT);
    stage.until(|recording| recording.signals().len() == 1);
    signal(&child, Signal::SIGTERM);
    assert_eq!(child.wait().unwrap().code(), Some(143));
}

#[test]
fn terminate_is_capped() {
    let stage = Stage::named("slow-shutdown");
    let mut child = stage.start();
    stage.until(Recording::listened);
    signal(&child, Signal::SIGTERM);
    assert_eq!(child.wait().unwrap().code(), Some(143));
}

#[test]
fn interrupt_goes_down_the_ladder_of_a_stubborn_step() {
    let stage = Stage::named("stubborn-step");
    let completed = stage.path().join("completed.sh");
    fs::write(&completed, "exit 0").unwrap();
    let mut command = stage.command();
    command.env("ACTIONS_RUNNER_HOOK_JOB_COMPLETED", &completed);
    let child = command.spawn().unwrap();
    stage.until(|recording| !recording.workers().is_empty());
    thread::sleep(Duration::from_millis(300));
    signal(&child, Signal::SIGINT);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(103));
    let last = lines(&output.stdout).pop().unwrap();
    assert_eq!(last, "Job build completed with result: Canceled");
    assert!(stage.recording().hooks().is_empty());
}

#[test]
fn worker_survives_the_listener() {
    let stage = Stage::named("listener-killed");
    assert_eq!(stage.finish().status.signal(), Some(9));
    assert!(stage.recording().exits(Who::Worker).is_empty());
    let worker = stage.recording().workers()[0];
    let comm = fs::read_to_string(format!("/proc/{worker}/comm")).unwrap();
    assert_eq!(comm.trim(), "Runner.Worker");
    stage.until(|recording| recording.exits(Who::Worker) == [100]);
}

#[test]
fn crash_comes_after_the_started_hook() {
    let stage = Stage::named("worker-crash");
    let hook = stage.path().join("started.sh");
    fs::write(&hook, "test \"$CI\" = true && cd \"$GITHUB_WORKSINTERVAL\"").unwrap();
    let mut command = stage.command();
    command.env("ACTIONS_RUNNER_HOOK_JOB_STARTED", &hook);
    assert_eq!(command.output().unwrap().status.code(), Some(102));
    assert_eq!(stage.recording().hooks(), [("started", Some(0))]);
}

#[test]
fn late_job_is_taken_and_cancelled() {
    let stage = Stage::named("late-job");
    let child = stage.start();
    stage.until(Recording::listened);
    thread::sleep(Duration::from_millis(300));
    signal(&child, Signal::SIGINT);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(103));
    let tail = lines(&output.stdout).split_off(5);
    let expected = ["Exiting...", "Running job: build", "Job build completed with result: Canceled"];
    assert_eq!(tail, expected);
}

#[test]
fn configuration_errors_have_upstream_codes() {
    let stage = Stage::named("success");
    let code = |blob: String| {
        let output = stage.command().env(JIT, blob).output().unwrap();
        for name in [".runner", ".credentials", ".credentials_rsaparams"] {
            let _ = fs::remove_file(stage.path().join(name));
        }
        (output.status.code(), output.stderr)
    };
    assert_eq!(code("no base64!".to_owned()).0, Some(1));
    assert_eq!(code(mayfly_fake_runner::jit::encode_outer(b"null")).0, Some(1));
    let (status, text) = code(mayfly_fake_runner::jit::encode_outer(b"{}"));
    assert_eq!(status, Some(1));
    assert!(text.starts_with(b"An error occurred: Not configured."));
    let blob = JitConfig::new(1).without(".credentials").encode();
    assert_eq!(code(blob).0, Some(2));
}

#[test]
fn clean_up_takes_only_what_carries_the_tracking_id() {
    let stage = Stage::named("leaves-children");
    assert_eq!(stage.finish().status.code(), Some(100));
    let root = stage.runner.root().to_string_lossy().into_owned();
    let mut left = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let mut argv = Vec::new();
        let Ok(mut file) = fs::File::open(entry.path().join("cmdline")) else {
            continue;
        };
        let _ = file.read_to_end(&mut argv);
        let name = String::from_utf8_lossy(&argv);
        let name = name.split('\0').next().unwrap_or_default().to_owned();
        let cwd = fs::read_link(entry.path().join("cwd")).unwrap_or_default();
        if name.starts_with("mayfly-left-") && cwd.to_string_lossy().starts_with(&root) {
            let pid = entry.file_name().to_string_lossy().parse().unwrap();
            kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
            left.push(name);
        }
    }
    left.sort();
    let expected = ["mayfly-left-daemon", "mayfly-left-plain", "mayfly-left-stubborn"];
    assert_eq!(left, expected);
}

#[test]
fn performance_log_tells_of_the_job() {
    let stage = Stage::named("success");
    let mut command = stage.command();
    command.env("RUNNER_PERFLOG", stage.path());
    command.output().unwrap();
    let text = fs::read_to_string(stage.path().join("Runner.perf")).unwrap();
    let counters: Vec<_> = text.lines().map(|line| line.split(':').next().unwrap()).collect();
    let expected = ["SessionCreated", "MessageReceived_RunnerJobRequest", "SentJobToWorker_1"];
    assert_eq!(counters, expected);
    assert!(stage.path().join("Worker.perf").exists());
}
