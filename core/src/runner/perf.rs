//! The runner's perf log: `RUNNER_PERFLOG=<dir>` makes listener and worker append lines `<counter>:<time>`.

use std::time::SystemTime;

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

/// What the perf log tells of the way to a job, by the runner's wall clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moments {
    /// The listener had a session at GitHub.
    pub session: Option<SystemTime>,
    /// It got a message that asks for a job.
    pub message: Option<SystemTime>,
    /// The worker had its job.
    pub worker: Option<SystemTime>,
}

impl Moments {
    /// Takes one line of either file in. The first of each kind counts.
    pub fn note(&mut self, line: &str) {
        let Some((counter, time)) = line.split_once(':') else { return };
        let moment = match counter {
            "SessionCreated" => &mut self.session,
            _ if observation(line).is_some() => &mut self.message,
            _ if counter.starts_with("WorkerJobMessageReceived") => &mut self.worker,
            _ => return,
        };
        if moment.is_none() {
            *moment = humantime::parse_rfc3339(time.trim()).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_moment_of_each_kind_counts_and_what_is_no_time_is_none() {
        let mut moments = Moments::default();
        for line in [
            "SessionCreated:yesterday",
            "SessionCreated:2026-11-21T08:00:00.1230000Z",
            "MessageReceived_RunnerJobRequest:2026-11-21T08:00:01.0000000Z",
            "MessageReceived_RunnerJobRequest:2026-11-21T08:59:59.0000000Z",
            "WorkerJobMessageReceived_7:2026-11-21T08:00:02.0000000Z",
            "WorkerJobFinished_7:2026-11-21T08:00:03.0000000Z",
            ":::",
        ] {
            moments.note(line);
        }
        let at = |time: Option<SystemTime>| time.map(|time| humantime::format_rfc3339_millis(time).to_string());
        assert_eq!(at(moments.session).as_deref(), Some("2026-11-21T08:00:00.123Z"));
        assert_eq!(at(moments.message).as_deref(), Some("2026-11-21T08:00:01.000Z"));
        assert_eq!(at(moments.worker).as_deref(), Some("2026-11-21T08:00:02.000Z"));
    }

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
