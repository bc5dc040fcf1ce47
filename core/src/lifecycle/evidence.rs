//! What has been seen of the runner, and the verdict drawn from it.
//!
//! The listener's exit code proves little (0 stands for about ten endings), its console can be imitated by a job's name,
//! and hooks run as the job's user. So everything is kept, and the outcome is decided from all of it.

use serde::{Deserialize, Serialize};

use super::outcome::{JobResult, Outcome};
use super::time::Time;

/// One thing seen of the runner.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Observation {
    /// Console: `Listening for Jobs`.
    Listening,
    /// Perf log: a message that asks for a job arrived. Refresh and cancel messages are not this.
    JobMessage,
    /// Console: `Running job: <name>`.
    Running {
        /// The job's display name, as printed.
        job: String,
    },
    /// A worker process is there at this moment; everything printed so far was told before.
    WorkerSeen,
    /// The worker process is no longer there, or came and went unseen.
    WorkerGone,
    /// The job-started hook was called.
    HookStarted(JobInfo),
    /// The job-completed hook was called.
    HookCompleted,
    /// Console: `Job <name> completed with result: <result>`.
    Completed {
        /// The job's display name, as printed.
        job: String,
        /// The result, as printed.
        result: JobResult,
    },
    /// Console: a self-update began.
    UpdateStarted,
    /// Console: the self-update failed; the listener goes on.
    UpdateFailed,
    /// Console: something that explains a bad end.
    ConsoleError(ConsoleError),
    /// Console: `Runner reconnected.`
    Reconnected,
    /// Listener's log: GitHub has renewed the job's lock, which it does every 60 s.
    LockRenewed,
    /// The listener's log is not read any more: whether the lock is renewed cannot be told.
    LockUnknown,
}

/// What the runner's console said about a problem. Ordered from the least to the most telling.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ConsoleError {
    /// `Runner connect error`: GitHub is not reached.
    Unreachable,
    /// `A session for this runner already exists.`
    SessionConflict,
    /// The files of the JIT configuration are not accepted: `Not configured`.
    NotConfigured,
    /// `The runner registration has been deleted`; a skewed clock can cause the same line.
    RegistrationDeleted,
    /// `The runner no longer exists on the server`, after it had listened.
    RegistrationRemoved,
    /// `The local machine's clock may be out of sync`
    ClockSkew,
    /// `Runner version vX is deprecated and cannot receive messages.`
    VersionDeprecated,
}

impl ConsoleError {
    /// Whether no job can come to a runner that listened and then said this.
    const fn is_final(self) -> bool {
        matches!(
            self,
            Self::NotConfigured | Self::RegistrationDeleted | Self::RegistrationRemoved | Self::VersionDeprecated
        )
    }

    const fn outcome(self) -> Outcome {
        match self {
            Self::Unreachable => Outcome::NetworkUnreachable,
            Self::SessionConflict => Outcome::SessionConflict,
            Self::NotConfigured => Outcome::JitConfigInvalid,
            Self::RegistrationDeleted => Outcome::RegistrationDeleted,
            Self::RegistrationRemoved => Outcome::RegistrationRemoved,
            Self::ClockSkew => Outcome::ClockSkew,
            Self::VersionDeprecated => Outcome::RunnerVersionDeprecated,
        }
    }
}

/// Which job this is, as the job-started hook told it. All of it is workflow-controlled text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct JobInfo {
    /// `GITHUB_REPOSITORY`
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub repository: String,
    /// `GITHUB_RUN_ID`
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub run_id: String,
    /// `GITHUB_RUN_ATTEMPT`
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub run_attempt: String,
    /// `GITHUB_JOB`: the key in the workflow file.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub job: String,
    /// `GITHUB_WORKFLOW`
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub workflow: String,
}

/// Where the worker process is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Worker {
    /// None was seen yet.
    #[default]
    Unseen,
    /// It is there.
    Alive,
    /// It was there.
    Gone,
}

/// How the listener ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum Exit {
    /// It exited with this code.
    Code(i32),
    /// This signal killed it.
    Signal(i32),
    /// It is gone and nobody knows how.
    Lost,
}

