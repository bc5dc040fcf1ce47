//! `mayfly agent`

use std::path::PathBuf;

use super::{environment, exit, fail};
use crate::config::{Config, DEFAULT_PATH, Platform, load};
use crate::daemon::journal::Binding;
use crate::daemon::record::Record;
use crate::daemon::settings::{JitSource, Places, Settings};
use crate::daemon::{CannotBegin, live};
use crate::log;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The configuration; drop-ins are beside it, in agent.d/*.toml
    #[arg(long, value_name = "FILE", default_value = DEFAULT_PATH)]
    config: PathBuf,
}

pub(super) fn run(args: &Args) -> u8 {
    let config = match load(&args.config, environment(), &[]) {
        Ok(config) => config,
        Err(problems) => return fail(exit::CONFIG, problems),
    };
    log::to_journal_or_stderr("info");
    super::config::warn_of_keys_without_effect(&config);
    if config.platform == Platform::Ec2 {
        return fail(exit::CONFIG, "platform = \"ec2\" is not in this version yet; platform = \"local\" is");
    }
    if config.jit.file.as_os_str().is_empty() {
        return fail(
            exit::CONFIG,
            "jit.file: with platform = \"local\" it must say where the JIT configuration will be",
        );
    }
    match settings(&config) {
        Ok(settings) => live_blocking(settings).map_or_else(|code| code, |_| 0),
        Err(error) => fail(exit::SOFTWARE, format_args!("cannot find out which machine this is: {error}")),
    }
}

fn settings(config: &Config) -> std::io::Result<Settings> {
    let own = nix::unistd::User::from_uid(nix::unistd::geteuid())?.map(|user| user.name).unwrap_or_default();
    let user = Some(config.runner.user.clone()).filter(|user| !user.is_empty() && *user != own);
    Ok(Settings {
        policy: config.policy(),
        binding: Binding::local()?,
        places: places(config, user.is_some()),
        runner_directory: config.runner.directory.clone(),
        runner_user: user,
        jit: JitSource::Dropped(config.jit.file.clone()),
        may_follow: false,
        progress: None,
    })
}

/// Another user cannot reach into the state directory, so what the runner needs is elsewhere then.
pub(super) fn places(config: &Config, other_user: bool) -> Places {
    let state = config.state_directory.clone();
    let runtime = match std::env::var_os("RUNTIME_DIRECTORY") {
        Some(directory) if other_user => PathBuf::from(directory),
        None if other_user => PathBuf::from("/run/mayfly"),
        _ => state.join("run"),
    };
    Places { state, runtime }
}

/// Lives a life on a runtime of its own. An exit code instead of a record says that it could not begin.
pub(super) fn live_blocking(settings: Settings) -> Result<Record, u8> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| fail(exit::SOFTWARE, format_args!("cannot set up the agent process: {error}")))?;
    let lived = runtime.block_on(live(settings));
    // A read of standard input or of a terminal must not keep the process.
    runtime.shutdown_background();
    lived.map_err(|error| {
        let code = match error {
            CannotBegin::Taken { .. } => exit::TEMPORARY,
            CannotBegin::Process(_) => exit::SOFTWARE,
        };
        fail(code, error)
    })
}
