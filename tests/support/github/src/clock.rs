//! The double's time: the machine's own, or one that only a test moves.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use humantime::format_rfc3339_seconds;
use tokio::sync::watch;

/// A moment, counted from the start of the double.
pub type Time = Duration;

/// Whose time it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClockKind {
    /// The machine's.
    #[default]
    Real,
    /// Stands still but for [`crate::FakeGithub::advance`].
    Manual,
}

#[derive(Debug)]
pub(crate) struct Clock {
    started: Instant,
    base: SystemTime,
    manual: Option<watch::Sender<Time>>,
}

impl Clock {
    pub(crate) fn new(kind: ClockKind) -> Self {
        let manual = (kind == ClockKind::Manual).then(|| watch::Sender::new(Time::ZERO));
        Self { started: Instant::now(), base: SystemTime::now(), manual }
    }

    pub(crate) fn elapsed(&self) -> Time {
        match &self.manual {
            Some(time) => *time.borrow(),
            None => self.started.elapsed(),
        }
    }

    /// Moves a manual clock; false for the real one, which moves by itself.
    pub(crate) fn advance(&self, by: Duration) -> bool {
        self.manual.as_ref().is_some_and(|time| {
            time.send_modify(|time| *time += by);
            true
        })
    }

    /// For limits, which count in instants.
    pub(crate) fn instant(&self) -> Instant {
        self.started + self.elapsed()
    }

    /// Whole seconds since 1970.
    pub(crate) fn unix(&self, at: Time) -> u64 {
        (self.base + at).duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
    }

    /// As GitHub writes it: `2026-11-30T16:00:00Z`.
    pub(crate) fn date(&self, at: Time) -> String {
        format_rfc3339_seconds(self.base + at).to_string()
    }

    /// Waits for a moment of this clock.
    pub(crate) async fn sleep_until(&self, at: Time) {
        match &self.manual {
            Some(time) => drop(time.subscribe().wait_for(|now| *now >= at).await),
            None => tokio::time::sleep_until((self.started + at).into()).await,
        }
    }
}
