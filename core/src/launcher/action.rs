//! What is to be done. Every action is answered by an event, whatever happens: the shell gives each a deadline.

use super::signal::RunId;
use super::{JobId, WhenSpent};

/// Something to do.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Launch instances, one for each job.
    Launch {
        /// The client token; the same request is repeated under it until it is answered.
        token: String,
        /// The class: an index into the settings.
        class: usize,
        /// Which of the class's ways to launch.
        candidate: u8,
        /// The jobs' labels as one text.
        labels: String,
        /// The repository of all of them.
        repository: String,
        /// The jobs.
        jobs: Vec<JobId>,
    },
    /// Make a JIT configuration.
    Mint {
        /// For this instance.
        instance: String,
        /// Its class.
        class: usize,
        /// The runner's name.
        name: String,
        /// The runner's labels: exactly the job's.
        labels: Vec<String>,
    },
    /// Store an instance's JIT configuration where nobody else can read it; never over another one.
    Store {
        /// The instance.
        instance: String,
        /// Its class.
        class: usize,
        /// Whether it is too long for the standard tier.
        advanced: bool,
    },
    /// End an instance.
    Terminate {
        /// The instance.
        instance: String,
        /// Its class.
        class: usize,
        /// Why, for the log.
        why: String,
    },
    /// Remove a runner record.
    DeleteRunner {
        /// The class in whose scope it is.
        class: usize,
        /// Its id.
        runner: u64,
    },
    /// Remove an instance's parameter.
    DeleteParameter {
        /// The instance.
        instance: String,
    },
    /// Ask GitHub for a run's jobs.
    LookAtRun {
        /// The class whose App asks.
        class: usize,
        /// `owner/name`
        repository: String,
        /// The run.
        run: RunId,
    },
    /// Say on GitHub what becomes of a job.
    Tell {
        /// The job.
        job: JobId,
        /// Its class.
        class: usize,
        /// `owner/name`
        repository: String,
        /// Its run.
        run: RunId,
        /// Its commit.
        head_sha: String,
        /// How.
        how: WhenSpent,
        /// What, for people.
        why: String,
    },
}
