//! Which jobs need an instance, and how many are launched now.
//!
//! A JIT configuration does not bind a runner to a job: GitHub gives any waiting job with the same labels to it. So demand is
//! counted for each label set: jobs that wait, less instances that can still take one. The job that a launch names is the one it
//! was counted for, and a job whose runner took another's is served by the same arithmetic.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::event::{Problem, ProblemKind};
use super::names::{MOST_JOBS, client_token};
use super::signal::JobStatus;
use super::step::{AGAIN, FRESH};
use super::world::{Instance, Job, Launch, Provision, Settings, Spent};
use super::{Action, JobId, Moment, World};

/// How far launches may be ahead of the JIT configurations that can be made for them.
const AHEAD: Duration = Duration::from_secs(10);

/// How long a way to launch without capacity is left out.
const NO_CAPACITY: Duration = Duration::from_secs(180);

/// How often an unanswered launch is asked for again.
const MOST_ASKS: u32 = 6;

/// Launches what is needed and allowed.
pub(super) fn proceed(settings: &Settings, world: &mut World, now: Moment, actions: &mut Vec<Action>) {
    ask_again(world, now, actions);
    give_up(settings, world, now, actions);
    if world.listed_at.is_none() {
        return;
    }
    for class in 0..settings.classes.len() {
        let wanted = wanted(settings, world, class, now);
        let picked = pick(settings, world, class, now, wanted, actions);
        launch(settings, world, class, now, picked, actions);
    }
}

/// An unanswered launch is asked for again under its token: EC2 answers with what the first request made.
fn ask_again(world: &mut World, now: Moment, actions: &mut Vec<Action>) {
    for (token, launch) in &mut world.launches {
        if launch.again_at.is_some_and(|at| now >= at) && world.fleets.take(now) {
            launch.again_at = None;
            launch.asks += 1;
            actions.push(launch.action(token.clone()));
        }
    }
}

/// Jobs for which every launch was in vain, or nothing could be launched for too long: a visible end.
fn give_up(settings: &Settings, world: &mut World, now: Moment, actions: &mut Vec<Action>) {
    let lag = settings.list_lag;
    let World { jobs, instances, launches, classes, .. } = world;
    for (id, job) in jobs.iter_mut().filter(|(_, job)| job.status == JobStatus::Queued) {
        let Some(class) = settings.classes.get(job.class) else { continue };
        let hopeful = job.launch.as_ref().is_some_and(|token| launches.contains_key(token))
            || job
                .instance
                .as_ref()
                .and_then(|id| instances.get(id))
                .is_some_and(|instance| instance.may_serve(now, lag));
        let tired = job.launches >= class.launches;
        // A job that waits for its turn in a full class is not given up.
        let stopped = classes.get(job.class).and_then(|state| state.breaker.open()).filter(|(until, _)| now < *until);
        let late = (job.rounds > 0 || stopped.is_some()) && now.since(job.queued_at) >= class.patience;
        if job.spent == Spent::No && !hopeful && (tired || late) {
            job.spent = Spent::ToTell(now);
        }
        if let Spent::ToTell(at) = job.spent
            && now >= at
        {
            job.spent = Spent::Telling;
            let last =
                job.problem.as_deref().or(stopped.map(|(_, why)| why)).unwrap_or("no instance of it took the job");
            let why = if tired {
                format!("{} instances were launched for this job and none took it; the last time: {last}", job.launches)
            } else {
                format!(
                    "no instance could be launched for this job within {} minutes: {last}",
                    class.patience.as_secs() / 60
                )
            };
            actions.push(Action::Tell {
                job: *id,
                class: job.class,
                repository: job.repository.clone(),
                run: job.run,
                head_sha: job.head_sha.clone(),
                how: class.when_spent,
                why,
            });
        }
    }
}

