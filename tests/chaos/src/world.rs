//! The world around one agent: metadata service, AWS, Docker, the runner's double, the disk.

mod disk;
mod logs;

use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use mayfly_e2e::processes::{self, Process};
use mayfly_e2e::{Bus, Run, run::mayfly_binary};
use mayfly_fake_aws::imds::{ImdsDouble, Instance, event_date};
use mayfly_fake_aws::proxy::{AwsError, AwsProxy, Fault, Match};
use mayfly_fake_aws::{Limit, RuleId};
use mayfly_fake_docker::{DockerDouble, Fault as DockerFault};
use mayfly_fake_runner::{Act, JitConfig, Scenario, scenarios};
use nix::sys::signal::{Signal, kill};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::limits;
use crate::plan::{Between, Disk, Docker, Jit, Machine, Plan};
use crate::stories;
use crate::witness::Tidiness;

const INSTANCE: &str = "i-0c4a05c4a05c4a05c";
const GROUP: &str = "runners";

/// The actions that end an instance.
pub(crate) const TERMINATIONS: [&str; 2] = ["TerminateInstances", "TerminateInstanceInAutoScalingGroup"];

/// Pauses between calls to AWS are this much shorter than in run.
const SCALE: &str = "0.05";

/// See the module.
pub(crate) struct World {
    pub(crate) run: Run,
    pub(crate) imds: ImdsDouble,
    pub(crate) aws: AwsProxy,
    /// When the proxy's clock began, on this run's clock.
    pub(crate) aws_began: Duration,
    pub(crate) began: Instant,
    pub(crate) began_unix_ms: u64,
    pub(crate) began_boot: Duration,
    pub(crate) before_end: Arc<Mutex<Option<Tidiness>>>,
    pub(crate) secrets: Vec<String>,
    in_group: bool,
    absent: Option<RuleId>,
    disk: Disk,
    /// systemd, as far as the agents know.
    pub(crate) bus: Option<Bus>,
    _docker: Option<DockerDouble>,
}

impl World {
    pub(crate) fn new(plan: &Plan) -> Self {
        let began = Instant::now();
        let began_unix_ms = unix_ms(SystemTime::now());
        let began_boot = clock_gettime(ClockId::CLOCK_BOOTTIME).unwrap().into();
        let jit = JitConfig::new(plan.seed);
        let mut described = Instance::new(INSTANCE, "eu-central-1");
        described.pending_time = SystemTime::now();
        described.auto_scaling_group = plan.in_group.then(|| GROUP.to_owned());
        // Nobody is behind the proxy: what a run needs of AWS is answered by rules.
        let aws = AwsProxy::start(([127, 0, 0, 1], 9).into()).unwrap();
        let aws_began = began.elapsed();
        let mut run = Run::with(&scenario(plan))
            .jit(jit.encode())
            .set("MAYFLY_TIME_SCALE", SCALE)
            // A small disk is small, not full.
            .set("MAYFLY_HOST_MIN_DISK", "64KiB");
        for (name, limit) in limits::ALL {
            run = run.limits(&[(name, &format!("{}ms", limit.as_millis()))]);
        }
        run = run.set("MAYFLY_JIT_WAIT", &format!("{}ms", limits::JIT_WAIT.as_millis()));
        let (docker, run) = docker(plan.docker, run);
        let world = Self {
            imds: ImdsDouble::start(described).unwrap(),
            aws,
            aws_began,
            began,
            began_unix_ms,
            began_boot,
            before_end: Arc::default(),
            secrets: jit.secrets(),
            in_group: plan.in_group,
            absent: None,
            disk: plan.disk,
            bus: None,
            _docker: docker,
            run,
        };
        world.mount();
        world.answers(plan);
        world.look_before_the_end();
        fs::write(world.config(), world.configuration(plan)).unwrap();
        world
    }

