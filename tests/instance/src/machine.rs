//! One machine: what a scenario does to it and asks of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use mayfly_fake_runner::install::Recording;
use mayfly_fake_runner::{FakeRunner, JitConfig, Scenario};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::accelerator::Accelerator;
use crate::qemu::{self, Hardware, Qemu};
use crate::{Clouds, Disk, Error, Output, Result, Spec, Trying as _, snapshot};

/// What a command in the guest may take unless a scenario says otherwise.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Where the runner is on the machine.
const RUNNER: &str = "/opt/actions-runner";

/// A running machine. When it is dropped it is ended; if the test fails, what it said is kept first.
#[derive(Debug)]
pub struct Machine {
    qemu: Qemu,
    /// The doubles around it.
    pub clouds: Clouds,
    directory: TempDir,
}

/// How a machine ended.
#[derive(Debug, Clone)]
pub struct Ended {
    /// QEMU's word: `guest-shutdown`, `guest-reset`, `host-qmp-quit`, ….
    pub reason: String,
    /// EC2 ended it (it was terminated there, and EC2 pressed the power button), not the guest by itself.
    pub by_ec2: bool,
    /// From the call to the end.
    pub took: Duration,
}

impl Output {
    /// The output of a command that must have succeeded.
    ///
    /// # Errors
    /// It did not.
    pub fn success(self) -> Result<String> {
        match self.status {
            0 => Ok(self.stdout),
            status => Err(Error(format!("the command ended with {status}: {}{}", self.stdout, self.stderr))),
        }
    }
}

/// For a scenario, whose machine must work.
fn must<T>(result: Result<T>) -> T {
    result.unwrap_or_else(|error| panic!("{error}"))
}

impl Machine {
    /// A machine from the snapshot: [`Spec::restore`] for a scenario.
    #[must_use]
    pub fn restored(name: &str) -> Self {
        must(Spec::new(name).restore())
    }

    /// A machine from a cold boot, which goes on while the scenario does: [`Spec::boot`] for a scenario.
    #[must_use]
    pub fn cold(name: &str) -> Self {
        must(Spec::new(name).boot())
    }

