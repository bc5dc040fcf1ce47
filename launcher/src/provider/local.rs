//! This machine as the provider: each job is a `mayfly run` with a runner's directory of its own. No AWS, no public address.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Mutex;

use mayfly_core::launcher::event::{InstanceState, InstanceView};
use mayfly_core::launcher::{JobId, Moment, Problem, ProblemKind};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, Command};

use super::Request;
use crate::clock;
use crate::config::{Config, Local};

/// One `mayfly run`, or the place for one.
#[derive(Debug)]
struct Slot {
    class: usize,
    labels: String,
    repository: String,
    job: JobId,
    at: Moment,
    /// Its directory, once it was started.
    directory: Option<PathBuf>,
    child: Option<Child>,
    ended: Option<Moment>,
}

/// All of them.
#[derive(Debug, Default)]
pub struct Slots {
    slots: Mutex<HashMap<String, Slot>>,
}

impl Slots {
    /// Makes room for the jobs; nothing runs before there is a JIT configuration.
    pub(super) fn reserve(&self, request: &Request) -> Vec<String> {
        let Ok(mut slots) = self.slots.lock() else { return Vec::new() };
        let prefix: String = request.token.chars().filter(char::is_ascii_hexdigit).take(10).collect();
        let made = request.jobs.iter().enumerate().map(|(number, job)| {
            let id = format!("local-{prefix}{number:x}");
            slots.entry(id.clone()).or_insert_with(|| Slot {
                class: request.class,
                labels: request.labels.clone(),
                repository: request.repository.clone(),
                job: *job,
                at: clock::now(),
                directory: None,
                child: None,
                ended: None,
            });
            id
        });
        made.collect()
    }

    /// Starts `mayfly run`. The JIT configuration goes through standard input: nothing of it is in a file or an argument.
    pub(super) async fn start(&self, local: &Local, id: &str, configuration: &SecretString) -> Result<(), Problem> {
        let failed = |what: &str, error: &dyn std::fmt::Display| {
            Problem::new(
                ProblemKind::Permanent,
                format!("starting {} for {id}: {what}: {error}", local.mayfly.display()),
            )
        };
        let directory = local.directory.join(id);
        let runner = directory.join("actions-runner");
        copy(&local.runner, &runner).await.map_err(|error| failed("copying the runner", &error))?;
        let mut command = Command::new(&local.mayfly);
        command
            .args(["run", "--jit-config", "-", "--quiet", "--runner-dir"])
            .arg(&runner)
            .arg("--state-directory")
            .arg(directory.join("state"))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // A Ctrl-C at the launcher's terminal is the launcher's: a job that runs is not interrupted by it.
            .process_group(0);
        let mut child = command.spawn().map_err(|error| failed("it does not start", &error))?;
        if let Some(mut input) = child.stdin.take() {
            input
                .write_all(configuration.expose_secret().as_bytes())
                .await
                .map_err(|error| failed("writing to it", &error))?;
        }
        if let Ok(mut slots) = self.slots.lock()
            && let Some(slot) = slots.get_mut(id)
        {
            (slot.child, slot.directory) = (Some(child), Some(directory));
        }
        Ok(())
    }

    /// Asks a run to stop: what a job needs to end in order, it gets.
    pub(super) fn end(&self, id: &str) -> Result<(), Problem> {
        let Ok(mut slots) = self.slots.lock() else { return Ok(()) };
        let Some(slot) = slots.get_mut(id) else { return Ok(()) };
        match slot.child.as_ref().and_then(Child::id).and_then(|pid| i32::try_from(pid).ok()) {
            Some(pid) => {
                let asked = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGTERM);
                asked.map_err(|error| Problem::new(ProblemKind::Unclear, format!("stopping {id}: {error}")))
            }
            None => {
                slot.ended.get_or_insert_with(clock::now);
                Ok(())
            }
        }
    }

    /// What runs, and what has ended within the last hour. The directories of ended runs are removed but for their records.
    pub(super) fn instances(&self, config: &Config) -> Vec<InstanceView> {
        let Ok(mut slots) = self.slots.lock() else { return Vec::new() };
        let now = clock::now();
        for slot in slots.values_mut() {
            if slot.ended.is_none() && slot.child.as_mut().is_some_and(|child| !matches!(child.try_wait(), Ok(None))) {
                slot.ended = Some(now);
                if let Some(runner) = slot.directory.as_ref().map(|directory| directory.join("actions-runner")) {
                    // What stays is the record, for people. It is hundreds of megabytes: not in the loop.
                    drop(tokio::task::spawn_blocking(move || {
                        if let Err(error) = std::fs::remove_dir_all(&runner) {
                            tracing::warn!("{}: cannot be removed: {error}", runner.display());
                        }
                    }));
                }
            }
        }
        slots.retain(|_, slot| slot.ended.is_none_or(|ended| now.since(ended).as_secs() < 3600));
        let class = |slot: &Slot| config.settings.classes.get(slot.class).map(|class| class.name.clone());
        let view = |(id, slot): (&String, &Slot)| {
            Some(InstanceView {
                id: id.clone(),
                class: class(slot)?,
                labels: slot.labels.clone(),
                repository: slot.repository.clone(),
                jobs: vec![slot.job],
                launched_at: slot.at,
                state: if slot.ended.is_some() { InstanceState::Terminated } else { InstanceState::Running },
                // Nobody tags a process: that it runs is its sign.
                phase: slot.child.as_ref().map(|_| "idle".to_owned()),
                outcome: None,
            })
        };
        slots.iter().filter_map(view).collect()
    }

    /// How many run.
    pub(super) fn busy(&self) -> usize {
        let Ok(mut slots) = self.slots.lock() else { return 0 };
        let runs = |slot: &mut Slot| slot.child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)));
        slots.values_mut().map(runs).filter(|runs| *runs).count()
    }
}

/// A copy of the runner's directory, as cheap as the file system makes it.
async fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    if let Some(parent) = to.parent() {
        tokio::fs::create_dir_all(parent).await?;
    }
    let copied = Command::new("cp")
        .args(["--archive", "--reflink=auto", "--no-target-directory"])
        .args([from, to])
        .stdin(Stdio::null())
        .output()
        .await?;
    let said = String::from_utf8_lossy(&copied.stderr).lines().next().unwrap_or_default().to_owned();
    if copied.status.success() { Ok(()) } else { Err(std::io::Error::other(said)) }
}

/// Whether jobs could run here.
pub(super) fn check(local: &Local) -> Result<(), Problem> {
    let listener = local.runner.join("bin/Runner.Listener");
    if !listener.is_file() {
        let why =
            format!("{} is not there: unpack GitHub's runner into {}", listener.display(), local.runner.display());
        return Err(Problem::new(ProblemKind::Permanent, why));
    }
    let version = std::process::Command::new(&local.mayfly).arg("--version").stdin(Stdio::null()).output();
    match version {
        Ok(version) if version.status.success() => Ok(()),
        Ok(version) => {
            Err(Problem::new(ProblemKind::Permanent, format!("--version of it ends with {}", version.status)))
        }
        Err(error) => Err(Problem::new(ProblemKind::Permanent, format!("it does not start: {error}"))),
    }
}
