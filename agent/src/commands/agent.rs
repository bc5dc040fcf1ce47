//! `mayfly agent`

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tracing::warn;

use super::{environment, exit, fail};
use crate::base::paths::Paths;
use crate::daemon::journal::{Binding, Journal};
use crate::daemon::settings::{self, Settings};
use crate::daemon::signals::Signals;
use crate::daemon::{CannotBegin, RunResult, live};
use crate::jit_source::JitSource;
use crate::log;
use crate::notices::Notices;
use crate::platform::ec2::{Ec2, Ec2Settings};
use crate::platform::imds::ImdsError;
use crate::runner::process::RunnerProcess;
use crate::runner::read_ahead::ReadAhead;
use crate::runner::supervisor as runner;
use crate::runner::traces::Traces;
use crate::runner::unit::RunnerUnit;
use crate::shipping::{AGENT_LOG, ShippingSettings, SinkSettings};
use crate::systemd::{DEADLINE, Manager, notify};
use mayfly_core::config::{Config, DEFAULT_PATH, Platform, Sink, Supervisor, load};

/// How long a restarted agent waits for the metadata service before it looks after its runner.
const REMEMBERED_BUDGET: Duration = Duration::from_secs(2);

#[derive(Debug, clap::Args)]
pub(super) struct AgentArgs {
    /// The configuration; drop-ins are beside it, in agent.d/*.toml
    #[arg(long, value_name = "FILE", default_value = DEFAULT_PATH)]
    config: PathBuf,
}

pub(super) fn run(args: &AgentArgs) -> u8 {
    let config = match load(&args.config, environment(), &[]) {
        Ok(config) => config,
        Err(problems) => return fail(exit::CONFIG, problems),
    };
    let own = ships(&config).then(|| config.state_directory.join(AGENT_LOG));
    log::to_journal_or_stderr("info", own.as_deref());
    if config.platform == Platform::Local && config.jit.file.as_os_str().is_empty() {
        return fail(
            exit::CONFIG,
            "jit.file: with platform = \"local\" it must say where the JIT configuration will be",
        );
    }
    // Before anybody is asked who this machine is: whatever waits for this unit at boot need not wait for that.
    notify::ready();
    read_ahead(&config);
    let operators = beside(Some(&args.config));
    run_blocking(settings(&config, operators)).map_or_else(|code| code, |_| 0)
}

/// Before a runner was started; after that what it needs is in memory, or a job needs the memory more.
fn read_ahead(config: &Config) {
    if !Traces::new(&config.state_directory).is_marked() {
        let runner = &config.runner;
        let (list, directory) = (runner.read_ahead_list.clone(), runner.directory.clone());
        ReadAhead { list, directory, most: runner.read_ahead }.begin();
    }
}

/// The directory of the configuration: the operators' own hooks are below it too.
pub(super) fn beside(config: Option<&Path>) -> Option<PathBuf> {
    std::path::absolute(config?).ok()?.parent().map(Path::to_owned)
}