/// How many instances the class may launch now.
fn wanted(settings: &Settings, world: &mut World, index: usize, now: Moment) -> u32 {
    let (Some(class), Some(state)) = (settings.classes.get(index), world.classes.get(index)) else { return 0 };
    let all: u32 = (0..settings.classes.len()).map(|class| world.live(class)).sum();
    let room = class.max.saturating_sub(world.live(index)).min(settings.max.saturating_sub(all));
    // No faster than JIT configurations can be made and stored.
    let without = |instance: &&Instance| {
        !instance.is_over() && !matches!(instance.provision, Provision::Adopted | Provision::Provided)
    };
    let waiting = world.instances.values().filter(without).count()
        + world.launches.values().map(|launch| launch.jobs.len()).sum::<usize>();
    let allowed = state.breaker.allows(now);
    let Some(jit) = world.jit.get_mut(class.app) else { return 0 };
    let soon = if jit.next(now).since(now) > AHEAD { 0 } else { jit.room(now).max(1) + jit.within(AHEAD) };
    let stores = world.stores.room(now).max(1) + world.stores.within(AHEAD);
    let pace = soon.min(stores).saturating_sub(u32::try_from(waiting).unwrap_or(u32::MAX));
    room.min(pace).min(allowed)
}

/// Chooses jobs: those whose label set has fewer instances than jobs, one repository after the other.
fn pick(
    settings: &Settings,
    world: &mut World,
    index: usize,
    now: Moment,
    wanted: u32,
    actions: &mut Vec<Action>,
) -> Vec<JobId> {
    let Some(class) = settings.classes.get(index) else { return Vec::new() };
    let lag = settings.list_lag;
    if wanted == 0 {
        return Vec::new();
    }
    let mut missing = missing(world, index, now, lag);
    let mut queues: BTreeMap<&str, VecDeque<(&JobId, &Job)>> = BTreeMap::new();
    let mut oldest: Vec<(&JobId, &Job)> =
        world.jobs.iter().filter(|(_, job)| needs_one(world, job, index, now, lag)).collect();
    oldest.sort_by_key(|(id, job)| (job.queued_at, **id));
    for (id, job) in oldest {
        queues.entry(&job.repository).or_default().push_back((id, job));
    }
    let mut held: BTreeMap<&str, u32> = BTreeMap::new();
    for instance in world.instances.values().filter(|instance| instance.class == index && !instance.is_gone()) {
        *held.entry(&instance.repository).or_default() += 1;
    }
    for launch in world.launches.values().filter(|launch| launch.class == index) {
        *held.entry(&launch.repository).or_default() += u32::try_from(launch.jobs.len()).unwrap_or(u32::MAX);
    }
    let alone = queues.len() <= 1;
    let share = (class.max.saturating_mul(class.share)).div_ceil(100).max(1);
    let mut picked = Vec::new();
    let mut look = Vec::new();
    while picked.len() < wanted as usize {
        // The repository that has least; of those, the one whose job waits longest.
        let next = queues
            .iter()
            .filter(|(repository, _)| alone || held.get(*repository).copied().unwrap_or(0) < share)
            .filter_map(|(repository, queue)| queue.front().map(|(id, job)| (*repository, **id, *job)))
            .min_by_key(|(repository, id, job)| (held.get(repository).copied().unwrap_or(0), job.queued_at, *id));
        let Some((repository, id, job)) = next else { break };
        if let Some(queue) = queues.get_mut(repository) {
            queue.pop_front();
            if queue.is_empty() {
                queues.remove(repository);
            }
        }
        let Some(missing) = missing.get_mut(&job.labels).filter(|missing| **missing > 0) else { continue };
        *missing -= 1;
        if now.since(job.known_at) > FRESH {
            look.push((job.run, job.repository.clone()));
            continue;
        }
        *held.entry(&job.repository).or_default() += 1;
        picked.push(id);
    }
    for (run, repository) in look {
        if world.looking.insert(run) {
            actions.push(Action::LookAtRun { class: index, repository, run });
        }
    }
    picked
}

/// For each label set of a class: jobs that wait, less instances that can still take one.
fn missing(world: &World, class: usize, now: Moment, lag: Duration) -> BTreeMap<String, i64> {
    let mut missing: BTreeMap<String, i64> = BTreeMap::new();
    for job in world.jobs.values().filter(|job| job.class == class && job.status == JobStatus::Queued) {
        if job.spent == Spent::No {
            *missing.entry(job.labels.clone()).or_default() += 1;
        }
    }
    for instance in world.instances.values().filter(|instance| instance.class == class && instance.may_serve(now, lag))
    {
        *missing.entry(instance.labels.clone()).or_default() -= 1;
    }
    for launch in world.launches.values().filter(|launch| launch.class == class) {
        *missing.entry(launch.labels.clone()).or_default() -= i64::try_from(launch.jobs.len()).unwrap_or(i64::MAX);
    }
    missing
}