    /// What the services answer when nothing goes wrong.
    fn answers(&self, plan: &Plan) {
        let value = if plan.jit == Jit::Invalid { "bm90IGEgY29uZmlndXJhdGlvbg==" } else { &self.run.jit };
        let parameter = serde_json::json!({ "Parameter": {
            "Name": format!("/mayfly/runners/{INSTANCE}"), "Type": "SecureString", "Value": value, "Version": 1,
            "DataType": "text", "LastModifiedDate": 1_767_225_600.0,
        }});
        let attribute = "<DescribeInstanceAttributeResponse xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\">\
            <instanceInitiatedShutdownBehavior><value>terminate</value></instanceInitiatedShutdownBehavior>\
            </DescribeInstanceAttributeResponse>";
        let answer = |content_type, body: String| Fault::Answer { status: 200, content_type, body: body.into() };
        self.aws.canned(Match::action("GetParameter"), answer("application/x-amz-json-1.1", parameter.to_string()));
        self.aws.canned(Match::action("DescribeInstanceAttribute"), answer("text/xml", attribute.to_owned()));
        for action in TERMINATIONS.into_iter().chain(["DeleteParameter", "CreateTags"]) {
            self.aws.canned(Match::action(action), Fault::EmptySuccess);
        }
    }

    /// From now on there is no parameter. Faults that were installed before go first.
    pub(crate) fn no_parameter_yet(&mut self) {
        let absent = AwsError::Code { status: 400, code: "ParameterNotFound".to_owned(), message: String::new() };
        self.absent = Some(self.aws.fault(Match::action("GetParameter"), Limit::default(), Fault::Error(absent)));
    }

    /// The launcher puts the parameter there.
    pub(crate) fn put_parameter(&mut self) {
        if let Some(absent) = self.absent.take() {
            self.aws.clear(absent);
        }
    }

    /// Notes what the machine is like at the very moment its end is first asked for.
    fn look_before_the_end(&self) {
        let (noted, began) = (Arc::clone(&self.before_end), self.began);
        let (directory, record, root) =
            (self.run.directory().to_owned(), self.run.state().join("record.json"), self.run.root().to_owned());
        let logs = self.logs();
        self.aws.witness(move |call| {
            if !TERMINATIONS.contains(&call.action.as_str()) || noted.lock().unwrap().is_some() {
                return;
            }
            let at = began.elapsed();
            let record: Value = serde_json::from_slice(&fs::read(&record).unwrap_or_default()).unwrap_or_default();
            let tidiness = Tidiness {
                at,
                record,
                lines_in_sink: logs::lines_in(&logs),
                files: registration_files(&root),
                processes: of_runner(&directory),
            };
            *noted.lock().unwrap() = Some(tidiness);
        });
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.run.directory().join("agent.toml")
    }

    pub(crate) fn log_path(&self) -> PathBuf {
        self.run.directory().join("agent.log")
    }

    /// Has a line for each time the power was switched off.
    pub(crate) fn power_log(&self) -> PathBuf {
        self.run.directory().join("powered-off")
    }

    /// `/run/mayfly`, in memory and not on the state directory's disk.
    pub(crate) fn runtime(&self) -> PathBuf {
        self.run.directory().join("run")
    }

