//! The configuration: `/etc/mayfly/agent.toml`, then `/etc/mayfly/agent.d/*.toml` in name order, then the environment.
//!
//! One table of keys ([`keys::KEYS`]) drives reading, showing, the schema and the documentation. Every problem is
//! reported, all of them at once, each with its file and line.

pub mod keys;
mod load;
mod problem;
mod schema;
pub mod template;
mod values;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

pub use load::{DEFAULT_PATH, load};
pub use problem::{Origin, Problem, Problems};
pub use schema::schema;
pub use values::{DockerMode, Level, Platform, PowerOff, Rebalance, Sink, Supervisor};

use crate::host::Thresholds;
use crate::lifecycle::{Ending, Limits, Policy};

/// The whole configuration, checked.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Where every value comes from, by `section.key`.
    pub origins: BTreeMap<&'static str, Origin>,
    /// The values as text, by `section.key`.
    pub texts: BTreeMap<&'static str, String>,
    /// `platform`
    pub platform: Platform,
    /// `class`, with placeholders.
    pub class: String,
    /// `state_directory`
    pub state_directory: PathBuf,
    /// `[jit]`
    pub jit: Jit,
    /// `[runner]`
    pub runner: RunnerSettings,
    /// `[limits]`
    pub limits: LimitValues,
    /// `[interruption]`
    pub interruption: InterruptionSettings,
    /// `[autoscaling]`
    pub autoscaling: AutoScaling,
    /// `docker.mode`
    pub docker: DockerMode,
    /// `[host]`
    pub host: Thresholds,
    /// `isolation.level`
    pub isolation: Level,
    /// `[logs]`
    pub logs: Logs,
    /// `job.summary`
    pub job_summary: bool,
    /// `metrics.listen`
    pub metrics: Option<SocketAddr>,
    /// `[terminate]`
    pub terminate: Terminate,
}

/// `[jit]`
#[derive(Clone, Debug, Default)]
pub struct Jit {
    /// The SSM parameter, with placeholders.
    pub parameter: String,
    /// A file instead, with `platform = "local"`.
    pub file: PathBuf,
    /// How long it is waited for.
    pub wait: Duration,
}

/// `[runner]`
#[derive(Clone, Debug, Default)]
pub struct RunnerSettings {
    /// Where GitHub's runner is unpacked.
    pub directory: PathBuf,
    /// Who runs it; empty for whoever runs the agent.
    pub user: String,
    /// Who supervises it.
    pub supervisor: Supervisor,
    /// The most that is read ahead of its start.
    pub read_ahead: u64,
    /// What is read ahead.
    pub read_ahead_list: PathBuf,
}

/// `[limits]`, but for `jit.wait`.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs)] // the table of keys documents each
pub struct LimitValues {
    pub booting: Duration,
    pub listening: Duration,
    pub idle: Duration,
    pub assigned: Duration,
    pub job: Duration,
    pub finishing: Duration,
    pub updating: Duration,
    pub draining: Duration,
    pub closing: Duration,
    pub terminating: Duration,
    pub lifetime: Duration,
}

/// `[interruption]`
#[derive(Clone, Debug, Default)]
pub struct InterruptionSettings {
    /// How often a spot notice is looked for.
    pub spot_poll: Duration,
    /// What a rebalance recommendation does.
    pub rebalance: Rebalance,
    /// How long before the interruption the job is asked to stop.
    pub stop_at: Duration,
    /// How long before the interruption it is killed.
    pub kill_at: Duration,
}

/// `[autoscaling]`
#[derive(Clone, Debug, Default)]
pub struct AutoScaling {
    /// The group's lifecycle hook for launches; empty for none.
    pub launch_hook: String,
    /// The group's lifecycle hook for terminations; empty for none.
    pub termination_hook: String,
}

/// `[logs]`
#[derive(Clone, Debug, Default)]
pub struct Logs {
    /// Where they go.
    pub sink: Sink,
    /// The CloudWatch Logs group, with placeholders.
    pub group: String,
    /// The directory; empty for none.
    pub directory: PathBuf,
    /// The most that is shipped.
    pub max_bytes: u64,
}

/// `[terminate]`
#[derive(Clone, Debug, Default)]
pub struct Terminate {
    /// Whether the group's desired capacity goes down.
    pub decrement: bool,
    /// When the machine may be powered off.
    pub poweroff: PowerOff,
    /// What powers it off.
    pub poweroff_command: String,
    /// How long a failed machine is kept.
    pub hold_on_failure: Duration,
}

/// As long as GitHub keeps a job's lock without a renewal (actions/runner#3539).
const JOB_LOCK: Duration = Duration::from_secs(600);

/// The same and two minutes, for whatever may be late.
const LOCK_LOST: Duration = Duration::from_secs(720);

impl Config {
    /// The rules of the lifecycle that follow from this configuration.
    #[must_use]
    pub fn policy(&self) -> Policy {
        let limits = &self.limits;
        Policy {
            limits: Limits {
                booting: limits.booting,
                jit_wait: self.jit.wait,
                listening: limits.listening,
                idle: limits.idle,
                assigned: limits.assigned,
                job: limits.job,
                finishing: limits.finishing,
                orphaned: JOB_LOCK,
                lock: LOCK_LOST,
                updating: limits.updating,
                draining: limits.draining,
                closing: limits.closing,
                terminating: limits.terminating,
                lifetime: limits.lifetime,
            },
            stop_at: self.interruption.stop_at,
            kill_at: self.interruption.kill_at,
            docker_required: self.docker == DockerMode::Required,
            drain_on_rebalance: self.interruption.rebalance == Rebalance::DrainIdle,
            hold_on_failure: self.terminate.hold_on_failure,
            launch_hook: !self.autoscaling.launch_hook.is_empty(),
            termination_hook: !self.autoscaling.termination_hook.is_empty(),
            ending: match self.platform {
                Platform::Local => Ending::Process,
                Platform::Ec2 => Ending::Instance { decrement: self.terminate.decrement },
            },
        }
    }
}
