//! Where the agent keeps its own files.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Where the agent's own files are.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Paths {
    /// Journal, traces, record, control socket; for the agent's user only.
    pub state: PathBuf,
    /// What the runner's user has to reach: hook scripts and socket, perf log.
    pub runtime: PathBuf,
}

impl Paths {
    /// The socket people's commands talk to.
    #[must_use]
    pub fn control_socket(&self) -> PathBuf {
        control_socket(&self.state)
    }

    /// The socket the job's hooks talk to.
    #[must_use]
    pub fn hook_socket(&self) -> PathBuf {
        self.runtime.join("hook.sock")
    }

    /// The script of a hook.
    #[must_use]
    pub fn hook_script(&self, hook: &str) -> PathBuf {
        self.runtime.join(format!("{hook}.sh"))
    }

    /// The runner's perf log directory.
    #[must_use]
    pub fn perf(&self) -> PathBuf {
        self.runtime.join("perf")
    }

    /// The run's record.
    #[must_use]
    pub fn record(&self) -> PathBuf {
        self.state.join("record.json")
    }
}

/// The socket people's commands talk to, of the run in this state directory.
#[must_use]
pub fn control_socket(state_directory: &Path) -> PathBuf {
    state_directory.join("control.sock")
}
