//! The two messages from listener to worker: one JSON line each.

use mayfly_fake_runner::{Scenario, WorkerBehaviour};
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "type")]
pub(crate) enum Message {
    /// Do this job.
    NewJobRequest(Box<JobRequest>),
    /// Stop it: the runner shuts down.
    RunnerShutdown,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct JobRequest {
    pub(crate) behaviour: WorkerBehaviour,
    pub(crate) agent_name: String,
    pub(crate) work_folder: String,
    pub(crate) scenario: Scenario,
}
