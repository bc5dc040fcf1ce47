//! What became of the log lines, stream by stream.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The lines of one stream. What was read is confirmed, lost, or, while the run goes on, under way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct StreamCounts {
    /// The stream: `agent`, `runner`, `worker` or `system`.
    pub stream: String,
    /// Lines that were read from their sources.
    pub read: u64,
    /// Lines that the sink has confirmed.
    pub confirmed: u64,
    /// Lines that did not get there.
    pub lost: u64,
    /// Why they did not, and how many for each reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub why: BTreeMap<LossReason, u64>,
}

impl StreamCounts {
    /// Notes lines that did not get there.
    pub fn lose(&mut self, reason: LossReason, lines: u64) {
        if lines > 0 {
            self.lost = self.lost.saturating_add(lines);
            let count = self.why.entry(reason).or_default();
            *count = count.saturating_add(lines);
        }
    }
}

/// Why a line did not get to the sink.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum LossReason {
    /// journald dropped it ("Suppressed N messages"): it was never stored.
    Suppressed,
    /// The journal was vacuumed before they were read. How many they were is not known; each time counts as one.
    Vacuumed,
    /// It came faster than the sink took it, for longer than the buffer lasts.
    Overrun,
    /// `logs.max_bytes` was reached.
    MaxBytes,
    /// The service dropped it as older than it keeps.
    TooOld,
    /// The service dropped it as too far in the future.
    TooNew,
    /// The service refused it whatever was tried.
    Refused,
    /// When the time for the last lines was over, the service denied the call.
    Denied,
    /// When the time for the last lines was over, the service throttled.
    Throttled,
    /// When the time for the last lines was over, the sink did not answer or could not be written.
    Unreachable,
    /// It was read, but the time for the last lines was over before it was confirmed.
    OutOfTime,
    /// It was there and was not read any more.
    NotRead,
    /// Its file could not be read, or there were too many.
    Unreadable,
}

impl LossReason {
    /// In words, for the log.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Suppressed => "journald suppressed them",
            Self::Vacuumed => "the journal was vacuumed before they were read, and their number is not known",
            Self::Overrun => "they came faster than the sink took them",
            Self::MaxBytes => "logs.max_bytes is reached",
            Self::TooOld => "the service found them too old",
            Self::TooNew => "the service found them too far in the future",
            Self::Refused => "the service refused them",
            Self::Denied => "the service denied the call",
            Self::Throttled => "the service throttled",
            Self::Unreachable => "the sink could not be reached",
            Self::OutOfTime => "the time for the last lines was over",
            Self::NotRead => "they were not read any more",
            Self::Unreadable => "their file could not be read",
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_reasons_add_up_to_what_is_lost_and_are_read_back() {
        let mut counts = StreamCounts { stream: "runner".to_owned(), read: 9, confirmed: 4, ..StreamCounts::default() };
        counts.lose(LossReason::MaxBytes, 2);
        counts.lose(LossReason::Suppressed, 3);
        counts.lose(LossReason::MaxBytes, 0);
        assert_eq!((counts.lost, counts.why.values().sum::<u64>()), (5, 5));
        let text = serde_json::to_string(&counts).unwrap();
        assert!(text.contains(r#""max-bytes":2"#), "{text}");
        assert_eq!(serde_json::from_str::<StreamCounts>(&text).unwrap(), counts);
    }
}
