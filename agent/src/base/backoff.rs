//! How long to wait before the next attempt. Pure: no clock, and the randomness is the caller's.

use std::time::Duration;

/// The pause after the failure of this number, from 1: it doubles from `first` up to `longest`.
#[must_use]
pub fn exponential(first: Duration, failures: u32, longest: Duration) -> Duration {
    first.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1))).min(longest)
}

/// The pause with a random half of it left out, so that those who failed together part. `random` is from 0 up to, not
/// including, 1.
#[must_use]
pub fn equal_jitter(pause: Duration, random: f64) -> Duration {
    pause.mul_f64(0.5 + 0.5 * random.clamp(0.0, 1.0))
}

/// The pause give or take this share of it, so that a fleet which was launched together does not ask in step. `random` is
/// from 0 up to, not including, 1.
#[must_use]
pub fn give_or_take(share: f64, pause: Duration, random: f64) -> Duration {
    let share = share.clamp(0.0, 1.0);
    pause.mul_f64(1.0 - share + 2.0 * share * random.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_doubles_with_every_failure_up_to_the_longest() {
        let (first, longest) = (Duration::from_millis(250), Duration::from_secs(4));
        for (failures, millis) in [(0, 250), (1, 250), (2, 500), (3, 1000), (5, 4000), (6, 4000), (u32::MAX, 4000)] {
            assert_eq!(exponential(first, failures, longest), Duration::from_millis(millis), "{failures} failures");
        }
        assert_eq!(exponential(longest, 1, first), first, "the longest is the longest");
    }

    #[test]
    fn jitter_stays_inside_its_bounds() {
        let pause = Duration::from_secs(10);
        for (random, half, tenth) in
            [(0.0, 5000, 9000), (0.5, 7500, 10_000), (1.0, 10_000, 11_000), (7.0, 10_000, 11_000)]
        {
            assert_eq!(equal_jitter(pause, random), Duration::from_millis(half));
            assert_eq!(give_or_take(0.1, pause, random), Duration::from_millis(tenth));
        }
        assert_eq!(give_or_take(2.0, pause, 0.0), Duration::ZERO, "no pause is negative");
    }
}
