//! A breaker stops a class that only fails: without one, a mistake in a launch template becomes thousands of instances.

use std::time::Duration;

use super::Moment;

/// How many failures in a row open it.
pub const FAILURES: u32 = 5;

/// How long it is open the first time; twice as long every further time.
pub const FIRST_PAUSE: Duration = Duration::from_secs(60);

/// How long it is open at most.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(1800);

/// Whether a class may launch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Breaker {
    /// Failures since the last success.
    failures: u32,
    /// How often it opened since the last success.
    opened: u32,
    /// While it is open: until when, and why.
    open: Option<(Moment, String)>,
    /// It is open, and a launch was let through to see whether it works again.
    trying: bool,
}

impl Breaker {
    /// How many instances may be launched now: none, one to try, or as many as one likes.
    #[must_use]
    pub fn allows(&self, now: Moment) -> u32 {
        match &self.open {
            None => u32::MAX,
            Some((until, _)) if now < *until => 0,
            Some(_) => 1,
        }
    }

    /// A launch begins. Where it is the one that tries, the next one comes a pause later, whatever becomes of it.
    pub fn began(&mut self, now: Moment) {
        let pause = self.pause();
        if let Some((until, _)) = &mut self.open {
            *until = now.plus(pause);
            self.trying = true;
        }
    }

    /// An instance had a job, or got as far as it needed to be of use.
    pub fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// A launch, or what was launched, failed. `at_once`: it will fail every time (a permanent error).
    pub fn failed(&mut self, now: Moment, why: &str, at_once: bool) {
        self.failures += 1;
        let opens = self.open.is_none() && (at_once || self.failures >= FAILURES);
        // What was launched before it opened, and fails now, does not lengthen it.
        if opens || std::mem::take(&mut self.trying) {
            self.opened += 1;
            let pause = if at_once { self.pause().max(FIRST_PAUSE * 10) } else { self.pause() };
            self.open = Some((now.plus(pause), why.to_owned()));
        }
    }

    fn pause(&self) -> Duration {
        FIRST_PAUSE.saturating_mul(1 << self.opened.saturating_sub(1).min(5)).min(LONGEST_PAUSE)
    }

    /// Until when it is open, and why, if it is.
    #[must_use]
    pub fn open(&self) -> Option<(Moment, &str)> {
        self.open.as_ref().map(|(until, why)| (*until, why.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_in_a_row_open_it_and_one_try_at_a_time_closes_it() {
        let mut breaker = Breaker::default();
        for _ in 0..FAILURES {
            assert_eq!(breaker.allows(Moment(0)), u32::MAX);
            breaker.failed(Moment(0), "no such image", false);
        }
        assert_eq!(breaker.allows(Moment(59_999)), 0, "launches go on although every one fails");
        assert_eq!(breaker.allows(Moment(60_000)), 1);
        breaker.began(Moment(60_000));
        assert_eq!(breaker.allows(Moment(60_000)), 0, "a second try before the first has an answer");
        breaker.failed(Moment(61_000), "no such image", false);
        assert_eq!(breaker.allows(Moment(180_999)), 0, "the second pause is no longer than the first");
        breaker.began(Moment(181_000));
        breaker.succeeded();
        assert_eq!(breaker.allows(Moment(181_000)), u32::MAX);
    }

    #[test]
    fn a_try_of_which_nothing_comes_is_not_the_last_one() {
        let mut breaker = Breaker::default();
        breaker.failed(Moment(0), "not authorised", true);
        breaker.began(Moment(600_000));
        assert_eq!(breaker.allows(Moment(600_001)), 0);
        assert_eq!(breaker.allows(Moment(700_000)), 1, "a launch that met no capacity stops its class for ever");
    }

    #[test]
    fn a_permanent_error_opens_it_at_once() {
        let mut breaker = Breaker::default();
        breaker.failed(Moment(0), "not authorised", true);
        assert_eq!(breaker.allows(Moment(599_999)), 0, "what is denied is asked for again at once");
    }
}
