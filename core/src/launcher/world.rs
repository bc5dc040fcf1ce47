//! What is known. It is a cache: after a restart the lists bring it back.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::breaker::Breaker;
use super::budget::Budget;
use super::event::InstanceState;
use super::signal::{JobId, JobStatus, RunId};
use super::{Class, Moment, Scope};

/// What the operator has set.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Settings {
    /// The runner classes.
    pub classes: Vec<Class>,
    /// How many Apps there are.
    pub apps: usize,
    /// The most instances of all classes at once.
    pub max: u32,
    /// JIT configurations a minute, for each App.
    pub jit_per_minute: u32,
    /// SSM parameters written, a minute.
    pub stores_per_minute: u32,
    /// Launch requests, a minute.
    pub launches_per_minute: u32,
    /// How long AWS's lists may lag behind.
    pub list_lag: Duration,
}

impl Settings {
    /// Settings with the quotas that AWS and GitHub have by default: GitHub's bucket `actions_runner_registration` has 10,000 an
    /// hour; `ssm:PutParameter` 3 a second; `ec2:CreateFleet` is kept at 2 a second.
    #[must_use]
    pub const fn new(classes: Vec<Class>, apps: usize, max: u32) -> Self {
        Self {
            classes,
            apps,
            max,
            jit_per_minute: 166,
            stores_per_minute: 180,
            launches_per_minute: 120,
            list_lag: LIST_LAG,
        }
    }
}

/// A job of one of the classes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Job {
    /// Its run.
    pub run: RunId,
    /// `owner/name`
    pub repository: String,
    /// What people call it.
    pub name: String,
    /// Its class.
    pub class: usize,
    /// Its labels as one text.
    pub labels: String,
    /// Its commit.
    pub head_sha: String,
    /// Where it is.
    pub status: JobStatus,
    /// When that was true; zero where two messages disagree.
    pub known_at: Moment,
    /// Since when it waits.
    pub queued_at: Moment,
    /// How many instances were launched for it.
    pub launches: u32,
    /// How many launches for it made no instance.
    pub rounds: u32,
    /// No launch before.
    pub next_try: Moment,
    /// The launch that is under way for it.
    pub launch: Option<String>,
    /// The instance that was launched for it last.
    pub instance: Option<String>,
    /// A message told of it as it happened; else another process may be at it already.
    pub live: bool,
    /// The runner that has it, or had it.
    pub runner: Option<String>,
    /// What went wrong last, for people.
    pub problem: Option<String>,
    /// Nothing more is tried for it.
    pub spent: Spent,
}

/// Whether it is still tried to get an instance for a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Spent {
    /// Yes.
    No,
    /// No, and GitHub does not know yet; it is told from this moment on.
    ToTell(Moment),
    /// No, and it is being told.
    Telling,
    /// No, and it was told.
    Told,
}

/// A launch that is not answered yet.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Launch {
    /// The class.
    pub class: usize,
    /// Which of its ways to launch.
    pub candidate: u8,
    /// The labels as one text.
    pub labels: String,
    /// The repository.
    pub repository: String,
    /// The jobs.
    pub jobs: Vec<JobId>,
    /// When it was asked for first.
    pub asked_at: Moment,
    /// How often it was asked for.
    pub asks: u32,
    /// Asked again then: nobody knows whether it was carried out.
    pub again_at: Option<Moment>,
}

/// How far an instance is on the way to its JIT configuration.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Provision {
    /// Launched by an earlier process or another one: what it has, only the lists tell. It is never given anything.
    Adopted,
    /// It needs one.
    Wanted {
        /// Not before.
        not_before: Moment,
    },
    /// GitHub is asked.
    Minting,
    /// It is there, and not stored.
    Minted {
        /// How long it is, in bytes.
        length: usize,
        /// Not before.
        not_before: Moment,
    },
    /// It is being stored.
    Storing {
        /// How long it is, in bytes.
        length: usize,
    },
    /// The instance can read it.
    Provided,
}

/// An instance that the launcher ends.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Ending {
    /// Why.
    pub why: String,
    /// How far that is.
    pub stage: EndingStage,
}

/// How far the end of an instance is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EndingStage {
    /// Its runner record goes first, from this moment on: GitHub refuses that while it has a job, and then the instance stays.
    RemoveRunner(Moment),
    /// GitHub is being asked to remove the record.
    RemovingRunner,
    /// EC2 is asked from this moment on.
    Terminate(Moment),
    /// EC2 is being asked, or has taken it.
    Terminating,
}

/// An instance of one of the classes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Instance {
    /// Its class.
    pub class: usize,
    /// Its runner's labels as one text.
    pub labels: String,
    /// The repository that it was launched for.
    pub repository: String,
    /// The jobs of its launch; its own is the first one, where that is known.
    pub jobs: Vec<JobId>,
    /// When it was launched.
    pub launched_at: Moment,
    /// Where the last list had it; `None`: no list has had it yet.
    pub state: Option<InstanceState>,
    /// What its agent said last.
    pub phase: Option<String>,
    /// How far its JIT configuration is.
    pub provision: Provision,
    /// How often GitHub was asked for one; also the number in the runner's name.
    pub mints: u8,
    /// Its runner record, by GitHub's id.
    pub runner: Option<u64>,
    /// GitHub has seen its runner connected, or with a job.
    pub seen_online: bool,
    /// It has a job, or had one: it is of no use for others.
    pub used: bool,
    /// A list had a parameter for it.
    pub has_parameter: bool,
    /// How many complete lists in a row lacked it.
    pub absent: u8,
    /// It is being ended by the launcher.
    pub ending: Option<Ending>,
    /// What remains to be removed of it once it is gone: runner record, parameter.
    pub left: BTreeSet<Left>,
}

