//! The clock of this machine.

use std::time::{SystemTime, UNIX_EPOCH};

use mayfly_core::launcher::Moment;

/// Now.
#[must_use]
pub fn now() -> Moment {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Moment(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// A moment as GitHub and AWS write it (RFC 3339); `None` if it is none.
#[must_use]
pub fn parse(text: &str) -> Option<Moment> {
    let time = humantime::parse_rfc3339_weak(text).ok()?;
    let since = time.duration_since(UNIX_EPOCH).ok()?;
    u64::try_from(since.as_millis()).ok().map(Moment)
}

/// A moment for people.
#[must_use]
pub fn shown(moment: Moment) -> String {
    humantime::format_rfc3339_seconds(UNIX_EPOCH + std::time::Duration::from_millis(moment.0)).to_string()
}
