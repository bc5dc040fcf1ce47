//! What a stream takes in: the batch that comes next, what may go into it, and what is counted.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use super::batch::{Batch, LogEvent};
use mayfly_core::record::{LossReason, StreamCounts};
use mayfly_core::runner::material::Material;

/// In place of a line that may not be shipped.
const REMOVED: &str = "[mayfly removed this line: it has a part of the runner's JIT configuration in it]";

/// What all streams share.
#[derive(Debug)]
pub(super) struct Shared {
    /// `logs.max_bytes`
    pub(super) max_bytes: u64,
    /// The bytes that all streams took in.
    pub(super) taken: AtomicU64,
    /// What no line may carry.
    pub(super) material: RwLock<Material>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Intake {
    shared: Arc<Shared>,
    /// The agent's own lines tell what became of the others: they go whatever was shipped.
    unlimited: bool,
    pub(super) batch: Batch,
    pub(super) counts: StreamCounts,
    /// Something did not fit into the batch.
    pub(super) is_full: bool,
    /// The line whose last piece was left out for want of bytes.
    leaving_out: bool,
    /// The bytes that were taken in since they were asked for.
    bytes: u64,
}

impl Intake {
    pub(super) fn new(shared: Arc<Shared>, counts: StreamCounts, unlimited: bool) -> Self {
        Self { shared, unlimited, batch: Batch::default(), counts, is_full: false, leaving_out: false, bytes: 0 }
    }

    /// Takes an event; false if it has to wait for the next batch.
    pub(super) fn take(&mut self, mut event: LogEvent) -> bool {
        let taken = self.shared.taken.load(Ordering::Relaxed);
        if self.leaving_out || (!self.unlimited && taken >= self.shared.max_bytes) {
            self.leaving_out = !event.ends_line;
            self.lost(LossReason::MaxBytes, u64::from(event.ends_line));
            return true;
        }
        if self.shared.material.read().unwrap_or_else(PoisonError::into_inner).is_in(event.text.as_bytes()) {
            REMOVED.clone_into(&mut event.text);
        }
        let (bytes, ends_line) = (event.text.len() as u64, event.ends_line);
        if self.batch.push(event).is_err() {
            self.is_full = true;
            return false;
        }
        self.shared.taken.fetch_add(bytes, Ordering::Relaxed);
        self.bytes += bytes;
        self.counts.read += u64::from(ends_line);
        true
    }

    /// Notes lines that are there and do not get into a batch.
    pub(super) fn lost(&mut self, reason: LossReason, lines: u64) {
        self.counts.read = self.counts.read.saturating_add(lines);
        self.counts.lose(reason, lines);
    }

    /// The bytes that were taken in since the last call.
    pub(super) fn take_bytes(&mut self) -> u64 {
        std::mem::take(&mut self.bytes)
    }

    /// Hands the batch on, and begins the next.
    pub(super) fn next(&mut self) -> Batch {
        self.is_full = false;
        std::mem::take(&mut self.batch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn intake(max_bytes: u64, unlimited: bool) -> Intake {
        let mut material = Material::default();
        material.add(b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ");
        let shared = Shared { max_bytes, taken: AtomicU64::new(0), material: RwLock::new(material) };
        Intake::new(Arc::new(shared), StreamCounts::default(), unlimited)
    }

    fn event(text: &str, ends_line: bool) -> LogEvent {
        LogEvent { at: 0, text: text.to_owned(), ends_line }
    }

    #[test]
    fn beyond_the_most_bytes_lines_are_counted_and_the_agents_own_still_go() {
        let mut limited = intake(10, false);
        for text in ["12345678", "90", "lost"] {
            assert!(limited.take(event(text, true)));
        }
        assert!(limited.take(event("in two", false)) && limited.take(event(" pieces", true)));
        let counts = &limited.counts;
        assert_eq!((counts.read, counts.lost, counts.why[&LossReason::MaxBytes]), (4, 2, 2));
        assert_eq!(limited.batch.lines(), 2);
        let mut own = intake(0, true);
        assert!(own.take(event("the agent's", true)));
        assert_eq!((own.batch.lines(), own.counts.lost), (1, 0));
    }

    #[test]
    fn a_line_with_a_part_of_the_jit_configuration_is_shipped_as_one_that_says_so() {
        let mut intake = intake(1000, false);
        assert!(intake.take(event("oops: 3456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRS", true)));
        assert_eq!((intake.batch.events()[0].text.as_str(), intake.counts.read), (REMOVED, 1));
    }
}
