//! What the configuration decides about a run.

use std::time::Duration;

/// Everything the lifecycle needs to know of the configuration. It does not change during a run.
#[derive(Clone, Debug)]
pub struct Policy {
    /// The deadlines of the states.
    pub limits: Limits,
    /// How long before an interruption a running job is asked to stop (SIGQUIT).
    pub stop_at: Duration,
    /// How long before an interruption a running job is killed; shorter than `stop_at`.
    pub kill_at: Duration,
    /// Whether a rebalance recommendation ends an instance that runs no job.
    pub drain_on_rebalance: bool,
    /// Whether every job needs Docker.
    pub docker_required: bool,
    /// How long a machine whose run failed is kept for a person to look at; zero to not keep it.
    pub hold_on_failure: Duration,
    /// Whether the Auto Scaling group waits for an answer when it launches an instance.
    pub launch_hook: bool,
    /// Whether it waits for an answer before it terminates one.
    pub termination_hook: bool,
    /// How the machine is ended.
    pub ending: Ending,
}

/// How long each state may last: the keys `limits.*` of the configuration.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Learning who the machine is.
    pub booting: Duration,
    /// Waiting for the JIT configuration (`jit.wait`).
    pub jit_wait: Duration,
    /// From the runner's start to `Listening for Jobs`.
    pub listening: Duration,
    /// Listening without a job.
    pub idle: Duration,
    /// From the job request to a worker process.
    pub assigned: Duration,
    /// A worker at work.
    pub job: Duration,
    /// From the job's end to the listener's exit.
    pub finishing: Duration,
    /// A worker whose listener is gone: as long as GitHub keeps the job's lock without a renewal, about 10 minutes.
    pub orphaned: Duration,
    /// From a renewal of the job's lock, which comes every 60 s, to the moment at which GitHub has given the job up.
    pub lock: Duration,
    /// The listener replacing itself.
    pub updating: Duration,
    /// From the request to stop to the kill.
    pub draining: Duration,
    /// Flushing logs and writing the record.
    pub closing: Duration,
    /// For each termination method.
    pub terminating: Duration,
    /// The whole run, from launch or from leaving the warm pool.
    pub lifetime: Duration,
}

/// What "end" means on this platform.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// `platform = "local"`: the process ends and the machine stays.
    Process,
    /// `platform = "ec2"`: the termination methods end the instance.
    Instance {
        /// Whether a termination through the Auto Scaling group lowers its desired capacity.
        decrement: bool,
    },
}

/// How long a killed tree may take to disappear before the run goes on without it.
pub const KILL_GRACE: Duration = Duration::from_secs(5);

/// What the worker may need to report once its steps were killed: 1.5 s, and 5 s more where a process that left its step
/// holds the step's output (measured with runner 2.336.0).
pub const REPORT_LEAD: Duration = Duration::from_secs(7);

/// How long the last poll of a runner may take before one of its limits ends it.
pub const POLL_GRACE: Duration = Duration::from_secs(5);

/// The same, where the machine goes away and every second counts.
pub(super) const HURRIED_POLL_GRACE: Duration = Duration::from_secs(1);

/// Scheduled maintenance counts as an interruption this long before it begins.
pub const MAINTENANCE_LEAD: Duration = Duration::from_secs(120);

/// How long before EC2 takes the machine everything must be out of it.
pub const CLOSE_LEAD: Duration = Duration::from_secs(5);

/// A runner that is told of an interruption gets this much to pass it on, however late the notice is.
pub(super) const LATE_GRACE: Duration = Duration::from_secs(2);

/// Closing gets this much however late it is: without it nothing would get out at all.
pub const CLOSE_LEAST: Duration = Duration::from_secs(2);
