//! systemd on this machine: PID 1 over D-Bus, and what a service tells it.

mod boot;
mod error;
mod manager;
pub mod notify;
mod unit;

pub use boot::{BootTimes, CloudInit};
pub use error::{JobResult, SystemctlError, SystemdError};
pub use manager::Manager;
pub use unit::{Changes, UnitStatus};

/// The runner's unit.
pub const RUNNER: &str = "mayfly-runner.service";

/// Where jobs run.
pub const JOBS: &str = "mayfly-jobs.slice";

/// Tries, as the job's user, what a job must not be able to do.
pub const PROBE: &str = "mayfly-probe.service";

/// Looks at the rules that block jobs, and puts them back.
pub const ISOLATION: &str = "mayfly-isolation.service";

/// The lifetime limit that knows nothing of the agent.
pub const DEADLINE: &str = "mayfly-deadline.timer";

/// What starts everything of ours at boot.
pub const TARGET: &str = "mayfly.target";

/// The agent's own unit.
pub const AGENT: &str = "mayfly-agent.service";

/// Where nothing but the agent is, and what the rules that block jobs let through.
pub const AGENT_SLICE: &str = "system-mayfly.slice";

/// Looks whether the agent does not recover.
pub const FAILSAFE: &str = "mayfly-failsafe.timer";
