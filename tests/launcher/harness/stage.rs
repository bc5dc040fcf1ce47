//! The stage: doubles, configuration, the launcher's process.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use mayfly_fake_aws::ec2::{FakeEc2, Instance, Options as Ec2Options};
use mayfly_fake_github::{CLIENT_ID, FakeGithub, JobId, JobSpec, Options};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::told::get;

/// The repository of the scenarios.
pub const REPOSITORY: &str = "mayfly-example/sample";

/// The labels of the plain class.
pub const LABELS: &[&str] = &["self-hosted", "ec2"];

/// Nothing takes longer; what does hangs.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The webhook's secret.
const SECRET: &str = "a-secret-of-the-webhook-that-nobody-prints";

/// The binary under test: named by the environment, or the one built beside this test.
#[must_use]
pub fn launcher_binary() -> PathBuf {
    let beside = || std::env::current_exe().unwrap().parent().unwrap().parent().unwrap().join("mayfly-launcher");
    let path = std::env::var_os("MAYFLY_LAUNCHER_BIN").map_or_else(beside, PathBuf::from);
    assert!(path.exists(), "{} is not there: build it with `cargo build --workspace`", path.display());
    path
}

/// Everything that a scenario has.
#[derive(Debug)]
pub struct Stage {
    /// GitHub.
    pub github: FakeGithub,
    /// AWS.
    pub ec2: FakeEc2,
    /// Where the configuration and the log are.
    pub place: TempDir,
    /// More of the class, in TOML.
    pub class: String,
    /// More of `[class.ec2]`, in TOML.
    pub launching: String,
    /// More classes, in TOML.
    pub more: String,
    /// The password of the page, if there is one.
    pub page_token: Option<&'static str>,
    running: Vec<(Child, SocketAddr)>,
    starts: usize,
}

impl Default for Stage {
    fn default() -> Self {
        Self::new(Options::default())
    }
}

