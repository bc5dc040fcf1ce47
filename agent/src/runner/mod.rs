//! GitHub's runner on this machine: its files, its processes, and what can be seen of it.
//!
//! Facts about the runner come from `actions/runner` 2.336.0, read in source.

mod asking;
pub mod environment;
mod file_changes;
pub mod files;
pub mod guard;
pub mod hooks;
pub mod installed;
mod intake;
mod listener_log;
pub mod prepare;
pub mod process;
pub mod read_ahead;
pub mod request;
pub mod spent;
pub mod start_error;
pub mod steps;
pub mod supervisor;
pub mod supervisor_process;
pub mod tail;
pub mod traces;
pub mod tree;
pub mod unit;
pub mod watch;

/// Where the listener is, below the runner's directory.
pub const LISTENER: &str = "bin/Runner.Listener";

/// The worker's process name: the kernel keeps 15 characters.
pub const WORKER_COMM: &str = "Runner.Worker";
