//! Asking systemd about the runner without waiting for it: it may be silent, and what it then leaves open has to be seen on
//! the machine itself, or stays open. "Unknown" is never "gone".

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::unit::{RunnerUnit, UnitState};

/// After an answer the next question may follow soon, after none later.
const SOON: Duration = Duration::from_millis(100);
const LATER: Duration = Duration::from_secs(1);

/// What is believed of a listener about which systemd has not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Believed {
    /// It is there, or something of its unit is.
    Runs,
    /// It is not there. How it ended nobody has said yet.
    Gone,
    /// Nobody can tell: the run goes on.
    Unknown,
}

/// Decides without systemd. `listener`: whether the process that is known as the listener is alive, if one is known.
/// `unit`: whether there are processes in the runner's cgroup, if that could be seen.
pub(super) fn believed(listener: Option<bool>, unit: impl FnOnce() -> Option<bool>) -> Believed {
    match listener {
        Some(true) => Believed::Runs,
        Some(false) => Believed::Gone,
        None => match unit() {
            Some(true) => Believed::Runs,
            Some(false) => Believed::Gone,
            None => Believed::Unknown,
        },
    }
}

/// One question at a time.
#[derive(Debug)]
pub(super) struct Question {
    under_way: Option<JoinHandle<Option<UnitState>>>,
    answer: Option<UnitState>,
    not_before: Instant,
}

impl Question {
    pub(super) fn new() -> Self {
        Self { under_way: None, answer: None, not_before: Instant::now() }
    }

    /// Asks, unless a question is under way or was answered a moment ago. Returns whether it asked.
    pub(super) fn ask(&mut self, unit: &RunnerUnit) -> bool {
        if self.under_way.is_some() || Instant::now() < self.not_before {
            return false;
        }
        let unit = unit.clone();
        self.under_way = Some(tokio::spawn(async move { unit.poll().await }));
        true
    }

    /// Waits until the question under way is over, for ever if there is none.
    pub(super) async fn over(&mut self) {
        let Some(under_way) = &mut self.under_way else { return std::future::pending().await };
        let answer = under_way.await.ok().flatten();
        self.under_way = None;
        self.not_before = Instant::now() + if answer.is_some() { SOON } else { LATER };
        self.answer = answer;
    }

    /// The answer to the last question, once.
    pub(super) fn answer(&mut self) -> Option<UnitState> {
        self.answer.take()
    }
}

impl Drop for Question {
    fn drop(&mut self) {
        if let Some(under_way) = &self.under_way {
            under_way.abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every combination of what can be seen while systemd says nothing.
    #[test]
    fn without_an_answer_only_what_is_seen_to_be_gone_is_gone() {
        for unit in [None, Some(true), Some(false)] {
            assert_eq!(believed(Some(true), || unit), Believed::Runs, "a listener that is alive was given up");
            assert_eq!(believed(Some(false), || unit), Believed::Gone);
        }
        assert_eq!(believed(None, || Some(true)), Believed::Runs, "a runner whose pid is not known was given up");
        assert_eq!(believed(None, || Some(false)), Believed::Gone);
        assert_eq!(believed(None, || None), Believed::Unknown, "nobody could tell, and its job was given up");
    }
}
