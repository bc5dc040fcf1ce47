//! The faults in force, and which of them befall a call.

use std::time::{Duration, Instant};

use crate::when::{Limit, Live, RuleId};

/// A fault of any double: some only delay.
pub trait Befalls: Clone {
    /// How long it delays, if that is all it does.
    fn delay(&self) -> Option<Duration>;
}

#[derive(Debug)]
struct Rule<M, F> {
    id: RuleId,
    matching: M,
    fault: F,
    live: Live,
}

/// Rules, oldest first: calls that match suffer the fault, as long as its limit is not used up.
#[derive(Debug)]
pub struct Rules<M, F> {
    rules: Vec<Rule<M, F>>,
    made: u64,
}

impl<M, F> Default for Rules<M, F> {
    fn default() -> Self {
        Self { rules: Vec::new(), made: 0 }
    }
}

/// What befalls one call: every delay, and the first other fault.
#[derive(Debug)]
pub struct Fate<F> {
    /// The sum of the delays.
    pub delay: Duration,
    /// The first fault that does more than delay.
    pub fault: Option<F>,
}

impl<M, F: Befalls> Rules<M, F> {
    /// Installs a rule.
    pub fn add(&mut self, matching: M, limit: Limit, fault: F, now: Instant) -> RuleId {
        self.made += 1;
        let id = RuleId(self.made);
        self.rules.push(Rule { id, matching, fault, live: Live::new(limit, now) });
        id
    }

    /// Removes one rule, or all.
    pub fn clear(&mut self, id: Option<RuleId>) {
        self.rules.retain(|rule| id.is_some_and(|id| rule.id != id));
    }

    /// How many calls a rule has hit.
    pub fn hits(&self, id: RuleId) -> u64 {
        let rule = self.rules.iter().find(|rule| rule.id == id);
        rule.map_or(0, |rule| rule.live.hits)
    }

    /// Counts a call, and tells what befalls it.
    pub fn fate(&mut self, now: Instant, fits: impl Fn(&M) -> bool) -> Fate<F> {
        let mut fate = Fate { delay: Duration::ZERO, fault: None };
        for rule in &mut self.rules {
            let delay = rule.fault.delay();
            let decided = fate.fault.is_some() && delay.is_none();
            if decided || !fits(&rule.matching) || !rule.live.hit(now) {
                continue;
            }
            match delay {
                Some(delay) => fate.delay += delay,
                None => fate.fault = Some(rule.fault.clone()),
            }
        }
        fate
    }
}
