//! The times that lines say themselves. Pure.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How the lines of a source begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stamp {
    /// `2026-11-21 08:00:00Z: Listening for Jobs`
    Console,
    /// `[2026-11-21 08:00:00Z INFO Listener] text`; a line without is part of the one before.
    Diag,
    /// `2026-11-21T08:00:00.123456Z  INFO text`, as the agent and the runner's pages have it.
    Rfc3339,
}

/// The service drops what is older than 14 days or more than 2 hours ahead. No line of this run is: such a stamp is wrong,
/// or made up by a job, and the time at which it was read is nearer to the truth.
const OLDEST: i64 = 13 * 24 * 3600 * 1000;
const NEWEST: i64 = 3600 * 1000;

/// Gives the lines of one source their times, in milliseconds since 1970; they never go back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    stamp: Stamp,
    last: Option<i64>,
}

impl Times {
    pub(super) fn new(stamp: Stamp) -> Self {
        Self { stamp, last: None }
    }

    /// The time of a line that was read now.
    pub(super) fn of(&mut self, line: &[u8], now: i64) -> i64 {
        let told = self.stamp.read(line);
        let continues = if self.stamp == Stamp::Console { None } else { self.last };
        self.take(told.or(continues), now)
    }

    /// The same, where the source tells the time beside the line.
    pub(super) fn take(&mut self, told: Option<i64>, now: i64) -> i64 {
        let at = told.filter(|at| is_plausible(*at, now)).unwrap_or(now);
        let at = self.last.map_or(at, |last| at.max(last));
        // A clock that was ahead and is set back must not hold every later line at the wrong time.
        let at = if is_plausible(at, now) { at } else { now };
        self.last = Some(at);
        at
    }
}

fn is_plausible(at: i64, now: i64) -> bool {
    at >= now.saturating_sub(OLDEST) && at <= now.saturating_add(NEWEST)
}

impl Stamp {
    /// What the line says, if it says a time.
    fn read(self, line: &[u8]) -> Option<i64> {
        let text = match self {
            Self::Diag => line.strip_prefix(b"[")?,
            Self::Console | Self::Rfc3339 => line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line),
        };
        let length = match self {
            // Both have whole seconds.
            Self::Console | Self::Diag => 20,
            Self::Rfc3339 => text.iter().take(40).position(|byte| *byte == b'Z')? + 1,
        };
        let text = std::str::from_utf8(text.get(..length)?).ok()?;
        let time = humantime::parse_rfc3339_weak(text.strip_suffix('Z')?).ok()?;
        millis(time)
    }
}

/// Milliseconds since 1970.
pub(super) fn millis(time: SystemTime) -> Option<i64> {
    i64::try_from(time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_millis()).ok()
}

/// Now, in milliseconds since 1970.
pub(super) fn now() -> i64 {
    millis(SystemTime::now()).unwrap_or(0)
}

/// As RFC 3339.
pub(super) fn rfc3339(at: i64) -> String {
    let time = UNIX_EPOCH + Duration::from_millis(u64::try_from(at).unwrap_or(0));
    humantime::format_rfc3339_millis(time).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-21T08:00:00Z
    const THEN: i64 = 1_795_248_000_000;

    #[test]
    fn each_form_of_a_time_is_read() {
        for (stamp, line) in [
            (Stamp::Console, "2026-11-21 08:00:00Z: Listening for Jobs"),
            (Stamp::Diag, "[2026-11-21 08:00:00Z INFO Listener] text"),
            (Stamp::Rfc3339, "2026-11-21T08:00:00.000000Z  INFO text"),
            (Stamp::Rfc3339, "\u{feff}2026-11-21T08:00:00.0000000Z ##[group]"),
        ] {
            assert_eq!(stamp.read(line.as_bytes()), Some(THEN), "{line}");
        }
        for line in
            ["", "[", "no time", "2026-11-21", "9999999999999999999999999Z", "2026-13-41 08:00:00Z: x", "\u{e9}\u{e9}"]
        {
            for stamp in [Stamp::Console, Stamp::Diag, Stamp::Rfc3339] {
                assert_eq!(stamp.read(line.as_bytes()), None, "{line}");
            }
        }
    }

    #[test]
    fn times_never_go_back_and_those_that_cannot_be_are_the_time_of_reading() {
        let mut times = Times::new(Stamp::Console);
        let line = |hour: u32| format!("2026-11-21 {hour:02}:00:00Z: text").into_bytes();
        let now = THEN + 600_000;
        assert_eq!(times.of(&line(8), now), THEN);
        assert_eq!(times.of(b"no time at all", now), now);
        assert_eq!(times.of(&line(7), now), now, "a line would be put before one that came before it");
        for forged in ["1970-01-01 00:00:00Z: x", "2100-01-01 00:00:00Z: x"] {
            assert_eq!(times.of(forged.as_bytes(), now), now, "{forged}: the service would drop it");
        }
        let mut times = Times::new(Stamp::Diag);
        assert_eq!(times.of(b"[2026-11-21 08:00:00Z ERR  Worker] System.Exception", now), THEN);
        assert_eq!(times.of(b"   at Runner.Worker", now), THEN, "a line of a stack belongs to the error");
    }

    #[test]
    fn a_clock_that_was_set_back_by_days_holds_no_line_in_the_future() {
        let mut times = Times::new(Stamp::Rfc3339);
        assert_eq!(times.of(b"", THEN), THEN);
        let earlier = THEN - 30 * 24 * 3600 * 1000;
        assert_eq!(times.of(b"", earlier), earlier);
    }
}
