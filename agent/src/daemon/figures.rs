//! The figures of the run: put together from who knows them whenever somebody asks, and told to the log for CloudWatch.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::performer::Performer;
use super::usage;
use crate::base::clock;
use crate::log;
use mayfly_core::lifecycle::{Lifetime, Phase, State, TerminationMethod, Time};
use mayfly_core::metrics::{
    AGENT_RESTARTED, CONSOLE_LINES, HELD, IDLE, JOB_CPU, JOB_MEMORY, JOB_OOM, JOB_RUNNING, LIFETIME_REMAINING,
    LOCK_REMAINING, LOCK_RENEWED, LOOP_LAG, NOTICES, OUTCOME, PHASE, Registry, STARTUP, STATE, STATE_TIME,
    TERMINATIONS, count, emf, flag,
};
use mayfly_core::record::{Record, Usage};

/// How often they are told to the log.
const INTERVAL: Duration = Duration::from_secs(60);

/// What of the figures outlasts one question.
#[derive(Debug, Default)]
pub(super) struct Figures {
    /// How often they are told to the log, if that is shipped to where they are read from it.
    interval: Option<Duration>,
    /// What was told last, and when.
    told: Registry,
    told_at: Option<Instant>,
    lag: Duration,
}

impl Figures {
    pub(super) fn new(logged: bool) -> Self {
        let interval = logged.then(|| INTERVAL.mul_f64(clock::time_scale().unwrap_or(1.0)));
        Self { interval, ..Self::default() }
    }

    /// The loop came late by so much.
    pub(super) fn late(&mut self, by: Duration) {
        self.lag = self.lag.max(by);
    }

    /// All that is known now.
    pub(super) fn collect(&self, state: &State, record: &Record, performer: &Performer) -> Registry {
        let mut registry = self.without_startup(state, record, performer);
        of_startup(&mut registry, record);
        registry
    }

    fn without_startup(&self, state: &State, record: &Record, performer: &Performer) -> Registry {
        let mut registry = Registry::default();
        of_run(&mut registry, state, record, clock::now());
        if let Some(lost) = state.phase.runner().and_then(|runner| runner.lock) {
            registry.set(&LOCK_REMAINING, lost.since(clock::now()).as_secs_f64());
        }
        performer.figures(&mut registry);
        if let Some(usage) = record.usage.clone().or_else(|| performer.has_systemd().then(usage::of_jobs).flatten()) {
            of_job(&mut registry, &usage);
        }
        registry.set(&LOOP_LAG, self.lag.as_secs_f64());
        registry
    }

    /// Whether it is time to tell them to the log.
    pub(super) fn due(&self) -> bool {
        self.interval.is_some_and(|interval| self.told_at.is_none_or(|told| told.elapsed() >= interval))
    }

