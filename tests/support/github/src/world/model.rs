//! The things in the world, and how a test names them.

use std::fmt;

use crate::clock::Time;

/// Names a job. Ids lie above 2^32, as GitHub's do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(pub u64);

impl fmt::Display for JobId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

/// A job to be queued.
#[derive(Clone, Debug)]
pub struct JobSpec {
    /// `owner/name`.
    pub repo: String,
    /// What `runs-on` asks for.
    pub labels: Vec<String>,
    /// The run that it belongs to; a new one if absent.
    pub run_id: Option<u64>,
    /// The workflow's name.
    pub workflow: String,
    /// The job's name.
    pub name: String,
    /// The group in `runs-on`; it is in no payload.
    pub group: Option<String>,
    /// Held by an environment's protection: `waiting` first.
    pub waiting: bool,
}

impl JobSpec {
    /// A job of a repository (`owner/name`) for these labels.
    pub fn new(repo: &str, labels: &[&str]) -> Self {
        Self {
            repo: repo.to_owned(),
            labels: labels.iter().map(|label| (*label).to_owned()).collect(),
            run_id: None,
            workflow: "CI".to_owned(),
            name: "build".to_owned(),
            group: None,
            waiting: false,
        }
    }

    /// As part of a run.
    #[must_use]
    pub fn run(mut self, id: u64) -> Self {
        self.run_id = Some(id);
        self
    }

    /// Of a workflow with this name.
    #[must_use]
    pub fn workflow(mut self, name: &str) -> Self {
        name.clone_into(&mut self.workflow);
        self
    }

    /// With this name.
    #[must_use]
    pub fn name(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    /// For runners of this group only.
    #[must_use]
    pub fn group(mut self, name: &str) -> Self {
        self.group = Some(name.to_owned());
        self
    }

    /// Held by an environment until [`crate::FakeGithub::approve`].
    #[must_use]
    pub fn waiting(mut self) -> Self {
        self.waiting = true;
        self
    }
}

/// Where a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are GitHub's own words")]
pub enum JobStatus {
    Waiting,
    Queued,
    InProgress,
    Completed,
}

impl JobStatus {
    /// As in payloads.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Queued => "queued",
            Self::InProgress => "in_progress",
            Self::Completed => "completed",
        }
    }
}

/// How a job ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are GitHub's own words")]
pub enum Conclusion {
    Success,
    Failure,
    Cancelled,
    Skipped,
    TimedOut,
}

impl Conclusion {
    /// As in payloads.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Cancelled => "cancelled",
            Self::Skipped => "skipped",
            Self::TimedOut => "timed_out",
        }
    }

    /// Reads a conclusion, or a result of the runner's.
    pub fn read(text: &str) -> Option<Self> {
        Some(match text.to_ascii_lowercase().as_str() {
            "success" | "succeeded" | "succeededwithissues" => Self::Success,
            "failure" | "failed" | "abandoned" => Self::Failure,
            "cancelled" | "canceled" => Self::Cancelled,
            "skipped" => Self::Skipped,
            "timed_out" => Self::TimedOut,
            _ => return None,
        })
    }
}

/// The runner that a job was given to, as the job remembers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunnerRef {
    /// Its id.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// Its group.
    pub group_id: u64,
    /// Its group's name.
    pub group_name: String,
}

/// A job as GitHub knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// Its id.
    pub id: JobId,
    /// The run.
    pub run_id: u64,
    /// The run's attempt.
    pub attempt: u32,
    /// `owner/name`.
    pub repo: String,
    /// The workflow's name.
    pub workflow: String,
    /// Its name.
    pub name: String,
    /// What it asks for.
    pub labels: Vec<String>,
    /// The group that it asks for.
    pub group: Option<String>,
    /// Where it stands.
    pub status: JobStatus,
    /// How it ended.
    pub conclusion: Option<Conclusion>,
    /// Whom it was given to.
    pub runner: Option<RunnerRef>,
    /// When it was made.
    pub created: Time,
    /// When it was given to a runner that has not begun it.
    pub assigned: Option<Time>,
    /// When it began.
    pub started: Option<Time>,
    /// When it ended.
    pub completed: Option<Time>,
    /// A cancellation is under way.
    pub cancelling: bool,
    /// An environment protects it, or did: payloads tell of a deployment.
    pub protected: bool,
}

/// What a runner is registered to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// An organisation, by login.
    Org(String),
    /// A repository, as `owner/name`.
    Repo(String),
}

/// A runner as GitHub knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Runner {
    /// Its id.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// Where it is registered.
    pub scope: Scope,
    /// Its group.
    pub group_id: u64,
    /// Its labels, lower-cased.
    pub labels: Vec<String>,
    /// Whether it is connected.
    pub online: bool,
    /// The job that it has, begun or not.
    pub job: Option<JobId>,
    /// The scale set that it belongs to.
    pub scale_set: Option<u64>,
    /// When it was registered.
    pub created: Time,
    /// Since when it is connected, or not.
    pub since: Time,
    /// It polls for its job itself: a process, not a test.
    pub polls: bool,
}

impl Runner {
    /// Whether every label that a job asks for is among its own, whatever the case.
    pub fn has_all(&self, labels: &[String]) -> bool {
        labels.iter().all(|wanted| self.labels.iter().any(|own| own.eq_ignore_ascii_case(wanted)))
    }
}
