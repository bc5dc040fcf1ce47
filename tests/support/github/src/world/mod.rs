//! What exists behind the API: owners, repositories, groups, runners, runs and jobs.

mod assign;
mod jobs;
pub(crate) mod model;
mod runners;
mod runs;
pub(crate) mod sets;
mod versioned;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;

use crate::clock::{Clock, Time};
use crate::options::{Options, OwnerSpec};
use crate::webhook::Event;
use model::{Job, Runner};
pub(crate) use runners::Registration;
pub(crate) use runs::{Refused, Run, latest, standing};
use sets::{JobForm, ScaleSet};
use versioned::Versioned;

/// The id of the first owner's installation; the next owner's is one more.
pub const FIRST_INSTALLATION: u64 = 51_000_001;
/// The id of the default runner group.
pub const DEFAULT_GROUP: u64 = 1;
/// The id of GitHub's own group, which nobody may register to.
pub(crate) const HOSTED_GROUP: u64 = 2;

/// An owner with an installation of the App.
#[derive(Clone, Debug)]
pub(crate) struct Owner {
    pub(crate) id: u64,
    pub(crate) login: String,
    pub(crate) user: bool,
    pub(crate) installation: u64,
    pub(crate) permissions: BTreeMap<String, String>,
    pub(crate) groups: Vec<Group>,
}

/// A runner group of an owner.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) id: u64,
    pub(crate) name: String,
    /// Names without the owner; `None` is every one.
    pub(crate) repos: Option<Vec<String>>,
    pub(crate) public: bool,
}

/// A repository.
#[derive(Clone, Debug)]
pub(crate) struct Repo {
    pub(crate) id: u64,
    pub(crate) owner: String,
    pub(crate) name: String,
    pub(crate) public: bool,
}

impl Repo {
    pub(crate) fn full(&self) -> String {
        format!("{}/{}", self.owner, self.name)
    }
}

/// A list that can be served wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum List {
    /// The runners of an organisation or repository.
    Runners,
    /// The jobs of a run.
    Jobs,
    /// The runs of a repository.
    Runs,
}

/// How a list is served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Served {
    /// As it was so long ago.
    pub stale: Duration,
    /// With a `total_count` that is too high by so many.
    pub inflated: u64,
}

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) options: Options,
    pub(crate) clock: Arc<Clock>,
    pub(crate) owners: Vec<Owner>,
    pub(crate) repos: Vec<Repo>,
    pub(crate) runs: BTreeMap<u64, Run>,
    jobs: BTreeMap<u64, Versioned<Job>>,
    runners: BTreeMap<u64, Versioned<Runner>>,
    /// Jobs that wait for a runner, oldest first.
    queued: BTreeSet<u64>,
    /// Jobs that have a runner and are not over.
    active: BTreeSet<u64>,
    /// Runners whose record exists.
    live: BTreeSet<u64>,
    pub(crate) served: BTreeMap<List, Served>,
    /// When a runner's process was last heard of.
    heard: BTreeMap<u64, Time>,
    pub(crate) sets: BTreeMap<u64, ScaleSet>,
    pub(crate) job_form: JobForm,
    pub(crate) statistics_off: i64,
    /// Something changed since jobs were given out.
    changed: bool,
    next_id: u64,
    /// How many events were told of.
    pub(crate) told: u64,
    events: UnboundedSender<Event>,
}

impl World {
    pub(crate) fn new(options: Options, clock: Arc<Clock>, events: UnboundedSender<Event>) -> Self {
        let mut repos = Vec::new();
        let mut owners = Vec::new();
        for (nth, spec) in (0..).zip(&options.owners) {
            for repo in &spec.repos {
                repos.push(Repo {
                    id: 700_000_001 + repos.len() as u64,
                    owner: spec.login.clone(),
                    name: repo.name.clone(),
                    public: repo.public,
                });
            }
            owners.push(owner(nth, spec));
        }
        Self {
            options,
            clock,
            owners,
            repos,
            runs: BTreeMap::new(),
            jobs: BTreeMap::new(),
            runners: BTreeMap::new(),
            queued: BTreeSet::new(),
            active: BTreeSet::new(),
            live: BTreeSet::new(),
            served: BTreeMap::new(),
            heard: BTreeMap::new(),
            sets: BTreeMap::new(),
            job_form: JobForm::default(),
            statistics_off: 0,
            changed: false,
            next_id: 0,
            told: 0,
            events,
        }
    }

    pub(crate) fn now(&self) -> Time {
        self.clock.elapsed()
    }

    /// A number that was not there before, above a base.
    pub(crate) fn fresh(&mut self, base: u64) -> u64 {
        self.next_id += 1;
        base + self.next_id
    }

    pub(crate) fn owner(&self, login: &str) -> Option<&Owner> {
        self.owners.iter().find(|owner| owner.login.eq_ignore_ascii_case(login))
    }

    pub(crate) fn repo(&self, full: &str) -> Option<&Repo> {
        self.repos.iter().find(|repo| repo.full().eq_ignore_ascii_case(full))
    }

    /// As of when a list is served, and how much its count is too high.
    pub(crate) fn served(&self, list: List) -> (Time, u64) {
        let served = self.served.get(&list).copied().unwrap_or_default();
        (self.now().saturating_sub(served.stale), served.inflated)
    }
}

fn owner(nth: u64, spec: &OwnerSpec) -> Owner {
    let mut groups = vec![Group { id: DEFAULT_GROUP, name: "Default".to_owned(), repos: None, public: false }];
    for (id, group) in (HOSTED_GROUP + 1..).zip(&spec.groups) {
        groups.push(Group { id, name: group.name.clone(), repos: group.repos.clone(), public: group.public });
    }
    Owner {
        id: 600_000_001 + nth,
        login: spec.login.clone(),
        user: spec.user,
        installation: FIRST_INSTALLATION + nth,
        permissions: spec.permissions.clone(),
        groups,
    }
}
