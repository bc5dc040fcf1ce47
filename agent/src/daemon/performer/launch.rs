//! Everything up to the one act that cannot be repeated: the runner's start.

use std::io;
use std::path::PathBuf;

use tracing::warn;

use super::{Performer, follow};
use crate::control::hooks;
use crate::daemon::isolation;
use crate::daemon::journal::Binding;
use crate::lifecycle::{Event, Outcome};
use crate::runner::jit::JitConfig;
use crate::runner::order::UnitOrder;
use crate::runner::privileges::User;
use crate::runner::process::{self, NotStarted};
use crate::runner::shim::Order;
use crate::runner::traces::Traces;
use crate::runner::watch::Seen;
use crate::runner::{LISTENER, environment, files};

type Starting = std::pin::Pin<Box<dyn Future<Output = Result<(), NotStarted>> + Send>>;

impl Performer {
    pub(super) fn start_runner(&mut self) {
        if let Ok(config) = self.decoded_inbox.try_recv() {
            self.jit_config = Some(config);
        }
        let starting = match &self.unit {
            Some(unit) => self.unit_order().map(|order| {
                let (unit, traces) = (unit.clone(), self.traces.clone());
                let (probe, host) = (self.isolation_probe(), self.host.clone());
                Box::pin(async move {
                    // A start that was made already is attached to, whatever the rules are.
                    if let Some(manager) = probe.filter(|_| !traces.is_marked()) {
                        isolation::before_start(&manager, &host).await?;
                    }
                    unit.start(&order, &traces).await
                }) as Starting
            }),
            None => {
                self.prepare_runner().map(|order| Box::pin(async move { process::start(&order).await }) as Starting)
            }
        };
        match starting {
            Err(NotStarted { outcome, detail }) => self.tell(async move { Event::NotStarted { outcome, detail } }),
            Ok(starting) => {
                self.jit_config = None; // handed on; this wipes it from memory
                self.watch_isolation();
                let (watch, looks) = self.watcher(false);
                let events = self.events.clone();
                self.looks = Some(looks);
                self.watch = Some(tokio::spawn(async move {
                    let event = match starting.await {
                        Ok(()) => Event::Started,
                        Err(NotStarted { outcome, detail }) => Event::NotStarted { outcome, detail },
                    };
                    let started = event == Event::Started;
                    let _ = events.send(Seen::Event(event)).await;
                    if started {
                        follow(watch).await;
                    }
                }));
            }
        }
    }

    fn held_jit_config(&self) -> Result<&JitConfig, NotStarted> {
        self.jit_config.as_ref().ok_or_else(|| NotStarted {
            outcome: Outcome::AgentFailed,
            detail: "the JIT configuration is not in memory".to_owned(),
        })
    }

    /// Under systemd everything else is done by the unit's privileged start: the agent has no rights for it.
    fn unit_order(&self) -> Result<UnitOrder, NotStarted> {
        let user = self.runner_user.as_deref().unwrap_or("root");
        let (Binding { instance, boot }, traces) = (&self.binding, &self.traces);
        let mut order = UnitOrder::new(instance, boot, traces.directory(), &self.runner_directory, user);
        order.operators.clone_from(&self.operators);
        order.setup_info = self.machine.setup_info();
        order.carry(self.held_jit_config()?);
        order.label = self.held_jit_config()?.label();
        order.fingerprint = Some(self.held_jit_config()?.fingerprint());
        Ok(order)
    }

    /// Everything before the one act that cannot be repeated.
    fn prepare_runner(&self) -> Result<Order, NotStarted> {
        let missing = |detail: String| NotStarted { outcome: Outcome::RunnerMissing, detail };
        let directory = &self.runner_directory;
        let listener = directory.join(LISTENER);
        check_executable(&listener)
            .map_err(|error| missing(format!("cannot execute {}: {error}", listener.display())))?;
        let user = match &self.runner_user {
            Some(name) => Some(User::named(name).map_err(|error| missing(format!("runner.user: {error}")))?),
            None => None,
        };
        let config = self.held_jit_config()?;
        // After an earlier start these files are in use; then the shim will say so, and nothing may be touched.
        if !self.traces.is_marked() {
            files::place(directory, config.files(), user.as_ref()).map_err(|error| missing(error.to_string()))?;
            // For people only.
            let _ = files::tell_setup(directory, &self.machine.setup_info(), user.as_ref());
            let runtime = hooks::install(&self.places, self.operators.as_deref(), user.as_ref());
            runtime.map_err(|error| missing(format!("cannot prepare {}: {error}", self.places.runtime.display())))?;
        }
        if directory.join(".env").exists() {
            warn!(
                "{} is there: the runner lets it override the environment Mayfly gives it",
                directory.join(".env").display()
            );
        }
        Ok(Order {
            state_directory: self.traces.directory().to_owned(),
            directory: directory.clone(),
            user: self.runner_user.clone(),
            instance: self.binding.instance.clone(),
            boot: self.binding.boot.clone(),
            files: config.names().map(str::to_owned).collect(),
            label: config.label(),
            fingerprint: Some(config.fingerprint()),
            environment: environment::build(
                std::env::vars_os().filter_map(utf8),
                user.as_ref(),
                &self.environment_places().borrow(),
            ),
        })
    }

    fn environment_places(&self) -> OwnedPlaces {
        let places = &self.places;
        OwnedPlaces {
            perf: places.perf(),
            started: places.hook_script("job-started"),
            completed: places.hook_script("job-completed"),
            socket: places.hook_socket(),
        }
    }
}

/// One JIT configuration starts one runner, also in another life of the same state directory.
pub(super) fn not_spent(traces: &Traces, config: JitConfig) -> Result<JitConfig, (Outcome, String)> {
    match traces.is_spent(&config) {
        Ok(false) => Ok(config),
        Ok(true) => Err((
            Outcome::JitConfigInvalid,
            "this JIT configuration is spent: a runner was started with it before, and whatever became of that, one JIT \
             configuration starts one runner; get a new one from GitHub"
                .to_owned(),
        )),
        Err(error) => Err((
            Outcome::JournalFailed,
            format!("cannot read which JIT configurations are spent, so this one may be: {error}"),
        )),
    }
}

/// The marker says it already; with the list a person who removes the marker starts nothing again.
pub(super) fn file_spent(traces: &Traces) {
    if let Err(error) = traces.file_spent() {
        warn!("the spent JIT configuration could not be filed: {error}");
    }
}

/// The paths an [`environment::Places`] borrows.
struct OwnedPlaces {
    perf: PathBuf,
    started: PathBuf,
    completed: PathBuf,
    socket: PathBuf,
}

impl OwnedPlaces {
    fn borrow(&self) -> environment::Places<'_> {
        environment::Places {
            perf: &self.perf,
            job_started: &self.started,
            job_completed: &self.completed,
            hook_socket: &self.socket,
        }
    }
}

fn check_executable(path: &std::path::Path) -> io::Result<()> {
    use nix::unistd::{AccessFlags, access};
    Ok(access(path, AccessFlags::X_OK)?)
}

fn utf8((name, value): (std::ffi::OsString, std::ffi::OsString)) -> Option<(String, String)> {
    Some((name.into_string().ok()?, value.into_string().ok()?))
}