    pub(crate) fn start(
        spec: &Spec,
        disk: &Disk,
        clouds: Clouds,
        backing: &Path,
        state: Option<PathBuf>,
    ) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("mayfly-machine-").tempdir()?;
        let overlay = directory.path().join("disk.qcow2");
        qemu::overlay(backing, &overlay)?;
        let restored = state.is_some();
        let mut drives = Vec::new();
        for (number, mib) in spec.drives.iter().enumerate() {
            let path = directory.path().join(format!("drive-{number}"));
            fs::File::create(&path)?.set_len(mib << 20)?;
            drives.push(path);
        }
        let mut emulator = Qemu::start(&Hardware {
            disk,
            overlay: &overlay,
            directory: directory.path(),
            accelerator: Accelerator::of_this_host(disk)?,
            imds_port: clouds.imds.address().port(),
            state,
            console_here: spec.console_here,
            kernel: &spec.kernel,
            drives: &drives,
        })?;
        if restored {
            emulator.go_on()?;
        }
        Ok(Self { qemu: emulator, clouds, directory })
    }

    /// Gives a restored machine its own clock, cloud and configuration.
    pub(crate) fn become_this_one(&mut self, spec: &Spec) -> Result<()> {
        let mut script = "set -e; rm -f /run/mayfly/building; mkdir -p /etc/mayfly/agent.d; umask 077\n".to_owned();
        for (path, permissions, content) in crate::user_data::files(&self.clouds.environment(), &spec.agent) {
            script.push_str(&format!("cat >{path} <<'END'\n{content}\nEND\nchmod {permissions} {path}\n"));
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        script.push_str(&format!("date --utc --set=@{now:.3} >/dev/null\n"));
        self.run(&script, &[], TIMEOUT)?.success().map(drop)
    }

    /// Runs a script in the guest as root, and gives what it did, whether it succeeded or not.
    ///
    /// # Errors
    /// The machine is gone, or does not answer.
    pub fn run(&mut self, script: &str, input: &[u8], limit: Duration) -> Result<Output> {
        self.qemu.shell.run(script, input, limit).map_err(|error| {
            let console = self.console();
            match console.lines().find(|line| line.contains("Kernel panic")) {
                Some(line) => Error(format!("{error}; the guest's kernel died: {}", line.trim())),
                None => error,
            }
        })
    }

    /// The output of a script that must succeed.
    #[track_caller]
    pub fn guest(&mut self, script: &str) -> String {
        let output = must(self.run(script, &[], TIMEOUT));
        assert!(
            output.status == 0,
            "{script:?} ended with {} on the machine:\n{}{}",
            output.status,
            output.stdout,
            output.stderr
        );
        output.stdout
    }

    /// What a script did, whether it succeeded or not.
    #[track_caller]
    pub fn try_guest(&mut self, script: &str) -> Output {
        must(self.run(script, &[], TIMEOUT))
    }

    /// Runs a script in the guest again and again until it succeeds.
    #[track_caller]
    pub fn until(&mut self, what: &str, limit: Duration, script: &str) {
        let deadline = Instant::now() + limit;
        loop {
            let output = must(self.run(script, &[], TIMEOUT));
            if output.status == 0 {
                return;
            }
            let said = || format!("{}{}", output.stdout, output.stderr);
            assert!(Instant::now() < deadline, "not within {limit:?}: {what}; {script:?} says: {}", said());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Waits until something is true of the machine's cloud.
    #[track_caller]
    pub fn until_cloud(&self, what: &str, limit: Duration, mut is_true: impl FnMut(&Clouds) -> bool) {
        let deadline = Instant::now() + limit;
        while !is_true(&self.clouds) {
            assert!(Instant::now() < deadline, "not within {limit:?}: {what}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits until a cold boot is over: every job of systemd's done, cloud-init too.
    #[track_caller]
    pub fn wait_until_booted(&mut self) {
        must(self.booted(snapshot::BOOT));
    }

    pub(crate) fn booted(&mut self, limit: Duration) -> Result<()> {
        // "degraded" has a unit that failed: a scenario may want just that. The snapshot's own scenario asks for "running".
        let script = "until systemctl show -p SystemState --value | grep -qE 'running|degraded'; do sleep 0.2; done";
        self.run(script, &[], limit)?.success().map(drop)
    }

    /// Writes a file in the guest.
    #[track_caller]
    pub fn put(&mut self, path: &str, content: impl AsRef<[u8]>) {
        let output = must(self.run(&format!("cat >'{path}'"), content.as_ref(), TIMEOUT));
        assert!(output.status == 0, "writing {path} on the machine: {}", output.stderr);
    }

    /// Reads a file of text in the guest.
    #[track_caller]
    pub fn get(&mut self, path: &str) -> String {
        self.guest(&format!("cat '{path}'"))
    }

    /// The whole journal of this boot.
    #[track_caller]
    pub fn journal(&mut self) -> String {
        self.guest("journalctl --no-pager --output=short-monotonic --boot")
    }

    /// The journal of one unit.
    #[track_caller]
    pub fn journal_of(&mut self, unit: &str) -> String {
        self.guest(&format!("journalctl --no-pager --output=cat --boot --unit '{unit}'"))
    }

    /// Whether the package under test is installed.
    #[track_caller]
    pub fn has_package(&mut self) -> bool {
        self.try_guest("dpkg-query --show mayfly").status == 0
    }

    /// Lets the runner's double play this scenario, and does what the launcher does: puts a JIT configuration in place.
    #[track_caller]
    pub fn put_jit_config(&mut self, scenario: &str) {
        let found = mayfly_fake_runner::scenarios::named(scenario).unwrap_or_else(|| panic!("no scenario {scenario}"));
        self.play(&found);
        self.launch();
    }

    /// Changes the scenario of the runner's double; the next listener plays it.
    #[track_caller]
    pub fn play(&mut self, scenario: &Scenario) {
        let text = serde_json::to_string(scenario).unwrap_or_default();
        self.put(&format!("{RUNNER}/.fake/scenario.json"), text);
    }

    /// Does what the launcher does: puts a JIT configuration where the instance looks for it.
    #[track_caller]
    pub fn launch(&self) {
        let put = self.clouds.moto.put_parameter(&self.clouds.parameter(), &JitConfig::new(7).encode());
        must(put.trying(|| "putting the JIT configuration".to_owned()));
    }

    /// What the runner's double recorded so far.
    #[track_caller]
    pub fn recording(&mut self) -> Recording {
        let text = self.guest(&format!("cat {RUNNER}/.fake/recording.jsonl"));
        let here = self.directory.path().join("recording");
        fs::create_dir_all(here.join(".fake")).unwrap();
        fs::write(here.join(".fake/recording.jsonl"), text).unwrap();
        FakeRunner::at(here).recording().unwrap()
    }

    /// The serial console's text so far.
    #[must_use]
    pub fn console(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.directory.path().join("console")).unwrap_or_default()).into_owned()
    }

    /// Presses the power button, as EC2 does to end an instance.
    #[track_caller]
    pub fn press_power(&mut self) {
        must(self.qemu.qmp.run("system_powerdown", json!({})));
    }

    /// Any command of QEMU's machine protocol, such as `block_set_io_throttle`.
    #[track_caller]
    pub fn qmp(&mut self, command: &str, arguments: Value) -> Value {
        must(self.qemu.qmp.run(command, arguments))
    }

    /// QEMU's events so far, such as `SHUTDOWN`, `RESET` and `POWERDOWN`.
    #[must_use]
    pub fn events(&self) -> Vec<Value> {
        self.qemu.qmp.events()
    }

    /// How often the machine was reset, as a reboot does.
    #[must_use]
    pub fn resets(&self) -> usize {
        let by_guest = |event: &&Value| event["event"] == "RESET" && event["data"]["guest"] == true;
        self.events().iter().filter(by_guest).count()
    }

    /// Waits until the machine is off. An instance that is terminated in EC2 meanwhile gets the power button from it.
    #[track_caller]
    pub fn wait_for_power_off(&mut self, limit: Duration) -> Ended {
        let ended = must(self.off(limit));
        ended.unwrap_or_else(|| panic!("the machine is not off within {limit:?}: an instance that is paid for ever"))
    }

    /// The same, for whoever can live without.
    ///
    /// # Errors
    /// moto or QEMU does not answer.
    pub fn off(&mut self, limit: Duration) -> Result<Option<Ended>> {
        let began = Instant::now();
        let mut by_ec2 = false;
        while began.elapsed() < limit {
            let step = Duration::from_millis(200).min(limit);
            if let Some(event) = self.qemu.qmp.wait(step, |event| event["event"] == "SHUTDOWN") {
                let reason = event["data"]["reason"].as_str().unwrap_or("unknown").to_owned();
                self.qemu.gone(TIMEOUT)?;
                return Ok(Some(Ended { reason, by_ec2, took: began.elapsed() }));
            }
            if self.qemu.gone(Duration::ZERO)? {
                return Ok(Some(Ended { reason: "host-quit".to_owned(), by_ec2, took: began.elapsed() }));
            }
            if !by_ec2 && matches!(self.clouds.state()?.as_str(), "shutting-down" | "terminated") {
                by_ec2 = true;
                self.qemu.qmp.run("system_powerdown", json!({}))?;
            }
        }
        Ok(None)
    }

    /// Freezes and saves the machine, which ends with that; the overlay goes with the state.
    pub(crate) fn save(&mut self, disk: &Path, state: &Path) -> Result<()> {
        self.qemu.save(state)?;
        let overlay = self.directory.path().join("disk.qcow2");
        fs::copy(&overlay, disk).map(drop).trying(|| format!("copying the disk to {}", disk.display()))
    }

    /// Keeps what a person needs to see why a scenario failed.
    fn keep_evidence(&mut self) -> std::io::Result<PathBuf> {
        let thread = std::thread::current();
        let scenario = thread.name().unwrap_or("scenario").replace("::", "-");
        let place = evidence_directory().join(scenario);
        fs::create_dir_all(&place)?;
        for name in ["console", "qemu.log"] {
            let _ = fs::copy(self.directory.path().join(name), place.join(name));
        }
        let journal = match self.run("journalctl --no-pager --output=short-monotonic --boot", &[], TIMEOUT) {
            Ok(output) => output.stdout,
            Err(error) => format!("the guest does not tell its journal: {error}\n"),
        };
        fs::write(place.join("journal"), journal)?;
        if let Ok(output) = self.run(&format!("cat {}", crate::run::STEP_LOG), &[], TIMEOUT) {
            fs::write(place.join("step-log"), output.stdout)?;
        }
        fs::write(place.join("events"), format!("{:#?}\n", self.events()))?;
        fs::write(place.join("imds-requests"), format!("{:#?}\n", self.clouds.imds.requests()))?;
        fs::write(place.join("aws-requests"), format!("{:#}\n", self.clouds.aws.requests_json()))?;
        Ok(place)
    }
}

/// Beside the build, where CI and people look.
fn evidence_directory() -> PathBuf {
    if let Some(named) = std::env::var_os("MAYFLY_INSTANCE_EVIDENCE") {
        return named.into();
    }
    let current = std::env::current_exe().unwrap_or_default();
    current.ancestors().nth(3).unwrap_or(Path::new("target")).join("instance")
}

impl Drop for Machine {
    #[allow(clippy::print_stderr, reason = "a failed test says where to look")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            match self.keep_evidence() {
                Ok(place) => eprintln!("console, journal and requests of this machine: {}", place.display()),
                Err(error) => eprintln!("cannot keep what the machine said: {error}"),
            }
        }
    }
}
