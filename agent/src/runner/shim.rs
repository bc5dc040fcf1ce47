//! The shim: a tiny process between agent and listener, for machines without systemd.
//!
//! It does what systemd would: it owns the one start, outlives the agent, adopts what the job leaves behind (so that all
//! of it can be found and killed), and writes down how the listener ended. The agent runs it as `mayfly shim` and
//! tells it what to start on its standard input; it answers with one line and then closes its output.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::stat::{Mode, umask};
use nix::sys::wait::{WaitStatus, wait};
use nix::unistd::setsid;
use serde::{Deserialize, Serialize};
use signal_hook::consts::{SIGALRM, SIGHUP, SIGINT, SIGPIPE, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};

use super::LISTENER;
use super::privileges::{User, close_on_exec, run_as};
use super::traces::{Ending, Marker, Traces};
use super::tree::ProcessId;
use crate::lifecycle::Exit;

/// What to start.
#[derive(Debug, Serialize, Deserialize)]
pub struct Order {
    /// Where the traces go.
    pub state_directory: PathBuf,
    /// The runner's directory.
    pub directory: PathBuf,
    /// Who runs it; nobody else than now, if absent.
    pub user: Option<String>,
    /// For the marker.
    pub instance: String,
    /// For the marker.
    pub boot: String,
    /// For the marker.
    pub files: Vec<String>,
    /// For the marker.
    pub label: Option<String>,
    /// For the marker.
    pub fingerprint: Option<String>,
    /// The listener's whole environment.
    pub environment: BTreeMap<String, String>,
}

/// The shim's answer.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// The listener was started.
    Started(ProcessId),
    /// There was a start before; this one did nothing.
    StartedBefore,
    /// The marker could not be made durable; nothing was started.
    NotMarked(String),
    /// The listener could not be executed. The one start is spent.
    NotExecuted(String),
}

/// Runs the shim: returns when the listener and everything it left behind have ended.
///
/// # Errors
/// The order could not be read, or the process could not be set up; nothing was started.
pub fn run() -> io::Result<()> {
    let mut text = String::new();
    io::stdin().read_to_string(&mut text)?;
    let order: Order = serde_json::from_str(&text)?;
    // Of its own session: no terminal's signal reaches the runner, and its processes can be told from others.
    setsid()?;
    prctl::set_child_subreaper(true)?;
    prctl::set_name(c"mayfly-shim")?;
    umask(Mode::from_bits_truncate(0o022)); // what steps get on GitHub's own machines
    let traces = Traces::new(&order.state_directory);
    match start(&order, &traces) {
        Ok(listener) => {
            answer(&Answer::Started(listener));
            reap(&traces, listener);
        }
        Err(refusal) => answer(&refusal),
    }
    Ok(())
}

fn start(order: &Order, traces: &Traces) -> Result<ProcessId, Answer> {
    let own = ProcessId::of(i32::try_from(std::process::id()).unwrap_or(0))
        .ok_or_else(|| Answer::NotMarked("/proc is not readable".to_owned()))?;
    let marker = Marker {
        instance: order.instance.clone(),
        boot: order.boot.clone(),
        shim: Some(own),
        files: order.files.clone(),
        label: order.label.clone(),
        directory: Some(order.directory.clone()),
        fingerprint: order.fingerprint.clone(),
    };
    match traces.mark(&marker) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(Answer::StartedBefore),
        Err(error) => return Err(Answer::NotMarked(error.to_string())),
        Ok(()) => {}
    }
    execute(order, traces).map_err(|error| {
        let reason = format!("cannot execute {}: {error}", order.directory.join(LISTENER).display());
        let _ = traces.write_exit(&Ending::NotExecuted(reason.clone()));
        Answer::NotExecuted(reason)
    })
}

fn execute(order: &Order, traces: &Traces) -> io::Result<ProcessId> {
    catch_signals()?;
    close_on_exec()?;
    let console = OpenOptions::new().append(true).create(true).mode(0o600).open(traces.console())?;
    let mut command = Command::new(order.directory.join(LISTENER));
    command.arg("run").current_dir(&order.directory);
    command.env_clear().envs(&order.environment);
    command.stdin(Stdio::null()).stdout(console.try_clone()?).stderr(console);
    if let Some(name) = &order.user {
        run_as(&mut command, &User::named(name)?);
    }
    let child = command.spawn()?;
    let pid = i32::try_from(child.id()).unwrap_or(0);
    let listener = ProcessId::of(pid).unwrap_or(ProcessId { pid, started: 0 });
    traces.write_listener(listener)?;
    Ok(listener)
}

/// The shim outlives these signals, and the listener still gets the default dispositions: exec resets what is caught,
/// but not what is ignored, and .NET never reacts to a signal it inherited as ignored.
fn catch_signals() -> io::Result<()> {
    let ignored = Arc::new(AtomicBool::new(false));
    for signal in [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGPIPE, SIGALRM, SIGUSR1, SIGUSR2] {
        signal_hook::flag::register(signal, Arc::clone(&ignored))?;
    }
    Ok(())
}

/// Waits for the listener and for everything the shim adopts, until nothing is left.
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
fn answer(answer: &Answer) {
    let mut out = io::stdout();
    let _ = serde_json::to_writer(&mut out, answer).map_err(io::Error::from).and_then(|()| out.write_all(b"\n"));
    let _ = out.flush();
    // The agent reads to the end of this pipe; the null device takes its place.
    if let Ok(null) = OpenOptions::new().write(true).open("/dev/null") {
        let _ = nix::unistd::dup2_stdout(null);
    }
}
