//! The boot clock and the wall clock.

use std::time::{Duration, SystemTime};

use nix::time::{ClockId, clock_gettime};

use mayfly_core::lifecycle::Time;

/// Now, on the boot clock.
#[must_use]
pub fn now() -> Time {
    let Ok(now) = clock_gettime(ClockId::CLOCK_BOOTTIME) else { return Time(0) };
    let seconds = u64::try_from(now.tv_sec()).unwrap_or(0);
    let millis = u64::try_from(now.tv_nsec()).unwrap_or(0) / 1_000_000;
    Time(seconds * 1000 + millis)
}

/// How long the machine has been suspended or hibernated since the boot: the boot clock goes on meanwhile, the monotonic
/// one stands still.
#[must_use]
pub fn suspended() -> Duration {
    let of = |clock| clock_gettime(clock).map(Duration::from).unwrap_or_default();
    // In this order, so that a pause between the two makes it less and not more.
    let boot = of(ClockId::CLOCK_BOOTTIME);
    boot.saturating_sub(of(ClockId::CLOCK_MONOTONIC))
}

/// Now, as RFC 3339 in UTC with milliseconds.
#[must_use]
pub fn timestamp() -> String {
    humantime::format_rfc3339_millis(SystemTime::now()).to_string()
}

/// A moment on the boot clock, past or to come, as RFC 3339 in UTC with milliseconds, by today's wall clock.
#[must_use]
pub fn timestamp_of(moment: Time) -> String {
    humantime::format_rfc3339_millis(wall(moment)).to_string()
}

/// The same for a moment that may lie before the kernel's start, in milliseconds from there.
#[must_use]
pub fn timestamp_of_ms(moment: i64) -> String {
    let start = wall(Time(0));
    let before = Duration::from_millis(moment.unsigned_abs());
    match u64::try_from(moment) {
        Ok(moment) => timestamp_of(Time(moment)),
        Err(_) => humantime::format_rfc3339_millis(start.checked_sub(before).unwrap_or(start)).to_string(),
    }
}

/// A moment on the boot clock, as a person says it: `14:05 UTC`.
#[must_use]
pub fn hour_of(moment: Time) -> String {
    let text = humantime::format_rfc3339_seconds(wall(moment)).to_string();
    format!("{} UTC", text.get(11..16).unwrap_or(&text))
}

fn wall(moment: Time) -> SystemTime {
    let (now, wall) = (now(), SystemTime::now());
    let shifted = if moment < now { wall.checked_sub(now.since(moment)) } else { wall.checked_add(moment.since(now)) };
    shifted.unwrap_or(wall)
}

/// `MAYFLY_TIME_SCALE` makes the pauses between calls to AWS, and between polls of the machine, shorter. For tests: an
/// hour of throttling in a minute.
#[must_use]
pub fn time_scale() -> Option<f64> {
    std::env::var("MAYFLY_TIME_SCALE").ok()?.parse().ok().filter(|scale: &f64| scale.is_finite() && *scale > 0.0)
}
