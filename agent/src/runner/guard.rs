//! `mayfly unit`: what systemd runs with full privileges before and after the runner's unit.
//!
//! The start is guarded here, where it happens: whoever starts the unit, a person or a second agent, the marker can be
//! made only once in the life of an instance, and without it nothing runs.

use std::io;

use super::order::{self, Start, UnitOrder};
use super::privileges::User;
use super::process::NotStarted;
use super::traces::{Ending, Marker, Traces};
use super::{LISTENER, files};
use crate::control::hooks;
use crate::daemon::settings::Places;
use crate::lifecycle::{Exit, Outcome};

/// Before the runner: marker, JIT files, hooks. Anything but `Ok` keeps the runner from starting.
///
/// # Errors
/// Why not; also left where the agent finds it.
pub fn prepare(places: &Places) -> Result<(), NotStarted> {
    guarded(places).inspect_err(|reason| {
        let _ = order::refuse(places, reason);
    })
}

fn guarded(places: &Places) -> Result<(), NotStarted> {
    let order = UnitOrder::take(places).map_err(|error| NotStarted {
        outcome: Outcome::AgentFailed,
        detail: format!(
            "there is no order of the agent in {}: {error}; only the agent starts this unit",
            places.runtime.display()
        ),
    })?;
    Start::of(&order).leave(places).map_err(|error| NotStarted {
        outcome: Outcome::AgentFailed,
        detail: format!("cannot write into {}: {error}", places.runtime.display()),
    })?;
    let traces = Traces::new(&order.state_directory);
    let marker = Marker {
        instance: order.instance.clone(),
        boot: order.boot.clone(),
        shim: None,
        files: order.names(),
        label: order.label.clone(),
        directory: Some(order.directory.clone()),
        fingerprint: order.fingerprint.clone(),
    };
    traces.mark(&marker).map_err(|error| NotStarted {
        outcome: Outcome::JournalFailed,
        detail: match error.kind() {
            io::ErrorKind::AlreadyExists => "a runner was started here before, and never is again".to_owned(),
            _ => {
                format!("cannot write the marker of the runner's start in {}: {error}", order.state_directory.display())
            }
        },
    })?;
    put_in_place(&order, places).map_err(|detail| {
        // The one start is spent; whoever looks later must know that nothing came of it.
        let _ = traces.write_exit(&Ending::NotExecuted(detail.clone()));
        NotStarted { outcome: Outcome::RunnerMissing, detail }
    })
}

fn put_in_place(order: &UnitOrder, places: &Places) -> Result<(), String> {
    let directory = &order.directory;
    let here = std::env::current_dir().map_err(|error| format!("no working directory: {error}"))?;
    if here.canonicalize().ok() != directory.canonicalize().ok() {
        return Err(format!(
            "the unit runs in {}, but runner.directory is {}: change both (systemctl edit mayfly-runner)",
            here.display(),
            directory.display()
        ));
    }
    let user = User::named(&order.user).map_err(|error| format!("runner.user: {error}"))?;
    let contents = order.contents().map_err(|error| format!("the agent's order cannot be read: {error}"))?;
    let given = contents.iter().map(|(name, content)| (*name, content.as_slice()));
    files::place(directory, given, Some(&user)).map_err(|error| error.to_string())?;
    // From now on SIGQUIT, which systemd sends at a shutdown with or without the agent, tells the job why.
    files::mark_service(directory).map_err(|error| error.to_string())?;
    if !order.setup_info.is_empty() {
        // For people only.
        let _ = files::tell_setup(directory, &order.setup_info, Some(&user));
    }
    hooks::install(places, order.operators.as_deref(), Some(&user))
        .map_err(|error| format!("cannot prepare {}: {error}", places.runtime.display()))?;
    let listener = directory.join(LISTENER);
    if !listener.is_file() {
        return Err(format!("cannot execute {}: there is no such file", listener.display()));
    }
    Ok(())
}

/// After the runner's unit stopped: how the listener ended, if nobody wrote that before, and no file of the spent
/// registration left. Where that is, the start has told.
pub fn stopped(start: &Start) {
    let Start { state_directory, directory } = start;
    let traces = Traces::new(state_directory);
    if traces.exit().is_none()
        && let Some(exit) = exit_of_environment(|name| std::env::var(name).ok())
    {
        let _ = traces.write_exit(&Ending::Exited(exit));
    }
    let placed = traces.marker().map(|marker| marker.files).unwrap_or_default();
    let further = [".service".to_owned(), files::SETUP_INFO.to_owned()].into_iter().chain(placed).collect::<Vec<_>>();
    let _ = files::remove(directory, &further);
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
