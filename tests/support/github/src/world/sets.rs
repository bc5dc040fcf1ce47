//! Runner scale sets: which jobs are theirs, and the messages that tell of it.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::World;
use super::model::{Conclusion, Job, JobId, JobStatus, Scope};
use crate::clock::Time;
use crate::webhook::JobAction;

/// Sets count from here.
const SETS: u64 = 600;
/// So many jobs are in one message at most.
const MOST_IN_MESSAGE: usize = 50;
/// A time that has not come, as the service writes it.
const NEVER: &str = "0001-01-01T00:00:00Z";

/// How a job comes to a scale set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum JobForm {
    /// As available: it must be acquired.
    #[default]
    Available,
    /// As assigned already.
    Assigned,
}

/// How far a job of a set is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    Available,
    Assigned,
    Running,
}

/// The one session of a set.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    pub(crate) id: String,
    pub(crate) owner: String,
    pub(crate) token: String,
    pub(crate) token_until: Time,
    pub(crate) heard: Time,
}

/// A runner scale set.
#[derive(Clone, Debug)]
pub(crate) struct ScaleSet {
    pub(crate) id: u64,
    pub(crate) name: String,
    pub(crate) scope: Scope,
    pub(crate) group_id: u64,
    pub(crate) labels: Vec<String>,
    pub(crate) created: Time,
    pub(crate) session: Option<Session>,
    pub(crate) jobs: BTreeMap<u64, Stage>,
    pending: Vec<Value>,
    unacknowledged: Vec<(u64, Vec<Value>)>,
    last_message: u64,
}

impl ScaleSet {
    /// The next message after one: again if it was not acknowledged.
    pub(crate) fn message(&mut self, last: u64) -> Option<(u64, Vec<Value>)> {
        if let Some(message) = self.unacknowledged.iter().find(|(id, _)| *id > last) {
            return Some(message.clone());
        }
        if self.pending.is_empty() {
            return None;
        }
        let count = self.pending.len().min(MOST_IN_MESSAGE);
        let items: Vec<Value> = self.pending.drain(..count).collect();
        self.last_message += 1;
        self.unacknowledged.push((self.last_message, items.clone()));
        Some((self.last_message, items))
    }

    pub(crate) fn acknowledge(&mut self, id: u64) {
        self.unacknowledged.retain(|(message, _)| *message != id);
    }

    pub(crate) fn in_stage(&self, stage: Stage) -> usize {
        self.jobs.values().filter(|own| **own == stage).count()
    }
}

impl World {
    pub(crate) fn add_set(&mut self, scope: Scope, name: &str, group_id: u64, labels: Vec<String>) -> Option<u64> {
        let taken = |set: &ScaleSet| set.scope == scope && set.group_id == group_id && set.name == name;
        if self.sets.values().any(taken) {
            return None;
        }
        let id = self.fresh(SETS);
        let labels = if labels.is_empty() { vec![name.to_owned()] } else { labels };
        let set = ScaleSet {
            id,
            name: name.to_owned(),
            scope,
            group_id,
            labels,
            created: self.now(),
            session: None,
            jobs: BTreeMap::new(),
            pending: Vec::new(),
            unacknowledged: Vec::new(),
            last_message: 0,
        };
        self.sets.insert(id, set);
        for job in self.queued().map(|job| job.id).collect::<Vec<_>>() {
            self.claim(job);
        }
        Some(id)
    }

    /// The set that a job belongs to.
    pub(crate) fn set_of(&self, job: JobId) -> Option<u64> {
        self.sets.values().find(|set| set.jobs.contains_key(&job.0)).map(|set| set.id)
    }

    fn fits(&self, set: &ScaleSet, job: &Job) -> bool {
        let Some(repo) = self.repo(&job.repo) else { return false };
        let Some(group) = self.group(set.scope.owner(), set.group_id) else { return false };
        let in_scope = match &set.scope {
            Scope::Org(login) => *login == repo.owner,
            Scope::Repo(full) => *full == job.repo,
        };
        let asked = job.group.as_ref().is_none_or(|name| *name == group.name);
        let has = |label: &String| set.labels.iter().any(|own| own.eq_ignore_ascii_case(label));
        in_scope && asked && self.group_allows(group, repo) && job.labels.iter().all(has)
    }

    /// A queued job goes to the set that it fits, if it goes to none yet.
    fn claim(&mut self, id: JobId) {
        let Some(job) = self.job(id) else { return };
        if self.set_of(id).is_some() {
            return;
        }
        let Some(set) = self.sets.values().find(|set| self.fits(set, job)).map(|set| set.id) else { return };
        let stage = match self.job_form {
            JobForm::Available => Stage::Available,
            JobForm::Assigned => Stage::Assigned,
        };
        self.move_to(set, id, stage);
    }

    fn move_to(&mut self, set: u64, id: JobId, stage: Stage) {
        let told = self.told(set, id, stage);
        self.changed = true;
        if let Some(set) = self.sets.get_mut(&set) {
            set.jobs.insert(id.0, stage);
            set.pending.extend(told);
        }
    }

    /// Grants available jobs to the set; those that were.
    pub(crate) fn acquire(&mut self, set: u64, wanted: &[u64]) -> Vec<u64> {
        let Some(found) = self.sets.get(&set) else { return Vec::new() };
        let available = |id: &&u64| found.jobs.get(id) == Some(&Stage::Available);
        let granted: Vec<u64> = wanted.iter().filter(available).copied().collect();
        for id in &granted {
            self.move_to(set, JobId(*id), Stage::Assigned);
        }
        granted
    }

