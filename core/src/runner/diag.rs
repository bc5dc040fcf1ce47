//! The listener's own log, `_diag/Runner_<date>-utc.log`: lines `[<time> <LEVEL> <component>] <text>`.
//!
//! A job can write there: what is read of it can only shorten that job's own time.

use crate::lifecycle::Observation;

/// How the names of the listener's logs begin; what follows is when it was begun, so the last by name is the newest.
pub const LISTENER_PREFIX: &str = "Runner_";

/// Reads one line.
#[must_use]
pub fn observation(line: &str) -> Option<Observation> {
    let (head, text) = line.split_once("] ")?;
    let renewed = head.starts_with('[')
        && head.ends_with(" INFO JobDispatcher")
        && text.starts_with("Successfully renew job ")
        && text.contains(", job is valid till ");
    renewed.then_some(Observation::LockRenewed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_dispatchers_word_is_a_renewal() {
        let line = "[2026-11-21 08:00:00Z INFO JobDispatcher] Successfully renew job 7, job is valid till 11/21/2026 8:10:00 AM";
        assert_eq!(observation(line), Some(Observation::LockRenewed));
        for other in [
            "Successfully renew job 7, job is valid till 11/21/2026 8:10:00 AM",
            "[2026-11-21 08:00:00Z INFO JobDispatcher] Catch exception during renew runner job 7.",
            "[2026-11-21 08:00:00Z INFO Worker] Successfully renew job 7, job is valid till 11/21/2026 8:10:00 AM",
            "[2026-11-21 08:00:00Z INFO JobDispatcher] Back off 15 seconds before next retry. Successfully renew job 7",
        ] {
            assert_eq!(observation(other), None, "{other}");
        }
    }
}