/// Whether an instance should be launched for this job, were there none for others.
fn needs_one(world: &World, job: &Job, class: usize, now: Moment, lag: Duration) -> bool {
    let own = job.instance.as_ref().and_then(|id| world.instances.get(id));
    job.class == class
        && job.status == JobStatus::Queued
        && job.spent == Spent::No
        && job.launch.is_none()
        && now >= job.next_try
        && own.is_none_or(|instance| !instance.may_serve(now, lag))
        && is_ours(world, job, lag)
}

/// A job that was told of as it happened is this process's. Of any other, a list must show first that no instance was launched for
/// it: by this process before its restart, or by another one.
fn is_ours(world: &World, job: &Job, lag: Duration) -> bool {
    let since = world.started_at.max(job.queued_at);
    // GitHub's moments are whole seconds, cut off.
    let own = job.live && job.queued_at.plus(Duration::from_secs(1)) >= world.started_at;
    own || world.listed_at.is_some_and(|at| at >= since.plus(lag))
}

fn launch(
    settings: &Settings,
    world: &mut World,
    index: usize,
    now: Moment,
    picked: Vec<JobId>,
    actions: &mut Vec<Action>,
) {
    let Some(class) = settings.classes.get(index) else { return };
    let candidate = candidate(world, index, now);
    // Equal demand goes into one request; a job that was tried before goes alone, so that its token is its own.
    let mut batches: BTreeMap<(String, String, JobId), Vec<JobId>> = BTreeMap::new();
    for id in picked {
        let Some(job) = world.jobs.get(&id) else { continue };
        let first = job.launches == 0 && job.rounds == 0;
        let key = (job.repository.clone(), job.labels.clone(), if first { JobId(0) } else { id });
        batches.entry(key).or_default().push(id);
    }
    let batches = batches.into_iter().flat_map(|((repository, labels, _), jobs)| {
        let chunks: Vec<Vec<JobId>> = jobs.chunks(MOST_JOBS).map(<[JobId]>::to_vec).collect();
        chunks.into_iter().map(move |jobs| (repository.clone(), labels.clone(), jobs))
    });
    for (repository, labels, mut jobs) in batches {
        if !world.fleets.take(now) {
            return;
        }
        jobs.sort();
        let Some(first) = jobs.first().and_then(|id| world.jobs.get(id)) else { continue };
        let token = client_token(&class.name, &jobs, first.launches + 1, candidate, first.rounds);
        let launch =
            Launch { class: index, candidate, labels, repository, jobs, asked_at: now, asks: 1, again_at: None };
        for id in &launch.jobs {
            if let Some(job) = world.jobs.get_mut(id) {
                job.launch = Some(token.clone());
            }
        }
        if let Some(state) = world.classes.get_mut(index) {
            state.breaker.began(now);
        }
        actions.push(launch.action(token.clone()));
        world.launches.insert(token, launch);
    }
}

/// The first way to launch that is not known to be without capacity; if all are, the one that was found so longest ago.
fn candidate(world: &World, class: usize, now: Moment) -> u8 {
    let Some(state) = world.classes.get(class) else { return 0 };
    let free = state.avoid.iter().position(|until| now >= *until);
    let oldest = || state.avoid.iter().enumerate().min_by_key(|(_, until)| **until).map(|(index, _)| index);
    u8::try_from(free.or_else(oldest).unwrap_or(0)).unwrap_or(0)
}