    /// Tells everything that is open anew, as a new session gets it: from message 0.
    pub(crate) fn replay(&mut self, set: u64) {
        let Some(found) = self.sets.get(&set) else { return };
        let open: Vec<(u64, Stage)> = found.jobs.iter().map(|(id, stage)| (*id, *stage)).collect();
        let told: Vec<Value> = open.into_iter().filter_map(|(id, stage)| self.told(set, JobId(id), stage)).collect();
        if let Some(set) = self.sets.get_mut(&set) {
            set.unacknowledged.clear();
            set.pending = told;
        }
    }

    /// What happened to a job, for the set that it belongs to.
    pub(super) fn tell_sets(&mut self, id: JobId, action: JobAction) {
        match action {
            JobAction::Queued => return self.claim(id),
            JobAction::Waiting => {}
            JobAction::InProgress => {
                if let Some(set) = self.set_of(id) {
                    self.move_to(set, id, Stage::Running);
                }
                return;
            }
            JobAction::Completed => {}
        }
        let Some(set) = self.set_of(id) else { return };
        let told = self.job(id).map(|job| self.completed(job));
        if let Some(set) = self.sets.get_mut(&set) {
            set.jobs.remove(&id.0);
            set.pending.extend(told);
        }
    }

    fn told(&self, set: u64, id: JobId, stage: Stage) -> Option<Value> {
        let job = self.job(id)?;
        let mut told = self.base(job);
        let kind = match stage {
            Stage::Available => {
                let url = format!("_apis/runtime/runnerscalesets/{set}/acquirejobs");
                told["acquireJobUrl"] = url.into();
                "JobAvailable"
            }
            Stage::Assigned => "JobAssigned",
            Stage::Running => {
                told["runnerId"] = job.runner.as_ref().map_or(0, |runner| runner.id).into();
                told["runnerName"] = job.runner.as_ref().map_or("", |runner| runner.name.as_str()).into();
                "JobStarted"
            }
        };
        told["messageType"] = kind.into();
        Some(told)
    }

    fn completed(&self, job: &Job) -> Value {
        let mut told = self.base(job);
        let result = match job.conclusion {
            Some(Conclusion::Success) => "succeeded",
            Some(Conclusion::Skipped) => "skipped",
            Some(Conclusion::Failure | Conclusion::TimedOut) => "failed",
            Some(Conclusion::Cancelled) | None => "canceled",
        };
        told["messageType"] = "JobCompleted".into();
        told["result"] = result.into();
        told["runnerId"] = job.runner.as_ref().map_or(0, |runner| runner.id).into();
        told["runnerName"] = job.runner.as_ref().map_or("", |runner| runner.name.as_str()).into();
        told
    }

    pub(crate) fn base(&self, job: &Job) -> Value {
        let date = |at: Option<Time>| at.map_or_else(|| NEVER.to_owned(), |at| self.clock.date(at));
        let (owner, repo) = job.repo.split_once('/').unwrap_or_default();
        json!({
            "runnerRequestId": job.id.0,
            "repositoryName": repo,
            "ownerName": owner,
            "jobId": format!("00000000-0000-0000-0000-{:012x}", job.id.0),
            "jobWorkflowRef": format!("{}/.github/workflows/ci.yml@refs/heads/main", job.repo),
            "jobDisplayName": job.name,
            "workflowRunId": job.run_id,
            "eventName": "push",
            "requestLabels": job.labels,
            "queueTime": date(Some(job.created)),
            "scaleSetAssignTime": date(Some(job.created)),
            "runnerAssignTime": date(job.assigned),
            "finishTime": date(job.completed),
        })
    }

    /// The oldest job that a set may give to a runner.
    pub(super) fn job_of_set(&self, set: u64) -> Option<JobId> {
        let set = self.sets.get(&set)?;
        let waits =
            |id: &JobId| self.job(*id).is_some_and(|job| job.status == JobStatus::Queued && job.runner.is_none());
        let assigned = set.jobs.iter().filter(|(_, stage)| **stage == Stage::Assigned);
        assigned.map(|(id, _)| JobId(*id)).find(waits)
    }

    /// What the service counts for a set; wrong by so many assigned jobs where that is asked for.
    pub(crate) fn statistics(&self, set: &ScaleSet) -> Value {
        let own: Vec<_> = self.live_runners().filter(|runner| runner.scale_set == Some(set.id)).collect();
        let busy = own.iter().filter(|runner| runner.job.is_some()).count();
        let idle = own.iter().filter(|runner| runner.job.is_none() && runner.online).count();
        let assigned = set.in_stage(Stage::Assigned) + set.in_stage(Stage::Running);
        let assigned = i64::try_from(assigned).unwrap_or(i64::MAX);
        json!({
            "totalAvailableJobs": set.in_stage(Stage::Available),
            "totalAcquiredJobs": 0,
            "totalAssignedJobs": assigned.saturating_add(self.statistics_off).max(0),
            "totalRunningJobs": set.in_stage(Stage::Running),
            "totalRegisteredRunners": own.len(),
            "totalBusyRunners": busy,
            "totalIdleRunners": idle,
        })
    }
}
