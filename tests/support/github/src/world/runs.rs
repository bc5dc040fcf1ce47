//! Runs: what their jobs make of them, cancelling, and trying again.

use super::World;
use super::model::{Conclusion, Job, JobId, JobStatus};
use crate::clock::Time;

/// How often a run may be tried again.
const MOST_ATTEMPTS: u32 = 50;

/// A run of a workflow.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    pub(crate) id: u64,
    pub(crate) repo: String,
    pub(crate) workflow: String,
    pub(crate) attempt: u32,
    pub(crate) created: Time,
    pub(crate) updated: Time,
}

impl Run {
    pub(crate) fn new(id: u64, repo: &str, workflow: &str, now: Time) -> Self {
        let (repo, workflow) = (repo.to_owned(), workflow.to_owned());
        Self { id, repo, workflow, attempt: 1, created: now, updated: now }
    }
}

/// Why a call about a run is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    Completed,
    Running,
    TooOften,
}

/// The last try of every job of a run, by its name.
pub(crate) fn latest<'a>(jobs: &[&'a Job]) -> Vec<&'a Job> {
    let newer = |job: &&Job| jobs.iter().any(|other| other.name == job.name && other.attempt > job.attempt);
    jobs.iter().filter(|job| !newer(job)).copied().collect()
}

/// Status and conclusion of a run, from its jobs.
pub(crate) fn standing(jobs: &[&Job]) -> (JobStatus, Option<Conclusion>) {
    let jobs = latest(jobs);
    let any = |status| jobs.iter().any(|job| job.status == status);
    let all = |status| jobs.iter().all(|job| job.status == status);
    let status = if all(JobStatus::Completed) {
        JobStatus::Completed
    } else if any(JobStatus::InProgress) || any(JobStatus::Completed) {
        JobStatus::InProgress
    } else if all(JobStatus::Waiting) {
        JobStatus::Waiting
    } else {
        JobStatus::Queued
    };
    let ended = |conclusion| jobs.iter().any(|job| job.conclusion == Some(conclusion));
    let worst = [Conclusion::Failure, Conclusion::TimedOut, Conclusion::Cancelled].into_iter().find(|c| ended(*c));
    let conclusion = (status == JobStatus::Completed).then_some(worst.unwrap_or(Conclusion::Success));
    (status, conclusion)
}

impl World {
    /// Cancels what is queued at once; what runs is told to stop.
    pub(crate) fn cancel_run(&mut self, run: u64) -> Result<(), Refused> {
        let now = self.now();
        let jobs: Vec<Job> = self.jobs_of(run, now).into_iter().cloned().collect();
        if standing(&jobs.iter().collect::<Vec<_>>()).0 == JobStatus::Completed {
            return Err(Refused::Completed);
        }
        for job in jobs {
            self.cancel(job.id);
        }
        Ok(())
    }

    pub(crate) fn cancel(&mut self, id: JobId) {
        match self.job(id).map(|job| job.status) {
            Some(JobStatus::InProgress) => self.update_job(id, |job| job.cancelling = true),
            Some(JobStatus::Queued | JobStatus::Waiting) => drop(self.end(id, Conclusion::Cancelled)),
            _ => {}
        }
    }

    /// Queues what failed or was cancelled again, once the whole run is over.
    pub(crate) fn rerun_failed(&mut self, run: u64) -> Result<Vec<JobId>, Refused> {
        let now = self.now();
        let jobs: Vec<Job> = self.jobs_of(run, now).into_iter().cloned().collect();
        let jobs: Vec<&Job> = jobs.iter().collect();
        if standing(&jobs).0 != JobStatus::Completed {
            return Err(Refused::Running);
        }
        let Some(run) = self.runs.get_mut(&run) else { return Ok(Vec::new()) };
        if run.attempt > MOST_ATTEMPTS {
            return Err(Refused::TooOften);
        }
        run.attempt += 1;
        let attempt = run.attempt;
        let failed =
            |job: &&&Job| job.conclusion.is_some_and(|end| !matches!(end, Conclusion::Success | Conclusion::Skipped));
        Ok(latest(&jobs).iter().filter(failed).map(|job| self.queue_again(job, attempt)).collect())
    }
}
