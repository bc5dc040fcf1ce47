//! How long to wait between two calls. Pure: no clock, and the randomness is the caller's.
//!
//! Many instances start at the same instant and wait for their parameter together, and the default quota is 40 calls a
//! second for a whole account. A waiting agent therefore goes through four stretches:
//!
//! 1. **back-off**: up to 0.25, 0.5, 1, 2 and 4 s, each with full jitter; a parameter that is merely a little late is
//!    found within moments. All of it ends within 7.75 s of the first answer;
//! 2. one pause anywhere in 0 to 12 s, which **spreads** the agents evenly over the steady period;
//! 3. **steady**: 11 to 13 s, 12 s in the mean, for a minute;
//! 4. **slow**: 13 to 17 s, 15 s in the mean.
//!
//! The arithmetic for 200 agents: in the steady stretch 200 / 12 s = 16.7 calls a second are expected, and because of
//! stretch 2 the rate is the same at every instant. An agent falls into a given second with p = 1/12, so their number
//! has a standard deviation of sqrt(200 * 1/12 * 11/12) = 3.9, and 40 is six of them away. It has to be that far: the
//! busiest of all the seconds that begin at some call counts. In 600 simulated starts that was 38 at most; with a mean
//! of 10 s it came to 46 (40 or more in 2 of 100 starts), with 7.5 s to 52 (in 87 of 100), and without stretch 2, with
//! pauses of 5 to 10 s, to 60 (in all of them): agents that started together then come back in waves.

use std::time::Duration;

use crate::base::backoff::{equal_jitter, exponential};

/// The longest pauses of the back-off; the shortest are zero.
const LADDER: [Duration; 5] = [
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
];

/// The one pause that spreads agents which started together: as long as a steady pause in the mean.
const SPREAD: Range = (Duration::ZERO, Duration::from_secs(12));

/// For a minute after that.
const STEADY: Range = (Duration::from_secs(11), Duration::from_secs(13));

/// When the pauses so far have come to this, the steady stretch ends: back-off and spread are 10 s in the mean.
const STEADY_UNTIL: Duration = Duration::from_secs(70);

/// Until the end.
const SLOW: Range = (Duration::from_secs(13), Duration::from_secs(17));

/// No pause after throttling is longer than this.
pub const LONGEST_THROTTLED: Duration = Duration::from_secs(30);

/// The shortest and the longest that a pause may be.
pub type Range = (Duration, Duration);

/// The pauses of one agent that waits for its parameter. See the module.
#[derive(Clone, Debug, Default)]
pub struct PollSchedule {
    given: usize,
    /// All pauses given so far.
    waited: Duration,
    /// Throttled answers in a row.
    throttled: u32,
}

impl PollSchedule {
    /// The pause to make after an answer; `random` gives numbers from 0 up to, not including, 1.
    ///
    /// Every throttled answer in a row doubles the bounds, up to [`LONGEST_THROTTLED`].
    pub fn next(&mut self, throttled: bool, random: impl FnOnce() -> f64) -> Duration {
        let (shortest, longest) = self.range(throttled);
        let pause = shortest + (longest - shortest).mul_f64(random().clamp(0.0, 1.0));
        self.given += 1;
        self.waited += pause;
        pause
    }

    fn range(&mut self, throttled: bool) -> Range {
        self.throttled = if throttled { self.throttled + 1 } else { 0 };
        let (shortest, longest) = match LADDER.get(self.given) {
            Some(longest) => (Duration::ZERO, *longest),
            None if self.given == LADDER.len() => SPREAD,
            None if self.waited < STEADY_UNTIL => STEADY,
            None => SLOW,
        };
        if self.throttled == 0 {
            return (shortest, longest);
        }
        let failures = self.throttled.saturating_add(1);
        // The lower bound stays well below the upper one, so that those who are throttled together part.
        let lower = exponential(shortest, failures, LONGEST_THROTTLED / 2);
        (lower, exponential(longest, failures, LONGEST_THROTTLED))
    }
}

