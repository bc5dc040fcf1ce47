//! What a run needs to know: made from the configuration or the command line, checked before anything starts.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use super::journal::Binding;
use super::progress::Progress;
use crate::base::paths::Paths;
use crate::jit_source::JitSource;
use crate::notices::Notices;
use crate::platform::ec2::Ec2;
use crate::runner::supervisor::Supervisor;
use crate::shipping::ShippingSettings;
use mayfly_core::config::DockerMode;
use mayfly_core::host::Thresholds;
use mayfly_core::lifecycle::Policy;

/// Everything about one run.
#[derive(Debug)]
pub struct Settings {
    /// The rules.
    pub policy: Policy,
    /// This instance and this boot.
    pub binding: Binding,
    /// Where the agent's own files are.
    pub paths: Paths,
    /// The runner's directory.
    pub runner_directory: PathBuf,
    /// Who runs the runner; nobody else than the agent, if absent.
    pub runner_user: Option<String>,
    /// Who starts the runner and keeps it.
    pub supervisor: Supervisor,
    /// What jobs need of Docker.
    pub docker: DockerMode,
    /// What the machine must have before a job is fetched for it.
    pub host: Thresholds,
    /// What the machine stands on.
    pub platform: Platform,
    /// Where the operators' own job hooks are: `job-started.d` and `job-completed.d`.
    pub operators: Option<PathBuf>,
    /// Whether a finished run in the same state directory is history (`mayfly run`), or the end of this machine.
    pub may_follow: bool,
    /// Whether the job's summary page has the run's figures.
    pub job_summary: bool,
    /// Where the metrics are read.
    pub metrics: Option<SocketAddr>,
    /// Whether the log is shipped to CloudWatch, which takes the figures from there.
    pub logged_figures: bool,
    /// Where log lines go; nowhere, if absent.
    pub shipping: Option<ShippingSettings>,
    /// Shows the run to a person, if one is looking.
    pub progress: Option<Progress>,
}

/// What the machine stands on.
#[derive(Debug)]
pub enum Platform {
    /// Any machine; the JIT configuration comes from here.
    Local(JitSource),
    /// An EC2 instance.
    Ec2 {
        /// The instance.
        ec2: Arc<Ec2>,
        /// What is announced for it.
        notices: Arc<Notices>,
    },
}

/// In place of the id of an instance that could not find it out.
const UNKNOWN: &str = "unknown";

impl Binding {
    /// This boot of an instance.
    ///
    /// # Errors
    /// The kernel's file is not readable.
    pub fn of(instance: impl Into<String>) -> std::io::Result<Self> {
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned();
        Ok(Self { instance: instance.into(), boot })
    }

    /// This boot of an instance that could not discover who it is.
    ///
    /// # Errors
    /// The kernel's file is not readable.
    pub fn unknown() -> std::io::Result<Self> {
        Self::of(UNKNOWN)
    }

    /// Whether the machine knows who it is.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.instance != UNKNOWN
    }

    /// This boot of a machine that no cloud gave a name.
    ///
    /// # Errors
    /// The kernel's files are not readable.
    pub fn local() -> std::io::Result<Self> {
        // Containers often have no machine id; their host name is then as good a name as any.
        let machine = std::fs::read_to_string("/etc/machine-id").unwrap_or_default().trim().to_owned();
        let name =
            if machine.is_empty() { nix::unistd::gethostname()?.to_string_lossy().into_owned() } else { machine };
        Self::of(format!("local-{name}"))
    }
}
