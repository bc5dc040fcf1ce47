//! The launcher's figures, as Prometheus reads them.

use std::fmt::Write as _;

use mayfly_core::launcher::{Event, JobStatus, Moment, ProblemKind, World};

use crate::config::Config;

/// What only ever grows.
#[derive(Clone, Debug, Default)]
pub(super) struct Counters {
    /// Messages of GitHub that were taken.
    signals: u64,
    /// When the last one came.
    last_signal: Option<Moment>,
    launched: u64,
    provided: u64,
    given_up: u64,
    /// Calls that failed, by kind.
    failed: [u64; KINDS.len()],
    /// Seconds from the queue to the launch, and how many launches that were.
    to_launch: (f64, u64),
    /// Seconds from the launch to the stored JIT configuration.
    to_stored: (f64, u64),
}

const KINDS: [(ProblemKind, &str); 5] = [
    (ProblemKind::Permanent, "permanent"),
    (ProblemKind::Capacity, "capacity"),
    (ProblemKind::Throttled, "throttled"),
    (ProblemKind::Taken, "taken"),
    (ProblemKind::Unclear, "unclear"),
];

impl Counters {
    /// Counts an event, with what was known before it.
    pub(super) fn count(&mut self, world: &World, now: Moment, event: &Event) {
        match event {
            Event::Signal { live: true, .. } => {
                self.signals += 1;
                self.last_signal = Some(now);
            }
            Event::Launched { token, instances, problems } => {
                self.launched += instances.len() as u64;
                for job in world.launches.get(token).map(|launch| launch.jobs.as_slice()).unwrap_or_default() {
                    if let Some(job) = world.jobs.get(job) {
                        add(&mut self.to_launch, now.since(job.queued_at).as_secs_f64());
                    }
                }
                problems.iter().for_each(|problem| self.fail(problem.kind));
            }
            Event::Stored { instance } => {
                self.provided += 1;
                if let Some(instance) = world.instances.get(instance) {
                    add(&mut self.to_stored, now.since(instance.launched_at).as_secs_f64());
                }
            }
            Event::Told { .. } => self.given_up += 1,
            Event::LaunchFailed { problem, .. }
            | Event::MintFailed { problem, .. }
            | Event::StoreFailed { problem, .. }
            | Event::TerminateFailed { problem, .. }
            | Event::LookFailed { problem, .. }
            | Event::TellFailed { problem, .. } => self.fail(problem.kind),
            _ => {}
        }
    }

    fn fail(&mut self, kind: ProblemKind) {
        if let Some(place) = KINDS.iter().position(|(known, _)| *known == kind)
            && let Some(count) = self.failed.get_mut(place)
        {
            *count += 1;
        }
    }
}

fn add(sum: &mut (f64, u64), value: f64) {
    sum.0 += value;
    sum.1 += 1;
}