/// The pause after the failed call of this number, from 1: it doubles from 0.25 s up to `longest`, and a random half of it
/// is left out. `random` is from 0 up to, not including, 1.
#[must_use]
pub fn after_failure(failures: u32, longest: Duration, random: f64) -> Duration {
    equal_jitter(exponential(LADDER[0], failures, longest), random)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ALMOST_ONE: f64 = 1.0;

    fn longest(answers: &[bool]) -> Vec<f64> {
        let mut interval = PollSchedule::default();
        answers.iter().map(|throttled| interval.next(*throttled, || ALMOST_ONE).as_secs_f64()).collect()
    }

    #[test]
    fn the_longest_pauses_grow_and_then_slow_down() {
        let expected = [0.25, 0.5, 1.0, 2.0, 4.0, 12.0, 13.0, 13.0, 13.0, 13.0, 17.0, 17.0, 17.0];
        assert_eq!(longest(&[false; 13]), expected);
    }

    #[test]
    fn the_shortest_pauses_never_storm() {
        let mut interval = PollSchedule::default();
        let shortest: Vec<u64> = (0..17).map(|_| interval.next(false, || 0.0).as_secs()).collect();
        assert_eq!(shortest, [0, 0, 0, 0, 0, 0, 11, 11, 11, 11, 11, 11, 11, 13, 13, 13, 13]);
    }

    #[test]
    fn throttling_doubles_up_to_thirty_seconds_and_is_forgotten() {
        assert_eq!(longest(&[true; 7]), [0.5, 2.0, 8.0, 30.0, 30.0, 30.0, 30.0]);
        assert_eq!(longest(&[true, true, false, false]), [0.5, 2.0, 1.0, 2.0]);
        let mut interval = PollSchedule::default();
        let throttled = (0..40).map(|_| interval.next(true, || 0.0)).max();
        assert_eq!(throttled, Some(LONGEST_THROTTLED / 2), "those who are throttled together must part");
    }

    #[test]
    fn backoff_doubles_up_to_the_longest() {
        let longest = Duration::from_secs(4);
        for (failures, millis) in [(0, 250), (1, 250), (2, 500), (5, 4000), (u32::MAX, 4000)] {
            assert_eq!(after_failure(failures, longest, 1.0), Duration::from_millis(millis));
            assert_eq!(after_failure(failures, longest, 0.0), Duration::from_millis(millis / 2));
        }
    }

    /// The calls of 200 agents that got their first answer at the same instant, for three minutes, in order.
    fn calls(seed: u64) -> Vec<f64> {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut calls = Vec::new();
        for _ in 0..200 {
            let (mut interval, mut now) = (PollSchedule::default(), 0.0);
            while now < 180.0 {
                calls.push(now);
                now += interval.next(false, || random.f64()).as_secs_f64();
            }
        }
        calls.sort_by(f64::total_cmp);
        calls
    }

    /// The most calls in any second that begins at one of them.
    fn busiest_second(calls: &[f64]) -> usize {
        let in_second = |(index, begin): (usize, &f64)| calls[index..].partition_point(|at| *at < begin + 1.0);
        calls.iter().enumerate().map(in_second).max().unwrap_or_default()
    }

    #[test]
    fn two_hundred_agents_stay_below_forty_calls_a_second() {
        let busiest: Vec<usize> = (0..300)
            .map(|seed| {
                let calls = calls(seed);
                let from = calls.partition_point(|at| *at < 10.0);
                busiest_second(&calls[from..])
            })
            .collect();
        let over: Vec<_> = busiest.iter().filter(|count| **count >= 40).collect();
        assert!(over.is_empty(), "40 or more in one second, in {} of 300 runs: {over:?}", over.len());
    }

    proptest! {
        #[test]
        fn every_pause_is_inside_its_bounds(
            answers in prop::collection::vec(any::<bool>(), 0..60),
            seed in any::<u64>(),
        ) {
            let mut random = fastrand::Rng::with_seed(seed);
            let (mut interval, mut bounds) = (PollSchedule::default(), PollSchedule::default());
            for throttled in answers {
                let (shortest, longest) = bounds.range(throttled);
                let pause = interval.next(throttled, || random.f64());
                bounds.given = interval.given;
                bounds.waited = interval.waited;
                prop_assert!(shortest <= pause && pause <= longest && longest <= LONGEST_THROTTLED);
            }
        }
    }
}