    /// Tells them to the log, where somebody takes them from there: now and then, and before the log's last line is shipped.
    pub(super) fn tell(&mut self, state: &State, record: &Record, performer: &Performer) {
        if self.interval.is_none() {
            return;
        }
        let mut registry = self.without_startup(state, record, performer);
        if state.phase.is_ending() {
            // Once, when nobody has more to tell of it: CloudWatch counts every line.
            of_startup(&mut registry, record);
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        emf::lines(&registry, &self.told, performer.origin(), now).iter().for_each(|line| log::figures(line));
        (self.told, self.told_at) = (registry, Some(Instant::now()));
    }
}

/// What state and record tell.
fn of_run(registry: &mut Registry, state: &State, record: &Record, now: Time) {
    let spans = spans(record, now);
    registry.set_of(&STATE, &[state.phase.name()], flag(true));
    registry.set(&STATE_TIME, spans.last().map(|(_, span)| span.as_secs_f64()));
    let of = |phase: &str| spans.iter().filter(|(name, _)| *name == phase).map(|(_, span)| *span).sum::<Duration>();
    for (phase, _) in &spans {
        registry.set_of(&PHASE, &[phase], of(phase).as_secs_f64());
    }
    registry.set(&IDLE, of("Idle").as_secs_f64());
    let running = |run: &mayfly_core::lifecycle::Runner| run.evidence.assigned() && !run.evidence.job_over();
    registry.set(&JOB_RUNNING, flag(state.phase.runner().is_some_and(running)));
    registry.set(&HELD, flag(matches!(state.phase, Phase::Held { .. })));
    if let Some(end) = state.phase.end() {
        registry.set_of(&OUTCOME, &[end.outcome.code()], flag(true));
    }
    registry.set(
        &LIFETIME_REMAINING,
        match state.lifetime {
            Lifetime::Until(at) => Some(at.since(now).as_secs_f64()),
            Lifetime::Passed => Some(0.0),
            Lifetime::Paused => None,
        },
    );
    for seen in &record.notices {
        let kind = seen.notice;
        let times = record.notices.iter().filter(|seen| seen.notice == kind).count();
        registry.set_of(&NOTICES, &[kind.code()], count(times as u64));
    }
    for tried in &record.terminations {
        let is_same = |other: &&mayfly_core::record::TerminationTried| {
            other.method == tried.method && other.refused.is_some() == tried.refused.is_some()
        };
        let result = if tried.refused.is_some() { "refused" } else { "accepted" };
        let times = record.terminations.iter().filter(is_same).count();
        registry.set_of(&TERMINATIONS, &[method(tried.method), result], count(times as u64));
    }
    let renewed = record.lock_renewed_at.as_deref().and_then(|at| humantime::parse_rfc3339(at).ok());
    let renewed = renewed.and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    registry.set(&LOCK_RENEWED, renewed.map(|since| since.as_secs_f64().floor()));
    registry.set(&CONSOLE_LINES, count(record.console_lines));
    registry.set(&AGENT_RESTARTED, flag(record.agent_restarted));
}

/// The steps of the start that are over, as the record has them.
fn of_startup(registry: &mut Registry, record: &Record) {
    for step in &record.startup {
        if let Some(took) = step.duration_ms {
            registry.set_of(&STARTUP, &[step.step.code()], Duration::from_millis(took).as_secs_f64());
        }
    }
}

fn of_job(registry: &mut Registry, usage: &Usage) {
    registry.set(&JOB_CPU, usage.cpu_ms.map(|milliseconds| Duration::from_millis(milliseconds).as_secs_f64()));
    registry.set(&JOB_MEMORY, usage.memory_peak_bytes.map(count));
    registry.set(&JOB_OOM, usage.oom_kills.map(count));
}

/// Each phase as it was entered, and how long it was; the last goes on.
fn spans(record: &Record, now: Time) -> Vec<(&str, Duration)> {
    let ends = record.phases.iter().skip(1).map(|phase| phase.at).chain([now]);
    record.phases.iter().zip(ends).map(|(phase, end)| (phase.phase.as_str(), end.since(phase.at))).collect()
}

const fn method(method: TerminationMethod) -> &'static str {
    match method {
        TerminationMethod::LifecycleAction => "lifecycle-action",
        TerminationMethod::AutoScaling { decrement: true } => "auto-scaling-with-decrement",
        TerminationMethod::AutoScaling { decrement: false } => "auto-scaling",
        TerminationMethod::Ec2 => "ec2",
        TerminationMethod::PowerOff => "power-off",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mayfly_core::record::PhaseTime;

    fn record(phases: &[(&str, u64)]) -> Record {
        let entered =
            |(phase, at): &(&str, u64)| PhaseTime { phase: (*phase).to_owned(), at: Time(*at), ..PhaseTime::default() };
        Record { phases: phases.iter().map(entered).collect(), ..Record::default() }
    }

    #[test]
    fn the_phase_that_goes_on_lasts_until_now() {
        assert_eq!(
            spans(&record(&[("Booting", 1000), ("Warm", 3000)]), Time(10_000)),
            [("Booting", Duration::from_secs(2)), ("Warm", Duration::from_secs(7))]
        );
        assert_eq!(spans(&Record::default(), Time(1)), []);
    }
}
