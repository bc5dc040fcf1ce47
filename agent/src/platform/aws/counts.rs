//! How many attempts were made at which call, and how they failed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::failure::Class;
use mayfly_core::contract::Action;
use mayfly_core::metrics::{AWS_CALLS, AWS_ERRORS, AWS_RETRIES, DENIED, Registry, count};

/// See the module. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Counts(Arc<Mutex<BTreeMap<Action, Count>>>);

#[derive(Debug, Default)]
struct Count {
    attempts: u64,
    retries: u64,
    errors: BTreeMap<Class, u64>,
    /// The last attempt that ended was denied.
    denied: bool,
}

impl Counts {
    /// An attempt begins: the first of its call, or another.
    pub(super) fn attempt(&self, action: Action, first: bool) {
        self.with(action, |count| {
            count.attempts += 1;
            count.retries += u64::from(!first);
        });
    }

    /// An attempt succeeded.
    pub(super) fn succeeded(&self, action: Action) {
        self.with(action, |count| count.denied = false);
    }

    /// An attempt failed.
    pub(super) fn failed(&self, action: Action, class: Class) {
        self.with(action, |count| {
            *count.errors.entry(class).or_default() += 1;
            // What is not there may be read.
            count.denied = class == Class::Denied || (count.denied && class != Class::NotFound);
        });
    }

    fn with(&self, action: Action, note: impl FnOnce(&mut Count)) {
        note(self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(action).or_default());
    }

    pub(super) fn write(&self, registry: &mut Registry) {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (action, of) in &*counts {
            registry.set_of(&AWS_CALLS, &[action.name()], count(of.attempts));
            registry.set_of(&AWS_RETRIES, &[action.name()], count(of.retries));
            for (class, errors) in &of.errors {
                registry.set_of(&AWS_ERRORS, &[action.name(), class.name()], count(*errors));
            }
        }
        let denied = counts.values().filter(|count| count.denied).count();
        registry.set(&DENIED, count(denied as u64));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_are_counted_by_operation_and_failures_by_kind() {
        let (counts, mut registry) = (Counts::default(), Registry::default());
        for first in [true, false, false] {
            counts.attempt(Action::GetParameter, first);
        }
        counts.failed(Action::GetParameter, Class::Throttled);
        counts.failed(Action::GetParameter, Class::Denied);
        counts.attempt(Action::CreateTags, true);
        counts.failed(Action::CreateTags, Class::Denied);
        counts.write(&mut registry);
        let get = [("operation", "ssm:GetParameter")];
        let errors = |operation, error| registry.value(&AWS_ERRORS, &[("operation", operation), ("error", error)]);
        assert_eq!(registry.value(&AWS_CALLS, &get), Some(3.0));
        assert_eq!(registry.value(&AWS_RETRIES, &get), Some(2.0));
        assert_eq!(errors("ssm:GetParameter", "throttled"), Some(1.0));
        assert_eq!(errors("ec2:CreateTags", "denied"), Some(1.0));
        assert_eq!(registry.value(&DENIED, &[]), Some(2.0), "nobody is told of a permission that is missing");
        counts.failed(Action::CreateTags, Class::Transient);
        counts.failed(Action::GetParameter, Class::NotFound);
        counts.write(&mut registry);
        assert_eq!(registry.value(&DENIED, &[]), Some(1.0), "a role that is a moment old wakes somebody at night");
        counts.succeeded(Action::CreateTags);
        counts.write(&mut registry);
        assert_eq!(registry.value(&DENIED, &[]), Some(0.0));
    }
}
