//! The shell around the lifecycle: one loop that owns the state.
//!
//! It takes an event, steps, makes the new state durable, and only then acts. No locks; everything else sends events.

mod console;
mod deadline;
mod docker;
mod figures;
mod host;
mod isolation;
pub mod journal;
mod kept_end;
mod machine;
pub mod performer;
pub mod progress;
mod record;
pub mod settings;
pub mod signals;
mod start;
mod startup;
mod usage;

use std::io;
use std::time::{Duration, Instant};

use thiserror::Error;
use tokio::sync::{mpsc, watch};
use tracing::{debug, error, info, warn};

use crate::base::clock;
use crate::base::seen::Seen;
use crate::control::operators::{Answer, Order};
use crate::control::status::Status;
use crate::control::{self, HookAnswers, Query, Reply, Request};
use crate::runner::hooks::{Annotations, DockerGate};
use crate::systemd::notify;
use figures::Figures;
use journal::{Entry, Journal};
use kept_end::KeptEnd;
use mayfly_core::lifecycle::{Effect, Event, JobInfo, Observation, Outcome, Phase, State, step};
use mayfly_core::metrics::text;
use mayfly_core::record::Record;
use performer::Performer;
use settings::Settings;
use signals::Signals;

/// Why a run could not even begin. Nothing was started.
#[derive(Debug, Error)]
pub enum CannotBegin {
    /// Another agent process is at work there.
    #[error("another mayfly process is at work in {path} (process {pid}); one state directory serves one run")]
    Taken {
        /// Which.
        path: String,
        /// The other process, if it said so.
        pid: String,
    },
    /// The operating system refused something basic.
    #[error("cannot set up the agent process: {0}")]
    Process(#[from] io::Error),
}

/// What came of an agent process.
#[derive(Debug)]
pub enum RunResult {
    /// The run is over.
    Ended(Box<Record>),
    /// The run goes on without it, and the next agent process takes over: after a restart or an upgrade, with the runner;
    /// or in the next boot, where a warm pool stops its instance.
    Detached,
}

/// Makes one run, or what is left of it.
///
/// # Errors
/// It could not begin; nothing was started.
pub async fn live(mut settings: Settings, signals: Signals) -> Result<RunResult, CannotBegin> {
    // Nobody configures what GitHub does, and no test waits for it.
    let lock = &mut settings.policy.limits.lock;
    *lock = lock.mul_f64(clock::time_scale().unwrap_or(1.0));
    let start = start::prepare(&settings)?;
    let (events, inbox) = mpsc::channel(INBOX);
    signals.forward(events.clone(), settings.supervisor.manager().cloned())?;
    let (gate, docker) = watch::channel(DockerGate::default());
    let annotations = Annotations::default();
    let hooks = HookAnswers { gate: docker, annotations: annotations.clone(), summary: settings.job_summary };
    let queries = control::serve(&settings.paths, settings.metrics, hooks, events.clone());
    let figures = Figures::new(settings.logged_figures);
    let performer = Performer::new(settings, gate, annotations, events, &start);
    Ok(MainLoop::new(start, performer, figures, inbox, queries).run().await)
}

/// The loop's own things.
struct MainLoop {
    state: State,
    journal: Journal,
    kept_end: KeptEnd,
    performer: Performer,
    record: Record,
    figures: Figures,
    /// What was taken in since the next timer was due.
    before_timer: u32,
    /// It was that timer's turn last.
    timer_fired: bool,
    inbox: mpsc::Receiver<Seen>,
    queries: mpsc::Receiver<Query>,
    first: Event,
    /// This process ends, and the run goes on.
    leaves: bool,
    _lock: Option<start::Lock>,
}

/// How many events may wait to be taken in, and so how many may be here when a timer becomes due.
const INBOX: usize = 256;

/// The loop looks at the boot clock at least this often: a sleep does not notice that the machine was suspended.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);

impl MainLoop {
    fn new(
        start: start::Start,
        performer: Performer,
        figures: Figures,
        inbox: mpsc::Receiver<Seen>,
        queries: mpsc::Receiver<Query>,
    ) -> Self {
        Self {
            state: start.state,
            journal: start.journal,
            kept_end: start.kept_end,
            performer,
            record: start.record,
            figures,
            before_timer: 0,
            timer_fired: false,
            inbox,
            queries,
            first: Event::Begin(start.begin),
            leaves: false,
            _lock: start.lock,
        }
    }

    async fn run(mut self) -> RunResult {
        if self.record.phases.is_empty() {
            self.remember();
        }
        let first = self.first.clone();
        self.take(&first);
        loop {
            if let Phase::Ended { end } = &self.state.phase {
                self.record.end(end, clock::timestamp());
                self.performer.tell_record(&mut self.record);
                self.performer.ended(&self.record).await;
                return RunResult::Ended(Box::new(self.record));
            }
            if self.leaves {
                info!("shut down before anything was started: the run goes on with the next start of this machine");
                return RunResult::Detached;
            }
            notify::alive();
            if self.figures.due() {
                self.figures.tell(&self.state, &self.record, &self.performer);
            }
            let next = self.next().await;
            let begun = Instant::now();
            match next {
                Next::Nothing => {}
                Next::Event(event) => self.take(&event),
                Next::Line(line, end) => {
                    self.record.console_lines += 1;
                    self.performer.console_line(&line, end);
                }
                Next::Query(query) => {
                    let reply = match query.request {
                        Request::Status => {
                            self.performer.tell_record(&mut self.record);
                            let (doing, policy) = (progress::about(&self.state.phase), self.performer.policy());
                            let runner = self.performer.runner_age();
                            Reply::Status(Box::new(Status::of(
                                &self.state,
                                &self.record,
                                policy,
                                doing,
                                runner.as_ref(),
                            )))
                        }
                        Request::Metrics => {
                            self.performer.tell_record(&mut self.record);
                            let figures = self.figures.collect(&self.state, &self.record, &self.performer);
                            Reply::Metrics(text::of(&figures))
                        }
                        Request::Record => {
                            self.performer.tell_record(&mut self.record);
                            Reply::Record(Box::new(self.record.clone()))
                        }
                        Request::Order(order) => Reply::Answer(self.obey(order)),
                    };
                    query.answer(reply).await;
                }
                Next::Detach => {
                    info!("told to stop, but the machine is not shutting down: the runner goes on without this agent");
                    return RunResult::Detached;
                }
            }
            self.figures.late(begun.elapsed());
        }
    }

