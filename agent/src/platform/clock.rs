//! How far this machine's clock is from the cloud's, as the `Date` headers of its answers tell.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use aws_sdk_ssm::config::interceptors::BeforeDeserializationInterceptorContextRef;
use aws_sdk_ssm::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_ssm::error::BoxError;
use aws_sdk_ssm::primitives::{DateTime, DateTimeFormat};

use crate::base::clock;

/// No answer had a date yet.
const UNKNOWN: i64 = i64::MIN;

/// Notes the date of every answer, of refusals too. (The SDK corrects the dates of its signatures by itself.)
#[derive(Clone, Debug)]
pub(super) struct Clock {
    /// Their clock when the kernel started, in whole seconds: the boot clock never jumps, so a clock of ours that is set
    /// right later is seen to be right without another answer.
    their_boot: Arc<AtomicI64>,
}

impl Default for Clock {
    fn default() -> Self {
        Self { their_boot: Arc::new(AtomicI64::new(UNKNOWN)) }
    }
}

impl Clock {
    /// Takes the `Date` header of an answer that just came.
    pub(super) fn note(&self, date: &str) {
        if let Ok(theirs) = DateTime::from_str(date, DateTimeFormat::HttpDate) {
            self.their_boot.store(theirs.secs() - since_boot(), Ordering::Relaxed);
        }
    }

    /// Their clock minus ours in seconds, now; exact to two seconds and the time that the last answer took.
    pub(super) fn difference(&self) -> Option<i64> {
        self.difference_at(SystemTime::now(), since_boot())
    }

    fn difference_at(&self, wall: SystemTime, boot: i64) -> Option<i64> {
        let their_boot = Some(self.their_boot.load(Ordering::Relaxed)).filter(|seconds| *seconds != UNKNOWN)?;
        let ours = i64::try_from(wall.duration_since(UNIX_EPOCH).ok()?.as_secs()).ok()?;
        Some(their_boot + boot - ours)
    }
}

fn since_boot() -> i64 {
    i64::try_from(clock::now().0 / 1000).unwrap_or(i64::MAX)
}

#[aws_smithy_runtime_api::client::interceptors::dyn_dispatch_hint]
impl Intercept for Clock {
    fn name(&self) -> &'static str {
        "Clock"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if let Some(date) = context.response().headers().get("date") {
            self.note(date);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_clock_that_is_set_right_later_is_right_without_another_answer() {
        let clock = Clock::default();
        assert_eq!(clock.difference(), None, "nobody told the time yet");
        let now = SystemTime::now();
        let theirs = DateTime::from(now + Duration::from_secs(400));
        clock.note(&theirs.fmt(DateTimeFormat::HttpDate).unwrap());
        let boot = since_boot();
        let before = clock.difference_at(now, boot).unwrap();
        assert!((398..=402).contains(&before), "{before}");
        // A minute later, and time synchronisation has moved the wall clock forward by the missing 400 s.
        let after = clock.difference_at(now + Duration::from_secs(460), boot + 60).unwrap();
        assert!(after.abs() <= 2, "a machine whose clock is right is refused: {after}");
    }
}
