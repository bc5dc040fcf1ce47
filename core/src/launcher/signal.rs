//! What GitHub says of a job: by webhook, by a scale set's message, or when it is asked.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A job's id; above 2^32 on github.com.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JobId(pub u64);

/// The id of a workflow run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunId(pub u64);

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where a job is, in GitHub's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobStatus {
    /// Held by a protection rule of its environment, or by a concurrency group.
    Waiting,
    /// It needs a runner.
    Queued,
    /// A runner has it.
    InProgress,
    /// It is over.
    Completed,
}

/// What one message says of one job.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct JobSignal {
    /// The job.
    pub job: JobId,
    /// Its workflow run.
    pub run: RunId,
    /// `owner/name`.
    pub repository: String,
    /// Whether nobody but its members can read the repository; `None` where the message does not say.
    pub private: Option<bool>,
    /// What people call the job.
    pub name: String,
    /// The labels of `runs-on`, as they came.
    pub labels: Vec<String>,
    /// Where it is.
    pub status: JobStatus,
    /// The runner that has it, or had it.
    pub runner: Option<String>,
    /// Since when it is in the queue.
    pub created_at: super::Moment,
    /// The commit, for an annotation.
    pub head_sha: String,
}

/// What GitHub answers when it is asked for a run's jobs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct JobView {
    /// The job.
    pub job: JobId,
    /// Where it is.
    pub status: JobStatus,
    /// The runner that has it, or had it.
    pub runner: Option<String>,
}