    /// The next thing to deal with. What was seen goes before timers: a deadline must not win against evidence that is
    /// already here. But only what is here already: a job that writes without end must not put its deadline off, nor what
    /// people ask for.
    async fn next(&mut self) -> Next {
        let now = clock::now();
        let due = self.state.next_timer().filter(|(_, at)| *at <= now && !self.timer_fired);
        self.timer_fired = false;
        if let Some((timer, _)) = due {
            if (self.before_timer as usize) < INBOX
                && let Ok(seen) = self.inbox.try_recv()
            {
                self.before_timer += 1;
                return seen.into();
            }
            (self.before_timer, self.timer_fired) = (0, true);
            return Next::Event(Event::Passed(timer));
        }
        let longest = notify::interval().map_or(LONGEST_SLEEP, |interval| interval.min(LONGEST_SLEEP));
        let begun = Instant::now();
        let wait = self.state.next_timer().map_or(longest, |(_, at)| at.since(now)).min(longest);
        // Not biased: whoever has something to say gets a turn, however much the others have.
        tokio::select! {
            Some(seen) = self.inbox.recv() => seen.into(),
            Some(query) = self.queries.recv() => Next::Query(query),
            () = tokio::time::sleep(wait) => {
                self.figures.late(begun.elapsed().saturating_sub(wait));
                Next::Nothing
            }
        }
    }

    /// Carries an operator's order out, and tells what that means.
    fn obey(&mut self, order: Order) -> Answer {
        let (before, now) = (self.state.clone(), clock::now());
        self.take(&order.event(now));
        let answer = Answer::of(order, self.performer.policy(), &before, &self.state, now);
        info!(?order, "an operator's order: {}", answer.message);
        answer
    }

    /// One step: decide, remember, act.
    fn take(&mut self, event: &Event) {
        record::absorb(&mut self.record, event);
        if matches!(event, Event::Exited(_)) && self.performer.has_systemd() {
            self.record.usage = usage::of_jobs();
        }
        let (next, effects) = step(self.performer.policy(), &self.state, event, clock::now());
        let changed = next != self.state;
        if let Event::Observed(Observation::HookStarted(told)) = event
            && changed
        {
            say_what_was_left_out(told);
        }
        let new_phase = next.phase.name() != self.state.phase.name();
        let newly_held = matches!(next.phase, Phase::Held { .. }) && next.phase != self.state.phase;
        self.state = next;
        let remembered = !changed || self.remember();
        if new_phase {
            let phase = &self.state.phase;
            debug!(cause = ?event, "state changed");
            let about = progress::about(phase);
            info!(state = phase.name(), "{about}");
            notify::status(&format!("{}: {about}", phase.name()));
            self.performer.phase_entered(&self.state.phase);
        }
        if newly_held {
            self.performer.held(&self.state.phase);
        }
        for effect in effects {
            match effect {
                // The loop looks at the state's next timer on every turn.
                Effect::Arm { .. } => {}
                Effect::Leave => self.leaves = true,
                // Whatever stops, flushes or terminates goes on from memory; only this must not.
                Effect::StartRunner if !remembered => self.refuse_to_start(),
                Effect::Close { mut end, until } => {
                    self.performer.explain(&mut end);
                    self.record.end(&end, clock::timestamp());
                    self.performer.tell_record(&mut self.record);
                    self.figures.tell(&self.state, &self.record, &self.performer);
                    self.performer.close(&end, until, &self.record);
                }
                effect => self.performer.perform(&effect, &self.state),
            }
        }
    }

    /// Makes the state durable. Returns whether it is.
    fn remember(&mut self) -> bool {
        let entry = Entry { at: clock::now(), state: self.state.clone() };
        record::note(&mut self.record, &entry, self.performer.policy());
        match self.journal.append(&entry) {
            Ok(()) => {
                self.kept_end.forget();
                true
            }
            Err(error) => {
                error!("cannot write the journal: {error}; going on from memory");
                if entry.state.phase.is_ending() {
                    self.kept_end.keep(&entry);
                }
                false
            }
        }
    }

    fn refuse_to_start(&mut self) {
        let detail = "the journal cannot be written, so a restart could not know that a runner was started".to_owned();
        self.take(&Event::NotStarted { outcome: Outcome::JournalFailed, detail });
    }
}

/// Of the first call only: no other changes the state.
fn say_what_was_left_out(told: &JobInfo) {
    let (_, unfit) = told.fitting();
    if !unfit.is_empty() {
        warn!("the job's hook told what GitHub cannot have said, and it is left out: {}", unfit.join(", "));
    }
}

enum Next {
    Nothing,
    Event(Event),
    Line(String, u64),
    Query(Query),
    Detach,
}

impl From<Seen> for Next {
    fn from(seen: Seen) -> Self {
        match seen {
            Seen::Event(event) => Self::Event(event),
            Seen::Line { line, end } => Self::Line(line, end),
            Seen::Detach => Self::Detach,
        }
    }
}