/// Why a run has no settings.
#[derive(Debug, Error)]
pub(super) enum NoSettings {
    /// The environment names a metadata endpoint that is none.
    #[error(transparent)]
    Metadata(#[from] ImdsError),
    /// The kernel does not say which machine or boot this is.
    #[error("cannot discover which machine this is: {0}")]
    Machine(std::io::Error),
}

async fn settings(config: &Config, operators: Option<PathBuf>) -> Result<Settings, NoSettings> {
    let manager = (config.runner.supervisor == Supervisor::Systemd).then(Manager::default);
    let mut policy = config.policy();
    let lifetime = async {
        match &manager {
            Some(manager) => agreed_lifetime(manager, policy.limits.lifetime).await,
            None => policy.limits.lifetime,
        }
    };
    let machine = async {
        Ok::<_, NoSettings>(match config.platform {
            Platform::Local => {
                (Binding::local(), settings::Platform::Local(JitSource::Dropped(config.jit.file.clone())))
            }
            Platform::Ec2 => discover(config).await?,
        })
    };
    let (lifetime, machine) = tokio::join!(lifetime, machine);
    let (binding, platform) = machine?;
    policy.limits.lifetime = lifetime;
    let own = nix::unistd::User::from_uid(nix::unistd::geteuid()).ok().flatten().map(|user| user.name);
    let user = Some(config.runner.user.clone()).filter(|user| !user.is_empty() && own.as_ref() != Some(user));
    let paths = paths(config, user.is_some());
    let binding = binding.map_err(NoSettings::Machine)?;
    Ok(Settings {
        policy,
        shipping: shipping(config, &binding, manager.is_some()),
        binding,
        docker: config.docker,
        host: config.host,
        supervisor: match manager {
            Some(manager) => runner::Supervisor::Systemd(RunnerUnit::new(manager, paths.clone())),
            None => runner::Supervisor::Process(RunnerProcess::new(paths.clone(), config.runner.directory.clone())),
        },
        paths,
        runner_directory: config.runner.directory.clone(),
        runner_user: user,
        platform,
        operators,
        may_follow: false,
        job_summary: config.job_summary,
        metrics: config.metrics,
        logged_figures: ships(config) && config.logs.sink == Sink::CloudWatch,
        progress: None,
    })
}

/// Whether logs go anywhere: there is no AWS but on EC2.
fn ships(config: &Config) -> bool {
    match config.logs.sink {
        Sink::CloudWatch => config.platform == Platform::Ec2,
        Sink::Directory => true,
        Sink::None => false,
    }
}

/// What shipping needs to know, if logs go anywhere.
pub(super) fn shipping(config: &Config, binding: &Binding, journald: bool) -> Option<ShippingSettings> {
    ships(config).then(|| ShippingSettings {
        sink: match config.logs.sink {
            Sink::Directory => SinkSettings::Directory(config.logs.directory.clone()),
            Sink::CloudWatch | Sink::None => SinkSettings::CloudWatch(config.logs.group.clone()),
        },
        max_bytes: config.logs.max_bytes,
        instance: binding.instance.clone(),
        state: config.state_directory.clone(),
        runner: config.runner.directory.clone(),
        journald,
    })
}

/// The timer of systemd is the one truth: it ends the machine with or without the agent, so the agent must be done by
/// then.
async fn agreed_lifetime(manager: &Manager, configured: Duration) -> Duration {
    match manager.timer_interval(DEADLINE).await {
        Ok(Some(timer)) if timer != configured => {
            if timer < configured {
                warn!(
                    "{DEADLINE} ends this machine after {}, sooner than limits.lifetime ({}): that is what counts",
                    humantime::format_duration(timer),
                    humantime::format_duration(configured)
                );
            }
            timer.min(configured)
        }
        Ok(Some(_)) => configured,
        Ok(None) => {
            warn!("{DEADLINE} is not running: nothing but this agent ends the machine in time");
            configured
        }
        Err(error) => {
            warn!("cannot see when {DEADLINE} ends this machine: {error}");
            configured
        }
    }
}

/// Who this instance is. A journal of this boot knows it already: then the metadata service gets a moment only, since a
/// job may be running that wants to be watched.
async fn discover(config: &Config) -> Result<(std::io::Result<Binding>, settings::Platform), ImdsError> {
    let known = Journal::binding_of_this_boot(&config.state_directory);
    let budget = if known.is_some() { REMEMBERED_BUDGET.min(config.limits.booting) } else { config.limits.booting };
    let ec2 = Ec2::discover(
        Ec2Settings {
            parameter: config.jit.parameter.clone(),
            class: config.class.clone(),
            poweroff: config.terminate.poweroff,
            poweroff_command: config.terminate.poweroff_command.clone(),
            method: config.limits.terminating,
            launch_hook: config.autoscaling.launch_hook.clone(),
            termination_hook: config.autoscaling.termination_hook.clone(),
        },
        budget,
        known.is_none(),
    )
    .await?;
    let binding = match (known, ec2.id()) {
        (Some(binding), _) => Ok(binding),
        (None, Some(id)) => Binding::of(id.as_str()),
        (None, None) => Binding::unknown(),
    };
    let ec2 = Arc::new(ec2);
    let notices = Arc::new(Notices::new(Arc::clone(&ec2), config.interruption.spot_poll));
    Ok((binding, settings::Platform::Ec2 { ec2, notices }))
}

/// Where it is on an installed machine.
const RUNTIME_DIRECTORY: &str = "/run/mayfly";

/// Another user cannot reach into the state directory, so what the runner needs is elsewhere then.
pub(super) fn paths(config: &Config, other_user: bool) -> Paths {
    let state = config.state_directory.clone();
    let runtime = if other_user { PathBuf::from(RUNTIME_DIRECTORY) } else { state.join("run") };
    Paths { runtime: given_runtime_directory().unwrap_or(runtime), state }
}

/// The same, where the runner has a user of its own.
pub(super) fn paths_in(state: &Path) -> Paths {
    let runtime = given_runtime_directory().unwrap_or_else(|| PathBuf::from(RUNTIME_DIRECTORY));
    Paths { state: state.to_owned(), runtime }
}

/// What systemd made of `RuntimeDirectory=`.
fn given_runtime_directory() -> Option<PathBuf> {
    std::env::var_os("RUNTIME_DIRECTORY").map(PathBuf::from)
}

/// Makes a run on a runtime of its own. An exit code instead of a record says that it could not begin.
pub(super) fn run_blocking(settings: impl Future<Output = Result<Settings, NoSettings>>) -> Result<RunResult, u8> {
    let failed = |error: &dyn std::fmt::Display| fail(exit::SOFTWARE, format_args!("the agent cannot begin: {error}"));
    let signals = Signals::catch().map_err(|error| failed(&error))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| failed(&error))?;
    let ran = runtime.block_on(async {
        let settings = settings.await.map_err(|error| failed(&error))?;
        live(settings, signals).await.map_err(|error| match error {
            CannotBegin::Taken { .. } => fail(exit::TEMPORARY, error),
            CannotBegin::Process(_) => fail(exit::SOFTWARE, error),
        })
    });
    // A read of standard input or of a terminal must not keep the process.
    runtime.shutdown_background();
    ran
}
