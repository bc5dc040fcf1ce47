//! The environment the runner, its worker and every step of the job inherit.
//!
//! An allow-list: whatever else the agent's environment holds (cloud credentials on a laptop, say) stays out of jobs.

use std::collections::BTreeMap;
use std::path::Path;

use crate::base::users::User;

/// Taken from the agent's environment if set there.
const PASSED: [&str; 17] = [
    "PATH",
    "LANG",
    "TZ",
    "TMPDIR",
    "TERM",
    "XDG_RUNTIME_DIR",
    "DOCKER_HOST",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "NODE_EXTRA_CA_CERTS",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "ImageOS",
];

/// Taken likewise, by prefix: the runner's own switches.
const PASSED_PREFIXES: [&str; 4] = ["LC_", "RUNNER_", "ACTIONS_RUNNER_", "GITHUB_ACTIONS_RUNNER_"];

/// Never taken: any of these could carry a JIT configuration.
const SECRET_PREFIX: &str = "ACTIONS_RUNNER_INPUT_";

const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Where the runner finds what the agent made for it.
#[derive(Debug)]
pub struct RunnerPaths<'a> {
    /// The perf log directory.
    pub perf: &'a Path,
    /// The hook script of a job's start.
    pub job_started: &'a Path,
    /// The hook script of a job's end.
    pub job_completed: &'a Path,
    /// The socket the hook scripts talk to.
    pub hook_socket: &'a Path,
}

/// Builds the environment from the agent's own.
#[must_use]
pub fn build(
    own: impl IntoIterator<Item = (String, String)>,
    user: Option<&User>,
    paths: &RunnerPaths<'_>,
) -> BTreeMap<String, String> {
    let mut environment = BTreeMap::new();
    for (name, value) in own {
        let identity = user.is_none() && matches!(name.as_str(), "HOME" | "USER" | "LOGNAME" | "SHELL");
        let passed = PASSED.contains(&name.as_str())
            || PASSED_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
            || identity;
        if passed && !name.to_ascii_uppercase().starts_with(SECRET_PREFIX) {
            environment.insert(name, value);
        }
    }
    if let Some(user) = user {
        environment.insert("HOME".into(), user.home.to_string_lossy().into_owned());
        environment.insert("USER".into(), user.name.clone());
        environment.insert("LOGNAME".into(), user.name.clone());
        environment.insert("SHELL".into(), "/bin/bash".into());
    }
    environment.entry("PATH".into()).or_insert_with(|| DEFAULT_PATH.into());
    // Without a UTF-8 locale the runner prints '?' for every other character, job names included.
    environment.entry("LANG".into()).or_insert_with(|| "C.UTF-8".into());
    let path = |path: &Path| path.to_string_lossy().into_owned();
    environment.extend([
        ("ACTIONS_RUNNER_RETURN_JOB_RESULT_FOR_HOSTED".into(), "1".into()), // exit 100 to 105, and one job only
        ("ACTIONS_RUNNER_RETURN_VERSION_DEPRECATED_EXIT_CODE".into(), "1".into()), // exit 7
        ("RUNNER_PERFLOG".into(), path(paths.perf)),
        ("ACTIONS_RUNNER_HOOK_JOB_STARTED".into(), path(paths.job_started)),
        ("ACTIONS_RUNNER_HOOK_JOB_COMPLETED".into(), path(paths.job_completed)),
        ("MAYFLY_HOOK_SOCKET".into(), path(paths.hook_socket)),
    ]);
    environment
}
