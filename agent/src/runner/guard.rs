//! `mayfly unit`: what systemd runs with full privileges before and after the runner's unit.
//!
//! The start is guarded here, where it happens: whoever starts the unit, a person or a second agent, the marker can be
//! made only once in the run of an instance, and without it nothing runs.

use std::path::Path;

use mayfly_core::lifecycle::Exit;

use super::prepare;
use super::request::{self, NotStarted, StartNote, StartRequest};
use super::start_error::StartError;
use super::traces::{Ending, Traces};
use crate::base::paths::Paths;

/// Before the runner: marker, JIT files, hooks. Anything but `Ok` keeps the runner from starting.
///
/// # Errors
/// Why not; also left where the agent finds it.
pub fn prepare(paths: &Paths) -> Result<(), NotStarted> {
    guarded(paths).map_err(NotStarted::from).inspect_err(|reason| {
        let _ = request::refuse(paths, reason);
    })
}

fn guarded(paths: &Paths) -> Result<(), StartError> {
    let runtime = || paths.runtime.clone();
    let request = StartRequest::take(paths).map_err(|error| StartError::NoRequest { runtime: runtime(), error })?;
    StartNote::of(&request).leave(paths).map_err(|error| StartError::Runtime { runtime: runtime(), error })?;
    runs_in(&request.directory)?;
    prepare::prepare(&request, paths, None)
}

fn runs_in(directory: &Path) -> Result<(), StartError> {
    let here = std::env::current_dir().map_err(StartError::NoDirectory)?;
    if here.canonicalize().ok() == directory.canonicalize().ok() {
        return Ok(());
    }
    Err(StartError::OtherDirectory { here, directory: directory.to_owned() })
}

/// After the runner's unit stopped: how the listener ended, if nobody wrote that before, and no file of the spent
/// registration left. Where that is, the start has told.
pub fn stopped(start: &StartNote) {
    let StartNote { state_directory, directory } = start;
    let traces = Traces::new(state_directory);
    if traces.exit().is_none()
        && let Some(exit) = exit_of_environment(|name| std::env::var(name).ok())
    {
        let _ = traces.write_exit(&Ending::Exited(exit));
    }
    let _ = prepare::clear(&traces, directory);
}

/// systemd tells `ExecStopPost=` how the main process ended, if there was one (systemd.exec(5), `$EXIT_CODE`).
fn exit_of_environment(variable: impl Fn(&str) -> Option<String>) -> Option<Exit> {
    let status = variable("EXIT_STATUS")?;
    match variable("EXIT_CODE")?.as_str() {
        "exited" => status.parse().ok().map(Exit::Code),
        "killed" | "dumped" => {
            format!("SIG{status}").parse::<nix::sys::signal::Signal>().ok().map(|signal| Exit::Signal(signal as i32))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ways_a_listener_ends_are_read_from_what_systemd_tells() {
        let told = |code: &'static str, status: &'static str| {
            exit_of_environment(move |name| match name {
                "EXIT_CODE" => Some(code.to_owned()),
                "EXIT_STATUS" => Some(status.to_owned()),
                _ => None,
            })
        };
        assert_eq!(told("exited", "102"), Some(Exit::Code(102)));
        assert_eq!(told("killed", "KILL"), Some(Exit::Signal(9)));
        assert_eq!(told("dumped", "ABRT"), Some(Exit::Signal(6)));
        assert_eq!(told("exited", "what"), None);
        assert_eq!(exit_of_environment(|_| None), None, "a unit whose start was refused has no exit");
    }
}
