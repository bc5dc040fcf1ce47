//! The record: one JSON document about one life.

use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};
use tracing::warn;

use super::clock;
use super::journal::{Binding, Entry};
use super::stopping::Stopping;
use super::usage::Usage;
use crate::host::Marks;
use crate::lifecycle::{End, Event, Notice, Outcome, Rung, Time};
use crate::runner::steps::Marks as StepMarks;

/// What happened in a life, for people and machines.
#[derive(Clone, Debug, Serialize)]
pub struct Record {
    /// The agent's version.
    pub version: &'static str,
    /// The instance.
    pub instance: String,
    /// The boot.
    pub boot: String,
    /// When the first agent process of this life began, RFC 3339.
    pub started_at: String,
    /// When the life ended, RFC 3339.
    pub ended_at: Option<String>,
    /// How it ended.
    #[serde(flatten)]
    pub end: Option<End>,
    /// Every phase and when it was entered.
    pub phases: Vec<PhaseTime>,
    /// How the time of a stop was spent, if the runner was told to stop.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stopping: Option<Stopping>,
    /// What EC2 and the Auto Scaling group announced, as far as this agent process saw it.
    pub notices: Vec<NoticeSeen>,
    /// Every rung that was tried to end the machine, and what came back.
    pub rungs: Vec<RungTried>,
    /// What the job took of the machine, where systemd counts it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// What this agent process saw of the machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<Marks>,
    /// Console lines of the runner that this agent process read.
    pub console_lines: u64,
    /// Whether an earlier agent process of this life ended before its time.
    pub agent_restarted: bool,
}

/// An announcement that the machine goes away. Times are by this machine's clock, like all times of the record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoticeSeen {
    /// What it can make of the life.
    pub notice: Outcome,
    /// When it was seen, RFC 3339.
    pub seen_at: String,
    /// When it comes true, RFC 3339; at once or at some time, if absent.
    pub due_at: Option<String>,
    /// When it was gone again, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub withdrawn_at: Option<String>,
    #[serde(skip)]
    told: Option<Told>,
}

/// By which a notice is known again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Told(Notice);

/// A rung that was tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RungTried {
    /// Which.
    pub rung: Rung,
    /// `None` if it was accepted, else why not.
    pub refused: Option<String>,
}

/// When a phase was entered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PhaseTime {
    /// The phase's name.
    pub phase: String,
    /// Milliseconds since the kernel started.
    pub at: Time,
}

impl Record {
    /// A record that goes on from what earlier agent processes of this boot wrote to the journal.
    #[must_use]
    pub fn new(binding: &Binding, entries: &[Entry], agent_restarted: bool) -> Self {
        let mut record = Self {
            version: env!("CARGO_PKG_VERSION"),
            instance: binding.instance.clone(),
            boot: binding.boot.clone(),
            started_at: clock::timestamp_of(entries.first().map_or_else(clock::now, |first| first.at)),
            ended_at: None,
            end: None,
            phases: Vec::new(),
            stopping: None,
            notices: Vec::new(),
            rungs: Vec::new(),
            usage: None,
            host: None,
            console_lines: 0,
            agent_restarted,
        };
        entries.iter().for_each(|entry| record.note(entry));
        record
    }

    /// Notes a state change.
    pub fn note(&mut self, entry: &Entry) {
        let phase = entry.state.phase.name();
        if self.phases.last().is_none_or(|last| last.phase != phase) {
            self.phases.push(PhaseTime { phase: phase.to_owned(), at: entry.at });
        }
        self.stopping = Stopping::noted(self.stopping.take(), entry);
    }

    /// Notes what was seen of the job's steps in a stop.
    pub fn steps(&mut self, marks: StepMarks) {
        if let Some(stopping) = &mut self.stopping {
            stopping.saw(marks);
        }
    }

    /// Notes the end. What was said about it before is kept if it says no more.
    pub fn end(&mut self, end: &End) {
        let said = self.end.take().map(|end| end.detail).unwrap_or_default();
        let detail = if end.detail.is_empty() { said } else { end.detail.clone() };
        self.end = Some(End { detail, ..end.clone() });
        self.ended_at = Some(clock::timestamp());
    }

    /// Notes what was announced, and says it; once, however often it is told.
    pub fn notice(&mut self, event: &Event) {
        match event {
            Event::Notice(notice) => {
                let known = Some(Told(*notice));
                if self.notices.iter().any(|seen| seen.told == known && seen.withdrawn_at.is_none()) {
                    return;
                }
                let due_at = notice.due().map(clock::timestamp_of);
                let when = due_at.as_deref().map(|due| format!(", due at {due}")).unwrap_or_default();
                warn!("EC2 announces {}{when}", notice.outcome());
                let (notice, seen_at) = (notice.outcome(), clock::timestamp());
                self.notices.push(NoticeSeen { notice, seen_at, due_at, withdrawn_at: None, told: known });
            }
            Event::Withdrawn(notice) => {
                warn!("EC2 withdrew {}", notice.outcome());
                let last = self.notices.iter_mut().rev().find(|seen| seen.notice == notice.outcome());
                if let Some(seen) = last {
                    seen.withdrawn_at = Some(clock::timestamp());
                }
            }
            _ => {}
        }
    }

    /// Notes what came of a rung.
    pub fn rung(&mut self, event: &Event) {
        let (rung, refused) = match event {
            Event::RungAccepted(rung) => (*rung, None),
            Event::RungRefused { rung, detail, .. } => (*rung, Some(detail.clone())),
            _ => return,
        };
        self.rungs.push(RungTried { rung, refused });
    }

    /// Writes the record, whole or not at all.
    ///
    /// # Errors
    /// It could not be written.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let beside = path.with_extension("json.new");
        fs::write(&beside, serde_json::to_vec_pretty(self)?)?;
        fs::rename(beside, path)
    }
}
