//! A simulated EC2 instance: the metadata service, AWS (moto behind the fault proxy), and the agent as a daemon on it.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use mayfly_fake_aws::imds::{ImdsDouble, Instance};
use mayfly_fake_aws::moto::{InstanceSpec, Moto};
use mayfly_fake_aws::proxy::AwsProxy;
use mayfly_fake_runner::Scenario;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::run::{TIMEOUT, mayfly_binary};
use super::{Run, policy, processes, schema};

/// Pauses between calls to AWS are this much shorter than in run: a minute is 3 seconds.
pub const SCALE: f64 = 0.05;

/// See the module.
#[derive(Debug)]
pub struct Cloud {
    /// The runner, the state directory and the limits.
    pub run: Run,
    /// The metadata service.
    pub imds: ImdsDouble,
    /// The way to AWS.
    pub aws: AwsProxy,
    /// AWS.
    pub moto: Moto,
    /// The instance's id.
    pub instance: String,
    /// Its Auto Scaling group.
    pub group: Option<String>,
    /// More lines of the agent's configuration.
    pub config: String,
}

/// The agent at work on the instance.
#[derive(Debug)]
pub struct OnInstance<'a> {
    cloud: &'a Cloud,
    /// The `mayfly` process.
    pub child: Child,
    began: Instant,
}

/// An agent that ended.
#[derive(Debug)]
pub struct Gone {
    /// How the process ended.
    pub status: ExitStatus,
    /// The run's record.
    pub record: Value,
    /// Its log.
    pub log: String,
    /// How long it took.
    pub took: Duration,
}

impl Cloud {
    /// An instance of its own, with this scenario of the runner's double.
    #[must_use]
    pub fn standalone(scenario: &str) -> Self {
        Self::with(&mayfly_fake_runner::scenarios::named(scenario).unwrap(), None)
    }

    /// An instance in an Auto Scaling group.
    #[must_use]
    pub fn in_group(scenario: &str) -> Self {
        Self::with(&mayfly_fake_runner::scenarios::named(scenario).unwrap(), Some("runners"))
    }

    /// An instance with a scenario of one's own.
    #[must_use]
    pub fn with(scenario: &Scenario, group: Option<&str>) -> Self {
        let moto = Moto::start().unwrap();
        let aws = AwsProxy::start(moto.address()).unwrap();
        let spec = InstanceSpec::default();
        let instance = match group {
            Some(name) => moto.run_group(name, &spec).unwrap().instance_id,
            None => moto.run_instance(&spec).unwrap(),
        };
        let mut described = Instance::new(&instance, moto.region());
        described.auto_scaling_group = group.map(str::to_owned);
        let imds = ImdsDouble::start(described).unwrap();
        let run = Run::with(scenario).limits(&[("terminating", "2s")]).set("MAYFLY_TIME_SCALE", &SCALE.to_string());
        Self { run, imds, aws, moto, instance, group: group.map(str::to_owned), config: String::new() }
    }

    /// Adds lines to the agent's configuration.
    #[must_use]
    pub fn configured(mut self, lines: &str) -> Self {
        self.config.push_str(lines);
        self
    }

    /// Changes the run.
    #[must_use]
    pub fn live(mut self, change: impl FnOnce(Run) -> Run) -> Self {
        self.run = change(self.run);
        self
    }

    /// Does what the launcher does: puts the JIT configuration where the instance looks for it.
    #[must_use]
    pub fn launched(self) -> Self {
        self.put_jit_config();
        self
    }

    /// Puts the JIT configuration where the instance looks for it.
    pub fn put_jit_config(&self) {
        self.moto.put_parameter(&self.parameter(), &self.run.jit).unwrap();
    }

    /// The parameter's name.
    #[must_use]
    pub fn parameter(&self) -> String {
        format!("/mayfly/runners/{}", self.instance)
    }

    /// Exists once the machine was powered off.
    #[must_use]
    pub fn powered_off(&self) -> PathBuf {
        self.run.directory().join("powered-off")
    }

    /// The instance's state in EC2.
    #[must_use]
    pub fn state(&self) -> String {
        self.moto.instance_state(&self.instance).unwrap()
    }

    /// Lets the next agent find another boot, as after a stop and a start.
    pub fn boot_again(&self) {
        let path = self.run.state().join("journal.jsonl");
        let journal = fs::read_to_string(&path).unwrap();
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
        assert!(journal.contains(boot.trim()), "the journal does not name its boot");
        fs::write(&path, journal.replace(boot.trim(), "00000000-0000-4000-8000-000000000000")).unwrap();
    }

    /// How often an action of AWS was called.
    #[must_use]
    pub fn calls(&self, action: &str) -> usize {
        self.aws.requests_of(action).len()
    }

