//! Runners: registered, connected, gone.

use super::model::{JobId, JobStatus, Runner, Scope};
use super::versioned::Versioned;
use super::{DEFAULT_GROUP, Group, Repo, World};
use crate::clock::Time;

/// Runners count from here.
const RUNNERS: u64 = 20_000;

/// A runner to be registered.
#[derive(Clone, Debug)]
pub(crate) struct Registration {
    pub(crate) name: String,
    pub(crate) scope: Scope,
    pub(crate) group_id: u64,
    pub(crate) labels: Vec<String>,
    pub(crate) scale_set: Option<u64>,
}

impl Scope {
    /// The owner's login.
    pub(crate) fn owner(&self) -> &str {
        match self {
            Self::Org(login) => login,
            Self::Repo(full) => full.split('/').next().unwrap_or_default(),
        }
    }
}

impl World {
    pub(crate) fn runner(&self, id: u64) -> Option<&Runner> {
        self.runners.get(&id).and_then(Versioned::now)
    }

    pub(crate) fn runner_named(&self, name: &str) -> Option<&Runner> {
        self.live_runners().find(|runner| runner.name == name)
    }

    pub(crate) fn live_runners(&self) -> impl Iterator<Item = &Runner> {
        self.live.iter().filter_map(|id| self.runner(*id))
    }

    pub(crate) fn runners_as_of(&self, scope: &Scope, as_of: Time) -> Vec<&Runner> {
        let runners = self.runners.values().filter_map(|runner| runner.as_of(as_of));
        runners.filter(|runner| runner.scope == *scope).collect()
    }

    pub(crate) fn group(&self, owner: &str, id: u64) -> Option<&Group> {
        self.owner(owner).and_then(|owner| owner.groups.iter().find(|group| group.id == id))
    }

    /// Registers a runner; `None` if the name is taken in its scope.
    pub(crate) fn register(&mut self, wanted: Registration) -> Option<Runner> {
        let taken = |runner: &Runner| runner.scope == wanted.scope && runner.name.eq_ignore_ascii_case(&wanted.name);
        if self.live_runners().any(taken) {
            return None;
        }
        let (id, now) = (self.fresh(RUNNERS), self.now());
        let runner = Runner {
            id,
            name: wanted.name,
            scope: wanted.scope,
            group_id: wanted.group_id,
            labels: wanted.labels.iter().map(|label| label.to_lowercase()).collect(),
            online: false,
            job: None,
            scale_set: wanted.scale_set,
            created: now,
            since: now,
            polls: false,
        };
        self.live.insert(id);
        self.runners.insert(id, Versioned::new(now, runner.clone()));
        Some(runner)
    }

    pub(crate) fn connect_runner(&mut self, name: &str, polls: bool) -> Result<u64, String> {
        let id = self.runner_named(name).map(|runner| runner.id).ok_or_else(|| no_runner(name))?;
        let now = self.now();
        self.update_runner(id, |runner| {
            runner.online = true;
            runner.since = now;
            runner.polls = polls;
        });
        self.heard.insert(id, now);
        Ok(id)
    }

    /// A runner's process is there; `None` if its record is gone.
    pub(crate) fn hear(&mut self, name: &str) -> Option<u64> {
        let (id, online) = self.runner_named(name).map(|runner| (runner.id, runner.online))?;
        if !online {
            let _ = self.connect_runner(name, true);
        }
        self.heard.insert(id, self.now());
        Some(id)
    }

    /// Processes that were not heard of for too long are not connected any more.
    pub(super) fn expire_silent(&mut self) {
        let (now, silence) = (self.now(), self.options.silence);
        let heard = |id: &u64| self.heard.get(id).copied().unwrap_or_default();
        let silent =
            self.live_runners().filter(|runner| runner.polls && runner.online && now >= heard(&runner.id) + silence);
        for name in silent.map(|runner| runner.name.clone()).collect::<Vec<_>>() {
            let _ = self.disconnect_runner(&name);
        }
    }

    /// It is not connected any more; what it had goes on as if it were.
    pub(crate) fn disconnect_runner(&mut self, name: &str) -> Result<(), String> {
        let id = self.runner_named(name).map(|runner| runner.id).ok_or_else(|| no_runner(name))?;
        let now = self.now();
        self.update_runner(id, |runner| {
            runner.online = false;
            runner.since = now;
        });
        Ok(())
    }

    pub(crate) fn remove_runner(&mut self, id: u64) {
        let now = self.now();
        self.live.remove(&id);
        self.heard.remove(&id);
        if let Some(runner) = self.runners.get_mut(&id) {
            runner.remove(now);
        }
    }

    pub(crate) fn update_runner(&mut self, id: u64, change: impl FnOnce(&mut Runner)) {
        let now = self.now();
        self.changed = true;
        if let Some(runner) = self.runners.get_mut(&id) {
            runner.update(now, change);
        }
    }

    /// Whether a runner has a job that has begun.
    pub(crate) fn busy(&self, runner: &Runner) -> bool {
        runner.job.and_then(|id| self.job(id)).is_some_and(|job| job.status == JobStatus::InProgress)
    }

    /// Whether a group may serve a repository.
    pub(crate) fn group_allows(&self, group: &Group, repo: &Repo) -> bool {
        let listed = group.repos.as_ref().is_none_or(|names| names.contains(&repo.name));
        listed && (group.public || !repo.public)
    }

    /// Whether a runner may take a job at all, busy or not.
    pub(crate) fn may_take(&self, runner: &Runner, id: JobId) -> bool {
        let Some(job) = self.job(id) else { return false };
        let Some(repo) = self.repo(&job.repo) else { return false };
        let in_scope = match &runner.scope {
            Scope::Org(login) => {
                let group = self.group(login, runner.group_id);
                let asked = |group: &Group| job.group.as_ref().is_none_or(|name| *name == group.name);
                *login == repo.owner && group.is_some_and(|group| self.group_allows(group, repo) && asked(group))
            }
            Scope::Repo(full) => *full == job.repo && job.group.is_none() && runner.group_id == DEFAULT_GROUP,
        };
        in_scope && runner.scale_set.is_none() && self.set_of(id).is_none() && runner.has_all(&job.labels)
    }
}

pub(super) fn no_runner(name: &str) -> String {
    format!("no such runner: {name}")
}
