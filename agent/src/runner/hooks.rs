//! The runner's job hooks: small scripts that call `mayfly hook`, which tells the agent which job this is.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, chown};
use std::path::Path;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::base::paths::Paths;
use crate::base::users::User;
use mayfly_core::lifecycle::{JobInfo, Observation};

/// Every call's trace, in the perf log directory, which the job's user can write.
pub const TRACE_FILE: &str = "hooks.jsonl";

/// Which hook is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum JobHook {
    /// `ACTIONS_RUNNER_HOOK_JOB_STARTED`
    JobStarted,
    /// `ACTIONS_RUNNER_HOOK_JOB_COMPLETED`
    JobCompleted,
}

impl JobHook {
    const fn name(self) -> &'static str {
        match self {
            Self::JobStarted => "job-started",
            Self::JobCompleted => "job-completed",
        }
    }
}

/// A hook's call to the agent.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HookCall {
    /// Which.
    pub hook: JobHook,
    /// The job, as the environment of the hook tells it.
    pub job: JobInfo,
}

/// The agent's answer.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct HookReply {
    /// Whether the job may go on to use Docker.
    #[serde(default)]
    pub docker: DockerGate,
    /// What the job's log should say about this machine; for the job-completed hook.
    #[serde(default)]
    pub annotations: Vec<Annotation>,
    /// Where the time went and what the machine did, in a few lines; likewise.
    #[serde(default)]
    pub figures: Vec<String>,
    /// The same as Markdown for the job's summary page, if that is wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
}

/// A remark on the job's page at GitHub, about the machine that it ran on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Annotation {
    /// How serious it is.
    pub level: Level,
    /// Its heading, such as `Mayfly`.
    pub title: String,
    /// The remark.
    pub text: String,
}

/// How serious an annotation is, in GitHub's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// For information.
    Notice,
    /// May explain what went wrong.
    Warning,
    /// Explains what went wrong.
    Error,
}

/// The list of annotations that the agent holds for the job. Clones share it.
#[derive(Clone, Debug)]
pub struct Annotations(watch::Sender<Vec<Annotation>>);

impl Default for Annotations {
    fn default() -> Self {
        Self(watch::Sender::new(Vec::new()))
    }
}

impl Annotations {
    /// Adds one, unless it is there.
    pub fn add(&self, annotation: Annotation) {
        self.0.send_if_modified(|all| {
            let new = !all.contains(&annotation);
            if new {
                all.push(annotation);
            }
            new
        });
    }

    /// Takes back those of this title.
    pub fn clear(&self, title: &str) {
        self.0.send_modify(|all| all.retain(|annotation| annotation.title != title));
    }

    /// All of them, oldest first.
    #[must_use]
    pub fn all(&self) -> Vec<Annotation> {
        self.0.borrow().clone()
    }
}

impl Annotation {
    /// The runner's workflow command for it. A line break or a colon in the text must not make another command of it.
    #[must_use]
    pub fn command(&self) -> String {
        let level = match self.level {
            Level::Notice => "notice",
            Level::Warning => "warning",
            Level::Error => "error",
        };
        let text = self.text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
        let title = self.title.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
        let title = title.replace(':', "%3A").replace(',', "%2C");
        format!("::{level} title={title}::{text}")
    }
}

/// Where a job waits for a Docker daemon that is still coming up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DockerGate {
    /// It answers, or nobody here promised one.
    #[default]
    Open,
    /// It may still come.
    Wait {
        /// Every job on this machine was promised one.
        required: bool,
    },
    /// It was promised and does not come.
    Closed {
        /// What was seen of it.
        reason: String,
    },
}

impl HookCall {
    /// Reads the job from the environment that the runner gives its hooks.
    #[must_use]
    pub fn from_environment(hook: JobHook, variables: &BTreeMap<String, String>) -> Self {
        let value = |name: &str| variables.get(name).cloned().unwrap_or_default();
        let job = JobInfo {
            repository: value("GITHUB_REPOSITORY"),
            run_id: value("GITHUB_RUN_ID"),
            run_attempt: value("GITHUB_RUN_ATTEMPT"),
            job: value("GITHUB_JOB"),
            workflow: value("GITHUB_WORKFLOW"),
        };
        Self { hook, job }
    }

    /// Reads a line that [`Self::leave_trace`] wrote.
    #[must_use]
    pub fn read(line: &str) -> Option<Observation> {
        serde_json::from_str(line).ok().map(Self::observation)
    }

    /// Leaves a line for an agent that may be dead at this moment and alive again the next.
    ///
    /// # Errors
    /// The file could not be written.
    pub fn leave_trace(&self, perf: &Path) -> io::Result<()> {
        let mut line = serde_json::to_vec(self)?;
        line.push(b'\n');
        OpenOptions::new().append(true).create(true).open(perf.join(TRACE_FILE))?.write_all(&line)
    }

    /// As the lifecycle takes it.
    #[must_use]
    pub fn observation(self) -> Observation {
        match self.hook {
            JobHook::JobStarted => Observation::HookStarted(self.job),
            JobHook::JobCompleted => Observation::HookCompleted,
        }
    }
}

/// Makes the directory that the runner's user reaches.
///
/// # Errors
/// It could not be made.
pub fn make_runtime_directory(paths: &Paths) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o755).create(&paths.runtime)
}

/// Puts the hook scripts and a fresh perf log directory in place. The operators' own hooks are programs in
/// `job-started.d` and `job-completed.d` below `operators`, run in name order as the job's user.
///
/// # Errors
/// A file could not be written.
pub fn install(paths: &Paths, operators: Option<&Path>, user: Option<&User>) -> io::Result<()> {
    let mayfly = std::env::current_exe()?;
    for hook in [JobHook::JobStarted, JobHook::JobCompleted] {
        let path = paths.hook_script(hook.name());
        fs::write(&path, script(&mayfly.to_string_lossy(), operators, hook))?;
        fs::set_permissions(&path, Permissions::from_mode(0o644))?;
    }
    let perf = paths.perf();
    match fs::remove_dir_all(&perf) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => fs::create_dir(&perf)?,
    }
    match user {
        Some(user) => chown(&perf, Some(user.uid.as_raw()), Some(user.gid.as_raw())),
        None => Ok(()),
    }
}

/// The runner executes it with `bash -e`. A binary that was removed meanwhile must not fail the job.
/// A hook of the operators that fails does fail it: that is what GitHub's own hooks do.
fn script(mayfly: &str, operators: Option<&Path>, hook: JobHook) -> String {
    let quoted = quoted(mayfly);
    let name = hook.name();
    let mut script = format!(
        "# Written by mayfly: tells the agent on this machine about the job.\n\
         if [ -x {quoted} ]; then\n  {quoted} hook {name}\nfi\n"
    );
    if let Some(operators) = operators {
        let directory = operators.join(format!("{name}.d"));
        script.push_str(&format!(
            "# The operators' own.\n\
             for program in {}/*; do\n  if [ -f \"$program\" ] && [ -x \"$program\" ]; then\n    \"$program\"\n  fi\ndone\n",
            self::quoted(&directory.to_string_lossy())
        ));
    }
    script
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::{Annotation, Level};

    #[test]
    fn an_annotation_is_one_workflow_command_whatever_is_in_it() {
        let annotation = Annotation {
            level: Level::Warning,
            title: "Disk: 100%, full".to_owned(),
            text: "at 3%\n::error::forged".to_owned(),
        };
        assert_eq!(annotation.command(), "::warning title=Disk%3A 100%25%2C full::at 3%25%0A::error::forged");
    }
}
