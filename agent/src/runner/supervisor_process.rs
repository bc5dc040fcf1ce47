//! The supervisor process: a tiny process between agent and listener, for machines without systemd.
//!
//! It does what systemd would: it owns the one start, outlives the agent, adopts what the job leaves behind (so that all
//! of it can be found and killed), and writes down how the listener ended. The agent runs it as `mayfly supervise` and
//! tells it what to start on its standard input; it answers with one line and then closes its output.

use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::stat::{Mode, umask};
use nix::sys::wait::{WaitStatus, wait};
use nix::unistd::setsid;
use secrecy::zeroize::Zeroizing;
use serde::{Deserialize, Serialize};
use signal_hook::consts::{SIGALRM, SIGHUP, SIGINT, SIGPIPE, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};

use super::LISTENER;
use super::prepare;
use super::request::{NotStarted, StartRequest};
use super::start_error::StartError;
use super::traces::{Ending, Traces};
use super::tree::ProcessId;
use crate::base::paths::Paths;
use crate::base::users::{User, close_on_exec, run_as};
use mayfly_core::lifecycle::Exit;

/// The supervisor process's answer.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StartAnswer {
    /// The listener was started.
    Started(ProcessId),
    /// There was a start before; this one did nothing.
    StartedBefore,
    /// Nothing was started, and why. If there is a marker, the one start is spent.
    Refused(NotStarted),
}

/// Runs the supervisor process: returns when the listener and everything it left behind have ended.
///
/// # Errors
/// The request could not be read, or the process could not be set up; nothing was started.
pub fn run() -> io::Result<()> {
    let mut text = Zeroizing::new(String::new());
    io::stdin().read_to_string(&mut text)?;
    let (request, paths): (StartRequest, Paths) = serde_json::from_str(&text)?;
    drop(text);
    // Of its own session: no terminal's signal reaches the runner, and its processes can be told from others.
    setsid()?;
    prctl::set_child_subreaper(true)?;
    prctl::set_name(c"mayfly-superv")?;
    umask(Mode::from_bits_truncate(0o022)); // what steps get on GitHub's own machines
    let traces = Traces::new(&request.state_directory);
    let started = start(&request, &paths, &traces);
    drop(request); // the JIT configuration goes with it
    match started {
        Ok(listener) => {
            answer(&StartAnswer::Started(listener));
            reap(&traces, listener);
        }
        Err(StartError::StartedBefore) => answer(&StartAnswer::StartedBefore),
        Err(reason) => answer(&StartAnswer::Refused(reason.into())),
    }
    Ok(())
}

fn start(request: &StartRequest, paths: &Paths, traces: &Traces) -> Result<ProcessId, StartError> {
    let own = ProcessId::of(i32::try_from(std::process::id()).unwrap_or(0)).ok_or(StartError::NoProc)?;
    prepare::prepare(request, paths, Some(own))?;
    execute(request, traces).map_err(|error| {
        let reason = StartError::NotSpawned { listener: request.directory.join(LISTENER), error };
        let _ = traces.write_exit(&Ending::NotExecuted(reason.to_string()));
        reason
    })
}

fn execute(request: &StartRequest, traces: &Traces) -> io::Result<ProcessId> {
    catch_signals()?;
    close_on_exec()?;
    let console = OpenOptions::new().append(true).create(true).mode(0o600).open(traces.console())?;
    let mut command = Command::new(request.directory.join(LISTENER));
    command.arg("run").current_dir(&request.directory);
    command.env_clear().envs(&request.environment);
    command.stdin(Stdio::null()).stdout(console.try_clone()?).stderr(console);
    if let Some(name) = &request.user {
        run_as(&mut command, &User::named(name)?);
    }
    let child = command.spawn()?;
    let pid = i32::try_from(child.id()).unwrap_or(0);
    let listener = ProcessId::of(pid).unwrap_or(ProcessId { pid, started: 0 });
    traces.write_listener(listener)?;
    Ok(listener)
}

/// The supervisor process outlives these signals, and the listener still gets the default dispositions: exec resets what is caught,
/// but not what is ignored, and .NET never reacts to a signal it inherited as ignored.
fn catch_signals() -> io::Result<()> {
    let ignored = Arc::new(AtomicBool::new(false));
    for signal in [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGPIPE, SIGALRM, SIGUSR1, SIGUSR2] {
        signal_hook::flag::register(signal, Arc::clone(&ignored))?;
    }
    Ok(())
}

/// Waits for the listener and for everything the supervisor process adopts, until nothing is left.
fn reap(traces: &Traces, listener: ProcessId) {
    loop {
        let (pid, exit) = match wait() {
            Ok(WaitStatus::Exited(pid, code)) => (pid, Exit::Code(code)),
            Ok(WaitStatus::Signaled(pid, signal, _)) => (pid, Exit::Signal(signal as i32)),
            Ok(_) | Err(Errno::EINTR) => continue,
            Err(_) => return,
        };
        if pid.as_raw() == listener.pid {
            let _ = traces.write_exit(&Ending::Exited(exit));
        }
    }
}

/// The agent may be gone by now: then the traces speak.
fn answer(answer: &StartAnswer) {
    let mut out = io::stdout();
    let _ = serde_json::to_writer(&mut out, answer).map_err(io::Error::from).and_then(|()| out.write_all(b"\n"));
    let _ = out.flush();
    // The agent reads to the end of this pipe; the null device takes its place.
    if let Ok(null) = OpenOptions::new().write(true).open("/dev/null") {
        let _ = nix::unistd::dup2_stdout(null);
    }
}
