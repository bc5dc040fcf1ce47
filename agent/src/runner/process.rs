//! The runner as a child process: `supervisor = "process"`.

use std::io;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::Signal;
use secrecy::zeroize::Zeroizing;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

use super::files;
use super::prepare;
use super::request::StartRequest;
use super::start_error::StartError;
use super::supervisor_process::StartAnswer;
use super::traces::Traces;
use super::tree::{self, ProcessId};
use crate::base::paths::Paths;

/// How long the supervisor process may take to answer; it needs a few milliseconds.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// The runner below a supervisor process of its own.
#[derive(Clone, Debug)]
pub struct RunnerProcess {
    paths: Paths,
    traces: Traces,
    directory: PathBuf,
}

impl RunnerProcess {
    /// The runner in this directory.
    #[must_use]
    pub fn new(paths: Paths, directory: PathBuf) -> Self {
        Self { traces: Traces::new(&paths.state), paths, directory }
    }

    /// The supervisor process, if there was a start.
    #[must_use]
    pub fn supervisor_process(&self) -> Option<ProcessId> {
        self.traces.marker().and_then(|marker| marker.supervisor_process)
    }

    pub(super) async fn start(&self, request: &StartRequest) -> Result<(), StartError> {
        let answer = tokio::time::timeout(ANSWER_TIMEOUT, self.ask(request))
            .await
            .map_err(|_| StartError::SupervisorSilent(ANSWER_TIMEOUT))?
            .map_err(StartError::SupervisorProcess)?;
        match answer {
            StartAnswer::Started(_) | StartAnswer::StartedBefore => Ok(()),
            StartAnswer::Refused(reason) => Err(StartError::Told(reason)),
        }
    }

    async fn ask(&self, request: &StartRequest) -> io::Result<StartAnswer> {
        // This very binary, even if the file was replaced or deleted meanwhile.
        let mut supervisor_process = Command::new("/proc/self/exe")
            .arg("supervise")
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let (Some(mut input), Some(mut output)) = (supervisor_process.stdin.take(), supervisor_process.stdout.take())
        else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        let text = Zeroizing::new(serde_json::to_vec(&(request, &self.paths))?);
        input.write_all(&text).await?;
        drop(input);
        let mut text = String::new();
        output.read_to_string(&mut text).await?;
        // Reaped when it ends, in the background; the traces tell how the listener ended.
        tokio::spawn(async move { supervisor_process.wait().await });
        if text.is_empty() {
            return Err(io::Error::other("it ended without an answer"));
        }
        Ok(serde_json::from_str(&text)?)
    }

    /// Signals the listener, and nothing else of its tree: a signal to the group would hit the job's steps first.
    pub(super) fn interrupt(&self, machine_goes: bool) -> io::Result<()> {
        let listener = self.traces.listener().ok_or(io::ErrorKind::NotFound)?;
        let signal = if machine_goes {
            // With this file present the runner tells the job that the operating system is shutting down.
            files::mark_service(&self.directory)?;
            Signal::SIGQUIT
        } else {
            Signal::SIGINT
        };
        Ok(listener.signal(signal)?)
    }

    pub(super) async fn kill(&self, within: Duration) -> usize {
        // Between marker and listener it would start one after the kill.
        if self.traces.listener().is_none()
            && self.traces.exit().is_none()
            && let Some(supervisor_process) = self.supervisor_process()
        {
            let _ = supervisor_process.signal(Signal::SIGKILL);
        }
        tree::kill_all(self.supervisor_process().map(|supervisor_process| supervisor_process.pid), within).await
    }

    /// Off the loop: the disk may hang.
    pub(super) async fn clear(&self) -> io::Result<()> {
        let process = self.clone();
        let clearing = tokio::task::spawn_blocking(move || prepare::clear(&process.traces, &process.directory));
        clearing.await.map_err(io::Error::other)?
    }
}
