//! A value with its past, so that a list can be served stale.

use crate::clock::Time;

/// The versions of a value, oldest first; `None` is before and after its life.
#[derive(Clone, Debug)]
pub(crate) struct Versioned<T>(Vec<(Time, Option<T>)>);

impl<T: Clone> Versioned<T> {
    pub(crate) fn new(at: Time, value: T) -> Self {
        Self(vec![(at, Some(value))])
    }

    pub(crate) fn now(&self) -> Option<&T> {
        self.0.last().and_then(|(_, value)| value.as_ref())
    }

    pub(crate) fn as_of(&self, at: Time) -> Option<&T> {
        let past = self.0.iter().rev().find(|(since, _)| *since <= at);
        past.and_then(|(_, value)| value.as_ref())
    }

    /// Changes the present value; nothing if it is gone.
    pub(crate) fn update(&mut self, at: Time, change: impl FnOnce(&mut T)) {
        if let Some(mut value) = self.now().cloned() {
            change(&mut value);
            self.0.push((at, Some(value)));
        }
    }

    pub(crate) fn remove(&mut self, at: Time) {
        if self.now().is_some() {
            self.0.push((at, None));
        }
    }
}
