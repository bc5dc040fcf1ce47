//! How a run ends: the stable reason codes, and what is told beside them.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::evidence::{Evidence, Exit, JobInfo};
use super::state::Runner;

/// Declares [`Outcome`] from one table, so that code, meaning, advice and exit code cannot drift apart.
macro_rules! outcomes {
    ($($variant:ident $code:literal $exit:literal $meaning:literal $advice:literal;)*) => {
        /// Why an instance ended. The codes are stable: dashboards and the launcher key on them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[cfg_attr(test, derive(schemars::JsonSchema))]
        pub enum Outcome {
            $(#[doc = $meaning] #[serde(rename = $code)] $variant,)*
        }

        impl Outcome {
            /// Every outcome, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The stable code, such as `job-succeeded`.
            #[must_use]
            pub const fn code(self) -> &'static str {
                match self { $(Self::$variant => $code,)* }
            }

            /// What happened, in one sentence.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning,)* }
            }

            /// What a person can do about it, in one sentence.
            #[must_use]
            pub const fn advice(self) -> &'static str {
                match self { $(Self::$variant => $advice,)* }
            }

            /// The exit code of `mayfly run`: 0 for a job that succeeded, GitHub's own worker codes 102 to 105 for the
            /// other job results, and codes of `sysexits.h` where there was no job to have a result.
            #[must_use]
            pub const fn exit_code(self) -> u8 {
                match self { $(Self::$variant => $exit,)* }
            }
        }
    };
}

outcomes! {
    JobSucceeded "job-succeeded" 0 "The job ran and succeeded, or was skipped." "Nothing.";
    JobFailed "job-failed" 102 "The job ran and failed." "Read the job's log on GitHub.";
    JobCanceled "job-canceled" 103 "The job was cancelled." "Nothing, if a person cancelled it; else look for a network outage while it ran.";
    JobAbandoned "job-abandoned" 105 "The job's lock was not renewed, and the runner or GitHub gave the job up." "Look for a network outage, or a machine short of memory; re-run the job.";
    JobUnknown "job-unknown" 70 "A job was assigned, and nothing says how it ended." "Look at the job on GitHub; re-run it if it hangs.";
    WorkerCrashed "worker-crashed" 70 "The runner's worker died in the middle of the job." "Look for the OOM killer and a full disk in the system log; use a larger instance.";
    IdleTimeout "idle-timeout" 75 "No job came within limits.idle." "Nothing, if the queue was empty; else compare the labels of workflow and runner.";
    IdleRaced "idle-raced" 75 "A job was assigned to a runner that was being stopped because it had none." "The launcher re-runs this job; without a launcher, re-run it by hand.";
    RegistrationRemoved "registration-removed" 69 "GitHub removed the runner while it waited for a job." "Nothing, if a person removed it; else see whether the job went to another runner.";
    RegistrationDeleted "registration-deleted" 69 "GitHub had deleted the runner before it connected." "Shorten the time between making the JIT configuration and the start of the instance.";
    SessionConflict "session-conflict" 69 "Another runner is connected with the same registration." "See that one JIT configuration goes to one instance only.";
    RunnerVersionDeprecated "runner-version-deprecated" 69 "GitHub refuses this version of the runner." "Build an image with the newest runner release.";
    RunnerMissing "runner-missing" 72 "The runner cannot be started from runner.directory." "See that bin/Runner.Listener is there and executable, and that the directory can be written.";
    RunnerCrashed "runner-crashed" 70 "The runner ended by itself without a job result." "Read the runner's console in the record and its _diag files.";
    RunnerWedged "runner-wedged" 70 "The runner took a job and then did nothing." "Re-run the job; report it upstream with the _diag files.";
    RunnerNotListening "runner-not-listening" 69 "The runner did not reach 'Listening for Jobs' within limits.listening." "Read the runner's console; try the connection to GitHub from this network.";
    RunnerUpdating "runner-updating" 69 "The runner left to update itself." "Build an image with the newest runner release; updates do not happen here.";
    JobTimeout "job-timeout" 75 "The job ran longer than limits.job and was stopped." "Raise limits.job, or set timeout-minutes in the workflow.";
    Lifetime "lifetime" 75 "The instance reached limits.lifetime." "Raise limits.lifetime if the job needed the time.";
    JitConfigTimeout "jit-config-timeout" 75 "The JIT configuration did not appear in time." "Look at the launcher: did it write the parameter for this instance?";
    JitConfigDenied "jit-config-denied" 77 "Reading the JIT configuration was denied." "Compare the instance role with the policy in the documentation; look at the KMS key's policy.";
    JitConfigInvalid "jit-config-invalid" 65 "What was given as the JIT configuration is not one, not a safe one, or one that was used before." "See what wrote it; the record says what is wrong with it.";
    SpotInterruption "spot-interruption" 75 "EC2 took the spot instance back." "The launcher re-runs the job; use more instance types, or on-demand.";
    Rebalance "rebalance" 75 "EC2 recommended to leave this spot instance, and no job was running." "Nothing.";
    ScheduledEvent "scheduled-event" 75 "EC2 scheduled maintenance for this instance." "Nothing.";
    AsgTermination "asg-termination" 75 "The Auto Scaling group chose this instance for termination." "Turn on scale-in protection for new instances of the group.";
    ExternalShutdown "external-shutdown" 75 "Somebody shut the machine or the agent down." "Nothing, if that was you; else look who did in the system log.";
    OperatorDrain "operator-drain" 75 "An operator drained the instance." "Nothing.";
    DockerUnavailable "docker-unavailable" 69 "Docker is required and did not come up." "Read the Docker daemon's log.";
    DiskFull "disk-full" 74 "There is too little room on the disk to start a job." "Use a larger volume, or a smaller image.";
    ClockSkew "clock-skew" 69 "The clock is too far from GitHub's and AWS's." "See that time synchronisation runs in the image.";
    NetworkUnreachable "network-unreachable" 69 "GitHub could not be reached." "Look at routes, security groups, proxy and DNS of the subnet.";
    ImdsUnavailable "imds-unavailable" 69 "The instance metadata service did not answer." "See that it is enabled, with IMDSv2, in the launch template.";
    IsolationBroken "isolation-broken" 77 "Jobs could reach the instance's credentials; nothing was started." "Run mayfly doctor on such an instance; see docs/security.md.";
    ConfigInvalid "config-invalid" 78 "The agent's configuration is not valid." "Run mayfly config check.";
    JournalFailed "journal-failed" 74 "The journal could not be written, so no runner was started." "Look for a full or read-only disk.";
    SecondBoot "second-boot" 75 "The machine was rebooted after the runner had started." "Look who rebooted it; a job never survives that.";
    Resumed "resumed" 75 "The machine was hibernated and resumed." "Use terminate as the spot interruption behaviour.";
    RunnerStopped "runner-stopped" 75 "Something on the machine stopped the runner." "Re-run the job, if one ran; look for the stop of mayfly-runner.service in the system log.";
    AgentFailed "agent-failed" 70 "The agent itself failed." "Report it, with the record and the journal.";
}