/// One figure: name, kind, help, and its lines of labels and value.
type Figure = (&'static str, &'static str, &'static str, Vec<(String, f64)>);

/// All of them as text.
pub(super) fn text(config: &Config, world: &World, counters: &Counters, now: Moment) -> String {
    let mut text = String::new();
    for (name, kind, help, lines) in all(config, world, counters, now) {
        let _ = writeln!(text, "# HELP mayfly_launcher_{name} {help}\n# TYPE mayfly_launcher_{name} {kind}");
        for (labels, value) in lines {
            let labels = if labels.is_empty() { labels } else { format!("{{{labels}}}") };
            let _ = writeln!(text, "mayfly_launcher_{name}{labels} {value}");
        }
    }
    text
}

#[allow(clippy::cast_precision_loss, reason = "figures of a monitoring system are floating point")]
fn all(config: &Config, world: &World, counters: &Counters, now: Moment) -> Vec<Figure> {
    let classes = || config.settings.classes.iter().enumerate();
    let by_class = |value: &dyn Fn(usize) -> f64| -> Vec<(String, f64)> {
        classes().map(|(index, class)| (format!("class=\"{}\"", class.name), value(index))).collect()
    };
    let queued =
        |class: usize| world.jobs.values().filter(move |job| job.class == class && job.status == JobStatus::Queued);
    let oldest = |class: usize| queued(class).map(|job| now.since(job.queued_at).as_secs_f64()).fold(0.0, f64::max);
    let one = |value: f64| vec![(String::new(), value)];
    let since = |at: Option<Moment>| at.map_or(-1.0, |at| now.since(at).as_secs_f64());
    let mut stores = world.stores.clone();
    let mut fleets = world.fleets.clone();
    let mut rooms = vec![
        ("budget=\"parameters\"".to_owned(), f64::from(stores.room(now))),
        ("budget=\"launches\"".to_owned(), f64::from(fleets.room(now))),
    ];
    for (app, budget) in config.apps.iter().zip(&world.jit) {
        rooms.push((format!("budget=\"jit\",app=\"{}\"", app.name), f64::from(budget.clone().room(now))));
    }
    let failed = KINDS.iter().zip(counters.failed).map(|((_, kind), count)| (format!("kind=\"{kind}\""), count as f64));
    let mended = [
        ("silent", world.mended.silent),
        ("overdue", world.mended.overdue),
        ("runners", world.mended.runners),
        ("parameters", world.mended.parameters),
    ];
    vec![
        ("jobs_queued", "gauge", "Jobs that wait for a runner.", by_class(&|class| queued(class).count() as f64)),
        ("queue_age_seconds", "gauge", "How long the oldest of them waits.", by_class(&oldest)),
        (
            "jobs_without_instance",
            "gauge",
            "Jobs that wait and have neither an instance nor a launch under way.",
            by_class(&|class| {
                queued(class).filter(|job| job.launch.is_none() && job.instance.is_none()).count() as f64
            }),
        ),
        (
            "instances",
            "gauge",
            "Instances that are not ended, and launches under way.",
            by_class(&|class| f64::from(world.live(class))),
        ),
        (
            "instances_max",
            "gauge",
            "The most there may be.",
            by_class(&|class| config.settings.classes.get(class).map_or(0.0, |class| f64::from(class.max))),
        ),
        (
            "breaker_open",
            "gauge",
            "1 while a class is stopped.",
            by_class(&|class| {
                world.classes.get(class).map_or(0.0, |state| f64::from(u8::from(state.breaker.allows(now) != u32::MAX)))
            }),
        ),
        ("budget_room", "gauge", "Calls that are left at this moment.", rooms),
        ("list_age_seconds", "gauge", "Age of the newest list of instances; -1 for none.", one(since(world.listed_at))),
        (
            "last_webhook_age_seconds",
            "gauge",
            "Since the last message of GitHub; -1 for none.",
            one(since(counters.last_signal)),
        ),
        ("webhooks_total", "counter", "Messages of GitHub about jobs.", one(counters.signals as f64)),
        ("launched_total", "counter", "Instances launched.", one(counters.launched as f64)),
        ("provided_total", "counter", "Instances that were given a JIT configuration.", one(counters.provided as f64)),
        ("given_up_total", "counter", "Jobs for which nothing more is tried.", one(counters.given_up as f64)),
        ("failed_calls_total", "counter", "Calls that failed, by kind.", failed.collect()),
        (
            "mended_total",
            "counter",
            "What was ended or removed because nobody else did.",
            mended.map(|(what, count)| (format!("what=\"{what}\""), count as f64)).into(),
        ),
        ("launch_seconds_sum", "counter", "From the queue to the launch, all launches.", one(counters.to_launch.0)),
        ("launch_seconds_count", "counter", "How many that were.", one(counters.to_launch.1 as f64)),
        (
            "provide_seconds_sum",
            "counter",
            "From the launch to the stored JIT configuration, all instances.",
            one(counters.to_stored.0),
        ),
        ("provide_seconds_count", "counter", "How many that were.", one(counters.to_stored.1 as f64)),
    ]
}
