//! Everything between the request to start and the listener, the same under every supervisor: what can be checked without
//! spending anything, then the marker, then the files.

use std::io;
use std::path::Path;

use nix::unistd::{AccessFlags, access};

use super::hooks;
use super::request::StartRequest;
use super::start_error::StartError;
use super::traces::{Ending, Traces};
use super::tree::ProcessId;
use super::{LISTENER, files};
use crate::base::paths::Paths;
use crate::base::users::User;

/// Prepares the one start. Without a `supervisor_process` it is systemd that starts and stops the runner, with a signal that
/// the runner must be able to explain to its job.
///
/// # Errors
/// Nothing may be started. Once the marker is made the start is spent, and the exit file says what became of it.
pub fn prepare(request: &StartRequest, paths: &Paths, supervisor_process: Option<ProcessId>) -> Result<(), StartError> {
    let traces = Traces::new(&request.state_directory);
    if traces.is_marked() {
        return Err(StartError::StartedBefore);
    }
    let user = check(request)?;
    traces.mark(&request.marker(supervisor_process)).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => StartError::StartedBefore,
        _ => StartError::Marker { directory: request.state_directory.clone(), error },
    })?;
    put_in_place(request, paths, user.as_ref(), supervisor_process.is_none()).inspect_err(|error| {
        // The one start is spent; whoever looks later must know that nothing came of it.
        let _ = traces.write_exit(&Ending::NotExecuted(error.to_string()));
    })
}

fn check(request: &StartRequest) -> Result<Option<User>, StartError> {
    executable(&request.directory.join(LISTENER))?;
    request.user.as_deref().map(User::named).transpose().map_err(StartError::User)
}

fn executable(listener: &Path) -> Result<(), StartError> {
    let refused = |error| StartError::NotExecutable { listener: listener.to_owned(), error };
    access(listener, AccessFlags::X_OK).map_err(refused)
}

fn put_in_place(request: &StartRequest, paths: &Paths, user: Option<&User>, service: bool) -> Result<(), StartError> {
    let directory = &request.directory;
    let contents = request.contents().map_err(StartError::BadRequest)?;
    let given = contents.iter().map(|(name, content)| (*name, content.as_slice()));
    files::place(directory, given, user).map_err(StartError::Files)?;
    if service {
        // From now on SIGQUIT, which systemd sends at a shutdown with or without the agent, tells the job why.
        files::mark_service(directory).map_err(StartError::Files)?;
    }
    if !request.setup_info.is_empty() {
        // For people only.
        let _ = files::tell_setup(directory, &request.setup_info, user);
    }
    hooks::install(paths, request.operators.as_deref(), user)
        .map_err(|error| StartError::Hooks { runtime: paths.runtime.clone(), error })
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