impl std::fmt::Display for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(signal) => write!(f, "killed by signal {signal}"),
            Self::Lost => f.write_str("gone, exit status unknown"),
        }
    }
}

/// Everything seen of the runner so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Evidence {
    /// It reached `Listening for Jobs`.
    pub listening: bool,
    /// A job request message arrived.
    pub message: bool,
    /// The name in the `Running job:` line.
    pub job_name: Option<String>,
    /// Where the worker is.
    pub worker: Worker,
    /// What the job-started hook told.
    pub job: Option<JobInfo>,
    /// The job-completed hook was called.
    pub hook_completed: bool,
    /// The result on the console; the worst, if several were printed.
    pub completed: Option<JobResult>,
    /// The most telling problem on the console.
    pub console_error: Option<ConsoleError>,
    /// A self-update is under way.
    pub updating: bool,
    /// When the runner was first told to stop.
    pub stopped: Option<Time>,
    /// The job had completed before the runner was told to stop.
    pub completed_before_stop: bool,
    /// Nothing said that there was a job when the runner was told to stop.
    pub stopped_without_job: bool,
}

impl Evidence {
    /// Takes one more observation in. Observations may be repeated (a re-attached agent reads the console again).
    pub fn absorb(&mut self, observation: &Observation) {
        match observation {
            Observation::Listening => {
                self.listening = true;
                // Connected after all: what was said about the connection before no longer explains anything.
                self.forget_connection_error();
            }
            Observation::Reconnected => self.forget_connection_error(),
            Observation::JobMessage => self.message = true,
            Observation::Running { job } => {
                // One job only: a second such line can only be a forgery by the job's name.
                self.job_name.get_or_insert_with(|| job.clone());
            }
            Observation::WorkerSeen if self.worker == Worker::Gone => {}
            Observation::WorkerSeen => {
                self.worker = Worker::Alive;
                // The listener prints it after its worker's exit: one that was there before is forged by the job's name.
                (self.completed, self.completed_before_stop) = (None, false);
            }
            Observation::WorkerGone => self.worker = Worker::Gone,
            // The runner makes the first call before any step; what calls later may be the job itself.
            Observation::HookStarted(info) => {
                self.job.get_or_insert_with(|| info.fitting().0);
            }
            Observation::HookCompleted => self.hook_completed = true,
            Observation::Completed { job, result } => self.complete(job, *result),
            Observation::UpdateStarted => self.updating = true,
            Observation::UpdateFailed => self.updating = false,
            Observation::LockRenewed | Observation::LockUnknown => {} // see `Runner::lock`
            Observation::ConsoleError(console_error) => {
                self.console_error = self.console_error.max(Some(*console_error))
            }
        }
    }

    fn complete(&mut self, job: &str, result: JobResult) {
        if self.job_name.as_ref().is_some_and(|name| name != job) {
            return; // another job's name: forged by a job name with a line break in it
        }
        self.completed = Some(self.completed.map_or(result, |seen| seen.worse(result)));
        self.completed_before_stop |= self.stopped.is_none();
    }

    /// An agent process that died knew of the worker by its hook's call alone. Whether a result was printed before that
    /// worker's end, by a job's name, or after it, nobody can tell any more: the listener's exit code will.
    pub(super) fn found_again(&mut self) {
        if self.worker == Worker::Unseen && self.job.is_some() {
            (self.completed, self.completed_before_stop) = (None, false);
        }
    }

    /// The runner is told to stop, or is being stopped.
    pub(super) fn stop(&mut self, now: Time) {
        self.stopped_without_job |= self.stopped.is_none() && !self.assigned();
        self.stopped.get_or_insert(now);
    }

    fn forget_connection_error(&mut self) {
        if matches!(
            self.console_error,
            Some(ConsoleError::Unreachable | ConsoleError::SessionConflict | ConsoleError::ClockSkew)
        ) {
            self.console_error = None;
        }
    }

    /// Whether anything says that a job was given to this runner.
    #[must_use]
    pub const fn assigned(&self) -> bool {
        self.message || self.job_name.is_some() || self.completed.is_some() || self.at_work()
    }

    /// Why no job can come any more, if the listener said so. It should have ended then.
    #[must_use]
    pub fn cut_off(&self) -> Option<Outcome> {
        self.console_error.filter(|console_error| console_error.is_final()).map(ConsoleError::outcome)
    }

