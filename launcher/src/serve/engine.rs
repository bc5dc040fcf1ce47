//! The loop: it owns what is known, hands events to the decisions and actions to whoever carries them out.

use std::sync::Arc;
use std::time::Duration;

use mayfly_core::launcher::step::wake_at;
use mayfly_core::launcher::{Action, Event, JobSignal, Problem, ProblemKind, World, step};
use tokio::sync::{Mutex, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::discovery::Discovery;
use super::figures::Counters;
use super::perform::Performer;
use crate::clock;
use crate::config::Config;
use crate::github::Github;
use crate::provider::Providers;

/// How often GitHub is asked what waits, where there is no webhook.
const POLL: Duration = Duration::from_secs(15);

/// How many messages may wait for the loop; more are refused, and read again from the deliveries.
const QUEUE: usize = 10_000;

/// What the loop is told from outside.
#[derive(Debug)]
pub enum Stop {
    /// Finish what is under way, begin nothing, and wait for the jobs on this machine.
    Gracefully,
    /// Finish what is under way.
    Now,
}

/// A message from the endpoint.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) guid: String,
    pub(super) signal: JobSignal,
}

/// What others may look at.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) world: World,
    pub(super) counters: Counters,
}

/// The loop.
#[derive(Debug)]
pub struct Engine {
    config: Config,
    world: World,
    performer: Arc<Performer>,
    discovery: Arc<Mutex<Discovery>>,
    told: (mpsc::Sender<Told>, mpsc::Receiver<Told>),
    counters: Counters,
    shared: watch::Sender<Arc<Known>>,
    running: JoinSet<Vec<Event>>,
}

impl Engine {
    /// A loop that knows nothing yet.
    #[must_use]
    pub fn new(config: Config, github: Github, providers: Providers) -> Self {
        let world = World::new(&config.settings, clock::now());
        Self {
            performer: Performer::new(config.clone(), github, providers),
            discovery: Arc::default(),
            told: mpsc::channel(QUEUE),
            shared: watch::Sender::new(Arc::new(Known { world: world.clone(), counters: Counters::default() })),
            counters: Counters::default(),
            running: JoinSet::new(),
            world,
            config,
        }
    }

    /// Where messages go in.
    pub(super) fn sender(&self) -> mpsc::Sender<Told> {
        self.told.0.clone()
    }

    /// What is known, as of the last second.
    pub(super) fn shared(&self) -> watch::Receiver<Arc<Known>> {
        self.shared.subscribe()
    }

    /// Runs until it is told to stop.
    pub async fn run(&mut self, mut stop: mpsc::Receiver<Stop>) {
        let mut reconcile = interval(self.config.reconcile);
        reconcile.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let polls = self.config.apps.iter().any(|app| app.webhook_secret.is_none());
        let mut poll = interval(if polls { POLL.min(self.config.reconcile) } else { self.config.reconcile });
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut publish = interval(Duration::from_secs(1));
        publish.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let wake = self.wake();
            tokio::select! {
                biased;
                order = stop.recv() => return self.stop(order.unwrap_or(Stop::Now), &mut stop).await,
                Some(events) = self.running.join_next(), if !self.running.is_empty() => {
                    for event in events.unwrap_or_default() {
                        self.take(event);
                    }
                }
                Some(told) = self.told.1.recv() => {
                    if let Ok(mut discovery) = self.discovery.try_lock() {
                        let class = self.config.settings.classes.iter().find(|class| class.scope.holds(&told.signal.repository));
                        discovery.taken(&told.guid, class.map_or(0, |class| class.app), &told.signal.repository);
                    }
                    self.take(Event::Signal { signal: told.signal, live: true });
                }
                _ = reconcile.tick() => self.reconcile(),
                _ = poll.tick() => self.discover(),
                _ = publish.tick() => {
                    let known = Known { world: self.world.clone(), counters: self.counters.clone() };
                    self.shared.send_replace(Arc::new(known));
                }
                () = sleep_until(wake) => self.take(Event::Tick),
            }
        }
    }

    /// One pass: lists, what was missed, and everything that follows from it. It ends when a list that can be relied on is there
    /// and nothing is under way or waits, and after this time at the latest.
    pub async fn pass(&mut self, within: Duration) {
        let end = Instant::now() + within;
        let relied_on = self.world.started_at.plus(self.config.settings.list_lag);
        let mut again = interval(self.config.reconcile / 2);
        again.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let wake = self.wake();
            if self.running.is_empty() && wake.is_none() && self.world.listed_at >= Some(relied_on) {
                return;
            }
            tokio::select! {
                biased;
                () = tokio::time::sleep_until(end) => return,
                Some(events) = self.running.join_next(), if !self.running.is_empty() => {
                    for event in events.unwrap_or_default() {
                        self.take(event);
                    }
                }
                _ = again.tick() => { self.reconcile(); self.discover(); }
                () = sleep_until(wake) => self.take(Event::Tick),
            }
        }
    }

    /// What is known.
    #[must_use]
    pub const fn world(&self) -> &World {
        &self.world
    }

    fn wake(&self) -> Option<Duration> {
        let now = clock::now();
        wake_at(&self.world, now).map(|at| at.since(now).max(Duration::from_millis(20)))
    }

    fn take(&mut self, event: Event) {
        heard(&event);
        let now = clock::now();
        self.counters.count(&self.world, now, &event);
        let actions = step(&self.config.settings, &mut self.world, now, event);
        for action in actions {
            self.act(action);
        }
    }

    fn act(&mut self, action: Action) {
        said(&self.config, &self.world, &action);
        let performer = Arc::clone(&self.performer);
        self.running.spawn(async move { performer.perform(action).await });
    }

    fn reconcile(&mut self) {
        let performer = Arc::clone(&self.performer);
        self.running.spawn(async move {
            let (events, problems) = performer.lists(clock::now).await;
            for problem in problems {
                tracing::warn!("reconcile: {}; nothing is ended on that", problem.message);
            }
            events
        });
    }

    fn discover(&mut self) {
        let (performer, discovery) = (Arc::clone(&self.performer), Arc::clone(&self.discovery));
        self.running.spawn(async move {
            // One look at a time.
            let Ok(mut discovery) = discovery.try_lock() else { return Vec::new() };
            let (signals, problems) = discovery.look(&performer, clock::now()).await;
            for problem in problems {
                tracing::warn!("looking for jobs that were missed: {}", problem.message);
            }
            signals.into_iter().map(|signal| Event::Signal { signal, live: false }).collect()
        });
    }

    /// What is under way is finished: a JIT configuration between GitHub and its instance would be lost.
    async fn stop(&mut self, order: Stop, stop: &mut mpsc::Receiver<Stop>) {
        tracing::info!(actions = self.running.len(), "stopping: finishing what is under way");
        let end = Instant::now() + Duration::from_secs(25);
        while !self.running.is_empty() {
            tokio::select! {
                () = tokio::time::sleep_until(end) => {
                    tracing::warn!(actions = self.running.len(), "still not answered; the next start finds out what became of it");
                    break;
                }
                Some(events) = self.running.join_next() => {
                    for event in events.unwrap_or_default() {
                        self.finish(event);
                    }
                }
            }
        }
        if matches!(order, Stop::Gracefully) {
            self.wait_for_jobs(stop).await;
        }
    }

    /// After the stop only what an instance still needs is carried out.
    fn finish(&mut self, event: Event) {
        heard(&event);
        for action in step(&self.config.settings, &mut self.world, clock::now(), event) {
            if !matches!(action, Action::Launch { .. }) {
                self.act(action);
            }
        }
    }

    async fn wait_for_jobs(&self, stop: &mut mpsc::Receiver<Stop>) {
        while self.performer.providers.busy() > 0 {
            tracing::info!(
                jobs = self.performer.providers.busy(),
                "waiting for the jobs on this machine; once more to leave them"
            );
            tokio::select! {
                _ = stop.recv() => return,
                () = sleep(Duration::from_secs(5)) => {}
            }
        }
    }
}

