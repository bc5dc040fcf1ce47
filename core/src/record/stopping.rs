//! How the time of a stop was spent.

use serde::{Deserialize, Serialize};

use crate::lifecycle::{Phase, Time};

/// What was seen of the job's steps while their runner was being stopped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StepMarks {
    /// How many processes got SIGINT.
    pub interrupted: usize,
    /// How many the agent may not signal: they are another user's, and it is not root.
    pub refused: usize,
    /// When one was last seen.
    pub seen: Option<Time>,
    /// When it was seen that the last one is gone, if there was one.
    pub gone: Option<Time>,
}

/// The moments of a stop, in milliseconds since the kernel started, like those of the phases. A moment that did not come,
/// or that no agent process saw, is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Stopping {
    /// The runner was told to stop.
    pub signal: Time,
    /// How many processes of the job's steps got a SIGINT of the agent's.
    pub steps_interrupted: usize,
    /// How many it was not allowed to signal: they are another user's, and it is not root.
    pub steps_refused: usize,
    /// The steps were killed, so that their worker could still report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps_killed: Option<Time>,
    /// The last process of the steps was gone, as far as this agent process saw it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_step_gone: Option<Time>,
    /// The listener had ended by itself: GitHub has been told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listener_gone: Option<Time>,
    /// The deadline of the stop had passed, and the whole tree was killed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub killed: Option<Time>,
    /// The machine's end was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terminate: Option<Time>,
}

impl Stopping {
    /// Takes a state change in; `None` until the runner is told to stop.
    pub(super) fn noted(known: Option<Self>, at: Time, phase: &Phase) -> Option<Self> {
        let begun = matches!(phase, Phase::Draining { .. }).then(|| Self { signal: at, ..Self::default() });
        let mut stop = known.or(begun)?;
        let run = phase.runner();
        if run.and_then(|run| run.steps).is_some_and(|steps| steps.killed) {
            stop.steps_killed.get_or_insert(at);
        }
        if matches!(phase, Phase::Draining { killed: true, .. }) {
            stop.killed.get_or_insert(at);
        }
        let exit = run.map_or_else(|| phase.end().and_then(|end| end.exit), |run| run.exit);
        if exit.is_some() && stop.killed.is_none() {
            stop.listener_gone.get_or_insert(at);
        }
        if matches!(phase, Phase::Terminating { .. }) {
            stop.terminate.get_or_insert(at);
        }
        Some(stop)
    }

    /// Takes in what was seen of the steps.
    pub(super) fn saw(&mut self, marks: StepMarks) {
        self.steps_interrupted = marks.interrupted;
        self.steps_refused = marks.refused;
        // Steps are looked for now and then. What was there before the listener's end, and was not at the next look after it,
        // went with it at the latest: a worker waits for its steps before it reports.
        let with_the_listener = self.listener_gone.filter(|end| marks.seen.is_some_and(|seen| seen <= *end));
        self.last_step_gone = marks.gone.map(|gone| with_the_listener.map_or(gone, |end| gone.min(end)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_that_goes_between_two_looks_went_with_its_listener_at_the_latest() {
        let gone_of = |seen, gone, listener| {
            let mut stop = Stopping { listener_gone: listener, ..Stopping::default() };
            stop.saw(StepMarks { seen: Some(Time(seen)), gone: Some(Time(gone)), ..StepMarks::default() });
            stop.last_step_gone
        };
        assert_eq!(gone_of(10, 11, Some(Time(20))), Some(Time(11)));
        assert_eq!(gone_of(10, 30, Some(Time(20))), Some(Time(20)), "a look that came late is told as the step's end");
        assert_eq!(gone_of(25, 30, Some(Time(20))), Some(Time(30)), "a step that outlived its listener is hidden");
        assert_eq!(gone_of(10, 30, None), Some(Time(30)));
    }
}