/// Instances were made, perhaps fewer than were asked for.
pub(super) fn launched(
    settings: &Settings,
    world: &mut World,
    now: Moment,
    token: &str,
    instances: Vec<String>,
    problems: &[Problem],
) {
    let Some(launch) = world.launches.remove(token) else { return };
    let mut jobs = launch.jobs.iter();
    for id in instances {
        let job = jobs.next().copied();
        if let Some(job) = job.and_then(|job| world.jobs.get_mut(&job)) {
            job.launches += 1;
            (job.launch, job.instance) = (None, Some(id.clone()));
        }
        match world.instances.get_mut(&id) {
            // The list was quicker than the answer.
            Some(known) if known.is_new_of(&launch) => known.provision = Provision::Wanted { not_before: now },
            // It is being ended, or was launched before: what was decided of it stays.
            Some(_) => {}
            None => {
                world.instances.insert(id, Instance::launched(&launch, job, now));
            }
        }
    }
    let without: Vec<JobId> = jobs.copied().collect();
    if without.is_empty() {
        return;
    }
    let unknown =
        Problem::new(ProblemKind::Capacity, "EC2 made fewer instances than it was asked for, and did not say why");
    let worst = problems.iter().min_by_key(|problem| problem.kind).unwrap_or(&unknown);
    not_launched(settings, world, now, &launch, &without, worst);
}

/// No instance was made, or nobody knows.
pub(super) fn launch_failed(settings: &Settings, world: &mut World, now: Moment, token: &str, problem: &Problem) {
    let Some(launch) = world.launches.get_mut(token) else { return };
    if problem.kind == ProblemKind::Unclear && launch.asks < MOST_ASKS {
        launch.again_at = Some(problem.retry_at.unwrap_or(now).max(now.plus(AGAIN * launch.asks)));
        return;
    }
    let Some(launch) = world.launches.remove(token) else { return };
    let jobs = launch.jobs.clone();
    not_launched(settings, world, now, &launch, &jobs, problem);
}

fn not_launched(
    settings: &Settings,
    world: &mut World,
    now: Moment,
    launch: &Launch,
    jobs: &[JobId],
    problem: &Problem,
) {
    let candidates = settings.classes.get(launch.class).map_or(1, |class| class.candidates.max(1));
    let mut again = problem.retry_at.unwrap_or(now).max(now.plus(AGAIN));
    if let Some(state) = world.classes.get_mut(launch.class) {
        match problem.kind {
            ProblemKind::Permanent => state.breaker.failed(now, &problem.message, true),
            ProblemKind::Capacity => {
                if let Some(avoid) = state.avoid.get_mut(usize::from(launch.candidate)) {
                    *avoid = now.plus(NO_CAPACITY);
                }
                // At once by another way, if there is one that is not known to be without capacity.
                let another = state.avoid.iter().any(|until| now >= *until);
                again = if another { now } else { now.plus(NO_CAPACITY / u32::from(candidates)) };
            }
            ProblemKind::Throttled => world.fleets.block(again),
            ProblemKind::Taken | ProblemKind::Unclear => state.breaker.failed(now, &problem.message, false),
        }
    }
    for id in jobs {
        if let Some(job) = world.jobs.get_mut(id) {
            job.launch = None;
            job.rounds += 1;
            job.next_try = job.next_try.max(again);
            job.problem = Some(problem.message.clone());
        }
    }
}

impl Launch {
    fn action(&self, token: String) -> Action {
        Action::Launch {
            token,
            class: self.class,
            candidate: self.candidate,
            labels: self.labels.clone(),
            repository: self.repository.clone(),
            jobs: self.jobs.clone(),
        }
    }
}

impl Instance {
    fn launched(launch: &Launch, job: Option<JobId>, now: Moment) -> Self {
        let jobs = job.into_iter().collect();
        let provision = Provision::Wanted { not_before: now };
        Self::new(launch.class, launch.labels.clone(), launch.repository.clone(), jobs, now, provision)
    }

    /// Whether it is this launch's, and only a list has shown it so far. AWS's clock and this one may differ by some seconds.
    fn is_new_of(&self, launch: &Launch) -> bool {
        let since = launch.asked_at.since(self.launched_at);
        !self.is_over() && self.provision == Provision::Adopted && since < AGAIN
    }

    /// Whether it can still take a job that waits. One that another process launched counts for a while (`lag`) without any sign that
    /// it was provided for.
    #[must_use]
    pub fn may_serve(&self, now: Moment, lag: Duration) -> bool {
        let by_phase = match self.phase.as_deref() {
            None | Some("idle") => true,
            Some(_) => false,
        };
        let provided = match self.provision {
            Provision::Adopted => {
                self.phase.is_some() || self.has_parameter || self.seen_online || now.since(self.launched_at) < lag
            }
            _ => true,
        };
        !self.is_over() && !self.used && by_phase && provided
    }
}