impl Stage {
    /// A stage with this GitHub; nothing runs yet.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self {
            github: FakeGithub::start(options).unwrap(),
            ec2: FakeEc2::start(Ec2Options::default()).unwrap(),
            place: tempfile::tempdir().unwrap(),
            class: String::new(),
            launching: String::new(),
            more: String::new(),
            page_token: None,
            running: Vec::new(),
            starts: 0,
        }
    }

    /// Writes the configuration; returns its path.
    #[must_use]
    pub fn configuration(&self) -> PathBuf {
        let secret = |name: &str, text: &str| {
            let path = self.place.path().join(name);
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            path.display().to_string()
        };
        let key = secret("app.pem", self.github.app_private_key_pem());
        let webhook = secret("webhook-secret", SECRET);
        let page =
            self.page_token.map(|token| format!("page_token = {:?}", secret("page-token", token))).unwrap_or_default();
        let text = format!(
            r#"
listen = "127.0.0.1:0"
{page}
[limits]
list_lag = "1s"
reconcile = "2s"
[[app]]
id = "{CLIENT_ID}"
private_key = "{key}"
webhook_secret = "{webhook}"
api = "{api}"
[[class]]
name = "ec2"
labels = [["self-hosted", "ec2"]]
organization = "mayfly-example"
runner_group = "ec2"
{class}
[class.ec2]
region = "eu-central-1"
launch_template = "lt-0123456789abcdef0"
{launching}
{more}
"#,
            api = self.github.api_url(),
            class = self.class,
            launching = self.launching,
            more = self.more,
        );
        let path = self.place.path().join("launcher.toml");
        fs::write(&path, text).unwrap();
        path
    }

    /// The launcher with these arguments, its configuration and the doubles' addresses.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(launcher_binary());
        command
            .arg("--config")
            .arg(self.configuration())
            .args(arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("HOME", self.place.path())
            .env("AWS_ENDPOINT_URL", self.ec2.url())
            .env("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
            .env("AWS_SECRET_ACCESS_KEY", "a-secret-key-of-aws-that-nobody-prints")
            .env("MAYFLY_LOG", "warn,mayfly_launcher=debug");
        command
    }

    /// Starts `serve`, sends GitHub's webhooks to it, and waits until it is ready.
    pub fn start(&mut self) -> SocketAddr {
        self.starts += 1;
        let log = self.place.path().join(format!("log-{}", self.starts));
        let child = self.command(&["serve"]).stdin(Stdio::null()).stderr(File::create(&log).unwrap()).spawn().unwrap();
        let mut address = None;
        self.until("the launcher listens", || {
            let text = fs::read_to_string(&log).unwrap();
            let line = text.lines().find(|line| line.contains("\"address\""));
            address = line.map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
            address.is_some()
        });
        let address: SocketAddr = address.unwrap()["address"].as_str().unwrap().parse().unwrap();
        self.running.push((child, address));
        self.until("the launcher is ready", || get(address, "/readyz", None).status == 200);
        self.github.webhook_to(&format!("http://{address}/webhook"), SECRET);
        address
    }

    /// Kills the launcher that was started last, as a machine that dies does.
    pub fn kill(&mut self) {
        let (mut child, _) = self.running.pop().expect("no launcher runs");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Ends it in order; returns its exit code.
    pub fn stop(&mut self) -> i32 {
        let (mut child, _) = self.running.pop().expect("no launcher runs");
        kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGTERM).unwrap();
        let began = Instant::now();
        loop {
            if let Some(status) = child.try_wait().unwrap() {
                return status.code().unwrap_or(-1);
            }
            assert!(began.elapsed() < TIMEOUT, "the launcher does not end at SIGTERM");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// What all launchers have logged.
    #[must_use]
    pub fn log(&self) -> String {
        let logs = (1..=self.starts).map(|start| fs::read_to_string(self.place.path().join(format!("log-{start}"))));
        logs.map(Result::unwrap).collect()
    }

    /// Waits for something that happens elsewhere.
    pub fn until(&self, what: &str, mut done: impl FnMut() -> bool) {
        let began = Instant::now();
        while !done() {
            assert!(began.elapsed() < TIMEOUT, "in vain: {what}; the launcher's log:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Queues a job of the plain class.
    #[must_use]
    pub fn queue(&self) -> JobId {
        self.github.queue_job(&JobSpec::new(REPOSITORY, LABELS)).unwrap()
    }

    /// Instances that are not ended.
    #[must_use]
    pub fn live(&self) -> Vec<Instance> {
        self.ec2.instances().into_iter().filter(|instance| matches!(instance.state, "pending" | "running")).collect()
    }

    /// The name of an instance's parameter, by its tags, as its agent finds it.
    #[must_use]
    pub fn parameter_of(instance: &Instance) -> String {
        let ticket = instance.tags.get("mayfly:ticket").expect("the instance has no ticket");
        format!("/mayfly/runners/{}/{ticket}", instance.id)
    }

    /// Plays an agent up to where its runner listens: waits for the JIT configuration, takes it, connects, says that it is idle.
    /// Returns the runner's name.
    pub fn boot(&self, instance: &Instance) -> String {
        let name = Self::parameter_of(instance);
        let mut taken = None;
        self.until("the instance has its JIT configuration", || {
            taken = self.ec2.take_parameter(&name);
            taken.is_some()
        });
        let runner = format!("ec2-{}", instance.id);
        self.ec2.tag(&instance.id, &[("mayfly:phase", "idle")]);
        self.github.runner_online(&runner).unwrap();
        runner
    }

    /// Plays the rest: the job is over, the instance ends itself.
    pub fn finish(&self, instance: &Instance, job: JobId) {
        self.github.complete_job(job, mayfly_fake_github::Conclusion::Success).unwrap();
        self.ec2.tag(&instance.id, &[("mayfly:phase", "closing"), ("mayfly:outcome", "job-succeeded")]);
        self.ec2.end(&instance.id);
    }

    /// What must hold at the end of every scenario, whatever happened: nothing is left behind, and nothing broke GitHub's rules.
    pub fn nothing_is_left(&self) {
        self.until("no instance lives", || self.live().is_empty());
        self.until("no parameter is left", || self.ec2.parameters().is_empty());
        self.until("no runner record is left", || self.github.runners().is_empty());
        assert_eq!(self.github.violations(), [], "requests that GitHub would refuse");
        self.no_secret_was_told();
    }

    /// Nothing secret is in any log.
    pub fn no_secret_was_told(&self) {
        let log = self.log();
        let key: Vec<&str> = self.github.app_private_key_pem().lines().filter(|line| line.len() > 40).collect();
        let tickets =
            self.ec2.instances().into_iter().filter_map(|instance| instance.tags.get("mayfly:ticket").cloned());
        let secrets = [SECRET, "a-secret-key-of-aws", "ghs_", "encoded_jit_config", "BEGIN "].map(str::to_owned);
        let all = secrets.into_iter().chain(key.into_iter().map(str::to_owned)).chain(tickets);
        for secret in all {
            assert!(!log.contains(&secret), "the log tells a secret: {secret}");
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        for (child, _) in &mut self.running {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
