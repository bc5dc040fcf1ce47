//! The sources of notices in the metadata service.
//!
//! Four of them, each at an interval of its own, over the one connection and session token of the metadata client: together
//! less than one request a second. A source that does not answer slows down and holds up no other.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tracing::{info, warn};

use super::Asked;
use crate::base::backoff;
use crate::platform::ec2::Ec2;
use crate::platform::imds::{ImdsError, Poll};
use mayfly_core::notices::{MAINTENANCE, REBALANCE, Reading, SPOT_ACTION, Source, TARGET_STATE};

/// What a source that does not answer slows down to, unless it is slower by itself.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// A source that has not answered so often in a row is worth a word.
const SILENCE: u32 = 3;

/// The first question to what was not asked, or not told, before the start of the runner.
const SOON: Duration = Duration::from_secs(1);

/// A source, where it is in the metadata service, and how often it is asked.
struct Polled {
    source: Source,
    path: &'static str,
    interval: Duration,
    /// It is asked before the start of the runner too.
    at_start: bool,
}

/// All that the metadata service has; the spot notice as often as the configuration says.
const fn polled(spot: Duration) -> [Polled; 4] {
    const OFTEN: Duration = Duration::from_secs(5);
    const SELDOM: Duration = Duration::from_secs(60);
    [
        Polled { source: Source::Spot, path: SPOT_ACTION, interval: spot, at_start: true },
        Polled { source: Source::Target, path: TARGET_STATE, interval: OFTEN, at_start: true },
        Polled { source: Source::Rebalance, path: REBALANCE, interval: OFTEN, at_start: false },
        Polled { source: Source::Maintenance, path: MAINTENANCE, interval: SELDOM, at_start: false },
    ]
}

/// Asks all of them for as long as the result runs, and puts in what they tell. `asked`: what this process has just asked
/// for.
pub(super) fn ask(
    ec2: &Arc<Ec2>,
    spot_interval: Duration,
    asked: Asked,
    readings: &mpsc::Sender<(Source, Reading)>,
) -> JoinSet<()> {
    let mut asking = JoinSet::new();
    for Polled { source, path, interval, at_start } in polled(spot_interval) {
        let interval = ec2.scaled(interval);
        let first = match asked {
            Asked::Nothing => Duration::ZERO,
            // A new instance is told late what its group wants.
            Asked::AtStart { target_told: false } if source == Source::Target => ec2.scaled(SOON),
            Asked::AtStart { .. } if at_start => interval,
            Asked::AtStart { .. } => ec2.scaled(SOON),
        };
        let (ec2, readings) = (Arc::clone(ec2), readings.clone());
        let longest = ec2.scaled(LONGEST_PAUSE).max(interval);
        asking.spawn(async move {
            let (mut pause, mut silence) = (first, 0);
            loop {
                tokio::time::sleep(backoff::give_or_take(0.1, pause, fastrand::f64())).await;
                let reading = reading_of(source, ec2.metadata().poll(path).await, &mut silence);
                pause = pause_after(silence, interval, longest);
                if readings.send((source, reading)).await.is_err() {
                    return;
                }
            }
        });
    }
    asking
}

/// The first failure is followed up at the usual interval, further ones ever more slowly.
fn pause_after(failures: u32, interval: Duration, longest: Duration) -> Duration {
    backoff::exponential(interval, failures, longest)
}

/// What was told, after a word in the log if the source falls silent or speaks again. `silence`: so often in a row it has not
/// answered.
fn reading_of(source: Source, answer: Poll, silence: &mut u32) -> Reading {
    let what = source.what();
    if let Poll::Unknown(error) = &answer {
        *silence = silence.saturating_add(1);
        match error {
            error if *silence == SILENCE => warn!("whether there is {what} is not known: {error}"),
            // Nobody waits for these to pass.
            ImdsError::Forbidden { .. } if *silence == 1 => warn!("whether there is {what} is not told: {error}"),
            _ => {}
        }
    } else {
        if *silence >= SILENCE {
            info!("whether there is {what} is known again, after {silence} polls in vain");
        }
        *silence = 0;
    }
    answer.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_that_does_not_answer_slows_down_to_a_bound_and_never_stops() {
        let pauses = |interval: u64| {
            let (interval, longest) = (Duration::from_secs(interval), LONGEST_PAUSE.max(Duration::from_secs(interval)));
            [0, 1, 2, 3, 4, u32::MAX].map(|failures| pause_after(failures, interval, longest).as_secs())
        };
        assert_eq!(pauses(2), [2, 2, 4, 8, 10, 10]);
        assert_eq!(pauses(60), [60, 60, 60, 60, 60, 60]);
    }

    #[test]
    fn every_source_is_asked() {
        let asked = polled(Duration::from_secs(2)).map(|polled| polled.source);
        assert_eq!(asked, Source::ALL, "what a source announces would never be heard");
    }
}
