//! The commands of `mayfly`.

mod agent;
mod config;
mod doctor;
mod hook;
mod operators;
mod probe;
mod run;
mod status;
mod timeline;
mod unit;

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;
use serde::de::DeserializeOwned;

use crate::base::exit;
use crate::base::paths::control_socket;
use crate::control::{Request, ask};
use crate::runner::hooks::JobHook;
use crate::timeline::Screen;
use mayfly_core::config::load;

/// One instance, one job, gone: runs one GitHub Actions job on this machine.
#[derive(Debug, Parser)]
#[command(name = "mayfly", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Be this machine's agent: the daemon that the image starts
    Agent(agent::AgentArgs),
    /// Run one job on this machine, with a JIT configuration you have
    ///
    /// Exits with the job's result: 0 for succeeded, 102 failed, 103 canceled, 105 abandoned (GitHub's own worker
    /// codes); other endings have codes of sysexits.h. Run it again with the same state directory to go on after a crash.
    Run(run::RunArgs),
    /// Show what the agent on this machine is doing
    Status(status::StatusArgs),
    /// Draw where the time of a run went: start-up, phases, CPU, memory, disk and network
    ///
    /// Reads this machine's run, or a record of a machine that is long gone: record.json, what the cloud kept of its console,
    /// or the events of its log.
    Timeline(timeline::TimelineArgs),
    /// End this machine: after its job if one is running, else now
    Drain(operators::DrainArgs),
    /// Keep this machine for a while after its run, so that a person can look
    ///
    /// It is kept until DURATION from now, however its run ends, but never beyond its lifetime.
    Hold(operators::HoldArgs),
    /// Keep this machine no longer
    Release(operators::ReleaseArgs),
    /// Check, show or describe the configuration
    Config(config::ConfigArgs),
    /// Try each promise on this machine, and say what holds and what to do about the rest
    ///
    /// Exits with 0 if nothing is broken (warnings are allowed), else with 1. Run it as root on the booted machine.
    Doctor(doctor::DoctorArgs),
    /// Tell the agent about a job; called by the runner
    #[command(hide = true)]
    Hook {
        /// Which hook this is
        hook: JobHook,
    },
    /// Own a runner's start; called by the agent
    #[command(hide = true)]
    Supervise,
    /// Guard the runner's unit; called by systemd with full privileges
    #[command(hide = true)]
    Unit {
        /// Before the start, or after the stop
        moment: unit::Moment,
    },
    /// Try what a job must not be able to do; called by systemd as the job's user
    #[command(hide = true)]
    Probe(probe::ProbeArgs),
    /// Print a completion script for your shell
    Completion {
        /// Which shell
        shell: Shell,
    },
    /// Print the manual page
    #[command(hide = true)]
    Man,
}

/// Where a run is, for the commands that talk to it.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct AgentAddress {
    /// The agent's configuration
    #[arg(long, value_name = "FILE", default_value = mayfly_core::config::DEFAULT_PATH)]
    config: PathBuf,
    /// The state directory, instead of the configuration's
    #[arg(long, value_name = "DIR")]
    state_directory: Option<PathBuf>,
}

impl AgentAddress {
    /// The state directory of this run.
    fn state(&self) -> Result<PathBuf, u8> {
        match &self.state_directory {
            Some(directory) => Ok(directory.clone()),
            None => match load(&self.config, environment(), &[]) {
                Ok(config) => Ok(config.state_directory),
                Err(problems) => Err(fail(exit::CONFIG, problems)),
            },
        }
    }

    /// Asks the agent of this run. The exit code says why there is no answer.
    fn ask<T: DeserializeOwned>(&self, request: Request) -> Result<T, u8> {
        let state = self.state()?;
        let socket = control_socket(&state);
        ask(&socket, &request).map_err(|error| {
            let advice = match error.kind() {
                io::ErrorKind::PermissionDenied => "try it as root".to_owned(),
                _ => format!("the last record, if there is one, is {}", state.join("record.json").display()),
            };
            fail(exit::UNAVAILABLE, format_args!("no agent answers at {}: {error}; {advice}", socket.display()))
        })
    }
}

/// Runs the command line and returns the exit code.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { exit::USAGE } else { 0 });
        }
    };
    if matches!(cli.command, Command::Agent(_) | Command::Run(_) | Command::Unit { .. }) {
        forbid_dumps();
    }
    let code = match cli.command {
        Command::Agent(args) => agent::run(&args),
        Command::Run(args) => run::run(&args),
        Command::Status(args) => status::run(&args),
        Command::Timeline(args) => timeline::run(&args),
        Command::Drain(args) => operators::drain(&args),
        Command::Hold(args) => operators::hold(&args),
        Command::Release(args) => operators::release(&args),
        Command::Config(args) => config::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Hook { hook } => hook::run(hook),
        Command::Supervise => match crate::runner::supervisor_process::run() {
            Ok(()) => 0,
            Err(_) => exit::SOFTWARE, // its standard error is the null device; the agent reports the missing answer
        },
        Command::Unit { moment } => unit::run(moment),
        Command::Probe(args) => probe::run(&args),
        Command::Completion { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "mayfly", &mut io::stdout());
            0
        }
        Command::Man => print(|out| clap_mangen::Man::new(Cli::command()).render(out)),
    };
    ExitCode::from(code)
}

/// The JIT configuration passes through the memory of this process, and a crash must not write it anywhere: neither to a
/// file nor to the program of a `core_pattern` that is a pipe. (A program that is executed can be dumped again.)
fn forbid_dumps() {
    if let Err(error) = nix::sys::prctl::set_dumpable(false) {
        let _ = writeln!(io::stderr(), "mayfly: a crash could write this process's memory to disk: {error}");
    }
}

/// Prints to standard output. A reader that went away is not an error.
fn print(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> u8 {
    let mut out = io::stdout().lock();
    match write(&mut out).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => exit::SOFTWARE,
        _ => 0,
    }
}

/// What standard output is drawn on.
fn screen() -> Screen {
    let terminal = io::stdout().is_terminal();
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let width = terminal_size::terminal_size_of(io::stdout()).map_or(80, |(width, _)| usize::from(width.0));
    Screen { width, colour: terminal && !plain }
}

/// Says on standard error why a command failed, and passes the exit code on.
fn fail(code: u8, message: impl std::fmt::Display) -> u8 {
    let _ = writeln!(io::stderr(), "mayfly: {}", message.to_string().trim_end());
    code
}

/// The environment, as far as it is text.
fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}
