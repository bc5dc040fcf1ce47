//! The runner's perf log: `RUNNER_PERFLOG=<dir>` makes listener and worker append lines `<counter>:<time>`.

use crate::lifecycle::Observation;

/// The listener's file in the perf log directory.
pub const LISTENER_FILE: &str = "Runner.perf";

/// The worker's file; its existence says that a worker was there.
pub const WORKER_FILE: &str = "Worker.perf";

/// The message types that ask for a job. Every other type is refresh, cancel and the like.
const JOB_REQUESTS: [&str; 2] = ["RunnerJobRequest", "PipelineAgentJobRequest"];

/// Reads one line of the listener's perf log.
#[must_use]
pub fn observation(line: &str) -> Option<Observation> {
    let (counter, _time) = line.split_once(':')?;
    let message = counter.strip_prefix("MessageReceived_")?;
    JOB_REQUESTS.contains(&message).then_some(Observation::JobMessage)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_two_job_requests_are_assignment_evidence() {
        let at = "2026-11-21T08:00:00.0000000Z";
        for (counter, expected) in [
            ("MessageReceived_RunnerJobRequest", Some(Observation::JobMessage)),
            ("MessageReceived_PipelineAgentJobRequest", Some(Observation::JobMessage)),
            ("MessageReceived_RunnerRefresh", None),
            ("MessageReceived_AgentRefresh", None),
            ("MessageReceived_JobCancellation", None),
            ("SessionCreated", None),
        ] {
            assert_eq!(observation(&format!("{counter}:{at}")), expected, "{counter}");
        }
    }
}
