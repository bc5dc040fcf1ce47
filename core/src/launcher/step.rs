//! One step: an event comes in, the world changes, actions go out.

use super::class::{Verdict, class_of, label_key};
use super::event::{Event, Problem, ProblemKind};
use super::signal::{JobSignal, JobStatus, JobView};
use super::world::{Job, Left, MOST_JOBS_KNOWN, REMEMBERED, Settings, Spent};
use super::{Action, JobId, Moment, RunId, World, demand, ending, provide, reconcile};

/// How fresh the knowledge must be that a job is still queued, when an instance is launched for it.
pub const FRESH: std::time::Duration = std::time::Duration::from_secs(20);

/// How often what waits is looked at.
const TICK: std::time::Duration = std::time::Duration::from_millis(500);

/// After an answer that tells nothing: not before.
pub(super) const AGAIN: std::time::Duration = std::time::Duration::from_secs(5);

/// Takes an event in and says what is to be done.
pub fn step(settings: &Settings, world: &mut World, now: Moment, event: Event) -> Vec<Action> {
    let mut actions = Vec::new();
    let matters = matters(&event);
    take_in(settings, world, now, event, &mut actions);
    ending::proceed(world, now, &mut actions);
    provide::proceed(settings, world, now, &mut actions);
    if matters {
        demand::proceed(settings, world, now, &mut actions);
    }
    actions
}

/// Whether an event can change how many instances are needed, or allowed.
const fn matters(event: &Event) -> bool {
    matches!(
        event,
        Event::Signal { .. }
            | Event::Tick
            | Event::Launched { .. }
            | Event::LaunchFailed { .. }
            | Event::RunLooked { .. }
            | Event::Instances { .. }
    )
}

/// When [`Event::Tick`] is due if nothing else happens: twice a second while something waits for its moment. The lists come on
/// their own schedule.
#[must_use]
pub fn wake_at(world: &World, now: Moment) -> Option<Moment> {
    let waits = !world.launches.is_empty()
        || world.jobs.values().any(|job| job.status == JobStatus::Queued && job.spent != Spent::Told)
        || world.instances.values().any(|instance| provide::waits(instance) || ending::waits(instance));
    waits.then(|| now.plus(TICK))
}

fn take_in(settings: &Settings, world: &mut World, now: Moment, event: Event, actions: &mut Vec<Action>) {
    match event {
        Event::Signal { signal, live } => heard(settings, world, now, &signal, live),
        Event::Launched { token, instances, problems } => {
            demand::launched(settings, world, now, &token, instances, &problems);
        }
        Event::LaunchFailed { token, problem } => demand::launch_failed(settings, world, now, &token, &problem),
        Event::Minted { instance, runner, length } => provide::minted(world, now, &instance, runner, length),
        Event::MintFailed { instance, problem } => provide::mint_failed(settings, world, now, &instance, &problem),
        Event::Stored { instance } => provide::stored(world, &instance),
        Event::StoreFailed { instance, problem } => provide::store_failed(world, now, &instance, &problem),
        Event::Terminated { instance } => ending::terminated(world, &instance),
        Event::TerminateFailed { instance, problem } => ending::terminate_failed(world, now, &instance, &problem),
        Event::RunnerDeleted { runner } => ending::runner_deleted(world, now, runner),
        Event::RunnerKept { runner, problem } => ending::runner_kept(world, now, runner, &problem),
        Event::ParameterDeleted { instance } => ending::removed(world, &instance, Left::Parameter),
        // Asked for again after the next list.
        Event::ParameterKept { .. } => {}
        Event::RunLooked { run, jobs } => looked(world, now, run, &jobs),
        Event::LookFailed { run, problem } => look_failed(world, now, run, &problem),
        Event::Told { job } => told(world, job, Spent::Told),
        Event::TellFailed { job, problem } => {
            let permanent = problem.kind == ProblemKind::Permanent;
            told(world, job, if permanent { Spent::Told } else { Spent::ToTell(now.plus(AGAIN * 6)) });
        }
        Event::Instances { asked_at, instances } => {
            reconcile::instances(settings, world, now, asked_at, instances, actions);
        }
        Event::Runners { asked_at, scope, runners } => {
            reconcile::runners(settings, world, asked_at, &scope, runners, actions);
        }
        Event::Parameters { instances } => reconcile::parameters(world, &instances, actions),
        Event::JitRoom { app, remaining, reset_at } => {
            if remaining == 0
                && let Some(budget) = world.jit.get_mut(app)
            {
                budget.block(reset_at);
            }
        }
        Event::Tick => forget(world, now),
    }
}

