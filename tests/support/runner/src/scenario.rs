//! What the double plays: a scenario, and the small language of its acts.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How a job ends. The worker's exit code is 100 plus the position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are upstream's own words")]
pub enum JobResult {
    Succeeded,
    SucceededWithIssues,
    Failed,
    Canceled,
    Skipped,
    Abandoned,
}

impl JobResult {
    /// Every result, in the order of its code.
    pub const ALL: [Self; 6] =
        [Self::Succeeded, Self::SucceededWithIssues, Self::Failed, Self::Canceled, Self::Skipped, Self::Abandoned];

    /// The exit code that stands for this result.
    pub fn code(self) -> i32 {
        100 + self as i32
    }

    /// The result an exit code of the worker stands for, if any.
    pub fn from_code(code: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|result| result.code() == code)
    }
}

impl fmt::Display for JobResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Where a line is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

/// What the worker does with its job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum WorkerBehaviour {
    /// Runs the job to its end.
    Normal,
    /// Dies of SIGKILL right after the job-started hook.
    KilledAfterHook,
    /// Ends with this code right after the job-started hook.
    ExitsWith {
        /// The exit code; not 100..=105, else it is a result.
        code: i32,
    },
    /// Runs the job, then neither ends nor obeys a cancellation.
    Hangs,
    /// Starts, but the listener never sends it the job.
    NoMessage,
}

/// One thing the listener does. Acts run in order; a signal that asks for
/// shutdown interrupts any of them except [`Act::Hang`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "act")]
pub enum Act {
    /// After `connect_ms`, the `√ Connected to GitHub` lines.
    Connect,
    /// The session exists: the perf line, the version line, the listening line.
    Listening,
    /// Waits until `idle_ms` after the listening line.
    Idle,
    /// Waits a plain time.
    Wait {
        /// Milliseconds, not scaled.
        ms: u64,
    },
    /// Waits a time of the upstream runner, scaled by `time_scale`.
    WaitUpstream {
        /// Milliseconds in the real runner.
        ms: u64,
    },
    /// Writes one line of the performance log.
    Perf {
        /// The counter.
        counter: String,
    },
    /// Writes one line of the `_diag` log only.
    Diag {
        /// The text.
        text: String,
    },
    /// Prints one line.
    Print {
        /// Where.
        stream: Stream,
        /// A template of [`crate::strings`].
        line: String,
    },
    /// Prints lines of about 200 bytes as fast as the reader takes them.
    Flood {
        /// How many bytes.
        bytes: u64,
    },
    /// The `Running job` line.
    Running,
    /// Starts the worker.
    StartWorker {
        /// What it does.
        behaviour: WorkerBehaviour,
    },
    /// Waits for the worker's end.
    AwaitWorker,
    /// Tells the worker to stop its job.
    CancelWorker,
    /// Kills the worker's process, and only that.
    KillWorker,
    /// The `completed` line, with the worker's own result or a given one.
    Completed {
        /// Overrides the worker's result.
        result: Option<JobResult>,
    },
    /// The removal lines, and the removal of the configuration files.
    RemoveConfig,
    /// Ends as after a job: removes the configuration if ephemeral, exits by
    /// the job-result rule; a persistent runner goes on listening instead.
    Finish,
    /// Exits as the job-result rule says for this result, without removal.
    ExitWithResult {
        /// The result.
        result: JobResult,
    },
    /// Exits 7 if the environment asks for that code, else 1.
    ExitDeprecated,
    /// Exits.
    Exit {
        /// The code.
        code: i32,
    },
    /// Ends by SIGABRT, as an unhandled exception does (134 to a shell).
    Abort,
    /// Aborts unless the globalization-invariant mode is on.
    NeedIcu,
    /// Sends itself SIGKILL.
    SelfKill,
    /// Writes an empty file.
    Touch {
        /// Path relative to the root.
        path: String,
    },
    /// Waits for ever, and answers signals as an idle runner.
    Forever,
    /// Waits for ever; no request to shut down is ever finished.
    Hang,
    /// Plays acts again and again.
    Repeat {
        /// How often; for ever if absent.
        times: Option<u32>,
        /// What.
        acts: Vec<Self>,
    },
}

/// Everything the double needs to know. Absent members of the JSON form take
/// the values of [`Scenario::default`], which is one successful job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Scenario {
    /// Its name in the table.
    pub name: String,
    /// What it shows, in a few words.
    pub summary: String,
    /// Played before anything else, even the argument parser's answers.
    pub boot: Vec<Act>,
    /// Played once the configuration is loaded.
    pub acts: Vec<Act>,
    /// Played instead of `acts` by the first listener in this root, if any.
    pub first_start: Vec<Act>,
    /// The job's display name, which a workflow may choose freely.
    pub job_name: String,
    /// How the job ends if no step fails and nothing stops it.
    pub job_result: JobResult,
    /// How long the job takes besides its steps.
    pub job_ms: u64,
    /// When GitHub renews the job's lock, from the worker's start on; the listener writes it to its log.
    pub renewals_ms: Vec<u64>,
    /// Scripts that the worker runs with `bash -e`.
    pub steps: Vec<String>,
    /// `owner/name`, as in `GITHUB_REPOSITORY`.
    pub repository: String,
    /// How long the session takes.
    pub connect_ms: u64,
    /// From the listening line to the job.
    pub idle_ms: u64,
    /// How long an idle listener takes to exit after SIGINT or SIGTERM.
    pub shutdown_delay_ms: u64,
    /// Shutdown is acknowledged on the console and never carried out.
    pub ignore_interrupt: bool,
    /// The job comes at `idle_ms` even into a shutdown that is under way.
    pub job_arrives_despite_interrupt: bool,
    /// Factor on every upstream time: the 30 s retry, the 30 s SIGTERM cap,
    /// the 7.5 s and 2.5 s of the step ladder.
    pub time_scale: f64,
}

impl Default for Scenario {
    fn default() -> Self {
        Self {
            name: "success".to_owned(),
            summary: "one job that succeeds".to_owned(),
            boot: Vec::new(),
            acts: crate::scenarios::one_job(),
            first_start: Vec::new(),
            job_name: "build".to_owned(),
            job_result: JobResult::Succeeded,
            job_ms: 200,
            renewals_ms: Vec::new(),
            steps: Vec::new(),
            repository: "mayfly-example/sample".to_owned(),
            connect_ms: 0,
            idle_ms: 100,
            shutdown_delay_ms: 50,
            ignore_interrupt: false,
            job_arrives_despite_interrupt: false,
            time_scale: 0.02,
        }
    }
}

impl Scenario {
    /// A time of the upstream runner in this scenario's scale.
    pub fn upstream(&self, ms: u64) -> Duration {
        let scaled = Duration::from_millis(ms).as_secs_f64() * self.time_scale;
        Duration::try_from_secs_f64(scaled).unwrap_or(Duration::ZERO)
    }
}
