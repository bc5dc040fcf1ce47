//! Everything between the request to start and the listener, the same under every supervisor: what can be checked without
//! spending anything, then the marker, then the files.

use std::io;
use std::path::Path;

use mayfly_core::lifecycle::Outcome;
use nix::unistd::{AccessFlags, access};

use super::hooks;
use super::request::{NotStarted, StartRequest};
use super::traces::{Ending, Traces};
use super::tree::ProcessId;
use super::{LISTENER, files};
use crate::base::paths::Paths;
use crate::base::users::User;

/// Why a start was not prepared.
#[derive(Debug)]
pub enum NotPrepared {
    /// There was a start before; this one touched nothing.
    StartedBefore,
    /// It was refused.
    Refused(NotStarted),
}

impl From<NotStarted> for NotPrepared {
    fn from(reason: NotStarted) -> Self {
        Self::Refused(reason)
    }
}

/// Prepares the one start. `supervisor_process`: the supervisor process, if it is not systemd, which stops a unit with a signal that the
/// runner must be able to explain to its job.
///
/// # Errors
/// Nothing may be started. Once the marker is made the start is spent, and the exit file says what became of it.
pub fn prepare(
    request: &StartRequest,
    paths: &Paths,
    supervisor_process: Option<ProcessId>,
) -> Result<(), NotPrepared> {
    let traces = Traces::new(&request.state_directory);
    if traces.is_marked() {
        return Err(NotPrepared::StartedBefore);
    }
    let user = check(request)?;
    traces.mark(&request.marker(supervisor_process)).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => NotPrepared::StartedBefore,
        _ => NotPrepared::Refused(NotStarted {
            outcome: Outcome::JournalFailed,
            detail: format!(
                "cannot write the marker of the runner's start in {}: {error}",
                request.state_directory.display()
            ),
        }),
    })?;
    put_in_place(request, paths, user.as_ref(), supervisor_process.is_none()).map_err(|detail| {
        // The one start is spent; whoever looks later must know that nothing came of it.
        let _ = traces.write_exit(&Ending::NotExecuted(detail.clone()));
        NotStarted::runner_missing(detail).into()
    })
}

fn check(request: &StartRequest) -> Result<Option<User>, NotStarted> {
    executable(&request.directory.join(LISTENER))?;
    let named = request.user.as_deref().map(User::named).transpose();
    named.map_err(|error| NotStarted::runner_missing(format!("runner.user: {error}")))
}

fn executable(listener: &Path) -> Result<(), NotStarted> {
    let refused = |error| NotStarted::runner_missing(format!("cannot execute {}: {error}", listener.display()));
    access(listener, AccessFlags::X_OK).map_err(refused)
}

fn put_in_place(request: &StartRequest, paths: &Paths, user: Option<&User>, service: bool) -> Result<(), String> {
    let directory = &request.directory;
    let contents = request.contents().map_err(|error| format!("the agent's request cannot be read: {error}"))?;
    let given = contents.iter().map(|(name, content)| (*name, content.as_slice()));
    files::place(directory, given, user).map_err(|error| error.to_string())?;
    if service {
        // From now on SIGQUIT, which systemd sends at a shutdown with or without the agent, tells the job why.
        files::mark_service(directory).map_err(|error| error.to_string())?;
    }
    if !request.setup_info.is_empty() {
        // For people only.
        let _ = files::tell_setup(directory, &request.setup_info, user);
    }
    hooks::install(paths, request.operators.as_deref(), user)
        .map_err(|error| format!("cannot prepare {}: {error}", paths.runtime.display()))
}

/// Removes whatever a start has put into the runner's directory, wherever that was.
///
/// # Errors
/// The first file that is there and could not be removed.
pub fn clear(traces: &Traces, directory: &Path) -> io::Result<()> {
    let marker = traces.marker();
    // Where the start put them, whatever the configuration says by now.
    let directory = marker.as_ref().and_then(|marker| marker.directory.as_deref()).unwrap_or(directory);
    let placed = marker.as_ref().map(|marker| marker.files.clone()).unwrap_or_default();
    let ours = [".service", files::SETUP_INFO].map(str::to_owned);
    files::remove(directory, &ours.into_iter().chain(placed).collect::<Vec<_>>())
}
