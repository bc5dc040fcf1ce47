//! Jobs: queued, begun, ended, and what is told of it.

use super::World;
use super::model::{Conclusion, Job, JobId, JobSpec, JobStatus};
use super::runs::Run;
use super::versioned::Versioned;
use crate::clock::Time;
use crate::webhook::{Event, JobAction};

/// Jobs count from here: beyond 32 bits.
const JOBS: u64 = 30_000_000_000;
/// Runs too.
const RUNS: u64 = 9_000_000_000;

impl World {
    pub(crate) fn job(&self, id: JobId) -> Option<&Job> {
        self.jobs.get(&id.0).and_then(Versioned::now)
    }

    pub(crate) fn all_jobs(&self) -> impl Iterator<Item = &Job> {
        self.jobs.values().filter_map(Versioned::now)
    }

    pub(crate) fn jobs_of(&self, run: u64, as_of: Time) -> Vec<&Job> {
        let jobs = self.jobs.values().filter_map(|job| job.as_of(as_of));
        jobs.filter(|job| job.run_id == run).collect()
    }

    pub(crate) fn queued(&self) -> impl Iterator<Item = &Job> {
        self.queued.iter().filter_map(|id| self.job(JobId(*id)))
    }

    pub(crate) fn queue(&mut self, spec: &JobSpec) -> Result<JobId, String> {
        let repo = self.repo(&spec.repo).ok_or_else(|| format!("no such repository: {}", spec.repo))?.full();
        let now = self.now();
        let run_id = match spec.run_id {
            Some(id) => id,
            None => self.fresh(RUNS),
        };
        let run = self.runs.entry(run_id).or_insert_with(|| Run::new(run_id, &repo, &spec.workflow, now));
        if run.repo != repo {
            return Err(format!("run {run_id} belongs to {}", run.repo));
        }
        let attempt = run.attempt;
        let id = JobId(self.fresh(JOBS));
        let status = if spec.waiting { JobStatus::Waiting } else { JobStatus::Queued };
        self.add(Job {
            id,
            run_id,
            attempt,
            repo,
            workflow: spec.workflow.clone(),
            name: spec.name.clone(),
            labels: spec.labels.clone(),
            group: spec.group.clone(),
            status,
            conclusion: None,
            runner: None,
            created: now,
            assigned: None,
            started: None,
            completed: None,
            cancelling: false,
            protected: spec.waiting,
        });
        Ok(id)
    }

    /// Another try of a job, in a later attempt of its run.
    pub(crate) fn queue_again(&mut self, old: &Job, attempt: u32) -> JobId {
        let id = JobId(self.fresh(JOBS));
        let fresh = Job {
            id,
            attempt,
            status: JobStatus::Queued,
            conclusion: None,
            runner: None,
            created: self.now(),
            assigned: None,
            started: None,
            completed: None,
            cancelling: false,
            ..old.clone()
        };
        self.add(fresh);
        id
    }

    fn add(&mut self, job: Job) {
        let (id, now) = (job.id, self.now());
        let action = match job.status {
            JobStatus::Waiting => JobAction::Waiting,
            _ => {
                self.queued.insert(id.0);
                JobAction::Queued
            }
        };
        self.jobs.insert(id.0, Versioned::new(now, job));
        self.changed = true;
        self.tell(id, action);
    }

    /// An environment's protection lets a job go, or holds it.
    pub(crate) fn hold(&mut self, id: JobId, held: bool) -> Result<(), String> {
        let (from, to, action) = match held {
            true => (JobStatus::Queued, JobStatus::Waiting, JobAction::Waiting),
            false => (JobStatus::Waiting, JobStatus::Queued, JobAction::Queued),
        };
        let job = self.job(id).ok_or_else(|| unknown(id))?;
        if job.status != from || job.runner.is_some() {
            return Err(format!("job {id} is {}", job.status.as_str()));
        }
        if held {
            self.queued.remove(&id.0);
        } else {
            self.queued.insert(id.0);
        }
        self.update_job(id, |job| {
            job.status = to;
            job.protected = true;
        });
        self.tell(id, action);
        Ok(())
    }

    /// A runner has begun a job that was given to it.
    pub(crate) fn begin(&mut self, id: JobId) {
        let now = self.now();
        self.update_job(id, |job| {
            job.status = JobStatus::InProgress;
            job.started = Some(now);
        });
        self.tell(id, JobAction::InProgress);
    }

    /// A job is over; its runner's record vanishes, as that of every ephemeral runner.
    pub(crate) fn end(&mut self, id: JobId, conclusion: Conclusion) -> Result<(), String> {
        let now = self.now();
        let job = self.job(id).ok_or_else(|| unknown(id))?;
        if job.status == JobStatus::Completed {
            return Err(format!("job {id} is over"));
        }
        let runner = job.runner.as_ref().map(|runner| runner.id);
        self.queued.remove(&id.0);
        self.active.remove(&id.0);
        self.update_job(id, |job| {
            job.status = JobStatus::Completed;
            job.conclusion = Some(conclusion);
            job.completed = Some(now);
        });
        if let Some(runner) = runner {
            self.remove_runner(runner);
        }
        self.tell(id, JobAction::Completed);
        Ok(())
    }

    pub(crate) fn update_job(&mut self, id: JobId, change: impl FnOnce(&mut Job)) {
        let now = self.now();
        self.changed = true;
        let run = self.jobs.get_mut(&id.0).and_then(|job| {
            job.update(now, change);
            job.now().map(|job| job.run_id)
        });
        if let Some(run) = run.and_then(|id| self.runs.get_mut(&id)) {
            run.updated = now;
        }
    }

    fn tell(&mut self, id: JobId, action: JobAction) {
        let Some(job) = self.job(id).cloned() else { return };
        self.told += 1;
        let _ = self.events.send(Event { action, job, at: self.now() });
        self.tell_sets(id, action);
    }
}

pub(super) fn unknown(id: JobId) -> String {
    format!("no such job: {id}")
}