/// A message of GitHub. Messages are doubled, late and out of order: a job only moves on, but for `queued` and `waiting`, which
/// come in any order and are cleared up by asking.
fn heard(settings: &Settings, world: &mut World, now: Moment, signal: &JobSignal, live: bool) {
    if world.over.contains_key(&signal.job) {
        return;
    }
    if !world.jobs.contains_key(&signal.job) {
        let Verdict::Class(class) = class_of(&settings.classes, signal) else { return };
        if world.jobs.len() >= MOST_JOBS_KNOWN {
            forget(world, now);
            if world.jobs.len() >= MOST_JOBS_KNOWN {
                return;
            }
        }
        let mut job = Job::new(signal, class, now, live);
        // Launches of an earlier process count.
        if let Some((made, instance)) = reconcile::launches(&world.instances).get(&signal.job) {
            (job.launches, job.instance) = (*made, Some((*instance).clone()));
        }
        world.jobs.insert(signal.job, job);
    }
    let Some(job) = world.jobs.get_mut(&signal.job) else { return };
    let disagree = matches!(
        (job.status, signal.status),
        (JobStatus::Queued, JobStatus::Waiting) | (JobStatus::Waiting, JobStatus::Queued)
    );
    if disagree {
        job.status = signal.status;
        // Nobody knows which of the two came first.
        job.known_at = Moment(0);
    } else if signal.status >= job.status {
        job.status = signal.status;
        job.known_at = job.known_at.max(if live { now } else { signal.created_at });
    }
    has_runner(world, signal.job, signal.runner.as_deref());
    finished(world, signal.job, now);
}

/// A job that is over is not thought about any more.
fn finished(world: &mut World, job: JobId, now: Moment) {
    if world.jobs.get(&job).is_some_and(|job| job.status == JobStatus::Completed) {
        world.jobs.remove(&job);
        world.over.insert(job, now);
    }
}

/// A job has this runner: the runner's instance is of no use for others, whomever it was launched for.
fn has_runner(world: &mut World, job: JobId, runner: Option<&str>) {
    let Some(runner) = runner else { return };
    let Some(known) = world.jobs.get_mut(&job) else { return };
    known.runner = Some(runner.to_owned());
    if known.status < JobStatus::InProgress {
        return;
    }
    if let Some(id) = world.instance_of(runner).map(str::to_owned)
        && let Some(instance) = world.instances.get_mut(&id)
        && !instance.used
    {
        instance.used = true;
        instance.seen_online = true;
        if let Some(class) = world.classes.get_mut(instance.class) {
            class.breaker.succeeded();
        }
    }
}

/// GitHub was asked for a run's jobs: that is the truth, also where it goes back (a job that no runner picked up is queued again).
fn looked(world: &mut World, now: Moment, run: RunId, views: &[JobView]) {
    world.looking.remove(&run);
    let mut ours: Vec<JobId> = world.jobs.iter().filter(|(_, job)| job.run == run).map(|(id, _)| *id).collect();
    for view in views {
        if let Some(job) = world.jobs.get_mut(&view.job) {
            ours.retain(|id| *id != view.job);
            (job.status, job.known_at) = (view.status, now);
        }
        has_runner(world, view.job, view.runner.as_deref());
        finished(world, view.job, now);
    }
    // Of an earlier attempt, or deleted with its run.
    for id in ours {
        world.jobs.remove(&id);
        world.over.insert(id, now);
    }
}

/// GitHub said nothing: nothing is launched on that. A run that is not there any more has no jobs.
fn look_failed(world: &mut World, now: Moment, run: RunId, problem: &Problem) {
    world.looking.remove(&run);
    let again = problem.retry_at.unwrap_or(now).max(now.plus(AGAIN));
    for job in world.jobs.values_mut().filter(|job| job.run == run) {
        job.next_try = job.next_try.max(again);
        job.problem = Some(format!("GitHub could not be asked whether it is still queued: {}", problem.message));
    }
}

fn told(world: &mut World, job: JobId, spent: Spent) {
    if let Some(job) = world.jobs.get_mut(&job) {
        job.spent = spent;
    }
}

/// Jobs that are over, and jobs that GitHub has given up (24 hours in the queue, 5 days at work).
fn forget(world: &mut World, now: Moment) {
    let day = REMEMBERED * 24;
    world.over.retain(|_, since| now.since(*since) < REMEMBERED);
    world.jobs.retain(|_, job| match job.status {
        JobStatus::Queued | JobStatus::Waiting => now.since(job.queued_at) < day + REMEMBERED,
        JobStatus::InProgress | JobStatus::Completed => now.since(job.queued_at) < day * 7,
    });
}

impl Job {
    fn new(signal: &JobSignal, class: usize, now: Moment, live: bool) -> Self {
        Self {
            run: signal.run,
            repository: signal.repository.clone(),
            name: signal.name.clone(),
            class,
            labels: label_key(&signal.labels),
            head_sha: signal.head_sha.clone(),
            status: signal.status,
            known_at: if live { now } else { signal.created_at },
            queued_at: signal.created_at,
            launches: 0,
            rounds: 0,
            next_try: Moment(0),
            launch: None,
            instance: None,
            live,
            runner: None,
            problem: None,
            spent: Spent::No,
        }
    }
}