    fn configuration(&self, plan: &Plan) -> String {
        let docker = match plan.docker {
            Docker::Off => "off",
            Docker::Absent | Docker::Hung => "if-present",
            Docker::RequiredAndHung => "required",
        };
        let power_off = match plan.machine {
            Machine::StaysOn => "false".to_owned(),
            _ => format!("date +%s%3N >>{}", self.power_log().display()),
        };
        format!(
            "platform = \"ec2\"\nstate_directory = {:?}\n[runner]\ndirectory = {:?}\nuser = \"\"\nsupervisor = \"process\"\n\
             [docker]\nmode = \"{docker}\"\n[logs]\nsink = \"directory\"\ndirectory = {:?}\n[metrics]\nlisten = \"\"\n[interruption]\n\
             spot_poll = \"1s\"\nstop_at = \"600ms\"\nkill_at = \"300ms\"\n[terminate]\npoweroff = \"always\"\n\
             poweroff_command = {power_off:?}\n",
            self.run.state(),
            self.run.root(),
            self.logs(),
        )
    }

    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(mayfly_binary());
        command.args(words).arg("--config").arg(self.config()).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HOME", "/tmp");
        command.env("RUNTIME_DIRECTORY", self.runtime());
        command.env("AWS_ENDPOINT_URL", self.aws.url()).env("AWS_EC2_METADATA_SERVICE_ENDPOINT", self.imds.url());
        command.envs(self.run.environment.iter().map(|(name, value)| (name, value)));
        // Only a binary with planted bugs reads it.
        command.envs(std::env::var_os("PLANTED_BUG").map(|bug| ("PLANTED_BUG", bug)));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    pub(crate) fn start_agent(&self) -> Child {
        let log = fs::OpenOptions::new().append(true).create(true).open(self.log_path()).unwrap();
        let mut command = self.command(&["agent"]);
        if let Some(bus) = &self.bus {
            let path = std::env::var_os("PATH").unwrap_or_default();
            let path = format!("{}:{}", self.tools().display(), path.to_string_lossy());
            command.env("DBUS_SYSTEM_BUS_ADDRESS", bus.address()).env("PATH", path);
            command.env("MAYFLY_RUNNER_SUPERVISOR", "systemd");
        }
        command.stderr(log).spawn().unwrap()
    }

