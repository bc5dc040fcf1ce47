//! What an operator wants of a run, and what will happen now, in a sentence.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::clock;
use mayfly_core::lifecycle::{Ending, Event, Lifetime, Phase, Policy, State, Stop, Time};

/// What an operator wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// `mayfly drain`
    Drain,
    /// `mayfly drain --now`
    DrainNow,
    /// `mayfly hold`
    Hold {
        /// For how long from now on.
        seconds: u64,
    },
    /// `mayfly release`
    Release,
}

/// What came of an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Whether what was wanted will be.
    pub accepted: bool,
    /// What will happen now, for people.
    pub message: String,
    /// The state's name, after the order.
    pub state: String,
    /// Until when the machine is kept, RFC 3339.
    pub held_until: Option<String>,
}

impl Order {
    /// The event that carries it out.
    #[must_use]
    pub fn event(self, now: Time) -> Event {
        match self {
            Self::Drain => Event::Stop(Stop::Drain),
            Self::DrainNow => Event::Stop(Stop::DrainNow),
            Self::Hold { seconds } => Event::Hold(now + Duration::from_secs(seconds)),
            Self::Release => Event::Release,
        }
    }
}

impl Answer {
    /// Tells what the lifecycle made of an order.
    #[must_use]
    pub fn of(order: Order, policy: &Policy, before: &State, after: &State, now: Time) -> Self {
        let told = Told { what: noun(policy), before, after, now };
        let (accepted, message) = match order {
            _ if matches!(before.phase, Phase::Terminating { .. } | Phase::Ended { .. }) => {
                let late = matches!(order, Order::Hold { .. });
                (!late, format!("{}the {} is being ended already", if late { "too late: " } else { "" }, told.what))
            }
            Order::Drain | Order::DrainNow => (true, told.drain()),
            Order::Hold { seconds } => told.hold(now + Duration::from_secs(seconds)),
            Order::Release => (true, told.release()),
        };
        let held_until = after.held_until().map(clock::timestamp_of);
        Self { accepted, message, state: after.phase.name().to_owned(), held_until }
    }
}

/// What ends at the end of a run.
const fn noun(policy: &Policy) -> &'static str {
    match policy.ending {
        Ending::Process => "agent",
        Ending::Instance { .. } => "machine",
    }
}

struct Told<'a> {
    what: &'static str,
    before: &'a State,
    after: &'a State,
    now: Time,
}

impl Told<'_> {
    fn drain(&self) -> String {
        let what = self.what;
        let has_job = self.before.phase.runner().is_some_and(|run| run.evidence.assigned());
        match (&self.before.phase, &self.after.phase) {
            (Phase::Closing { end, .. }, _) => format!("the {what} is ending already: {}", end.outcome),
            (Phase::Draining { reason, deadline, .. }, _) => {
                format!(
                    "the runner is being stopped already: {reason}; the {what} ends within {}",
                    self.span(*deadline)
                )
            }
            (Phase::Held { .. }, _) => format!("no longer held: the {what} ends now"),
            (Phase::Finishing { .. }, Phase::Finishing { deadline, .. }) => {
                format!("the job is over; the {what} ends within {}", self.span(*deadline))
            }
            (_, Phase::Draining { deadline, .. }) if has_job => {
                format!("the job is being stopped; the {what} ends within {}", self.span(*deadline))
            }
            (_, Phase::Draining { deadline, .. }) => {
                format!("no job is running: the runner stops, and the {what} ends within {}", self.span(*deadline))
            }
            (_, Phase::Closing { .. }) => format!("no runner was started: the {what} ends now"),
            _ => format!("the job goes on; the {what} ends after it"),
        }
    }

    fn hold(&self, wanted: Time) -> (bool, String) {
        let what = self.what;
        let Some(until) = self.after.held_until().filter(|until| *until > self.now) else {
            return (false, format!("the {what} cannot be held: its lifetime is over"));
        };
        let outcome = match &self.after.phase {
            Phase::Draining { reason, .. } => Some(*reason),
            phase => phase.end().map(|end| end.stopped_for.unwrap_or(end.outcome)),
        };
        if let Some(outcome) = outcome.filter(|outcome| !outcome.may_be_held()) {
            return (false, format!("the {what} cannot be held: {}", outcome.meaning()));
        }
        let moment = format!("until {} (in {})", clock::hour_of(until), self.span(until));
        let bound = match self.after.lifetime {
            Lifetime::Until(_) if until < wanted => "; that is the end of its lifetime".to_owned(),
            Lifetime::Until(end) => format!(", at most to the end of its lifetime at {}", clock::hour_of(end)),
            Lifetime::Paused | Lifetime::Passed => String::new(),
        };
        let message = match &self.after.phase {
            Phase::Held { .. } => format!("held {moment}{bound}"),
            phase if phase.end().is_some() => format!("the {what} is kept {moment}{bound}"),
            phase if phase.runner().is_some_and(|run| run.evidence.assigned()) => {
                format!("the job goes on; if it is over before, the {what} is kept {moment}{bound}")
            }
            _ => format!("the run goes on; if it is over before, the {what} is kept {moment}{bound}"),
        };
        (true, message)
    }

    fn release(&self) -> String {
        let what = self.what;
        match &self.before.phase {
            Phase::Held { .. } => format!("released: the {what} ends now"),
            _ if self.before.hold.is_some() => format!("released: the {what} ends when its run is over"),
            _ => format!("nothing to release: nobody holds the {what}"),
        }
    }

    fn span(&self, until: Time) -> String {
        // Whole seconds, and never "0s" for something that is still to come.
        let seconds = until.since(self.now).as_millis().div_ceil(1000);
        humantime::format_duration(Duration::from_secs(u64::try_from(seconds).unwrap_or(u64::MAX))).to_string()
    }
}
