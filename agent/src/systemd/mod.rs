//! systemd on this machine: PID 1 over D-Bus, and what a service tells it.

mod manager;
pub mod notify;
mod unit;

pub use manager::{Manager, SystemdError};
pub use unit::{Changes, UnitStatus};

/// The runner's unit.
pub const RUNNER: &str = "mayfly-runner.service";

/// Tries, as the job's user, what a job must not be able to do.
pub const PROBE: &str = "mayfly-probe.service";

/// The lifetime limit that knows nothing of the agent.
pub const DEADLINE: &str = "mayfly-deadline.timer";
