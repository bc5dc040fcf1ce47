//! Everything up to the one act that cannot be repeated: the runner's start.

use std::io;
use std::path::PathBuf;

use thiserror::Error;
use tracing::warn;

use super::{Performer, follow};
use crate::base::seen::Seen;
use crate::base::users::User;
use crate::jit_source::JitSourceError;
use crate::runner::environment;
use crate::runner::request::{NotStarted, StartRequest};
use crate::runner::start_error::StartError;
use crate::runner::traces::Traces;
use mayfly_core::lifecycle::{Event, Outcome};
use mayfly_core::runner::jit::JitConfig;

impl Performer {
    pub(super) fn start_runner(&mut self) {
        if let Ok(config) = self.decoded_inbox.try_recv() {
            self.jit_config = Some(config);
        }
        let request = match self.request() {
            Ok(request) => request,
            Err(error) => return self.tell(async move { not_started(error) }),
        };
        self.jit_config = None; // handed on; this wipes it from memory
        let (supervisor, traces) = (self.supervisor.clone(), self.traces.clone());
        let isolation = self.isolation.clone();
        let starting = async move {
            // A start that was made already is attached to, whatever the rules are.
            if let Some(isolation) = isolation.filter(|_| !traces.is_marked()) {
                isolation.check().await?;
            }
            supervisor.start(&request).await.map_err(NotStarted::from)
        };
        self.watch_isolation();
        let (watch, polls) = self.watcher(false);
        let events = self.events.clone();
        self.polls = Some(polls);
        self.watch = Some(tokio::spawn(async move {
            let event = match starting.await {
                Ok(()) => Event::Started,
                Err(reason) => not_started(reason),
            };
            let started = event == Event::Started;
            let _ = events.send(Seen::Event(event)).await;
            if started {
                follow(watch).await;
            }
        }));
    }

    /// Everything about the one act that cannot be repeated.
    fn request(&self) -> Result<StartRequest, StartError> {
        let config = self.jit_config.as_ref().ok_or(StartError::NoJitConfig)?;
        let overriding = self.runner_directory.join(".env");
        if overriding.exists() {
            warn!("{} is there: the runner lets it override the environment Mayfly gives it", overriding.display());
        }
        let mut request =
            StartRequest::new(&self.binding.instance, &self.binding.boot, &self.paths.state, &self.runner_directory);
        request.user.clone_from(&self.runner_user);
        request.operators.clone_from(&self.operators);
        request.setup_info = self.machine.setup_info();
        request.carry(config);
        if !self.has_systemd() {
            let user = self.runner_user.as_deref().map(User::named).transpose();
            let user = user.map_err(StartError::User)?;
            let own = std::env::vars_os().filter_map(utf8);
            request.environment = environment::build(own, user.as_ref(), &self.environment_paths().borrow());
        }
        Ok(request)
    }

    fn environment_paths(&self) -> OwnedPaths {
        let paths = &self.paths;
        OwnedPaths {
            perf: paths.perf(),
            started: paths.hook_script("job-started"),
            completed: paths.hook_script("job-completed"),
            socket: paths.hook_socket(),
        }
    }
}

fn not_started(reason: impl Into<NotStarted>) -> Event {
    let NotStarted { outcome, detail } = reason.into();
    Event::NotStarted { outcome, detail }
}

/// Why there is no JIT configuration that a runner can be started with.
#[derive(Debug, Error)]
pub(super) enum JitConfigError {
    /// It did not come, or is none.
    #[error(transparent)]
    Source(#[from] JitSourceError),
    /// A runner was started with it.
    #[error(
        "this JIT configuration is spent: a runner was started with it before, and whatever became of that, one JIT \
         configuration starts one runner; get a new one from GitHub"
    )]
    Spent,
    /// Nobody knows whether a runner was started with it.
    #[error("cannot read which JIT configurations are spent, so this one may be: {0}")]
    MaybeSpent(io::Error),
}

impl JitConfigError {
    /// What that is for the run.
    pub(super) fn outcome(&self) -> Outcome {
        match self {
            Self::Source(error) => error.outcome(),
            Self::Spent => Outcome::JitConfigInvalid,
            Self::MaybeSpent(_) => Outcome::JournalFailed,
        }
    }
}

/// One JIT configuration starts one runner, also in another run of the same state directory.
pub(super) fn not_spent(traces: &Traces, config: JitConfig) -> Result<JitConfig, JitConfigError> {
    match traces.is_spent(&config) {
        Ok(false) => Ok(config),
        Ok(true) => Err(JitConfigError::Spent),
        Err(error) => Err(JitConfigError::MaybeSpent(error)),
    }
}

/// The marker says it already; with the list a person who removes the marker starts nothing again.
pub(super) fn file_spent(traces: &Traces) {
    if let Err(error) = traces.file_spent() {
        warn!("the spent JIT configuration could not be filed: {error}");
    }
}

/// The paths an [`environment::RunnerPaths`] borrows.
struct OwnedPaths {
    perf: PathBuf,
    started: PathBuf,
    completed: PathBuf,
    socket: PathBuf,
}

impl OwnedPaths {
    fn borrow(&self) -> environment::RunnerPaths<'_> {
        environment::RunnerPaths {
            perf: &self.perf,
            job_started: &self.started,
            job_completed: &self.completed,
            hook_socket: &self.socket,
        }
    }
}

fn utf8((name, value): (std::ffi::OsString, std::ffi::OsString)) -> Option<(String, String)> {
    Some((name.into_string().ok()?, value.into_string().ok()?))
}
