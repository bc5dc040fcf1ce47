//! `mayfly hook`: called by the runner's hook scripts, as the job's user.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::{environment, exit, fail};
use crate::control::ask;
use crate::runner::hooks::{DockerGate, HookCall, HookReply, JobHook};

/// How long a job waits for a Docker daemon that is still coming up.
const DOCKER_TIMEOUT: Duration = Duration::from_secs(60);

/// How often it asks.
const DOCKER_INTERVAL: Duration = Duration::from_millis(250);

/// Tells the agent. Whatever goes wrong here is the agent's trouble and never fails the job, but for one thing: a job on
/// a machine that promises Docker and has none.
pub(super) fn run(hook: JobHook) -> u8 {
    let path = |name| std::env::var_os(name).map(PathBuf::from);
    let call = HookCall::from_environment(hook, &environment().collect());
    if let Some(perf) = path("RUNNER_PERFLOG") {
        let _ = call.leave_trace(&perf);
    }
    let Some(socket) = path("MAYFLY_HOOK_SOCKET") else { return 0 };
    let answer = ask::<HookReply>(&socket, &call);
    match (hook, answer) {
        (JobHook::JobStarted, Ok(HookReply { docker, .. })) => wait_for_docker(&socket, &call, docker),
        (JobHook::JobCompleted, Ok(HookReply { annotations, figures, .. })) => {
            super::print(|out| {
                annotations.iter().try_for_each(|annotation| writeln!(out, "{}", annotation.command()))?;
                figures.iter().try_for_each(|line| writeln!(out, "mayfly: {line}"))
            });
            0
        }
        (_, Err(_)) => 0,
    }
}

fn wait_for_docker(socket: &Path, call: &HookCall, mut gate: DockerGate) -> u8 {
    let begun = Instant::now();
    loop {
        let unavailable = match gate {
            DockerGate::Open => return 0,
            DockerGate::Closed { reason } => reason,
            DockerGate::Wait { .. } if begun.elapsed() < DOCKER_TIMEOUT => {
                std::thread::sleep(DOCKER_INTERVAL);
                // An agent that went away meanwhile never fails a job.
                gate = ask::<HookReply>(socket, call).map_or(DockerGate::Open, |reply| reply.docker);
                continue;
            }
            DockerGate::Wait { required: false } => return 0,
            DockerGate::Wait { required: true } => {
                format!("it did not answer within {} seconds", DOCKER_TIMEOUT.as_secs())
            }
        };
        let told = format!(
            "this machine promises Docker to every job (docker.mode = \"required\"), and it is not there: {unavailable}"
        );
        // An annotation on the job's page, and the hook's own last line.
        super::print(|out| writeln!(out, "::error title=Docker is not available::{told}"));
        return fail(exit::UNAVAILABLE, told);
    }
}