    /// The command line of the agent.
    #[must_use]
    pub fn command(&self) -> Command {
        let config = self.run.directory().join("agent.toml");
        let text = format!(
            "platform = \"ec2\"\nstate_directory = {:?}\n[runner]\ndirectory = {:?}\nuser = \"\"\nsupervisor = \
             \"process\"\n[terminate]\npoweroff_command = \"touch {}\"\n{}",
            self.run.state(),
            self.run.root(),
            self.powered_off().display(),
            self.config
        );
        fs::write(&config, text).unwrap();
        let mut command = Command::new(mayfly_binary());
        command.arg("agent").arg("--config").arg(config).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HOME", "/tmp");
        command.env("AWS_ENDPOINT_URL", self.aws.url()).env("AWS_EC2_METADATA_SERVICE_ENDPOINT", self.imds.url());
        command.envs(self.run.environment.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command
    }

    /// Starts the agent.
    #[must_use]
    pub fn start(&self) -> OnInstance<'_> {
        // A file, not a pipe: a killed agent's log is kept, and the supervisor process holds no pipe open.
        let log = fs::OpenOptions::new().append(true).create(true).open(self.log_path()).unwrap();
        let child = self.command().stderr(log).spawn().unwrap();
        OnInstance { cloud: self, child, began: Instant::now() }
    }

    /// Lets the agent live to its end.
    #[must_use]
    pub fn run(&self) -> Gone {
        self.start().end()
    }

    /// What its agents logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    fn log_path(&self) -> PathBuf {
        self.run.directory().join("agent.log")
    }
}

impl OnInstance<'_> {
    /// Waits until the agent has ended by itself, and sees to it that nothing of the runner is left.
    #[must_use]
    pub fn end(mut self) -> Gone {
        let deadline = Instant::now() + TIMEOUT;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            if Instant::now() > deadline {
                let _ = self.child.kill();
                panic!("the agent hangs; journal: {:#?}\n{}", self.cloud.run.journal(), self.log());
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        let took = self.began.elapsed();
        let record = fs::read(self.cloud.run.state().join("record.json")).unwrap_or_default();
        let record: Value = serde_json::from_slice(&record).unwrap_or_default();
        schema::validate(&record);
        let gone = Gone { status, record, log: self.log(), took };
        // A journalctl that has lost its reader needs a moment to see that.
        let deadline = Instant::now() + Duration::from_secs(2);
        let mut left = processes::of_run(&self.cloud.run);
        while !left.is_empty() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
            left = processes::of_run(&self.cloud.run);
        }
        assert!(left.is_empty(), "processes outlive the run: {left:#?}\n{}", gone.log);
        let denied = policy::denied(&self.cloud.aws.requests());
        assert!(denied.is_empty(), "whoever uses the policy of docs/security.md is denied this: {denied:#?}");
        gone
    }

    /// `kill -9`, and waits until the process is gone.
    pub fn kill_dead(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM, as systemd sends it when the machine is stopped; waits until the process has ended.
    #[must_use]
    pub fn shut_down(mut self) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        let deadline = Instant::now() + TIMEOUT;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "the agent does not go with its machine:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Sends a signal to the agent.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal).unwrap();
    }

    /// Waits until something is true of the cloud.
    pub fn until(&mut self, what: &str, mut is_true: impl FnMut(&Cloud) -> bool) {
        let deadline = Instant::now() + TIMEOUT;
        while !is_true(self.cloud) {
            if let Some(status) = self.child.try_wait().unwrap() {
                assert!(is_true(self.cloud), "the agent ended ({status}) before {what}:\n{}", self.log());
                return;
            }
            assert!(Instant::now() < deadline, "not within {TIMEOUT:?}: {what}\n{}", self.log());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Waits until the journal tells of this state.
    pub fn until_state(&mut self, state: &str) {
        let needle = format!("\"state\":\"{state}\"");
        self.until(state, |cloud| cloud.run.journal().iter().any(|line| line.contains(&needle)));
    }

    fn log(&self) -> String {
        self.cloud.log()
    }
}

impl Gone {
    /// The outcome's code.
    #[must_use]
    pub fn outcome(&self) -> &str {
        self.record["outcome"].as_str().unwrap_or("no record")
    }

    /// Fails with everything that is known unless the run ended like this.
    pub fn assert_outcome(&self, outcome: &str) {
        assert_eq!(self.outcome(), outcome, "status {}, record {:#}\n{}", self.status, self.record, self.log);
    }

    /// The methods that were tried, and whether each was accepted.
    #[must_use]
    pub fn methods(&self) -> Vec<(String, bool)> {
        let name = |method: &Value| match method {
            Value::String(name) => name.clone(),
            Value::Object(group) => match group.values().next() {
                Some(inner) if inner["decrement"] == true => "group-decrement".to_owned(),
                _ => "group".to_owned(),
            },
            other => other.to_string(),
        };
        let methods = self.record["terminations"].as_array().cloned().unwrap_or_default();
        methods.iter().map(|tried| (name(&tried["method"]), tried["refused"].is_null())).collect()
    }
}
