//! When a fault applies: after how many requests, how often, how long.

use std::time::{Duration, Instant};

/// Names an installed fault, so that it can be counted and removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RuleId(pub u64);

/// Bounds of a fault. The default has none: it applies until cleared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limit {
    /// How many matching requests pass unharmed first.
    pub skip: u32,
    /// How many requests are hit after that; `None` is no bound.
    pub times: Option<u32>,
    /// How long after its installation the fault runs; `None` is for ever.
    pub lasting: Option<Duration>,
}

impl Limit {
    /// Hits this many requests, then is spent.
    pub fn times(count: u32) -> Self {
        Self { times: Some(count), ..Self::default() }
    }

    /// Hits every request for this long.
    pub fn lasting(period: Duration) -> Self {
        Self { lasting: Some(period), ..Self::default() }
    }

    /// Lets this many matching requests pass first.
    #[must_use]
    pub fn after(mut self, skip: u32) -> Self {
        self.skip = skip;
        self
    }
}

/// A [`Limit`] that is being used up.
#[derive(Debug)]
pub struct Live {
    skip: u32,
    left: Option<u32>,
    until: Option<Instant>,
    /// How many requests it has hit.
    pub hits: u64,
}

impl Live {
    /// Begins to use it up; periods count from `now`.
    pub fn new(limit: Limit, now: Instant) -> Self {
        Self { skip: limit.skip, left: limit.times, until: limit.lasting.map(|period| now + period), hits: 0 }
    }

    /// Counts one matching request; true if the fault hits it.
    pub fn hit(&mut self, now: Instant) -> bool {
        if self.until.is_some_and(|end| now >= end) || self.left == Some(0) {
            return false;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return false;
        }
        if let Some(left) = &mut self.left {
            *left -= 1;
        }
        self.hits += 1;
        true
    }
}

/// Reads `after`, `times` and `seconds` of a command.
pub fn limit_of(command: &serde_json::Value) -> Limit {
    let count = |key: &str| command[key].as_u64().map(|n| u32::try_from(n).unwrap_or(u32::MAX));
    Limit {
        skip: count("after").unwrap_or(0),
        times: count("times"),
        lasting: command["seconds"].as_f64().and_then(|s| Duration::try_from_secs_f64(s).ok()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skips_hits_and_is_spent() {
        let mut live = Live::new(Limit::times(2).after(1), Instant::now());
        let hits: Vec<bool> = (0..5).map(|_| live.hit(Instant::now())).collect();
        assert_eq!(hits, [false, true, true, false, false]);
        assert_eq!(live.hits, 2);
    }
}
