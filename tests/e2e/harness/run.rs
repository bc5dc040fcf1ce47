//! One run of the shipped binary, in a directory of its own.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use mayfly_fake_runner::install::Recording;
use mayfly_fake_runner::{FakeRunner, JitConfig, Scenario};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

use super::{processes, schema};

/// Nothing in a scenario takes longer; a run that does hangs.
pub const TIMEOUT: Duration = Duration::from_secs(60);

/// The binary under test: named by the test script, or the one built beside this test.
#[must_use]
pub fn mayfly_binary() -> PathBuf {
    let path = std::env::var_os("MAYFLY_BIN").map_or_else(
        || std::env::current_exe().unwrap().parent().unwrap().parent().unwrap().join("mayfly"),
        PathBuf::from,
    );
    assert!(
        path.exists(),
        "{} is not there: build it with `cargo build --workspace`, or run scripts/test",
        path.display()
    );
    path
}

/// A runner, a JIT configuration, a state directory, and limits short enough for a test.
#[derive(Debug)]
pub struct Run {
    directory: TempDir,
    /// The runner's double.
    pub runner: FakeRunner,
    /// The JIT configuration's text, as it is given to `mayfly run`.
    pub jit: String,
    /// Configuration by environment variable.
    pub environment: Vec<(String, String)>,
    /// Further arguments.
    pub arguments: Vec<String>,
    /// Run everything as this user instead of as the caller.
    pub uid: Option<u32>,
}

/// A run that goes on.
#[derive(Debug)]
pub struct Running<'a> {
    run: &'a Run,
    /// The `mayfly` process.
    pub child: Child,
    began: Instant,
}

/// A run that ended.
#[derive(Debug)]
pub struct Ended {
    /// How the process ended.
    pub status: ExitStatus,
    /// Its record.
    pub record: Value,
    /// Its standard error.
    pub stderr: String,
    /// How long it took.
    pub took: Duration,
}

impl Run {
    /// A run with the scenario of this name and a good JIT configuration.
    #[must_use]
    pub fn named(scenario: &str) -> Self {
        Self::with(&mayfly_fake_runner::scenarios::named(scenario).unwrap_or_else(|| panic!("no scenario {scenario}")))
    }

    /// A run with this scenario and a good JIT configuration.
    #[must_use]
    pub fn with(scenario: &Scenario) -> Self {
        let directory = tempfile::Builder::new().prefix("mayfly-run-").tempdir().unwrap();
        let runner = FakeRunner::install(directory.path().join("runner"), scenario).unwrap();
        let run = Self {
            directory,
            runner,
            jit: JitConfig::new(7).encode(),
            environment: Vec::new(),
            arguments: Vec::new(),
            uid: None,
        };
        run.limits(&[
            ("booting", "5s"),
            ("listening", "5s"),
            ("idle", "5s"),
            ("assigned", "3s"),
            ("job", "20s"),
            ("finishing", "2s"),
            ("updating", "3s"),
            ("draining", "3s"),
            ("closing", "10s"),
            ("lifetime", "60s"),
        ])
        .set("MAYFLY_JIT_WAIT", "5s")
        // Whoever runs the tests may have a small disk.
        .set("MAYFLY_HOST_MIN_DISK", "1MiB")
        // Many agents at once, and one port.
        .set("MAYFLY_METRICS_LISTEN", "")
    }

    /// Sets limits, by the names of the configuration.
    #[must_use]
    pub fn limits(mut self, limits: &[(&str, &str)]) -> Self {
        for (name, value) in limits {
            self = self.set(&format!("MAYFLY_LIMITS_{}", name.to_uppercase()), value);
        }
        self
    }

    /// Sets an environment variable of `mayfly`.
    #[must_use]
    pub fn set(mut self, name: &str, value: &str) -> Self {
        self.environment.retain(|(known, _)| known != name);
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Adds arguments of `mayfly run`.
    #[must_use]
    pub fn arguments(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(ToString::to_string));
        self
    }

    /// Takes this text instead of a good JIT configuration.
    #[must_use]
    pub fn jit(mut self, text: impl Into<String>) -> Self {
        self.jit = text.into();
        self
    }

    /// The directory around everything.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The runner's directory.
    #[must_use]
    pub fn root(&self) -> &Path {
        self.runner.root()
    }

