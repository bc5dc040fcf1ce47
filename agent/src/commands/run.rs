//! `mayfly run`

use std::path::{Path, PathBuf};

use super::agent::{beside, paths, run_blocking, shipping};
use super::{environment, exit, fail, print};
use crate::daemon::RunResult;
use crate::daemon::journal::Binding;
use crate::daemon::progress::Progress;
use crate::daemon::settings::{Platform, Settings};
use crate::jit_source::JitSource;
use crate::log;
use crate::runner::process::RunnerProcess;
use crate::runner::supervisor::Supervisor;
use mayfly_core::config::{Config, load};
use mayfly_core::lifecycle::Outcome;

#[derive(Debug, clap::Args)]
pub(super) struct RunArgs {
    /// The JIT configuration, as GitHub's API gave it: a file, or - for standard input
    #[arg(long, value_name = "FILE")]
    jit_config: PathBuf,
    /// Where GitHub's runner is unpacked
    #[arg(long, value_name = "DIR")]
    runner_dir: PathBuf,
    /// Run the runner as this user; needs root
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Where journal and record go; by default a directory for this runner in ~/.local/state/mayfly
    #[arg(long, value_name = "DIR")]
    state_directory: Option<PathBuf>,
    /// Limits and the like; by default the built-in ones
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print the record as JSON to standard output
    #[arg(long)]
    json: bool,
    /// Show nothing as it happens
    #[arg(long, short)]
    quiet: bool,
}

pub(super) fn run(args: &RunArgs) -> u8 {
    log::to_stderr("error");
    let settings = match configuration(args).and_then(|config| settings(args, &config)) {
        Ok(settings) => settings,
        Err(code) => return code,
    };
    match run_blocking(async { Ok(settings) }) {
        Ok(RunResult::Detached) => exit::TEMPORARY,
        Ok(RunResult::Ended(record)) => {
            if args.json {
                print(|out| {
                    serde_json::to_writer_pretty(&mut *out, &record)?;
                    writeln!(out)
                });
            }
            record.end.map_or(Outcome::AgentFailed, |end| end.outcome).exit_code()
        }
        Err(code) => code,
    }
}

fn configuration(args: &RunArgs) -> Result<Config, u8> {
    let directory = absolute(&args.runner_dir)?;
    let state = match &args.state_directory {
        Some(state) => absolute(state)?,
        None => default_state_directory(&directory)?,
    };
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let mut overrides = vec![
        ("platform", "local".to_owned()),
        ("runner.supervisor", "process".to_owned()),
        ("runner.directory", text(&directory)),
        ("runner.user", args.user.clone().unwrap_or_default()),
    ];
    // The environment may name a state directory; the default must not win over it.
    if args.state_directory.is_some() || std::env::var_os("MAYFLY_STATE_DIRECTORY").is_none() {
        overrides.push(("state_directory", text(&state)));
    }
    // Without a file there is nothing to read but the environment; /etc is the agent's.
    let nothing = Path::new("/dev/null");
    let config = load(args.config.as_deref().unwrap_or(nothing), environment(), &overrides);
    config.map_err(|problems| fail(exit::CONFIG, problems))
}

fn settings(args: &RunArgs, config: &Config) -> Result<Settings, u8> {
    let binding = Binding::local()
        .map_err(|error| fail(exit::SOFTWARE, format_args!("cannot discover which machine this is: {error}")))?;
    let jit =
        if args.jit_config == Path::new("-") { JitSource::Stdin } else { JitSource::File(absolute(&args.jit_config)?) };
    let paths = paths(config, args.user.is_some());
    let shipping = shipping(config, &binding, false);
    Ok(Settings {
        policy: config.policy(),
        binding,
        runner_directory: config.runner.directory.clone(),
        runner_user: args.user.clone(),
        supervisor: Supervisor::Process(RunnerProcess::new(paths.clone(), config.runner.directory.clone())),
        paths,
        docker: config.docker,
        host: config.host,
        platform: Platform::Local(jit),
        operators: beside(args.config.as_deref()),
        may_follow: true,
        job_summary: config.job_summary,
        metrics: None,
        logged_figures: false,
        shipping,
        progress: (!args.quiet).then(Progress::on_stderr),
    })
}

fn absolute(path: &Path) -> Result<PathBuf, u8> {
    std::path::absolute(path)
        .map_err(|error| fail(exit::USAGE, format_args!("cannot make {} an absolute path: {error}", path.display())))
}

/// One directory a runner directory, so that a second run finds what the first left.
fn default_state_directory(runner: &Path) -> Result<PathBuf, u8> {
    let base = std::env::var_os("XDG_STATE_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(std::env::home_dir()?.join(".local/state")));
    let base = base.ok_or_else(|| fail(exit::USAGE, "there is no home directory; say --state-directory"))?;
    let name = runner.to_string_lossy().trim_matches('/').replace('/', "-");
    Ok(base.join("mayfly").join(name))
}