/// Something that an instance can leave behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Left {
    /// A runner record with this id.
    Runner(u64),
    /// Its parameter.
    Parameter,
}

impl Instance {
    /// An instance of which nothing is known but what it was launched for.
    pub(super) const fn new(
        class: usize,
        labels: String,
        repository: String,
        jobs: Vec<JobId>,
        launched_at: Moment,
        provision: Provision,
    ) -> Self {
        Self {
            class,
            labels,
            repository,
            jobs,
            launched_at,
            state: None,
            phase: None,
            provision,
            mints: 0,
            runner: None,
            seen_online: false,
            used: false,
            has_parameter: false,
            absent: 0,
            ending: None,
            left: BTreeSet::new(),
        }
    }

    /// Whether it is gone or on its way out.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        self.ending.is_some() || matches!(self.state, Some(InstanceState::Ending | InstanceState::Terminated))
    }
}

/// What is known of a class beside its jobs and instances.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClassState {
    /// Whether it may launch.
    pub breaker: Breaker,
    /// Ways to launch that had no capacity: not before.
    pub avoid: Vec<Moment>,
}

/// Everything that is known.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct World {
    /// The jobs that are not over.
    pub jobs: BTreeMap<JobId, Job>,
    /// Jobs that are over, since when: a late message does not bring them back.
    pub over: BTreeMap<JobId, Moment>,
    /// The instances.
    pub instances: BTreeMap<String, Instance>,
    /// The launches that are not answered.
    pub launches: BTreeMap<String, Launch>,
    /// The classes.
    pub classes: Vec<ClassState>,
    /// How fast each App may make JIT configurations.
    pub jit: Vec<Budget>,
    /// How fast parameters may be written.
    pub stores: Budget,
    /// How fast launches may be asked for.
    pub fleets: Budget,
    /// Runs of which GitHub is being asked.
    pub looking: BTreeSet<RunId>,
    /// Things being removed.
    pub removing: BTreeSet<(String, Left)>,
    /// How much was mended that should not have been.
    pub mended: Mended,
    /// When the newest complete list of a scope's runner records was asked for.
    pub runners_at: BTreeMap<Scope, Moment>,
    /// When this process began.
    pub started_at: Moment,
    /// When the newest complete list of instances was asked for; nothing is launched before there is one.
    pub listed_at: Option<Moment>,
}

/// Drift that reconcile mended, counted for the metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Mended {
    /// Instances that never gave a sign.
    pub silent: u64,
    /// Instances past their lifetime.
    pub overdue: u64,
    /// Runner records of nobody.
    pub runners: u64,
    /// Parameters of nobody.
    pub parameters: u64,
}

/// How long AWS's lists may lag behind, unless the operator knows better. What was found later than it happened is acted on only
/// after a list that is newer by this.
pub const LIST_LAG: Duration = Duration::from_secs(90);

/// How long a job that is over is remembered, so that a late message does not bring it back.
pub const REMEMBERED: Duration = Duration::from_secs(3600);

/// The most jobs that are known at once. What comes on top is found by the next reconcile.
pub const MOST_JOBS_KNOWN: usize = 100_000;

impl World {
    /// Nothing known, every budget full.
    #[must_use]
    pub fn new(settings: &Settings, now: Moment) -> Self {
        let class = |class: &Class| ClassState {
            breaker: Breaker::default(),
            avoid: vec![Moment(0); usize::from(class.candidates.max(1))],
        };
        Self {
            jobs: BTreeMap::new(),
            over: BTreeMap::new(),
            instances: BTreeMap::new(),
            launches: BTreeMap::new(),
            classes: settings.classes.iter().map(class).collect(),
            jit: vec![Budget::new(10, settings.jit_per_minute); settings.apps],
            stores: Budget::new(3, settings.stores_per_minute),
            fleets: Budget::new(5, settings.launches_per_minute),
            looking: BTreeSet::new(),
            removing: BTreeSet::new(),
            mended: Mended::default(),
            runners_at: BTreeMap::new(),
            started_at: now,
            listed_at: None,
        }
    }

    /// The instance on which a runner of this name runs.
    #[must_use]
    pub fn instance_of(&self, runner: &str) -> Option<&str> {
        let id = super::names::instance_of_runner(runner)?;
        self.instances.get_key_value(id).map(|(id, _)| id.as_str())
    }

    /// Instances of a class that are not gone, and those that are being launched.
    #[must_use]
    pub fn live(&self, class: usize) -> u32 {
        let made = self.instances.values().filter(|instance| instance.class == class && !instance.is_gone()).count();
        let asked: usize =
            self.launches.values().filter(|launch| launch.class == class).map(|launch| launch.jobs.len()).sum();
        u32::try_from(made + asked).unwrap_or(u32::MAX)
    }
}

impl Instance {
    /// Whether it costs nothing any more.
    #[must_use]
    pub const fn is_gone(&self) -> bool {
        matches!(self.state, Some(InstanceState::Terminated))
    }
}
