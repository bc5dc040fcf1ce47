//! The job itself: directories, hooks, steps, orphan clean-up.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::sync::mpsc::Receiver;
use std::thread;
use std::time::{Duration, Instant};

use mayfly_fake_runner::recording::{Event, Recorder};
use mayfly_fake_runner::{JobResult, Scenario, WorkerBehaviour, strings};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use signal_hook::consts::SIGTERM;

use crate::child;
use crate::environment::Environment;
use crate::message::JobRequest;
use crate::orphans;
use crate::pages::Pages;
use crate::signals::Note;

/// How long the files of a finished step stay, upstream.
const UPLOAD_MS: u64 = 1_000;
/// How often a waiting job looks for a cancellation.
const TICK: Duration = Duration::from_millis(10);

/// One of the administrator's hooks.
struct Hook {
    name: &'static str,
    variable: &'static str,
    notice: &'static str,
}

const STARTED: Hook =
    Hook { name: "started", variable: "ACTIONS_RUNNER_HOOK_JOB_STARTED", notice: strings::HOOK_STARTED_NOTICE };
const COMPLETED: Hook =
    Hook { name: "completed", variable: "ACTIONS_RUNNER_HOOK_JOB_COMPLETED", notice: strings::HOOK_COMPLETED_NOTICE };

struct Job<'a> {
    root: &'a Path,
    scenario: Scenario,
    environment: Environment,
    recorder: &'a Recorder,
    notes: Receiver<Note>,
    workspace: PathBuf,
    tracking: String,
    before: BTreeSet<i32>,
    timeline: String,
    pages: Pages,
    cancelled: bool,
    failed: bool,
}

pub(crate) fn run(
    root: &Path,
    request: JobRequest,
    environment: Environment,
    recorder: &Recorder,
    notes: Receiver<Note>,
) -> JobResult {
    let work = root.join(&request.work_folder);
    let timeline = guid();
    let pages = Pages::open(&root.join("_diag"), &timeline, &guid(), None);
    let mut job = Job {
        root,
        workspace: workspace(&work, &request.scenario.repository),
        tracking: format!("github_{}", guid()),
        before: orphans::snapshot(),
        scenario: request.scenario,
        environment,
        recorder,
        notes,
        timeline,
        pages,
        cancelled: false,
        failed: false,
    };
    if job.prepare(&work, &request.agent_name).is_err() {
        // Set-up failed: no hook runs.
        return JobResult::Failed;
    }
    job.hook(&STARTED);
    misbehave(request.behaviour);
    job.steps();
    job.take_time();
    job.hook(&COMPLETED);
    orphans::clean_up(&job.before, &job.tracking, &job.pages);
    if request.behaviour == WorkerBehaviour::Hangs {
        loop {
            thread::park();
        }
    }
    job.close(&work)
}

/// The ends that come in the middle.
fn misbehave(behaviour: WorkerBehaviour) {
    match behaviour {
        WorkerBehaviour::KilledAfterHook => drop(kill(Pid::this(), Signal::SIGKILL)),
        WorkerBehaviour::ExitsWith { code } => process::exit(code),
        WorkerBehaviour::Normal | WorkerBehaviour::Hangs | WorkerBehaviour::NoMessage => {}
    }
}

/// `_work/<repo>/<repo>`.
fn workspace(work: &Path, repository: &str) -> PathBuf {
    let name = repository.rsplit('/').next().unwrap_or(repository);
    work.join(name).join(name)
}

