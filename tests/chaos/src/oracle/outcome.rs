//! Whether the outcome is right: what must be told, and what may be.

use std::time::Duration;

use mayfly_fake_runner::JobResult;
use mayfly_fake_runner::recording::{Event, Who};

use super::{BLUR, Verdict};
use crate::limits;
use crate::plan::{Between, Disk, Docker, Jit, Plan, What};
use crate::stories;
use crate::witness::{End, Witness};

pub(super) fn judge(plan: &Plan, witness: &Witness, verdict: &mut Verdict) {
    if witness.end == End::Hung {
        return;
    }
    let Some(outcome) = witness.outcome() else {
        let disk = plan.disk != Disk::Plain;
        return verdict.unless(disk, "every run has an outcome", || format!("none; states {:?}", witness.states));
    };
    stands(plan, witness, verdict);
    verdict.unless(witness.forged.is_empty(), "no job speaks for another", || format!("{:#?}", witness.forged));
    let story = Facts { plan, witness };
    verdict.unless(story.may_be(outcome), "the outcome is a right one", || story.told(outcome));
    if let Some(due) = story.must_be() {
        verdict.unless(due.contains(&outcome), "a job's result is not lost", || {
            format!("{} instead of {due:?}", story.told(outcome))
        });
    }
}

/// Once an outcome is journaled it stays.
fn stands(_plan: &Plan, witness: &Witness, verdict: &mut Verdict) {
    if witness.did(|what| matches!(what, What::KillAgent { between: Between::LineLost | Between::Garbage, .. })) {
        return;
    }
    // In another boot, an instance that cannot learn its name obeys no journal: it may be another's.
    let nameless = witness.record["instance"] == "unknown";
    if nameless && witness.did(|what| matches!(what, What::KillAgent { between: Between::Reboot, .. })) {
        return;
    }
    let told: Vec<&str> =
        witness.journal.iter().filter_map(|line| line["state"]["phase"]["end"]["outcome"].as_str()).collect();
    let one = told.windows(2).all(|pair| pair[0] == pair[1])
        && told.first().is_none_or(|first| witness.outcome() == Some(first));
    verdict.unless(one, "an outcome stands", || format!("{told:?}, record {:?}", witness.outcome()));
}

struct Facts<'a> {
    plan: &'a Plan,
    witness: &'a Witness,
}

