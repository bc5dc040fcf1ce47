//! How far this machine's clock is from AWS's, as the `Date` headers of its answers tell.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use aws_sdk_ssm::config::interceptors::BeforeDeserializationInterceptorContextRef;
use aws_sdk_ssm::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_ssm::error::BoxError;
use aws_sdk_ssm::primitives::{DateTime, DateTimeFormat};

/// No answer had a date yet.
const UNKNOWN: i64 = i64::MIN;

/// Notes the date of every answer, of refusals too. (The SDK corrects the dates of its signatures by itself.)
#[derive(Clone, Debug)]
pub(super) struct Clock {
    /// In whole seconds.
    difference: Arc<AtomicI64>,
}

impl Default for Clock {
    fn default() -> Self {
        Self { difference: Arc::new(AtomicI64::new(UNKNOWN)) }
    }
}

impl Clock {
    /// AWS's clock minus ours in seconds; exact to a second and the time that the last answer took.
    pub(super) fn difference(&self) -> Option<i64> {
        Some(self.difference.load(Ordering::Relaxed)).filter(|seconds| *seconds != UNKNOWN)
    }
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
        let theirs = context.response().headers().get("date");
        let theirs = theirs.and_then(|text| DateTime::from_str(text, DateTimeFormat::HttpDate).ok());
        let ours = SystemTime::now().duration_since(UNIX_EPOCH).ok();
        if let (Some(theirs), Some(ours)) = (theirs, ours.and_then(|time| i64::try_from(time.as_secs()).ok())) {
            self.difference.store(theirs.secs() - ours, Ordering::Relaxed);
        }
        Ok(())
    }
}
