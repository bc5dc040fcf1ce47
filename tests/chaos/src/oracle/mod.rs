//! The judge: pure, from a plan and its witnesses to what must not have happened.

mod ending;
mod lines;
mod outcome;
mod stops;

use std::fmt;
use std::time::Duration;

use crate::plan::Plan;
use crate::witness::Witness;

/// Clocks differ by this much: of recording, log, journal and doubles, and under load.
const BLUR: Duration = Duration::from_millis(250);

/// Something that must never happen, and happened.
#[derive(Clone, Debug)]
pub struct Violation {
    /// Which promise it breaks.
    pub promise: &'static str,
    /// What was seen instead.
    pub seen: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.promise, self.seen)
    }
}

/// Every promise that the run broke.
#[must_use]
pub fn judge(plan: &Plan, witness: &Witness) -> Vec<Violation> {
    let mut verdict = Verdict::default();
    ending::judge(plan, witness, &mut verdict);
    outcome::judge(plan, witness, &mut verdict);
    stops::judge(plan, witness, &mut verdict);
    lines::judge(plan, witness, &mut verdict);
    verdict.0
}

#[derive(Debug, Default)]
struct Verdict(Vec<Violation>);

impl Verdict {
    fn unless(&mut self, kept: bool, promise: &'static str, seen: impl FnOnce() -> String) {
        if !kept {
            self.0.push(Violation { promise, seen: seen() });
        }
    }
}