impl Outcome {
    /// Whether an operator would want to look: everything but a job's own result and an ending on purpose.
    #[must_use]
    pub const fn is_failure(self) -> bool {
        !matches!(
            self,
            Self::JobSucceeded
                | Self::JobFailed
                | Self::JobCanceled
                | Self::IdleTimeout
                | Self::Rebalance
                | Self::ScheduledEvent
                | Self::AsgTermination
                | Self::OperatorDrain
                | Self::ExternalShutdown
                | Self::SpotInterruption
        )
    }

    /// Whether the machine may be kept for a person afterwards: not one that is taken away from outside.
    #[must_use]
    pub const fn may_be_held(self) -> bool {
        !matches!(self, Self::SpotInterruption | Self::AsgTermination | Self::ExternalShutdown)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// A job's result, in GitHub's words (`TaskResult`); the numbers are those of the worker's exit code less 100.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum JobResult {
    /// 0
    Succeeded,
    /// 1
    SucceededWithIssues,
    /// 2
    Failed,
    /// 3
    Canceled,
    /// 4
    Skipped,
    /// 5
    Abandoned,
}

impl JobResult {
    /// Reads the word the runner prints after `completed with result:`.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Some(match word {
            "Succeeded" => Self::Succeeded,
            "SucceededWithIssues" => Self::SucceededWithIssues,
            "Failed" => Self::Failed,
            "Canceled" => Self::Canceled,
            "Skipped" => Self::Skipped,
            "Abandoned" => Self::Abandoned,
            _ => return None,
        })
    }

    /// Reads the listener's exit code 100 to 105.
    #[must_use]
    pub const fn from_exit_code(code: i32) -> Option<Self> {
        Some(match code {
            100 => Self::Succeeded,
            101 => Self::SucceededWithIssues,
            102 => Self::Failed,
            103 => Self::Canceled,
            104 => Self::Skipped,
            105 => Self::Abandoned,
            _ => return None,
        })
    }

    /// The outcome an instance ends with after such a job.
    #[must_use]
    pub const fn outcome(self) -> Outcome {
        match self {
            Self::Succeeded | Self::SucceededWithIssues | Self::Skipped => Outcome::JobSucceeded,
            Self::Failed => Outcome::JobFailed,
            Self::Canceled => Outcome::JobCanceled,
            Self::Abandoned => Outcome::JobAbandoned,
        }
    }

    /// The worse of two results: when witnesses disagree, the bad news is believed.
    #[must_use]
    pub const fn worse(self, other: Self) -> Self {
        if self.badness() >= other.badness() { self } else { other }
    }

    const fn badness(self) -> u8 {
        match self {
            Self::Succeeded => 0,
            Self::Skipped => 1,
            Self::SucceededWithIssues => 2,
            Self::Canceled => 3,
            Self::Failed => 4,
            Self::Abandoned => 5,
        }
    }
}

/// How a run ended; the record is written from it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct End {
    /// The stable reason code.
    pub outcome: Outcome,
    /// More about it, for people; never secret.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// The job's display name, if one ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job_name: Option<String>,
    /// What the job-started hook told of the job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<JobInfo>,
    /// How the listener ended, if it was started and is known to have ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<Exit>,
    /// Whether a runner was started, so that its tree and its files have to be cleared away.
    pub ran: bool,
    /// Why the runner was being stopped when a job came to it after all, if that is the outcome (`idle-raced`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped_for: Option<Outcome>,
}

impl End {
    /// The end of a run in which no runner was started.
    #[must_use]
    pub fn without_runner(outcome: Outcome, detail: impl Into<String>) -> Self {
        Self { outcome, detail: detail.into(), job_name: None, job: None, exit: None, ran: false, stopped_for: None }
    }

    /// The end of a run after its runner.
    #[must_use]
    pub fn of_run(outcome: Outcome, runner: Runner, detail: impl Into<String>) -> Self {
        let Evidence { job_name, job, .. } = runner.evidence;
        Self { outcome, detail: detail.into(), job_name, job, exit: runner.exit, ran: true, stopped_for: None }
    }

    /// Whether the machine may be kept for a person afterwards.
    #[must_use]
    pub fn may_be_held(&self) -> bool {
        self.outcome.may_be_held() && self.stopped_for.is_none_or(Outcome::may_be_held)
    }
}
