//! The watch over what EC2 and the Auto Scaling group announce, from the moment the identity is known until the machine
//! is being ended.
//!
//! Four sources, each at an interval of its own, over the one connection and session token of the metadata client: together
//! less than one request a second. A source that does not answer slows down and holds up no other.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tracing::{info, warn};

use crate::base::clock;
use crate::base::seen::Seen;
use crate::platform::ec2::Ec2;
use crate::platform::imds::{ImdsError, Poll};
use mayfly_core::lifecycle::Event;
use mayfly_core::notices::{Known, Source};

/// What a source that does not answer slows down to, unless it is slower by itself.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// A source that has not answered so often in a row is worth a word.
const SILENCE: u32 = 3;

/// The first looks at what is not looked at before the start of the runner.
const SOON: Duration = Duration::from_secs(1);

/// A machine that was suspended for less than this was not: the two clocks are not read in the same instant.
const SUSPENDED: Duration = Duration::from_secs(1);

/// Watches until the receiver is gone. `fresh`: this process has just looked at some of the sources.
pub(super) async fn watch(ec2: Arc<Ec2>, fresh: bool, events: mpsc::Sender<Seen>) {
    let (found, mut inbox) = mpsc::channel(Source::ALL.len());
    let mut polls = JoinSet::new();
    for source in Source::ALL {
        let first = match source {
            _ if !fresh => Duration::ZERO,
            // A new instance is told late what its group wants.
            Source::Target if !ec2.knows_target() => ec2.scaled(SOON),
            Source::Spot | Source::Target => ec2.period(source),
            Source::Rebalance | Source::Maintenance => ec2.scaled(SOON),
        };
        polls.spawn(poll_again_and_again(Arc::clone(&ec2), source, first, found.clone()));
    }
    let mut known = Known::default();
    let mut silences = Source::ALL.map(|_| 0);
    let mut suspended = clock::suspended();
    while let Some((source, poll)) = inbox.recv().await {
        let mut news = Vec::new();
        // Before anything that was learned after it: in a warm pool it means nothing, a moment later the end.
        if clock::suspended().saturating_sub(suspended) >= SUSPENDED {
            suspended = clock::suspended();
            news.push(Event::Resumed);
        }
        if let Some(silence) = silences.get_mut(source as usize) {
            note_silence(source, &poll, silence);
        }
        news.extend(known.observe(source, poll.reading(), clock::now(), |moment| ec2.boot_time(moment)));
        for event in news {
            if events.send(Seen::Event(event)).await.is_err() {
                return;
            }
        }
    }
}

async fn poll_again_and_again(ec2: Arc<Ec2>, source: Source, first: Duration, found: mpsc::Sender<(Source, Poll)>) {
    let period = ec2.period(source);
    let longest = ec2.scaled(LONGEST_PAUSE).max(period);
    let (mut pause, mut failures) = (first, 0_u32);
    loop {
        tokio::time::sleep(jittered(pause, fastrand::f64())).await;
        let poll = ec2.poll(source).await;
        failures = if matches!(poll, Poll::Unknown(_)) { failures.saturating_add(1) } else { 0 };
        pause = backed_off(period, longest, failures);
        if found.send((source, poll)).await.is_err() {
            return;
        }
    }
}

/// The first failure is followed up at the usual interval, further ones ever more slowly.
fn backed_off(period: Duration, longest: Duration, failures: u32) -> Duration {
    period.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1))).min(longest)
}

/// Within a tenth of it, so that instances that were launched together part.
fn jittered(pause: Duration, random: f64) -> Duration {
    pause.mul_f64(0.9 + 0.2 * random)
}

fn note_silence(source: Source, poll: &Poll, silence: &mut u32) {
    let what = source.what();
    match poll {
        Poll::Unknown(error) => {
            *silence += 1;
            match error {
                error if *silence == SILENCE => warn!("whether there is {what} is not known: {error}"),
                // Nobody waits for these to pass.
                ImdsError::Forbidden { .. } if *silence == 1 => warn!("whether there is {what} is not told: {error}"),
                _ => {}
            }
        }
        Poll::Present(_) | Poll::Absent => {
            if *silence >= SILENCE {
                info!("whether there is {what} is known again, after {silence} polls in vain");
            }
            *silence = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_that_does_not_answer_slows_down_to_a_bound_and_never_stops() {
        let pauses = |period: u64| {
            let (period, longest) = (Duration::from_secs(period), LONGEST_PAUSE.max(Duration::from_secs(period)));
            [0, 1, 2, 3, 4, u32::MAX].map(|failures| backed_off(period, longest, failures).as_secs())
        };
        assert_eq!(pauses(2), [2, 2, 4, 8, 10, 10]);
        assert_eq!(pauses(60), [60, 60, 60, 60, 60, 60]);
        let pause = Duration::from_secs(10);
        assert_eq!((jittered(pause, 0.0), jittered(pause, 1.0)), (Duration::from_secs(9), Duration::from_secs(11)));
    }
}
