//! What the instance does to itself through its Auto Scaling group. Contract: Auto Scaling's API reference and
//! `reference/aws-contracts.md` 3. Deadlines and repetition are those of [`instance`](super::instance).

use std::time::Duration;

use thiserror::Error;

use super::Aws;
use super::call::{Call, CallError, passes};
use super::failure::{Class, Failure};
use crate::platform::imds::InstanceId;

/// Why the group did not end the instance; what follows from it differs.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum GroupError {
    /// The group would fall below its minimum: without the decrement it would work.
    #[error("{0}")]
    AtMinSize(CallError),
    /// The group was in the middle of something else for the whole deadline.
    #[error("{0}")]
    Busy(CallError),
    /// Too many calls, for the whole deadline.
    #[error("{0}")]
    Throttled(CallError),
    /// The role may not do it.
    #[error("{0}")]
    Denied(CallError),
    /// The instance is in no group (any more).
    #[error("{0}")]
    NotInGroup(CallError),
    /// Anything else; its [`Class`] says what.
    #[error("{0}")]
    Other(CallError),
}

impl From<CallError> for GroupError {
    fn from(error: CallError) -> Self {
        if is_busy(error.code.as_deref()) {
            return Self::Busy(error);
        }
        let says = |words: &str| error.class == Class::Invalid && error.detail.contains(words);
        match error.class {
            Class::Throttled => Self::Throttled(error),
            Class::Denied => Self::Denied(error),
            // Both are a ValidationError; only the sentence differs.
            _ if says("equals minSize") || says("min size constraint") => Self::AtMinSize(error),
            _ if says("not found") || says("not part of") || says("No managed instance") => Self::NotInGroup(error),
            _ => Self::Other(error),
        }
    }
}

/// Ends the instance through its group; with `decrement` the group does not replace it. Does not work in a warm pool.
///
/// # Errors
/// See [`GroupError`]. A busy group is waited for inside the deadline.
pub async fn terminate_in_group(
    aws: &Aws,
    id: &InstanceId,
    decrement: bool,
    deadline: Duration,
) -> Result<(), GroupError> {
    let call = Call::new(aws, "autoscaling:TerminateInstanceInAutoScalingGroup", id.as_str());
    let attempt = || async {
        let asking = aws.autoscaling().terminate_instance_in_auto_scaling_group().instance_id(id.as_str());
        let answer = asking.should_decrement_desired_capacity(decrement).send().await;
        answer.map(drop).map_err(|error| Failure::of(&error))
    };
    let again = |failure: &Failure| passes(failure) || is_busy(failure.code.as_deref());
    Ok(call.within(deadline, again, attempt).await?)
}

/// The documentation names the errors with `Fault` at the end, the wire without.
fn is_busy(code: Option<&str>) -> bool {
    let code = code.unwrap_or_default();
    matches!(code.strip_suffix("Fault").unwrap_or(code), "ScalingActivityInProgress" | "ResourceContention")
}
