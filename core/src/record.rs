//! The record: one JSON document about one run, written by the agent and read by whoever explains what became of it.

mod line;
pub mod logs;
#[cfg(test)]
mod schema {
    mod tests;
}
mod series;
mod startup;
mod stopping;

use serde::{Deserialize, Serialize};

use crate::host::Marks;
use crate::image::Image;
use crate::lifecycle::{End, Event, Notice, Outcome, State, TerminationMethod, Time};
pub use line::line;
pub use logs::{LossReason, StreamCounts};
pub use series::{Counters, POINTS, Series, SeriesRecorder};
pub use startup::{Fact, Facts, Source, StartupStep, StepName, SystemdTimes};
pub use stopping::{StepMarks, Stopping};

/// The version of the record's schema, `docs/record.schema.json`. Keys are added without a new one; a key that goes or means
/// something else makes a new one.
pub const SCHEMA: u32 = 1;

/// What happened in a run, for people and machines.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Record {
    /// The version of the record's schema; 0 for a record that was written before there was one.
    #[serde(default)]
    pub schema: u32,
    /// The agent's version.
    pub version: String,
    /// The version of GitHub's runner, if its files tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runner_version: Option<String>,
    /// What the image says of itself, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageMade>,
    /// The instance.
    pub instance: String,
    /// The boot.
    pub boot: String,
    /// What the machine is and how it was bought.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine: Option<Machine>,
    /// When the first agent process of this run began, RFC 3339.
    pub started_at: String,
    /// When the run ended, RFC 3339.
    pub ended_at: Option<String>,
    /// How it ended.
    #[serde(flatten)]
    pub end: Option<End>,
    /// The start-up, step by step: why it took so long.
    #[serde(default)]
    pub startup: Vec<StartupStep>,
    /// Every phase and when it was entered: where the time went.
    #[serde(default)]
    pub phases: Vec<PhaseTime>,
    /// How the time of a stop was spent, if the runner was told to stop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopping: Option<Stopping>,
    /// What EC2 and the Auto Scaling group announced, as far as this agent process saw it.
    #[serde(default)]
    pub notices: Vec<NoticeSeen>,
    /// Every method that was tried to end the machine, and what came back.
    #[serde(default)]
    pub terminations: Vec<TerminationTried>,
    /// When GitHub last renewed the job's lock, as far as the agent saw it, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lock_renewed_at: Option<String>,
    /// What the job took of the machine, as far as the kernel counts it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// What this agent process saw of the machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<Marks>,
    /// The machine over time, as far as this agent process saw it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub series: Option<Series>,
    /// Console lines of the runner that this agent process read.
    #[serde(default)]
    pub console_lines: u64,
    /// What became of the log lines, for each stream; empty where no logs are shipped.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub logs: Vec<StreamCounts>,
    /// Whether an earlier agent process of this run ended before its time.
    #[serde(default)]
    pub agent_restarted: bool,
    /// When the job-started hook was called, for the start-up; the journal tells it again.
    #[serde(skip)]
    pub first_step: Option<Time>,
}

/// What the machine is and how it was bought: what its price depends on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Machine {
    /// Such as `m7i.large`.
    pub instance_type: Option<String>,
    /// The availability zone, such as `eu-central-1a`.
    pub zone: Option<String>,
    /// `on-demand`, `spot`, or another word of EC2's.
    pub purchase: Option<String>,
    /// The image's id, such as `ami-0fedcba9876543210`.
    pub image: Option<String>,
    /// `x86_64` or `arm64`.
    pub architecture: Option<String>,
}

/// How the image was made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ImageMade {
    /// When, RFC 3339.
    pub built_at: String,
    /// With which version of the runner.
    pub runner_version: String,
    /// The last day on which that was known to be GitHub's newest release, such as `2026-10-08`.
    pub runner_newest_on: String,
    /// Of which image, such as `ami-0fedcba9876543210`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_image: Option<String>,
}

impl From<&Image> for ImageMade {
    fn from(image: &Image) -> Self {
        Self {
            built_at: image.built_at.clone(),
            runner_version: image.runner.version.clone(),
            runner_newest_on: image.runner.newest_on.clone(),
            source_image: image.source_image.clone(),
        }
    }
}

/// An announcement that the machine goes away. Times are by this machine's clock, like all times of the record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct NoticeSeen {
    /// What it can make of the run.
    pub notice: Outcome,
    /// When it was seen, RFC 3339.
    pub seen_at: String,
    /// When it comes true, RFC 3339; at once or at some time, if absent.
    pub due_at: Option<String>,
    /// When it was gone again, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub withdrawn_at: Option<String>,
    /// By which it is known again.
    #[serde(skip)]
    told: Option<Notice>,
}

/// A termination method that was tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct TerminationTried {
    /// Which.
    pub method: TerminationMethod,
    /// `None` if it was accepted, else why not.
    pub refused: Option<String>,
}

/// When a phase was entered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PhaseTime {
    /// The phase's name.
    pub phase: String,
    /// Milliseconds since the kernel started.
    pub at: Time,
    /// The same moment, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entered_at: Option<String>,
    /// How long it lasted, in milliseconds; absent while it lasts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
}