impl Job<'_> {
    fn prepare(&mut self, work: &Path, agent_name: &str) -> std::io::Result<()> {
        let temp = work.join("_temp");
        let _ = fs::remove_dir_all(&temp);
        let commands = temp.join("_runner_file_commands");
        let event = temp.join("_github_workflow/event.json");
        for directory in [
            temp.join("_github_home"),
            temp.join("_github_workflow"),
            commands.clone(),
            work.join("_actions"),
            work.join("_tool"),
            self.workspace.clone(),
        ] {
            fs::create_dir_all(directory)?;
        }
        fs::write(&event, "{}")?;
        for (variable, file) in [
            ("GITHUB_ENV", "set_env"),
            ("GITHUB_PATH", "add_path"),
            ("GITHUB_OUTPUT", "set_output"),
            ("GITHUB_STEP_SUMMARY", "step_summary"),
        ] {
            let path = commands.join(file);
            fs::write(&path, "")?;
            self.environment.set(variable, path);
        }
        self.environment.set("GITHUB_EVENT_PATH", event);
        self.environment.set("GITHUB_WORKSINTERVAL", &self.workspace);
        self.environment.set("RUNNER_TEMP", temp);
        self.environment.set("RUNNER_TOOL_CACHE", work.join("_tool"));
        if let Some(parent) = self.workspace.parent() {
            self.environment.set("RUNNER_WORKSINTERVAL", parent);
        }
        self.identify(agent_name);
        Ok(())
    }

    /// The variables that are the same whatever the paths.
    fn identify(&mut self, agent_name: &str) {
        let repository = self.scenario.repository.clone();
        let owner = repository.split('/').next().unwrap_or_default();
        let arch = if cfg!(target_arch = "aarch64") { "ARM64" } else { "X64" };
        for (key, value) in [
            ("CI", "true"),
            ("GITHUB_ACTIONS", "true"),
            ("GITHUB_ACTOR", "octocat"),
            ("GITHUB_EVENT_NAME", "push"),
            ("GITHUB_JOB", "build"),
            ("GITHUB_REF", "refs/heads/main"),
            ("GITHUB_REF_NAME", "main"),
            ("GITHUB_REF_TYPE", "branch"),
            ("GITHUB_REPOSITORY", &repository),
            ("GITHUB_REPOSITORY_OWNER", owner),
            ("GITHUB_RUN_ATTEMPT", "1"),
            ("GITHUB_RUN_ID", "1234567890"),
            ("GITHUB_RUN_NUMBER", "1"),
            ("GITHUB_SERVER_URL", "https://github.com"),
            ("GITHUB_SHA", "ffac537e6cbbf934b08745a378932722df287a53"),
            ("GITHUB_TRIGGERING_ACTOR", "octocat"),
            ("GITHUB_WORKFLOW", "ci"),
            ("RUNNER_ARCH", arch),
            ("RUNNER_ENVIRONMENT", "self-hosted"),
            ("RUNNER_NAME", agent_name),
            ("RUNNER_OS", "Linux"),
            ("RUNNER_TRACKING_ID", &self.tracking.clone()),
        ] {
            self.environment.set(key, value);
        }
    }

    /// Looks for a cancellation without waiting.
    fn is_cancelled(&mut self) -> bool {
        while let Ok(note) = self.notes.try_recv() {
            self.cancelled |= matches!(note, Note::Cancel | Note::Signal(SIGTERM));
        }
        self.cancelled
    }

    /// A hook runs after failures, but never after a shutdown has begun.
    fn hook(&mut self, hook: &Hook) {
        let path = self.environment.get(hook.variable).map(PathBuf::from);
        let Some(path) = path.filter(|path| !path.as_os_str().is_empty()) else {
            return;
        };
        if self.is_cancelled() {
            return;
        }
        let pages = self.record();
        pages.line(hook.notice);
        let exit = match interpreter(self.root, &path) {
            Some(mut command) if path.exists() => self.child(command.arg(&path), &pages),
            _ => {
                pages.line(&format!("##[error]{}", strings::FILE_NOT_THERE));
                None
            }
        };
        self.recorder.write(Event::Hook { name: hook.name.to_owned(), exit });
        self.judge(exit, &pages);
    }

    fn steps(&mut self) {
        for (index, step) in self.scenario.steps.clone().iter().enumerate() {
            if self.failed || self.is_cancelled() {
                return;
            }
            let pages = self.record();
            pages.line(&format!("##[group]Run {step}"));
            pages.line("##[endgroup]");
            // A file, as upstream's: given by -c, the shell would become its last command and not wait for it.
            let script = self.script(step);
            let exit = self.child(Command::new("bash").arg("-e").arg(script), &pages);
            self.recorder.write(Event::Step { index, exit });
            self.judge(exit, &pages);
        }
    }

    fn script(&self, step: &str) -> PathBuf {
        let temp = self.environment.get("RUNNER_TEMP").map_or_else(|| self.workspace.clone(), PathBuf::from);
        let path = temp.join(format!("{}.sh", guid()));
        // One that is not there is a step that fails.
        let _ = fs::write(&path, step);
        path
    }

    /// The part of the job that is nothing but time.
    fn take_time(&mut self) {
        let end = Instant::now() + Duration::from_millis(self.scenario.job_ms);
        while !self.failed && !self.is_cancelled() && Instant::now() < end {
            thread::sleep(TICK);
        }
    }

    fn child(&mut self, command: &mut Command, pages: &Pages) -> Option<i32> {
        command.current_dir(&self.workspace).env_clear().envs(self.environment.variables());
        let scenario = self.scenario.clone();
        child::run(command, &scenario, pages, self.recorder, || self.is_cancelled())?.code()
    }

    /// Marks the job, and lets the step's files go a moment later.
    fn judge(&mut self, exit: Option<i32>, pages: &Pages) {
        if exit != Some(0) {
            self.failed = true;
            let code = exit.unwrap_or(-1).to_string();
            let text = strings::fill(strings::STEP_FAILED, &[("code", &code)]);
            pages.line(&format!("##[error]{text}"));
        }
        let (pages, delay) = (pages.clone(), self.scenario.upstream(UPLOAD_MS));
        thread::spawn(move || {
            thread::sleep(delay);
            pages.delete();
        });
    }

    fn record(&self) -> Pages {
        let diag = self.root.join("_diag");
        Pages::open(&diag, &self.timeline, &guid(), Some(&self.pages))
    }

    fn close(&mut self, work: &Path) -> JobResult {
        let _ = fs::remove_dir_all(work.join("_temp"));
        let _ = fs::create_dir_all(work.join("_temp"));
        // Long enough for the last step's files to go as well.
        thread::sleep(self.scenario.upstream(2 * UPLOAD_MS));
        self.pages.delete();
        if self.cancelled {
            JobResult::Canceled
        } else if self.failed {
            JobResult::Failed
        } else {
            self.scenario.job_result
        }
    }
}

/// By the extension alone: no exec bit, no shebang.
fn interpreter(root: &Path, hook: &Path) -> Option<Command> {
    match hook.extension()?.to_str()? {
        "sh" => {
            let mut bash = Command::new("bash");
            bash.arg("-e");
            Some(bash)
        }
        "js" => Some(Command::new(root.join("externals/node20/bin/node"))),
        "ps1" => Some(Command::new("pwsh")),
        _ => None,
    }
}

fn guid() -> String {
    let mut bytes = [0_u8; 16];
    if let Ok(mut random) = File::open("/dev/urandom") {
        let _ = random.read_exact(&mut bytes);
    }
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let (a, b, c) = (&hex[..8], &hex[8..12], &hex[12..16]);
    format!("{a}-{b}-{c}-{}-{}", &hex[16..20], &hex[20..])
}
