//! `mayfly hook`: called by the runner's hook scripts, as the job's user.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;

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
        (JobHook::JobCompleted, Ok(HookReply { annotations, figures, summary, .. })) => {
            // A page that cannot be written costs the page, and never the job.
            if let (Some(summary), Some(page)) = (summary, path("GITHUB_STEP_SUMMARY")) {
                let _ = append(&page, &summary);
            }
            super::print(|out| {
                annotations.iter().try_for_each(|annotation| writeln!(out, "{}", annotation.command()))?;
                figures.iter().try_for_each(|line| writeln!(out, "mayfly: {line}"))
            });
            0
        }
        (_, Err(_)) => 0,
    }
}

/// Writes at the end of the file that the runner made for it; one that is something else is left alone.
fn append(page: &Path, summary: &str) -> io::Result<()> {
    let careful = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let mut file = OpenOptions::new().append(true).custom_flags(careful.bits()).open(page)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    file.write_all(summary.as_bytes())
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