impl Facts<'_> {
    fn told(&self, outcome: &str) -> String {
        format!(
            "{outcome:?} ({}), runner: {:?}",
            self.witness.record["detail"].as_str().unwrap_or_default(),
            self.witness
                .recording
                .records
                .iter()
                .map(|record| &record.event)
                .filter(|event| !matches!(event, Event::ListenerStart(_)))
                .collect::<Vec<_>>()
        )
    }

    fn did(&self, is: impl Fn(&What) -> bool) -> bool {
        self.witness.did(is)
    }

    fn at(&self, is: impl Fn(&Event) -> bool) -> Option<Duration> {
        let found = self.witness.recording.records.iter().find(|record| is(&record.event));
        found.map(|record| self.witness.since(record.at_ms))
    }

    fn entered(&self, state: &str) -> Option<Duration> {
        self.witness.entered(state)
    }

    fn started(&self) -> bool {
        !self.witness.recording.starts().is_empty()
    }

    /// When the run was over, whatever came after that.
    fn decided(&self) -> Duration {
        let of = |state| self.entered(state);
        of("Draining").or_else(|| of("Closing")).unwrap_or(self.witness.took)
    }

    /// The disk was another than the agent thought: anything but a wrong success may follow.
    fn memory_lost(&self) -> bool {
        self.did(|what| {
            matches!(
                what,
                What::KillAgent { between: Between::LineLost | Between::Garbage, .. } | What::DiskFull { .. }
            )
        }) || self.plan.disk == Disk::ReadOnly
    }

    fn rebooted(&self) -> bool {
        self.did(|what| matches!(what, What::KillAgent { between: Between::Reboot, .. }))
    }

    /// Something was done to the runner's processes.
    fn runner_hit(&self) -> bool {
        self.did(|what| matches!(what, What::KillListener | What::KillWorker | What::FreezeListener { .. }))
    }

    /// The metadata service or AWS were not what they should be.
    fn cloud_hit(&self) -> bool {
        self.did(|what| {
            matches!(
                what,
                What::Imds { .. }
                    | What::ImdsSilent(_)
                    | What::ImdsRefuses(_)
                    | What::ImdsForgetsTokens
                    | What::Aws { .. }
                    | What::AwsSilent(_)
            )
        })
    }

    /// The result the double's own worker ended with, or the one it printed.
    fn results(&self) -> Vec<JobResult> {
        let worker = self.witness.recording.exits(Who::Worker).into_iter().filter_map(JobResult::from_code);
        self.witness.recording.results().into_iter().chain(worker).collect()
    }

    fn had(&self, results: &[JobResult]) -> bool {
        self.results().iter().any(|result| results.contains(result))
    }

    /// Something lasted for its limit.
    fn lasted(&self, from: Option<Duration>, limit: Duration) -> bool {
        from.is_some_and(|from| self.decided().saturating_sub(from) + BLUR >= limit)
    }

    fn natural(&self, outcome: &str) -> bool {
        self.started() && stories::named(self.plan.story).outcomes.contains(&outcome)
    }

    fn may_be(&self, outcome: &str) -> bool {
        use JobResult::{Abandoned, Canceled, Failed, Skipped, Succeeded, SucceededWithIssues};
        let notice = |is: fn(&What) -> bool| self.did(is);
        let listened = self.at(|event| *event == Event::Listening);
        let worker = self.at(|event| matches!(event, Event::WorkerStart { .. }));
        let job = worker.or_else(|| self.at(|event| *event == Event::JobArrived));
        let message = self.at(|event| *event == Event::JobMessage);
        let good = self.had(&[Succeeded, SucceededWithIssues, Skipped]);
        let bad = self.had(&[Failed, Canceled, Abandoned]);
        match outcome {
            // Whatever else befell the run.
            "job-succeeded" => good && !bad,
            "job-failed" => self.had(&[Failed]),
            "job-canceled" => self.had(&[Canceled]),
            "job-abandoned" => self.had(&[Abandoned]),
            "spot-interruption" => notice(|what| matches!(what, What::Spot { .. })),
            "rebalance" => notice(|what| matches!(what, What::Rebalance)),
            "scheduled-event" => notice(|what| matches!(what, What::Scheduled { .. })),
            "asg-termination" => notice(|what| matches!(what, What::GroupTerminates)),
            // An agent that forgot that it has ended its machine is shut down with it.
            "external-shutdown" => {
                // Whatever was said of the group then vanished, too.
                let no_pool = notice(|what| matches!(what, What::PoolStop { .. }))
                    && notice(|what| matches!(what, What::NoticesVanish));
                notice(|what| matches!(what, What::TermAgent)) || self.memory_lost() || no_pool
            }
            "operator-drain" => notice(|what| matches!(what, What::Drain { .. })),
            "second-boot" => self.rebooted(),
            // The metadata service tells the launch in whole seconds.
            "lifetime" => self.decided() + BLUR + Duration::from_secs(1) >= limits::LIFETIME,
            "journal-failed" => self.memory_lost(),
            _ if self.memory_lost() => true,
            "imds-unavailable" => self.cloud_hit() && !self.started(),
            "jit-config-invalid" => self.plan.jit == Jit::Invalid && !self.started(),
            "jit-config-denied" => self.cloud_hit() && !self.started(),
            "jit-config-timeout" => {
                let late = matches!(self.plan.jit, Jit::Never | Jit::Late(_));
                (late || self.cloud_hit() || self.plan.jit == Jit::Invalid)
                    && self.lasted(self.entered("WaitingForJitConfig"), limits::JIT_WAIT)
                    && !self.started()
            }
            "docker-unavailable" => self.plan.docker == Docker::RequiredAndHung,
            "idle-timeout" => job.is_none() && self.lasted(listened, limits::IDLE),
            "idle-raced" => match self.witness.record["stopped_for"].as_str() {
                Some("idle-timeout") => self.lasted(listened, limits::IDLE),
                Some(reason) => reason != outcome && job.or(message).is_some() && self.may_be(reason),
                None => false,
            },
            "runner-not-listening" => self.lasted(self.entered("Starting"), limits::LISTENING),
            "job-timeout" => self.lasted(worker, limits::JOB),
            // A dead worker's listener says that the job failed.
            "worker-crashed" => {
                // The end of a job that hides its own hooks is not told from a crash.
                self.natural(outcome) || self.runner_hit() || self.did(|what| matches!(what, What::Job(_)))
            }
            "runner-crashed" | "job-unknown" | "runner-wedged" => {
                self.natural(outcome) || self.runner_hit() || self.rebooted()
            }
            _ => self.natural(outcome),
        }
    }

    /// The only outcomes there may be, if that is certain.
    fn must_be(&self) -> Option<Vec<&'static str>> {
        if self.memory_lost() || self.rebooted() {
            return None;
        }
        let records = &self.witness.recording.records;
        let completed = records.iter().position(|record| matches!(record.event, Event::Completed { .. }));
        let signalled =
            records.iter().position(|record| matches!(record.event, Event::Signal { who: Who::Listener, .. }));
        if let Some(completed) = completed
            && let Event::Completed { result } = records[completed].event
            && signalled.is_none_or(|signalled| completed < signalled)
            && !self.runner_hit()
        {
            // The listener said so in good time, and whoever stopped it later came too late.
            let stopped = self.entered("Draining").is_some();
            match result {
                JobResult::Succeeded | JobResult::SucceededWithIssues | JobResult::Skipped => {
                    return Some(vec!["job-succeeded"]);
                }
                JobResult::Failed if !stopped => return Some(vec!["job-failed", "worker-crashed"]),
                JobResult::Canceled if !stopped => return Some(vec!["job-canceled"]),
                JobResult::Abandoned if !stopped => return Some(vec!["job-abandoned"]),
                _ => {}
            }
        }
        let disturbed = self.runner_hit()
            || self.plan.docker == Docker::RequiredAndHung
            || self.did(|what| {
                matches!(
                    what,
                    What::TermAgent
                        | What::FreezeAgent { .. }
                        | What::Spot { .. }
                        | What::Rebalance
                        | What::Scheduled { .. }
                        | What::GroupTerminates
                        | What::Drain { .. }
                )
            });
        (self.started() && !disturbed).then(|| stories::named(self.plan.story).outcomes.to_vec())
    }
}