    /// The state directory.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.directory.path().join("state")
    }

    /// The journal's whole lines.
    #[must_use]
    pub fn journal(&self) -> Vec<String> {
        let content = std::fs::read(self.state().join("journal.jsonl")).unwrap_or_default();
        let written = content.iter().position(|byte| *byte == 0).map_or(&content[..], |end| &content[..end]);
        let text = String::from_utf8_lossy(written).into_owned();
        text.split_inclusive('\n').filter(|line| line.ends_with('\n')).map(str::to_owned).collect()
    }

    /// What the runner's double recorded.
    #[must_use]
    pub fn recording(&self) -> Recording {
        self.runner.recording().unwrap_or(Recording { records: Vec::new() })
    }

    /// The command line of `mayfly run` for this run.
    #[must_use]
    pub fn command(&self) -> Command {
        let jit = self.directory.path().join("jit-config");
        std::fs::write(&jit, &self.jit).unwrap();
        let mut command = Command::new(self.binary());
        command.arg("run").arg("--json").arg("--jit-config").arg(jit);
        command.arg("--runner-dir").arg(self.root()).arg("--state-directory").arg(self.state());
        command.args(&self.arguments);
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HOME", "/tmp");
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        if let Some(uid) = self.uid {
            std::os::unix::process::CommandExt::uid(&mut command, uid);
        }
        command
    }

    /// The binary, where the run's user can reach it: a build directory may be root's alone.
    fn binary(&self) -> PathBuf {
        if self.uid.is_none() {
            return mayfly_binary();
        }
        let copy = self.directory.path().join("mayfly");
        std::fs::copy(mayfly_binary(), &copy).unwrap();
        copy
    }

    /// Starts it.
    #[must_use]
    pub fn start(&self) -> Running<'_> {
        Running { run: self, child: self.command().spawn().unwrap(), began: Instant::now() }
    }

    /// Goes on to its end, and sees to it that nothing of the runner is left.
    #[must_use]
    pub fn run(&self) -> Ended {
        self.start().end()
    }
}

impl Running<'_> {
    /// Waits until `mayfly` has ended by itself, and sees to it that nothing of the runner is left.
    #[must_use]
    pub fn end(self) -> Ended {
        let run = self.run;
        let ended = self.end_leaving_processes();
        let left = processes::of_run(run);
        assert!(left.is_empty(), "processes of the runner outlive the run: {left:#?}\n{}", ended.stderr);
        ended
    }

    /// Waits until `mayfly` has ended by itself.
    #[must_use]
    pub fn end_leaving_processes(mut self) -> Ended {
        let began = self.began;
        let stdout = read_in_background(self.child.stdout.take().unwrap());
        let stderr = read_in_background(self.child.stderr.take().unwrap());
        let deadline = Instant::now() + TIMEOUT;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            if Instant::now() > deadline {
                let _ = self.child.kill();
                panic!("mayfly hangs: not ended after {TIMEOUT:?}; journal: {:#?}", self.run.journal());
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        let took = began.elapsed();
        let (stdout, stderr) = (stdout.join().unwrap(), stderr.join().unwrap());
        let record = serde_json::from_str(&stdout).unwrap_or(Value::Null);
        schema::validate(&record);
        Ended { status, record, stderr, took }
    }

    /// Sends a signal to `mayfly`.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal).unwrap();
    }

    /// `kill -9`, and waits until the process is gone.
    pub fn kill_dead(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits until something is true of the run.
    pub fn until(&mut self, what: &str, mut is_true: impl FnMut(&Run) -> bool) {
        let deadline = Instant::now() + TIMEOUT;
        while !is_true(self.run) {
            if let Some(status) = self.child.try_wait().unwrap() {
                assert!(is_true(self.run), "mayfly ended ({status}) before {what}: {:#?}", self.run.journal());
                return;
            }
            assert!(Instant::now() < deadline, "not within {TIMEOUT:?}: {what}; journal: {:#?}", self.run.journal());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Waits until the journal tells of this state.
    pub fn until_state(&mut self, state: &str) {
        let needle = format!("\"state\":\"{state}\"");
        self.until(&format!("the state {state}"), |run| run.journal().iter().any(|line| line.contains(&needle)));
    }
}

impl Ended {
    /// The outcome's code, from the record.
    #[must_use]
    pub fn outcome(&self) -> &str {
        self.record["outcome"].as_str().unwrap_or("no record")
    }

    /// The exit code.
    #[must_use]
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// Fails with everything that is known unless the run ended like this.
    pub fn assert_outcome(&self, outcome: &str) {
        assert_eq!(self.outcome(), outcome, "status {}, record {:#}\n{}", self.status, self.record, self.stderr);
    }
}

/// Writes a file that must be whole when it appears.
pub fn drop_file(path: &Path, content: &str) {
    let beside = path.with_extension("new");
    let mut file = std::fs::File::create(&beside).unwrap();
    file.write_all(content.as_bytes()).unwrap();
    std::fs::rename(beside, path).unwrap();
}

fn read_in_background(mut pipe: impl std::io::Read + Send + 'static) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = pipe.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}
