//! How fast a service may be called: one bucket for each limit that AWS or GitHub has.

use std::time::Duration;

use super::Moment;

/// What one call costs: with a gain of `per_minute` a millisecond, every rate in calls a minute is kept exactly.
const CALL: u64 = 60_000;

/// A token bucket.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Budget {
    capacity: u64,
    per_minute: u64,
    level: u64,
    /// Up to when the level is worked out.
    at: Moment,
    /// Nothing before this moment: the service said so.
    blocked_until: Moment,
}

impl Budget {
    /// A full bucket: `burst` calls at once, `per_minute` (1 or more) in the long run.
    #[must_use]
    pub const fn new(burst: u32, per_minute: u32) -> Self {
        let capacity = burst as u64 * CALL;
        Self { capacity, per_minute: per_minute as u64, level: capacity, at: Moment(0), blocked_until: Moment(0) }
    }

    /// Works out what has come in since.
    fn fill(&mut self, now: Moment) {
        let gained = now.0.saturating_sub(self.at.0).saturating_mul(self.per_minute);
        self.level = self.level.saturating_add(gained).min(self.capacity);
        self.at = self.at.max(now);
    }

    /// Takes one call, if there is one.
    #[must_use]
    pub fn take(&mut self, now: Moment) -> bool {
        self.fill(now);
        let free = now >= self.blocked_until && self.level >= CALL;
        if free {
            self.level -= CALL;
        }
        free
    }

    /// How many calls there are now.
    #[must_use]
    pub fn room(&mut self, now: Moment) -> u32 {
        self.fill(now);
        if now < self.blocked_until { 0 } else { u32::try_from(self.level / CALL).unwrap_or(u32::MAX) }
    }

    /// When the next call is there.
    #[must_use]
    pub fn next(&self, now: Moment) -> Moment {
        let wait = CALL.saturating_sub(self.level).div_ceil(self.per_minute.max(1));
        Moment(self.at.0.saturating_add(wait)).max(self.blocked_until).max(now)
    }

    /// How many calls come in within this time.
    #[must_use]
    pub fn within(&self, time: Duration) -> u32 {
        u32::try_from(u128::from(self.per_minute) * time.as_millis() / u128::from(CALL)).unwrap_or(u32::MAX)
    }

    /// The service has said that it is too much: nothing before this moment, and then slowly.
    pub fn block(&mut self, until: Moment) {
        self.blocked_until = self.blocked_until.max(until);
        self.level = 0;
        self.at = self.at.max(self.blocked_until);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_the_quota_in_any_minute_and_not_much_less() {
        let mut budget = Budget::new(10, 166);
        let taken = (0..600_000).step_by(10).filter(|now| budget.take(Moment(*now))).count();
        assert!((1660..=1670).contains(&taken), "{taken} calls in ten minutes, of 1660 and a burst of 10");
    }

    #[test]
    fn a_service_that_asks_for_a_pause_gets_it() {
        let mut budget = Budget::new(3, 180);
        assert!(budget.take(Moment(0)));
        budget.block(Moment(60_000));
        assert!(!budget.take(Moment(59_999)), "called although the service had asked for a pause");
        let next = budget.next(Moment(0));
        assert!(next >= Moment(60_000) && budget.take(next), "the promised moment {next:?} brings nothing");
    }
}