    /// From now on agents ask systemd of this listener, over a bus that is silent and with a `systemctl` that hangs.
    pub(crate) fn silent_bus(&mut self, listener: u32) {
        let bus = self.bus.get_or_insert_with(|| Bus::start(self.run.directory(), listener));
        bus.be_silent();
        let systemctl = self.tools().join("systemctl");
        fs::create_dir_all(self.tools()).unwrap();
        fs::write(&systemctl, "#!/bin/sh\nexec sleep 30\n").unwrap();
        fs::set_permissions(systemctl, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn tools(&self) -> PathBuf {
        self.run.directory().join("tools")
    }

    /// Ends every process of the run, as the end of the machine does.
    pub(crate) fn power_cut(&self) {
        let deadline = Instant::now() + Duration::from_secs(5);
        loop {
            let living = processes::of_run(&self.run);
            if living.is_empty() || Instant::now() > deadline {
                return;
            }
            for process in living {
                let _ = kill(Pid::from_raw(process.pid), Signal::SIGKILL);
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// What happens to the disk while no agent looks.
    pub(crate) fn between(&mut self, between: Between) {
        let journal = self.run.state().join("journal.jsonl");
        let lines = self.run.journal();
        let end: usize = lines.iter().map(String::len).sum();
        match (between, lines.last()) {
            (Between::Nothing | Between::SilentBus, _) => {}
            (Between::Reboot, _) => {
                self.power_cut();
                self.bus = None;
                let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
                for path in [journal, self.run.state().join("runner.started")] {
                    let Ok(content) = fs::read(&path) else { continue };
                    let other = replace(&content, boot.trim().as_bytes(), b"00000000-0000-4000-8000-000000000000");
                    let _ = fs::write(&path, other);
                }
            }
            (_, None) => {}
            (Between::HalfLine, Some(last)) => overwrite(&journal, &last.as_bytes()[..last.len() / 2], end),
            (Between::LineLost, Some(last)) => overwrite(&journal, &vec![0; last.len()], end - last.len()),
            (Between::Garbage, Some(last)) => overwrite(&journal, b"\x1b[0m?!", end - last.len()),
        }
    }

    /// No notice is there any more.
    pub(crate) fn no_notices(&self) {
        for path in ["spot", "events/recommendations", "events/maintenance"] {
            self.imds.remove(&format!("meta-data/{path}"));
        }
        if self.in_group {
            self.imds.target_lifecycle_state("InService");
        } else {
            self.imds.remove("meta-data/autoscaling");
        }
    }

    /// Files of the registration in the runner's directory.
    pub(crate) fn files_left(&self) -> Vec<String> {
        registration_files(self.run.root())
    }

    /// Keeps what tells of this run.
    pub(crate) fn keep(&self, at: &Path) {
        let _ = fs::remove_dir_all(at);
        fs::create_dir_all(at).unwrap();
        let state = self.run.state();
        let recording = mayfly_fake_runner::recording::file_of(self.run.root());
        let files = ["journal.jsonl", "record.json", "console.log", "runner.started", "runner.pid", "runner.exit"];
        let files = files.map(|name| state.join(name)).into_iter();
        for file in files.chain([self.log_path(), self.config(), self.power_log(), recording]) {
            let _ = fs::copy(&file, at.join(file.file_name().unwrap_or_default()));
        }
        let _ = fs::write(at.join("aws.json"), format!("{:#}", self.aws.requests_json()));
        let imds: Vec<String> = self
            .imds
            .requests()
            .iter()
            .map(|request| format!("{:?} {} {} {:?}\n", request.at, request.method, request.path, request.status))
            .collect();
        let _ = fs::write(at.join("imds.txt"), imds.concat());
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.power_cut();
        run(Command::new("umount").arg("--lazy").arg(self.run.state()).arg(self.runtime()));
    }
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{command:?}: {} (scripts/chaos gives a mount namespace for this)",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn scenario(plan: &Plan) -> Scenario {
    let story = stories::named(plan.story);
    let mut scenario = scenarios::named(story.name).unwrap_or_else(|| panic!("no scenario {}", story.name));
    if story.paced {
        scenario.idle_ms = u64::try_from(plan.idle.as_millis()).unwrap();
        scenario.job_ms = u64::try_from(plan.job.as_millis()).unwrap();
    }
    for act in &mut scenario.acts {
        if let Act::Flood { bytes } = act {
            *bytes = 300_000;
        }
    }
    scenario
}

fn docker(docker: Docker, run: Run) -> (Option<DockerDouble>, Run) {
    let socket = run.directory().join("docker.sock");
    let run = run.set("DOCKER_HOST", &format!("unix://{}", socket.display()));
    let double = matches!(docker, Docker::Hung | Docker::RequiredAndHung).then(|| {
        let double = DockerDouble::start(&socket).unwrap();
        double.fault("/", None, DockerFault::Hang);
        double
    });
    (double, run)
}

fn registration_files(root: &Path) -> Vec<String> {
    let names = fs::read_dir(root).into_iter().flatten().flatten();
    let names = names.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.starts_with(".credentials") || name.starts_with(".runner")).collect()
}

/// The processes of a run that are neither agent nor supervisor_process, nor an operator's.
fn of_runner(directory: &Path) -> Vec<Process> {
    let ours = |process: &Process| {
        let of = |what: &str| process.arguments.get(1).is_some_and(|word| word == what);
        ["agent", "supervise", "drain", "hold", "release"].iter().any(|what| of(what))
            || process.arguments.first().is_some_and(|program| program == "/bin/sh")
    };
    processes::inside(directory).into_iter().filter(|process| !ours(process)).collect()
}

fn overwrite(path: &Path, bytes: &[u8], at: usize) {
    if let Ok(file) = fs::OpenOptions::new().write(true).open(path) {
        let _ = file.write_all_at(bytes, at as u64);
    }
}

fn replace(content: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut content = content.to_vec();
    for at in 0..content.len().saturating_sub(from.len()) {
        if content[at..].starts_with(from) {
            content[at..at + from.len()].copy_from_slice(to);
        }
    }
    content
}

pub(crate) fn unix_ms(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// A scheduled event as the metadata service shows it.
pub(crate) fn maintenance(at: SystemTime) -> Value {
    json!([{
        "Code": "system-reboot", "State": "active", "EventId": "instance-event-0d59937288b749b32",
        "Description": "scheduled reboot", "NotBefore": event_date(at), "NotAfter": event_date(at + Duration::from_secs(7200)),
    }])
}