async fn sleep_until(wake: Option<Duration>) {
    match wake {
        Some(wait) => sleep(wait).await,
        None => std::future::pending().await,
    }
}

/// What went wrong, and what was reached, in the log.
fn heard(event: &Event) {
    match event {
        Event::Signal { signal, live } => {
            tracing::debug!(job = signal.job.0, status = ?signal.status, live, "heard of a job")
        }
        Event::Launched { instances, problems, .. } => {
            for instance in instances {
                tracing::info!(instance, "launched");
            }
            for problem in problems {
                failed("launch", &problem.message, problem);
            }
        }
        Event::Stored { instance } => tracing::info!(instance, "has its JIT configuration"),
        Event::Terminated { instance } => tracing::info!(instance, "ended"),
        Event::LaunchFailed { problem, .. } => failed("launch", "", problem),
        Event::MintFailed { instance, problem } => failed("mint", instance, problem),
        Event::StoreFailed { instance, problem } => failed("store", instance, problem),
        Event::TerminateFailed { instance, problem } => failed("terminate", instance, problem),
        Event::RunnerKept { problem, .. } => failed("remove-runner", "", problem),
        Event::ParameterKept { instance, problem } => failed("remove-parameter", instance, problem),
        Event::LookFailed { run, problem } => failed("look", &run.to_string(), problem),
        Event::TellFailed { job, problem } => failed("tell", &job.to_string(), problem),
        _ => {}
    }
}

fn failed(what: &str, about: &str, problem: &Problem) {
    let kind = problem.kind;
    match kind {
        ProblemKind::Permanent => tracing::error!(what, about, ?kind, "{}", problem.message),
        _ => tracing::warn!(what, about, ?kind, "{}", problem.message),
    }
}

/// What is done, with the job in the line.
fn said(config: &Config, world: &World, action: &Action) {
    let class = |index: &usize| config.settings.classes.get(*index).map_or("", |class| class.name.as_str()).to_owned();
    let job = |instance: &str| world.instances.get(instance).and_then(|known| known.jobs.first()).map(|job| job.0);
    match action {
        Action::Launch { class: index, jobs, candidate, .. } => {
            for job in jobs {
                tracing::info!(job = job.0, class = class(index), way = candidate, "launching an instance");
            }
        }
        Action::Mint { instance, name, .. } => {
            tracing::info!(job = job(instance), instance, name, "making its JIT configuration")
        }
        Action::Terminate { instance, why, .. } => tracing::warn!(job = job(instance), instance, "ending it: {why}"),
        Action::Tell { job, how, why, .. } => tracing::error!(job = job.0, ?how, "given up: {why}"),
        _ => {}
    }
}
