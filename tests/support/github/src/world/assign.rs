//! Who gets which job, and what time alone does.

use std::time::Duration;

use super::World;
use super::jobs::unknown;
use super::model::{Conclusion, JobId, JobStatus, RunnerRef};
use super::runners::no_runner;

/// A job that waits longer than this fails.
const LONGEST_QUEUE: Duration = Duration::from_secs(24 * 3600);
/// A cancellation that no runner obeys is carried out without it.
const FORCED_CANCEL: Duration = Duration::from_secs(300);
/// An ephemeral runner that was not connected for so long is forgotten.
const FORGOTTEN: Duration = Duration::from_secs(24 * 3600);

impl World {
    /// Does what is due by now.
    pub(crate) fn settle(&mut self) {
        self.expire_silent();
        self.expire_jobs();
        self.expire_runners();
        if self.options.auto_assign && self.changed {
            self.assign_all();
        }
    }

    fn expire_jobs(&mut self) {
        let now = self.now();
        let old = self.queued().filter(|job| now >= job.created + LONGEST_QUEUE).map(|job| job.id).collect::<Vec<_>>();
        for id in old {
            let _ = self.end(id, Conclusion::Failure);
        }
        for id in self.active.clone().into_iter().map(JobId) {
            let Some(job) = self.job(id) else { continue };
            let runner = job.runner.as_ref().and_then(|runner| self.runner(runner.id));
            let lost = runner.is_none_or(|runner| !runner.online && now >= runner.since + self.options.lease);
            match job.status {
                JobStatus::Queued if job.assigned.is_some_and(|at| now >= at + self.options.pick_up) => {
                    self.unassign(id)
                }
                JobStatus::InProgress if lost => drop(self.end(id, Conclusion::Failure)),
                JobStatus::InProgress if job.cancelling => {
                    let since = self.runs.get(&job.run_id).map_or(now, |run| run.updated);
                    if now >= since + FORCED_CANCEL {
                        let _ = self.end(id, Conclusion::Cancelled);
                    }
                }
                _ => {}
            }
        }
    }

    fn expire_runners(&mut self) {
        let now = self.now();
        let gone: Vec<u64> = self
            .live_runners()
            .filter(|runner| runner.job.is_none())
            .filter(|runner| match (runner.online, self.options.idle_removal) {
                (true, Some(limit)) => now >= runner.since + limit,
                (true, None) => false,
                (false, _) => now >= runner.since + FORGOTTEN,
            })
            .map(|runner| runner.id)
            .collect();
        for id in gone {
            self.remove_runner(id);
        }
    }

    /// Gives the oldest matching job to every idle runner that is connected.
    pub(crate) fn assign_all(&mut self) {
        if self.queued.is_empty() {
            return;
        }
        let idle = |runner: &&super::model::Runner| runner.online && runner.job.is_none();
        let mut idle: Vec<_> = self.live_runners().filter(idle).map(|runner| (runner.since, runner.id)).collect();
        idle.sort_unstable();
        for (_, id) in idle {
            let Some(runner) = self.runner(id) else { continue };
            let mut queued = self.queued.iter().copied().map(JobId);
            let job = match runner.scale_set {
                Some(set) => self.job_of_set(set),
                None => queued.find(|job| self.may_take(runner, *job)),
            };
            if let Some(job) = job {
                self.give(job, id);
            }
        }
        self.changed = false;
    }

    /// A job goes to a runner. A process is left to begin it itself.
    pub(crate) fn give(&mut self, job: JobId, runner: u64) {
        let now = self.now();
        let Some(found) = self.runner(runner) else { return };
        let group = self.group(found.scope.owner(), found.group_id).map(|group| group.name.clone());
        let given = RunnerRef {
            id: runner,
            name: found.name.clone(),
            group_id: found.group_id,
            group_name: group.unwrap_or_default(),
        };
        let polls = found.polls;
        self.queued.remove(&job.0);
        self.active.insert(job.0);
        self.update_runner(runner, |runner| runner.job = Some(job));
        self.update_job(job, |job| {
            job.runner = Some(given);
            job.assigned = Some(now);
        });
        if !polls {
            self.begin(job);
        }
    }

    /// The runner never picked it up: it is queued again, and the runner counts as lost.
    fn unassign(&mut self, id: JobId) {
        let now = self.now();
        let runner = self.job(id).and_then(|job| job.runner.as_ref().map(|runner| runner.id));
        if let Some(runner) = runner {
            self.update_runner(runner, |runner| {
                runner.job = None;
                runner.online = false;
                runner.since = now;
            });
        }
        self.active.remove(&id.0);
        self.queued.insert(id.0);
        self.update_job(id, |job| {
            job.runner = None;
            job.assigned = None;
        });
    }

    /// A test gives a job to a runner; refused where GitHub would not.
    pub(crate) fn start(&mut self, id: JobId, runner: &str) -> Result<(), String> {
        let found = self.runner_named(runner).ok_or_else(|| no_runner(runner))?;
        let job = self.job(id).ok_or_else(|| unknown(id))?;
        if job.status != JobStatus::Queued || job.runner.is_some() {
            return Err(format!("job {id} is not queued"));
        }
        if !found.online {
            return Err(format!("runner {runner} is not online"));
        }
        if found.job.is_some() {
            return Err(format!("runner {runner} is busy"));
        }
        let own = found.scale_set.is_some() && self.set_of(id) == found.scale_set;
        if !own && !self.may_take(found, id) {
            let (wanted, own) = (&job.labels, &found.labels);
            return Err(format!("runner {runner} with {own:?} may not take a job for {wanted:?}"));
        }
        let runner = found.id;
        self.give(id, runner);
        Ok(())
    }
}
