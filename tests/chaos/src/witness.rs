//! What was seen of a run, by everybody but the agent, and what the agent left about itself.

use std::collections::BTreeMap;
use std::time::Duration;

use mayfly_e2e::processes::Process;
use mayfly_fake_runner::install::Recording;
use serde_json::Value;

use crate::plan::What;

/// Everything that the [`oracle`](crate::oracle) knows. Times count from the beginning of the run.
#[derive(Debug)]
pub struct Witness {
    /// What of the plan happened, and when.
    pub done: Vec<(Duration, What)>,
    /// What of the plan could not be done though its time came, and why.
    pub undone: Vec<(What, String)>,
    /// What the agent's log said of its states.
    pub states: Vec<(Duration, String)>,
    /// When each agent process began.
    pub agents: Vec<Duration>,
    /// How agent processes ended by themselves.
    pub exits: Vec<Exit>,
    /// Every attempt to end the machine.
    pub terminations: Vec<Termination>,
    /// What the machine was like when its end was asked for first.
    pub before_end: Option<Tidiness>,
    /// How it ended.
    pub end: End,
    /// When it ended.
    pub took: Duration,
    /// What the runner's double recorded. Its times count from 1970; see [`Self::since`].
    pub recording: Recording,
    /// The beginning in milliseconds since 1970.
    pub began_unix_ms: u64,
    /// The beginning on the boot clock, which the journal has.
    pub began_boot: Duration,
    /// The agent's record, or `Null`.
    pub record: Value,
    /// The journal's lines, as far as they are JSON.
    pub journal: Vec<Value>,
    /// Processes of the run that outlived it.
    pub left: Vec<Process>,
    /// How many operators' commands went on waiting for an agent that was gone.
    pub operators_left: usize,
    /// Files of the JIT configuration that outlived it.
    pub files_left: Vec<String>,
    /// What the agent remembers, or told AWS, in the name that a job made up.
    pub forged: Vec<String>,
    /// Places that show a secret.
    pub secrets: Vec<String>,
}

/// How an agent process ended by itself.
#[derive(Clone, Copy, Debug)]
pub struct Exit {
    /// Its exit code.
    pub code: Option<i32>,
    /// The signal that killed it.
    pub signal: Option<i32>,
    /// How long it had lived.
    pub ran: Duration,
}

/// An attempt to end the machine.
#[derive(Clone, Debug)]
pub struct Termination {
    /// When it was asked for.
    pub at: Duration,
    /// The action, or `power-off`.
    pub how: String,
    /// Whether the agent was told yes.
    pub accepted: bool,
}

/// What should be cleared away before the machine ends.
#[derive(Clone, Debug)]
pub struct Tidiness {
    /// When it was looked at.
    pub at: Duration,
    /// The record that was there, or `Null`.
    pub record: Value,
    /// How many lines of each stream were where its logs go.
    pub lines_in_sink: BTreeMap<String, u64>,
    /// Files of the JIT configuration that were there.
    pub files: Vec<String>,
    /// Processes of the runner that were there.
    pub processes: Vec<Process>,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The agent ended.
    Gone,
    /// The machine's end was accepted, and the agent did not go with it.
    Clung,
    /// Neither, within the bound.
    Hung,
    /// Nobody wanted to know any more.
    Cut,
}

impl Witness {
    /// Whether something of this kind happened.
    pub fn did(&self, is: impl Fn(&What) -> bool) -> bool {
        self.done.iter().any(|(_, what)| is(what))
    }

    /// A time of the recording, counted from the beginning.
    #[must_use]
    pub fn since(&self, unix_ms: u64) -> Duration {
        Duration::from_millis(unix_ms.saturating_sub(self.began_unix_ms))
    }

    /// When a state was entered first. An agent that is killed at that very moment may have written it to its journal and
    /// not to its log, and a line of the journal may be lost.
    pub fn entered(&self, state: &str) -> Option<Duration> {
        let logged = self.states.iter().find(|(_, name)| name == state).map(|(at, _)| *at);
        let journaled = self.journal.iter().find(|line| line["state"]["phase"]["state"] == state);
        let journaled = journaled.and_then(|line| line["at"].as_u64());
        let journaled = journaled.map(|at| Duration::from_millis(at).saturating_sub(self.began_boot));
        logged.into_iter().chain(journaled).min()
    }

    /// The outcome in the record, else the one in the journal.
    #[must_use]
    pub fn outcome(&self) -> Option<&str> {
        let told = |value: &'_ Value| value["outcome"].as_str().is_some();
        let journaled = || self.journal.iter().rev().map(|line| &line["state"]["phase"]["end"]).find(|end| told(end));
        if told(&self.record) { self.record["outcome"].as_str() } else { journaled()?["outcome"].as_str() }
    }
}