    /// Whether anything says that a worker works, or has worked.
    #[must_use]
    pub const fn at_work(&self) -> bool {
        !matches!(self.worker, Worker::Unseen) || self.job.is_some()
    }

    /// Whether the job is over as far as anyone can see. A completed line alone does not say so: the listener prints it
    /// after the worker's exit, so one without a worker, or before its end, is forged.
    #[must_use]
    pub fn job_over(&self) -> bool {
        self.worker == Worker::Gone
    }

    /// The result on the console, as far as it is believed: a good one only if the worker itself was seen before it. The
    /// hooks are not enough: an agent that lost its memory and reads the console again cannot tell what was forged.
    #[must_use]
    pub fn result(&self) -> Option<JobResult> {
        self.completed.filter(|result| result.outcome() != Outcome::JobSucceeded || self.worker != Worker::Unseen)
    }

    /// The outcome of a runner that was not told to stop.
    #[must_use]
    pub fn verdict(&self, exit: Exit) -> Outcome {
        match exit {
            Exit::Code(code @ 100..=105) => self.verdict_of_result(code),
            Exit::Code(3 | 4) => self.result().map_or(Outcome::RunnerUpdating, JobResult::outcome),
            Exit::Code(5) => Outcome::SessionConflict,
            Exit::Code(7) => Outcome::RunnerVersionDeprecated,
            _ => self.verdict_without_result(exit),
        }
    }

    /// Exit codes 100 to 105 carry the job's result, but the listener also reports "succeeded" when its dispatcher
    /// threw before any worker ran, and when a worker never got its job: a good result needs a worker and a witness of
    /// its end, a bad one is believed.
    fn verdict_of_result(&self, code: i32) -> Outcome {
        let Some(reported) = JobResult::from_exit_code(code) else { return Outcome::JobUnknown };
        let witnessed = self.at_work() && (self.completed.is_some() || self.hook_completed);
        let result = self.completed.map_or(reported, |seen| seen.worse(reported));
        match result.outcome() {
            Outcome::JobSucceeded if !witnessed => Outcome::JobUnknown,
            Outcome::JobFailed if self.worker_vanished() => Outcome::WorkerCrashed,
            outcome => outcome,
        }
    }

    fn verdict_without_result(&self, exit: Exit) -> Outcome {
        if let Some(result) = self.result() {
            return match result.outcome() {
                Outcome::JobFailed if self.worker_vanished() => Outcome::WorkerCrashed,
                outcome => outcome,
            };
        }
        match self.console_error {
            // A job was there: whatever the console said earlier, that job's end is not known.
            _ if self.assigned() && exit == Exit::Code(0) => Outcome::JobUnknown,
            _ if self.assigned() => Outcome::RunnerCrashed,
            Some(console_error) => console_error.outcome(),
            None => Outcome::RunnerCrashed,
        }
    }

    /// The job began, failed, and its completed hook never ran, though nobody stopped the runner. GitHub's runner calls
    /// that hook on every other path, so the worker died.
    fn worker_vanished(&self) -> bool {
        self.job.is_some() && !self.hook_completed && self.stopped.is_none()
    }

    /// The outcome of a runner that was told to stop for `reason`, or did not start listening in time.
    #[must_use]
    pub fn verdict_stopped(&self, reason: Outcome, exit: Option<Exit>) -> Outcome {
        let reported = match exit {
            Some(Exit::Code(code)) => JobResult::from_exit_code(code),
            _ => None,
        };
        // A job that was over before, or that made it all the same, keeps its result: nothing has to be run again.
        if let Some(result) = self.result()
            && (self.completed_before_stop || result.outcome() == Outcome::JobSucceeded)
        {
            return reported.map_or(result, |code| code.worse(result)).outcome();
        }
        match reason {
            // Whatever the reason was: nobody would run this job again if that alone were told.
            _ if self.stopped_without_job && (self.assigned() || reported.is_some()) => Outcome::IdleRaced,
            Outcome::RunnerNotListening => self.console_error.map_or(reason, ConsoleError::outcome),
            _ => reason,
        }
    }
}
