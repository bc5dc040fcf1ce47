//! GitHub, made up: jobs, runner records, and the one rule that matters: any idle runner with the labels gets the oldest job.

use std::collections::{BTreeMap, BTreeSet};

use mayfly_core::launcher::budget::Budget;
use mayfly_core::launcher::event::RunnerView;
use mayfly_core::launcher::names::instance_of_runner;
use mayfly_core::launcher::signal::JobView;
use mayfly_core::launcher::{JobId, JobStatus, Moment, Problem, ProblemKind};

/// A job as GitHub knows it.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) status: JobStatus,
    pub(super) runner: Option<String>,
    pub(super) queued_at: Moment,
    pub(super) started_at: Option<Moment>,
    /// It was said of it that nothing more is tried.
    pub(super) told: bool,
}

/// A runner record.
#[derive(Debug)]
struct Record {
    id: u64,
    online: bool,
    busy: bool,
}

/// The organisation.
#[derive(Debug)]
pub(super) struct Github {
    pub(super) jobs: Vec<Job>,
    records: BTreeMap<String, Record>,
    /// Each instance's newest record.
    newest: BTreeMap<String, String>,
    /// The job that an instance has.
    working: BTreeMap<String, usize>,
    queue: BTreeSet<(Moment, usize)>,
    idle: BTreeSet<String>,
    registrations: Vec<Budget>,
    next: u64,
}

impl Github {
    pub(super) fn new(apps: u32) -> Self {
        Self {
            jobs: Vec::new(),
            records: BTreeMap::new(),
            newest: BTreeMap::new(),
            working: BTreeMap::new(),
            queue: BTreeSet::new(),
            idle: BTreeSet::new(),
            // Each App has its own bucket.
            registrations: (0..apps).map(|_| Budget::new(180, 166)).collect(),
            next: 1,
        }
    }

    pub(super) fn queue(&mut self, now: Moment) -> usize {
        let place = self.jobs.len();
        self.jobs.push(Job { status: JobStatus::Queued, runner: None, queued_at: now, started_at: None, told: false });
        self.queue.insert((now, place));
        place
    }

    /// A runner record, under a name that is not taken.
    pub(super) fn register(&mut self, now: Moment, name: &str) -> Result<u64, Problem> {
        if self.records.contains_key(name) {
            return Err(Problem::new(ProblemKind::Taken, "409: Already exists"));
        }
        if !self.registrations.iter_mut().any(|app| app.take(now)) {
            let next = self.registrations.iter().map(|app| app.next(now)).min().unwrap_or(now);
            return Err(Problem {
                retry_at: Some(next),
                ..Problem::new(ProblemKind::Throttled, "403: rate limit exceeded")
            });
        }
        self.next += 1;
        if let Some(instance) = instance_of_runner(name) {
            self.newest.insert(instance.to_owned(), name.to_owned());
        }
        self.records.insert(name.to_owned(), Record { id: self.next, online: false, busy: false });
        Ok(self.next)
    }

    /// A runner connects; whether its record is there.
    pub(super) fn online(&mut self, name: &str) -> bool {
        let Some(record) = self.records.get_mut(name) else { return false };
        record.online = true;
        self.idle.insert(name.to_owned());
        true
    }

    /// A runner is gone, with its record: it was for one job.
    pub(super) fn gone(&mut self, name: &str) {
        self.records.remove(name);
        self.idle.remove(name);
    }

    /// The next job for the next idle runner.
    pub(super) fn assign(&mut self, now: Moment) -> Option<(usize, String)> {
        let runner = self.idle.first().cloned()?;
        let (_, place) = self.queue.pop_first()?;
        self.idle.remove(&runner);
        if let Some(record) = self.records.get_mut(&runner) {
            record.busy = true;
        }
        if let Some(instance) = instance_of_runner(&runner) {
            self.working.insert(instance.to_owned(), place);
        }
        let job = self.jobs.get_mut(place)?;
        (job.status, job.runner, job.started_at) = (JobStatus::InProgress, Some(runner.clone()), Some(now));
        Some((place, runner))
    }

    /// The name under which an instance's runner was registered last.
    pub(super) fn runner_of(&self, instance: &str) -> Option<String> {
        self.newest.get(instance).cloned()
    }

    /// The job that an instance has, which it then has no more.
    pub(super) fn stops_working(&mut self, instance: &str) -> Option<usize> {
        self.working.remove(instance)
    }

    pub(super) fn complete(&mut self, place: usize) {
        if let Some(job) = self.jobs.get_mut(place) {
            job.status = JobStatus::Completed;
        }
    }

    /// Its machine vanished: it fails ten minutes later at GitHub; here it is queued again at once, as a re-run would.
    pub(super) fn requeue(&mut self, place: usize, now: Moment) {
        if let Some(job) = self.jobs.get_mut(place) {
            (job.status, job.runner, job.started_at) = (JobStatus::Queued, None, None);
            self.queue.insert((now, place));
        }
    }

    /// Removes a record: not one that has a job.
    pub(super) fn delete(&mut self, id: u64) -> Result<(), Problem> {
        let found =
            self.records.iter().find(|(_, record)| record.id == id).map(|(name, record)| (name.clone(), record.busy));
        match found {
            Some((_, true)) => Err(Problem::new(ProblemKind::Taken, "422: it runs a job")),
            Some((name, false)) => {
                self.gone(&name);
                Ok(())
            }
            None => Ok(()),
        }
    }

    pub(super) fn view(&self, place: usize) -> Option<JobView> {
        let job = self.jobs.get(place)?;
        Some(JobView { job: JobId(place as u64 + 1), status: job.status, runner: job.runner.clone() })
    }

    pub(super) fn runners(&self) -> Vec<RunnerView> {
        let view = |(name, record): (&String, &Record)| RunnerView {
            id: record.id,
            name: name.clone(),
            online: record.online,
            busy: record.busy,
        };
        self.records.iter().map(view).collect()
    }

    pub(super) fn records(&self) -> usize {
        self.records.len()
    }

    pub(super) fn waiting(&self) -> impl Iterator<Item = usize> {
        self.queue.iter().map(|(_, place)| *place)
    }
}
