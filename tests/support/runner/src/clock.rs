//! Time stamps in the shapes the upstream runner writes. All are UTC.

use std::time::{SystemTime, UNIX_EPOCH};

/// .NET's `u` format, as on the console and in `_diag`: `2026-07-20 13:42:20Z`.
pub fn console_stamp() -> String {
    humantime::format_rfc3339_seconds(SystemTime::now()).to_string().replacen('T', " ", 1)
}

/// .NET's round-trip format: `2026-07-20T13:42:20.1234567Z`.
pub fn round_trip_stamp() -> String {
    let nanos = humantime::format_rfc3339_nanos(SystemTime::now()).to_string();
    // Nine fraction digits and the `Z`; .NET counts in ticks, so keep seven.
    format!("{}Z", &nanos[..nanos.len() - 3])
}

/// The stamp in `_diag` file names: `20260720-134220`.
pub fn file_stamp() -> String {
    let stamp = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    stamp.chars().filter(|c| c.is_ascii_digit() || *c == 'T').map(|c| if c == 'T' { '-' } else { c }).collect()
}

/// Milliseconds since the Unix epoch: the clock of the recording.
pub fn unix_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|passed| u64::try_from(passed.as_millis()).ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_have_upstream_widths() {
        assert_eq!(console_stamp().len(), "2026-07-20 13:42:20Z".len());
        assert_eq!(round_trip_stamp().len(), "2026-07-20T13:42:20.1234567Z".len());
        assert_eq!(file_stamp().len(), "20260720-134220".len());
    }
}
