//! What EC2 and the Auto Scaling group announce: asked for at the start, and watched from the moment the identity is known
//! until the machine is being ended.
//!
//! Sources put what they told into one channel of `(Source, Reading)`; [`Notices::watch`] reads it and says what is news. The
//! metadata service's four sources are in `metadata`. A source that is not the metadata service is a task that holds a
//! sender of that channel, and a [`Source`] of its own: what one does not know must not withdraw what another told.

mod metadata;
mod start;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::mpsc;

use crate::base::clock;
use crate::base::seen::Seen;
use crate::platform::ec2::Ec2;
use mayfly_core::lifecycle::{Event, Target, Time};
use mayfly_core::notices::{Known, Reading, Source};

/// A machine that was suspended for less than this was not: the two clocks are not read in the same instant.
const SUSPENDED: Duration = Duration::from_secs(1);

/// The notices of one instance.
#[derive(Debug)]
pub struct Notices {
    ec2: Arc<Ec2>,
    /// `interruption.spot_poll`
    spot_interval: Duration,
    asked: Mutex<Asked>,
}

/// What this process has asked for at the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    /// Nothing.
    Nothing,
    /// Some of the sources, just now.
    AtStart {
        /// What the group wants was told then. Of a new instance it is not.
        target_told: bool,
    },
}

impl Notices {
    /// Of this instance; nothing is asked yet.
    #[must_use]
    pub fn new(ec2: Arc<Ec2>, spot_interval: Duration) -> Self {
        Self { ec2, spot_interval, asked: Mutex::new(Asked::Nothing) }
    }

    /// Watches all sources until the receiver of the events is gone.
    pub async fn watch(&self, events: mpsc::Sender<Seen>) {
        let (sources, readings) = mpsc::channel(Source::ALL.len());
        // Ends with this: an unwatched source is not asked.
        let _asking = metadata::ask(&self.ec2, self.spot_interval, self.asked(), &sources);
        drop(sources);
        take_in(readings, |moment| self.ec2.boot_time(moment), &events).await;
    }

    fn asked(&self) -> Asked {
        *self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note_asked(&self, target: Target) {
        let target_told = matches!(target, Target::Warm | Target::InService);
        *self.asked.lock().unwrap_or_else(PoisonError::into_inner) = Asked::AtStart { target_told };
    }
}

/// Says what is news of all that the sources put in, whatever they are.
async fn take_in(
    mut readings: mpsc::Receiver<(Source, Reading)>,
    boot_time: impl Fn(SystemTime) -> Time,
    events: &mpsc::Sender<Seen>,
) {
    let mut known = Known::default();
    let mut suspended = clock::suspended();
    while let Some((source, told)) = readings.recv().await {
        let mut news = Vec::new();
        // Before anything that was learned after it: in a warm pool it means nothing, a moment later the end.
        if clock::suspended().saturating_sub(suspended) >= SUSPENDED {
            suspended = clock::suspended();
            news.push(Event::Resumed);
        }
        news.extend(known.observe(source, &told, clock::now(), &boot_time));
        for event in news {
            if events.send(Seen::Event(event)).await.is_err() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail there")]
    use mayfly_core::lifecycle::Notice;

    use super::*;

    /// As a launcher would that hears of an interruption before the instance does.
    #[tokio::test]
    async fn a_source_that_is_not_the_metadata_service_tells_through_the_same_door() {
        let (door, readings) = mpsc::channel(1);
        let (events, mut inbox) = mpsc::channel(8);
        let taking = tokio::spawn(async move { take_in(readings, |_| Time(7), &events).await });
        let elsewhere = door.clone();
        let telling = std::thread::spawn(move || {
            let body = r#"{"action":"terminate","time":"2026-01-01T00:02:00Z"}"#.to_owned();
            elsewhere.blocking_send((Source::Spot, Reading::Present(body))).unwrap();
            elsewhere.blocking_send((Source::Spot, Reading::Unknown)).unwrap();
            elsewhere.blocking_send((Source::Target, Reading::Present("Terminated".to_owned()))).unwrap();
        });
        let mut heard = Vec::new();
        for _ in 0..2 {
            let Some(Seen::Event(event)) = inbox.recv().await else { panic!("the notice was lost") };
            heard.push(event);
        }
        assert_eq!(heard, [Event::Notice(Notice::Spot { at: Time(7) }), Event::Notice(Notice::GroupTerminates)]);
        telling.join().unwrap();
        drop(door);
        taking.await.unwrap();
        assert!(inbox.recv().await.is_none(), "\"not known\" was taken for news");
    }
}
