//! What `mayfly status` shows.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::base::clock;
use mayfly_core::host::{Marks, Warning};
use mayfly_core::image::{AgeSource, RunnerAge};
use mayfly_core::lifecycle::{Evidence, JobInfo, Lifetime, Outcome, Policy, State};
use mayfly_core::record::{NoticeSeen, Record, Series};
use mayfly_core::timeline::{bytes, clean};

/// A run, as it is right now.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Status {
    /// The agent's version.
    pub version: String,
    /// The agent's process number.
    pub pid: u32,
    /// The installed runner, and how old it is, as far as that is known.
    #[serde(default)]
    pub runner: Option<RunnerStatus>,
    /// The instance.
    pub instance: String,
    /// The state's name.
    pub state: String,
    /// What the agent does or waits for in that state, for people.
    #[serde(default)]
    pub doing: String,
    /// Seconds since that state was entered.
    pub since_seconds: u64,
    /// Seconds until something happens by itself, and what.
    pub next_seconds: Option<u64>,
    /// Seconds until the lifetime ends.
    pub lifetime_seconds: Option<u64>,
    /// Seconds since GitHub last renewed the job's lock, as far as that was seen.
    #[serde(default)]
    pub lock_renewed_seconds: Option<u64>,
    /// Until when the machine is kept for a person, or will be if its run ends before; RFC 3339.
    #[serde(default)]
    pub held_until: Option<String>,
    /// The job's display name.
    pub job_name: Option<String>,
    /// Seconds until GitHub gives the job up, unless its lock is renewed.
    #[serde(default)]
    pub lock_seconds: Option<u64>,
    /// How busy the CPUs are, in percent.
    #[serde(default)]
    pub cpu_percent: Option<u64>,
    /// Memory in use and all of it, in MiB.
    #[serde(default)]
    pub memory_mib: Option<(u64, u64)>,
    /// What the job-started hook told.
    pub job: Option<JobInfo>,
    /// What EC2 and the Auto Scaling group announced.
    #[serde(default)]
    pub notices: Vec<NoticeSeen>,
    /// How the run ended, once it is ending.
    pub outcome: Option<Outcome>,
    /// What the agent saw of the machine.
    #[serde(default)]
    pub host: Option<Marks>,
}

/// The installed runner.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RunnerStatus {
    /// Its version.
    pub version: String,
    /// How many days ago it was known, or is guessed, to be GitHub's newest release.
    pub days: Option<u64>,
    /// By what that is known.
    pub source: AgeSource,
    /// All of it in a sentence.
    pub says: String,
}

impl From<&RunnerAge> for RunnerStatus {
    fn from(age: &RunnerAge) -> Self {
        let now = SystemTime::now();
        Self { version: age.version.clone(), days: age.days(now), source: age.source, says: age.sentence(now) }
    }
}

impl Status {
    /// The status of a state.
    #[must_use]
    pub fn of(state: &State, record: &Record, policy: &Policy, doing: String, runner: Option<&RunnerAge>) -> Self {
        let now = clock::now();
        let evidence = state.phase.runner().map(|run| run.evidence.clone()).unwrap_or_default();
        let renewed = state.phase.runner().and_then(|run| run.lock_renewed(policy));
        let Evidence { job_name, job, .. } = evidence;
        let end = state.phase.end();
        let series = record.series.as_ref();
        let memory = |series: &Series| Some(((*series.memory_mib.last()?)?, series.memory_total_mib?));
        Self {
            version: record.version.clone(),
            pid: std::process::id(),
            runner: runner.map(RunnerStatus::from),
            instance: record.instance.clone(),
            state: state.phase.name().to_owned(),
            doing,
            since_seconds: record.phases.last().map_or(0, |last| now.since(last.at).as_secs()),
            next_seconds: state.phase.deadline().map(|at| at.since(now).as_secs()),
            lifetime_seconds: match state.lifetime {
                Lifetime::Until(at) => Some(at.since(now).as_secs()),
                Lifetime::Paused | Lifetime::Passed => None,
            },
            lock_renewed_seconds: renewed.map(|at| now.since(at).as_secs()),
            held_until: state.held_until().filter(|until| *until > now).map(clock::timestamp_of),
            job_name: job_name.or_else(|| end.and_then(|end| end.job_name.clone())),
            job: job.or_else(|| end.and_then(|end| end.job.clone())),
            lock_seconds: state.phase.runner().and_then(|run| run.lock).map(|until| until.since(now).as_secs()),
            cpu_percent: series.and_then(|series| *series.cpu_percent.last()?),
            memory_mib: series.and_then(memory),
            notices: record.notices.clone(),
            outcome: end.map(|end| end.outcome),
            host: record.host.clone(),
        }
    }

    /// The status for people, several lines.
    #[must_use]
    pub fn to_text(&self) -> String {
        let span = |seconds: u64| humantime::format_duration(Duration::from_secs(seconds)).to_string();
        let mut lines = vec![
            format!("{:<10}{}  (for {})", "state", self.state, span(self.since_seconds)),
            format!("{:<10}{}", "doing", self.doing),
            format!("{:<10}{}", "instance", self.instance),
        ];
        if let Some(name) = &self.job_name {
            lines.push(format!("{:<10}{}", "job", clean(name)));
        }
        if let Some(JobInfo { repository, run_id, .. }) = self.job.as_ref().filter(|job| !job.repository.is_empty()) {
            lines.push(format!("{:<10}{repository}, run {run_id}", "of"));
        }
        if let Some(seconds) = self.lock_renewed_seconds {
            lines.push(format!("{:<10}renewed by GitHub {} ago", "lock", span(seconds)));
        }
        for NoticeSeen { notice, due_at, withdrawn_at, .. } in &self.notices {
            let due = due_at.as_deref().map(|due| format!(", due at {due}")).unwrap_or_default();
            let gone = withdrawn_at.as_deref().map(|at| format!(", withdrawn at {at}")).unwrap_or_default();
            lines.push(format!("{:<10}{notice}{due}{gone}", "notice"));
        }
        if let Some(outcome) = self.outcome {
            lines.push(format!("{:<10}{outcome}: {}", "outcome", outcome.meaning()));
        }
        if let Some(until) = &self.held_until {
            let kept = if self.state == "Held" { "until" } else { "if the run ends before" };
            lines.push(format!("{:<10}{kept} {until}; mayfly release ends it", "held"));
        }
        if let Some(seconds) = self.next_seconds {
            lines.push(format!("{:<10}in {}", "deadline", span(seconds)));
        }
        if let Some(seconds) = self.lifetime_seconds {
            lines.push(format!("{:<10}ends in {}", "lifetime", span(seconds)));
        }
        if let Some(seconds) = self.lock_seconds {
            lines.push(format!("{:<10}GitHub keeps the job for {}, longer with each renewal", "lock", span(seconds)));
        }
        if let (Some(cpu), Some((used, all))) = (self.cpu_percent, self.memory_mib) {
            let [used, all] = [used, all].map(|mib| bytes(mib << 20));
            lines.push(format!("{:<10}CPU {cpu} %, memory {used} of {all}", "machine"));
        }
        for Warning { at, text, .. } in self.host.iter().flat_map(|host| &host.warnings) {
            lines.push(format!("{:<10}{text}  ({at})", "warning"));
        }
        if let Some(runner) = &self.runner {
            lines.push(format!("{:<10}{}", "runner", runner.says));
        }
        lines.push(format!("{:<10}mayfly {}, process {}", "agent", self.version, self.pid));
        lines.join("\n")
    }
}
