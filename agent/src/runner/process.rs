//! The runner as a child process: `supervisor = "process"`.

use std::io;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

use super::shim::{Answer, Order};
use super::traces::Traces;
use crate::lifecycle::Outcome;

/// How long the shim may take to answer; it needs a few milliseconds.
const SHIM_PATIENCE: Duration = Duration::from_secs(10);

/// Why nothing was started.
#[derive(Debug)]
pub struct NotStarted {
    /// The life's outcome.
    pub outcome: Outcome,
    /// What was tried and what came back.
    pub detail: String,
}

/// Starts the listener, unless there was a start before: then there is something to attach to just the same.
///
/// # Errors
/// Nothing was started, by this call or an earlier one.
pub async fn start(order: &Order) -> Result<(), NotStarted> {
    let failed = |error: &dyn std::fmt::Display| NotStarted {
        outcome: Outcome::AgentFailed,
        detail: format!("cannot run the shim that starts the runner: {error}"),
    };
    let answer = tokio::time::timeout(SHIM_PATIENCE, ask_shim(order))
        .await
        .map_err(|_| failed(&format_args!("no answer within {SHIM_PATIENCE:?}")))?
        .map_err(|error| failed(&error))?;
    match answer {
        Answer::Started(_) | Answer::StartedBefore => Ok(()),
        Answer::NotMarked(error) => Err(NotStarted {
            outcome: Outcome::JournalFailed,
            detail: format!(
                "cannot write the marker of the runner's start in {}: {error}",
                order.state_directory.display()
            ),
        }),
        Answer::NotExecuted(detail) => Err(NotStarted { outcome: Outcome::RunnerMissing, detail }),
    }
}

async fn ask_shim(order: &Order) -> io::Result<Answer> {
    // This very binary, even if the file was replaced or deleted meanwhile.
    let mut shim = Command::new("/proc/self/exe")
        .arg("shim")
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let (Some(mut input), Some(mut output)) = (shim.stdin.take(), shim.stdout.take()) else {
        return Err(io::ErrorKind::BrokenPipe.into());
    };
    input.write_all(&serde_json::to_vec(order)?).await?;
    drop(input);
    let mut text = String::new();
    output.read_to_string(&mut text).await?;
    // Reaped when it ends, in the background; the traces tell how the listener ended.
    tokio::spawn(async move { shim.wait().await });
    if text.is_empty() {
        return Err(io::Error::other("it ended without an answer"));
    }
    Ok(serde_json::from_str(&text)?)
}

/// Signals the listener, and nothing else of its tree: a signal to the group would hit the job's steps first.
///
/// # Errors
/// There is no listener, or it may not be signalled.
pub fn interrupt(traces: &Traces, runner_directory: &Path, machine_goes: bool) -> io::Result<()> {
    let listener = traces.listener().ok_or(io::ErrorKind::NotFound)?;
    let signal = if machine_goes {
        // With this file present the runner tells the job that the operating system is shutting down.
        super::files::mark_service(runner_directory)?;
        Signal::SIGQUIT
    } else {
        Signal::SIGINT
    };
    Ok(listener.signal(signal)?)
}

/// Kills the runner's whole tree. Returns how many processes were left; see [`super::tree::kill_all`].
pub async fn kill(traces: &Traces, patience: Duration) -> usize {
    super::tree::kill_all(traces.marker().and_then(|marker| marker.shim).map(|shim| shim.pid), patience).await
}
