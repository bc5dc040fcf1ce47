//! What a person types.

mod check;
mod explain;
mod launch;
mod reconcile;
mod serve;
mod simulate;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

use crate::config::{self, Config};
use crate::github::Github;
use crate::log;
use crate::provider::Providers;

/// Turns queued GitHub Actions jobs into machines that run exactly one job each
#[derive(Debug, Parser)]
#[command(name = "mayfly-launcher", version, max_term_width = 100)]
struct Arguments {
    /// The configuration
    #[arg(long, global = true, value_name = "FILE", default_value = config::DEFAULT_PATH)]
    config: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Wait for jobs and launch a machine for each; ends at SIGTERM, after what is under way
    Serve {
        /// Log lines as JSON, also to a terminal
        #[arg(long)]
        json: bool,
    },
    /// Mend once what went amiss, launch for jobs that wait, and end
    Reconcile {
        /// The most that it may take; AWS's lists can lag by a minute, and it waits for one that cannot
        #[arg(long, value_parser = humantime::parse_duration, default_value = "4m")]
        within: std::time::Duration,
    },
    /// Launch one machine of a class by hand; it takes whatever job of its labels waits
    Launch {
        /// The class
        #[arg(long, value_name = "NAME")]
        class: String,
    },
    /// Try what the launcher needs: configuration, App, permissions, runner groups, AWS
    Check {
        /// The findings as JSON
        #[arg(long)]
        json: bool,
        /// Only read the configuration: nothing is asked
        #[arg(long)]
        offline: bool,
    },
    /// Say why a job still waits
    Explain {
        /// The job's address, as the browser shows it
        #[arg(value_name = "JOB_URL")]
        job: String,
        /// The answer as JSON
        #[arg(long)]
        json: bool,
    },
    /// See what would happen: the launcher's and the agent's own rules in a made-up world, in virtual time
    Simulate(Simulate),
    /// Print the script that completes commands in a shell
    #[command(hide = true)]
    Completion {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page
    #[command(hide = true)]
    Man,
}

/// `simulate`
#[derive(Debug, clap::Args)]
struct Simulate {
    /// How many jobs come
    #[arg(long, default_value_t = 1000)]
    jobs: usize,
    /// How many jobs come in a second
    #[arg(long, default_value_t = 1.0)]
    rate: f64,
    /// Of how many repositories they are
    #[arg(long, default_value_t = 20)]
    repositories: usize,
    /// Jobs that came to your own repositories instead: CSV with created_at, started_at, completed_at and, if you like, repository
    #[arg(long, value_name = "FILE")]
    history: Option<PathBuf>,
    /// How many Apps and accounts' worth of quotas there are
    #[arg(long, default_value_t = 1)]
    apps: u32,
    /// The most instances at once
    #[arg(long, default_value_t = 1000)]
    max: u32,
    /// Everything goes wrong now and then: lost webhooks and answers, outages, dead instances, interruptions, kills of the launcher
    #[arg(long)]
    storm: bool,
    /// An instance's price for an hour, in dollars
    #[arg(long, default_value_t = 0.1)]
    price: f64,
    /// The spot price, in percent of that
    #[arg(long, default_value_t = 35)]
    spot_percent: u32,
    /// The same seed gives the same run
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The figures as JSON
    #[arg(long)]
    json: bool,
}

/// The whole program.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let quiet = !matches!(arguments.command, Command::Serve { .. } | Command::Reconcile { .. });
    log::begin(matches!(arguments.command, Command::Serve { json: true }), if quiet { "warn" } else { "info" });
    // The one TLS stack of the project.
    let _ = rustls::crypto::ring::default_provider().install_default();
    match arguments.command {
        Command::Completion { shell } => {
            clap_complete::generate(shell, &mut Arguments::command(), "mayfly-launcher", &mut std::io::stdout());
            ExitCode::SUCCESS
        }
        Command::Man => match clap_mangen::Man::new(Arguments::command()).render(&mut std::io::stdout()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => failed(1, &error),
        },
        Command::Simulate(arguments) => simulate::start(&arguments),
        Command::Serve { .. } => with(&arguments.config, |config| Box::pin(serve::run(config))),
        Command::Reconcile { within } => {
            with(&arguments.config, move |config| Box::pin(reconcile::run(config, within)))
        }
        Command::Launch { class } => with(&arguments.config, move |config| Box::pin(launch::run(config, class))),
        Command::Check { json, offline } => {
            with(&arguments.config, move |config| Box::pin(check::run(config, json, offline)))
        }
        Command::Explain { job, json } => {
            with(&arguments.config, move |config| Box::pin(explain::run(config, job, json)))
        }
    }
}

type Running = std::pin::Pin<Box<dyn Future<Output = ExitCode>>>;

/// Reads the configuration and runs a command on it.
fn with(path: &std::path::Path, command: impl FnOnce(Config) -> Running) -> ExitCode {
    let config = match config::load(path) {
        Ok(config) => config,
        Err(problems) => return failed(78, &problems),
    };
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(command(config)),
        Err(error) => failed(70, &error),
    }
}

/// GitHub and the providers, or why not.
async fn connect(config: &Config) -> Result<(Github, Providers), ExitCode> {
    let github = Github::new(&config.apps).map_err(|error| failed(78, &error))?;
    Ok((github, Providers::new(config).await))
}

/// One sentence to standard error.
fn failed(code: u8, error: &dyn std::fmt::Display) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "mayfly-launcher: {error}");
    ExitCode::from(code)
}

/// A line of the answer.
fn print(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}
