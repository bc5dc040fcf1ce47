//! A run as it happens, for the person who looks: a line a phase, the runner's console between them, and at the end a
//! waterfall and the outcome.
//!
//! Written by a thread of its own: a terminal that stands still must not stop a deadline.

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::base::clock;
use mayfly_core::lifecycle::{Outcome, Phase, Time};
use mayfly_core::record::Record;

/// Lines that may wait for a slow terminal; what comes on top is counted and left out.
const QUEUE: usize = 1024;

/// How long the last lines may take to be written.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// The width of the waterfall's bars, in characters.
const BAR: usize = 40;

/// See the module.
#[derive(Debug)]
pub struct Progress {
    began: Time,
    colour: bool,
    lines: mpsc::SyncSender<String>,
    left_out: Arc<AtomicU64>,
    writer: JoinHandle<()>,
}

impl Progress {
    /// Shows the run on standard error; in colour if that is a terminal and `NO_COLOR` is not set.
    #[must_use]
    pub fn on_stderr() -> Self {
        let colour = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let (lines, queue) = mpsc::sync_channel::<String>(QUEUE);
        let writer = std::thread::spawn(move || {
            let mut out = io::stderr();
            for line in queue {
                let _ = out.write_all(line.as_bytes());
            }
        });
        Self { began: clock::now(), colour, lines, left_out: Arc::default(), writer }
    }

    /// A phase was entered.
    pub fn phase(&self, phase: &Phase) {
        if matches!(phase, Phase::Ended { .. }) {
            return;
        }
        let at = seconds(clock::now().since(self.began));
        let name = self.paint("1;36", &format!("{:<19}", phase.name()));
        self.write(format!("{at:>9}  {name} {}\n", about(phase)));
    }

    /// The runner printed a line.
    pub fn console(&self, line: &str) {
        if line.trim().is_empty() {
            return;
        }
        self.write(format!("{:>9}  {} {}\n", "", self.paint("2", "│"), self.paint("2", &printable(line))));
    }

    /// Shows the waterfall and the outcome, and waits until all is written, but not for ever.
    pub fn finish(self, record: &Record) {
        let left_out = self.left_out.load(Ordering::Relaxed);
        let mut text = String::new();
        if left_out > 0 {
            text.push_str(&format!(
                "{:>9}  {} {left_out} lines were left out: the terminal was too slow\n",
                "",
                self.paint("2", "│")
            ));
        }
        text.push('\n');
        text.push_str(&self.waterfall(record));
        text.push_str(&self.outcome(record));
        let _ = self.lines.send(text);
        drop(self.lines);
        let deadline = std::time::Instant::now() + LAST_WORDS;
        while !self.writer.is_finished() && std::time::Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn write(&self, line: String) {
        if self.lines.try_send(line).is_err() {
            self.left_out.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn waterfall(&self, record: &Record) -> String {
        let (Some(first), Some(last)) = (record.phases.first(), record.phases.last()) else { return String::new() };
        let total = last.at.since(first.at).as_millis().max(1);
        let column = |at: Time| usize::try_from(at.since(first.at).as_millis() * BAR as u128 / total).unwrap_or(0);
        let mut text = String::new();
        for (phase, next) in record.phases.iter().zip(record.phases.iter().skip(1)) {
            let (from, to) = (column(phase.at), column(next.at).max(column(phase.at) + 1).min(BAR));
            let from = from.min(BAR - 1);
            let bar = self.paint("36", &"█".repeat(to.saturating_sub(from).max(1)));
            let took = seconds(next.at.since(phase.at));
            text.push_str(&format!("  {:<19} {took:>9}  {}{bar}\n", phase.phase, " ".repeat(from)));
        }
        text
    }

    fn outcome(&self, record: &Record) -> String {
        let Some(end) = &record.end else { return String::new() };
        let (mark, colour) = match end.outcome {
            Outcome::JobSucceeded => ("✔", "1;32"),
            outcome if outcome.is_failure() || outcome == Outcome::JobFailed => ("✘", "1;31"),
            _ => ("■", "1;33"),
        };
        let mut text = format!("\n  {}", self.paint(colour, &format!("{mark} {}", end.outcome)));
        if let Some(name) = &end.job_name {
            text.push_str(&format!("  {}", printable(name)));
        }
        text.push_str(&format!("\n    {}\n", end.outcome.meaning()));
        if !end.detail.is_empty() {
            text.push_str(&format!("    {}\n", printable(&end.detail)));
        }
        if end.outcome != Outcome::JobSucceeded {
            text.push_str(&format!("    {}\n", end.outcome.advice()));
        }
        text
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// What a phase is about, for people.
pub(super) fn about(phase: &Phase) -> String {
    match phase {
        Phase::Booting { .. } => "reading the instance identity".to_owned(),
        Phase::Warm => "in the warm pool".to_owned(),
        Phase::WaitingForJitConfig { .. } => "waiting for the JIT configuration".to_owned(),
        Phase::Starting { .. } => "starting the runner".to_owned(),
        Phase::Idle { .. } => "listening for a job".to_owned(),
        Phase::Assigned { .. } => "a job was assigned".to_owned(),
        Phase::Busy { runner, .. } => match &runner.evidence.job_name {
            Some(name) => format!("running {}", printable(name)),
            None => "running a job".to_owned(),
        },
        Phase::Finishing { runner, .. } if runner.exit.is_some() => {
            "the listener is gone; its worker goes on".to_owned()
        }
        Phase::Finishing { .. } => "the job is done; the runner is shutting down".to_owned(),
        Phase::Updating { .. } => "the runner updates itself".to_owned(),
        Phase::Draining { reason, killed: false, .. } => format!("stopping the runner: {reason}"),
        Phase::Draining { reason, .. } => format!("killing what is left of the runner: {reason}"),
        Phase::Closing { end, .. } => format!("clearing away, writing the record: {}", end.outcome),
        Phase::Held { deadline, .. } => {
            format!("kept for a person until {}; mayfly release ends it", clock::hour_of(*deadline))
        }
        Phase::Terminating { end, .. } => format!("ending the machine: {}", end.outcome),
        Phase::Ended { end } => format!("the run is over: {}", end.outcome),
    }
}

fn seconds(span: Duration) -> String {
    format!("{}.{:03} s", span.as_secs(), span.subsec_millis())
}

/// Job names and console lines come from workflows: no control character of theirs reaches the terminal.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