/// What the job took.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Usage {
    /// CPU time, in milliseconds.
    pub cpu_ms: Option<u64>,
    /// The most memory at any moment, in bytes, page cache included; kernels before 5.19 do not tell.
    pub memory_peak_bytes: Option<u64>,
    /// How many of its processes were killed for want of memory.
    pub oom_kills: Option<u64>,
    /// Read from disks, in bytes.
    #[serde(default)]
    pub disk_read_bytes: Option<u64>,
    /// Written to disks, in bytes.
    #[serde(default)]
    pub disk_written_bytes: Option<u64>,
    /// Received by the whole machine since this agent process first looked, in bytes.
    #[serde(default)]
    pub network_received_bytes: Option<u64>,
    /// Sent by the whole machine, likewise.
    #[serde(default)]
    pub network_sent_bytes: Option<u64>,
}

impl Record {
    /// Notes a state change.
    pub fn note(&mut self, at: Time, state: &State) {
        let phase = state.phase.name();
        if self.phases.last().is_none_or(|last| last.phase != phase) {
            self.phases.push(PhaseTime { phase: phase.to_owned(), at, ..PhaseTime::default() });
        }
        if state.phase.runner().is_some_and(|run| run.evidence.job.is_some()) {
            self.first_step.get_or_insert(at);
        }
        self.stopping = Stopping::noted(self.stopping.take(), at, &state.phase);
    }

    /// Tells the times of phases and of the start-up by the wall clock, and how long the phases lasted.
    pub fn tell_times(&mut self, wall: impl Fn(i64) -> String) {
        let ends: Vec<_> = self.phases.iter().skip(1).map(|next| next.at).map(Some).chain([None]).collect();
        for (phase, end) in self.phases.iter_mut().zip(ends) {
            phase.entered_at = Some(wall(i64::try_from(phase.at.0).unwrap_or(i64::MAX)));
            phase.duration_ms = end.map(|end| end.0.saturating_sub(phase.at.0));
        }
        for step in &mut self.startup {
            step.began_at = step.began_ms.map(&wall);
        }
    }

    /// Notes what was seen of the job's steps in a stop.
    pub fn steps(&mut self, marks: StepMarks) {
        if let Some(stopping) = &mut self.stopping {
            stopping.saw(marks);
        }
    }

    /// Notes the end, at an RFC 3339 time. What was said about it before is kept if it says no more.
    pub fn end(&mut self, end: &End, ended_at: String) {
        let said = self.end.take().map(|end| end.detail).unwrap_or_default();
        let detail = if end.detail.is_empty() { said } else { end.detail.clone() };
        self.end = Some(End { detail, ..end.clone() });
        self.ended_at = Some(ended_at);
    }

    /// Notes what was announced, with RFC 3339 times; once, however often it is told. Returns whether it is news.
    pub fn notice(&mut self, notice: Notice, seen_at: String, due_at: Option<String>) -> bool {
        if self.notices.iter().any(|seen| seen.told == Some(notice) && seen.withdrawn_at.is_none()) {
            return false;
        }
        self.notices.push(NoticeSeen {
            notice: notice.outcome(),
            seen_at,
            due_at,
            withdrawn_at: None,
            told: Some(notice),
        });
        true
    }

    /// Notes that an announcement was gone again, at an RFC 3339 time.
    pub fn withdrawn(&mut self, notice: Notice, at: String) {
        if let Some(seen) = self.notices.iter_mut().rev().find(|seen| seen.notice == notice.outcome()) {
            seen.withdrawn_at = Some(at);
        }
    }

    /// Notes what came of a termination method.
    pub fn termination(&mut self, event: &Event) {
        let (method, refused) = match event {
            Event::TerminationAccepted(method) => (*method, None),
            Event::TerminationRefused { method, detail, .. } => (*method, Some(detail.clone())),
            _ => return,
        };
        self.terminations.push(TerminationTried { method, refused });
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::lifecycle::JobInfo;

    #[test]
    fn what_was_written_is_read_back_and_a_later_versions_further_keys_are_no_hindrance() {
        let mut record = Record { version: "0.1.0".to_owned(), instance: "i-1".to_owned(), ..Record::default() };
        record.phases.push(PhaseTime { phase: "Idle".to_owned(), at: Time(7), ..PhaseTime::default() });
        record.notice(Notice::Spot { at: Time(9) }, "then".to_owned(), Some("soon".to_owned()));
        record.termination(&Event::TerminationRefused {
            method: TerminationMethod::Ec2,
            at_min_size: false,
            detail: "denied".to_owned(),
        });
        record.usage = Some(Usage { cpu_ms: Some(3), ..Usage::default() });
        record.stopping = Some(Stopping { signal: Time(8), ..Stopping::default() });
        let job = Some(JobInfo { run_id: "42".to_owned(), ..JobInfo::default() });
        let end = End { job, ran: true, ..End::without_runner(Outcome::SpotInterruption, "gone") };
        record.end(&end, "late".to_owned());
        let mut json = serde_json::to_value(&record).unwrap();
        json["new-in-a-later-version"] = serde_json::json!({ "a": 1 });
        let mut read: Record = serde_json::from_value(json).unwrap();
        read.notices[0].told = record.notices[0].told;
        assert_eq!(read, record, "the launcher and whoever explains a run cannot read what the agent wrote");
    }

    #[test]
    fn a_record_of_a_run_that_has_not_ended_is_read_back_too() {
        let json = r#"{"version":"0.1.0","instance":"i-1","boot":"b","started_at":"t","ended_at":null}"#;
        let record: Record = serde_json::from_str(json).unwrap();
        assert_eq!((record.end, record.phases.len()), (None, 0));
    }
}
