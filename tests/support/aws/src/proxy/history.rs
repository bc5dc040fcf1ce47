//! What lists were answered earlier, so that an emulator's can be served stale.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::call::Call;
use super::whole::Whole;

/// How long an answer may be needed.
const KEPT: Duration = Duration::from_secs(3600);

/// An action and its body.
type Question = (String, Bytes);

/// The answers to each question, oldest first.
#[derive(Debug, Default)]
pub(crate) struct History {
    answers: HashMap<Question, VecDeque<(Instant, Arc<Whole>)>>,
}

impl History {
    /// Remembers the answer to a list; an answer that is the last one again is not kept twice.
    pub(crate) fn note(&mut self, call: &Call, body: &Bytes, whole: &Arc<Whole>) {
        let lists = call.action.starts_with("Describe") || call.action == "GetParametersByPath";
        if !lists || !whole.status.is_success() {
            return;
        }
        let now = Instant::now();
        let answers = self.answers.entry((call.action.clone(), body.clone())).or_default();
        while answers.front().is_some_and(|(at, _)| now.duration_since(*at) > KEPT) {
            answers.pop_front();
        }
        if answers.back().is_none_or(|(_, last)| last.body != whole.body) {
            answers.push_back((now, whole.clone()));
        }
    }

    /// The answer that the same question had so long ago; the first one ever if it was not asked by then.
    pub(crate) fn as_of(&self, call: &Call, body: &Bytes, age: Duration) -> Option<Arc<Whole>> {
        let answers = self.answers.get(&(call.action.clone(), body.clone()))?;
        let old = answers.iter().rev().find(|(at, _)| at.elapsed() >= age);
        old.or(answers.front()).map(|(_, whole)| whole.clone())
    }
}
