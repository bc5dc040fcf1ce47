//! `mayfly hook`: called by the runner's hook scripts, as the job's user.

use std::path::PathBuf;

use super::environment;
use crate::control::ask;
use crate::control::hooks::{Call, Hook, Reply};

/// Tells the agent. Whatever goes wrong here is the agent's trouble and never fails the job.
pub(super) fn run(hook: Hook) -> u8 {
    let path = |name| std::env::var_os(name).map(PathBuf::from);
    let call = Call::from_environment(hook, &environment().collect());
    if let Some(perf) = path("RUNNER_PERFLOG") {
        let _ = call.leave_trace(&perf);
    }
    if let Some(socket) = path("MAYFLY_HOOK_SOCKET") {
        let _ = ask::<Reply>(&socket, &call);
    }
    0
}
