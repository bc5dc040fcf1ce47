//! Rate limits: the primary one of every installation, and that of registrations.

use std::time::Duration;

use crate::clock::Time;

const HOUR: Duration = Duration::from_secs(3600);

/// A limit of requests an hour, and optionally of those at once.
#[derive(Clone, Debug)]
pub(crate) struct Bucket {
    pub(crate) resource: &'static str,
    pub(crate) limit: u32,
    pub(crate) used: u32,
    window: Time,
    burst: Option<Burst>,
}

#[derive(Clone, Debug)]
struct Burst {
    capacity: f64,
    per_second: f64,
    left: f64,
    at: Time,
}

/// Why a request is over a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spent {
    /// The hour's share is used up.
    Primary,
    /// Too many at once: ask again so much later.
    Secondary(Duration),
}

impl Bucket {
    pub(crate) fn new(resource: &'static str, limit: u32, burst: Option<u32>) -> Self {
        let burst = burst.map(|capacity| Burst {
            capacity: f64::from(capacity),
            per_second: f64::from(limit) / HOUR.as_secs_f64(),
            left: f64::from(capacity),
            at: Time::ZERO,
        });
        Self { resource, limit, used: 0, window: Time::ZERO, burst }
    }

    /// Counts a request that comes at this moment.
    pub(crate) fn take(&mut self, now: Time) -> Result<(), Spent> {
        self.roll(now);
        if self.used >= self.limit {
            return Err(Spent::Primary);
        }
        if let Some(burst) = &mut self.burst {
            let gained = now.saturating_sub(burst.at).as_secs_f64() * burst.per_second;
            burst.left = (burst.left + gained).min(burst.capacity);
            burst.at = now;
            // Sums of fractions: a hair is no reason to refuse.
            if burst.left < 1.0 - 1e-6 {
                let wait = (1.0 - burst.left) / burst.per_second;
                return Err(Spent::Secondary(Duration::from_secs_f64(wait)));
            }
            burst.left -= 1.0;
        }
        self.used += 1;
        Ok(())
    }

    pub(crate) fn roll(&mut self, now: Time) {
        while now >= self.window + HOUR {
            self.window += HOUR;
            self.used = 0;
        }
    }

    pub(crate) fn spend(&mut self, now: Time, left: u32) {
        self.roll(now);
        self.used = self.limit.saturating_sub(left);
    }

    pub(crate) fn remaining(&self) -> u32 {
        self.limit.saturating_sub(self.used)
    }

    /// When the hour ends.
    pub(crate) fn reset(&self) -> Time {
        self.window + HOUR
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_the_sustained_rate_then_the_next_hour() {
        let mut bucket = Bucket::new("x", 3600, Some(2));
        let at = Duration::from_secs;
        assert_eq!(bucket.take(at(0)), Ok(()));
        assert_eq!(bucket.take(at(0)), Ok(()));
        assert_eq!(bucket.take(at(0)), Err(Spent::Secondary(at(1))));
        assert_eq!(bucket.take(at(1)), Ok(()));
        bucket.spend(at(1), 0);
        assert_eq!(bucket.take(at(10)), Err(Spent::Primary));
        assert_eq!(bucket.take(at(3600)), Ok(()));
        assert_eq!(bucket.remaining(), 3599);
    }
}
