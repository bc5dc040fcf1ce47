//! What the instance does to itself through its Auto Scaling group. Contract: Auto Scaling's API reference and
//! `reference/aws-contracts.md` 3. Deadlines and repetition are those of [`instance`](super::instance).

use std::time::Duration;

use thiserror::Error;

use super::Aws;
use super::call::{AwsCall, CallError, passes};
use super::failure::{Class, Failure};
use crate::platform::imds::InstanceId;
use mayfly_core::contract::Action;

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
    let call = AwsCall::new(aws, Action::TerminateInstanceInAutoScalingGroup, id.as_str());
    let attempt = || async {
        let asking = aws.autoscaling().terminate_instance_in_auto_scaling_group().instance_id(id.as_str());
        let answer = asking.should_decrement_desired_capacity(decrement).send().await;
        answer.map(drop).map_err(|error| Failure::of(&error))
    };
    let again = |failure: &Failure| passes(failure) || is_busy(failure.code.as_deref());
    Ok(call.within(deadline, again, attempt).await?)
}

/// The group the instance is in, if it is in one.
///
/// # Errors
/// The first failure that repeating would not change, or the last one inside the deadline.
pub async fn group_of(aws: &Aws, id: &InstanceId, deadline: Duration) -> Result<Option<String>, CallError> {
    let call = AwsCall::new(aws, Action::DescribeAutoScalingInstances, id.as_str());
    let attempt = || async {
        let asking = aws.autoscaling().describe_auto_scaling_instances().instance_ids(id.as_str());
        let answer = asking.send().await.map_err(|error| Failure::of(&error))?;
        Ok(answer.auto_scaling_instances.and_then(|found| found.into_iter().next()?.auto_scaling_group_name))
    };
    call.within(deadline, passes, attempt).await
}

/// The group the instance is in, if it is in one, and whether the group leaves it alone when it shrinks.
///
/// # Errors
/// The first failure that repeating would not change, or the last one inside the deadline.
pub async fn protection(aws: &Aws, id: &InstanceId, deadline: Duration) -> Result<Option<(String, bool)>, CallError> {
    let call = AwsCall::new(aws, Action::DescribeAutoScalingInstances, id.as_str());
    let attempt = || async {
        let asking = aws.autoscaling().describe_auto_scaling_instances().instance_ids(id.as_str());
        let answer = asking.send().await.map_err(|error| Failure::of(&error))?;
        let found = answer.auto_scaling_instances.and_then(|found| found.into_iter().next());
        Ok(found.and_then(|found| Some((found.auto_scaling_group_name?, found.protected_from_scale_in?))))
    };
    call.within(deadline, passes, attempt).await
}

/// A lifecycle hook of a group, and the instance that it makes wait.
#[derive(Clone, Copy, Debug)]
pub struct LifecycleHook<'a> {
    /// The group's name.
    pub group: &'a str,
    /// The hook's name.
    pub name: &'a str,
    /// The instance.
    pub id: &'a InstanceId,
}

/// How long the group waits for a heartbeat of this hook; `None` if it has no such hook.
///
/// # Errors
/// The first failure that repeating would not change, or the last one inside the deadline.
pub async fn hook_timeout(
    aws: &Aws,
    hook: LifecycleHook<'_>,
    deadline: Duration,
) -> Result<Option<Duration>, CallError> {
    let call = AwsCall::new(aws, Action::DescribeLifecycleHooks, hook.group);
    let attempt = || async {
        let asking = aws.autoscaling().describe_lifecycle_hooks().auto_scaling_group_name(hook.group);
        let answer = asking.lifecycle_hook_names(hook.name).send().await.map_err(|error| Failure::of(&error))?;
        let found = answer.lifecycle_hooks.and_then(|hooks| hooks.into_iter().next());
        // An hour is the default of Auto Scaling.
        let seconds = |timeout: Option<i32>| timeout.and_then(|timeout| u64::try_from(timeout).ok()).unwrap_or(3600);
        Ok(found.map(|found| Duration::from_secs(seconds(found.heartbeat_timeout))))
    };
    call.within(deadline, passes, attempt).await
}

/// Makes the group wait for another of the hook's periods.
///
/// # Errors
/// The first failure that repeating would not change, or the last one inside the deadline.
pub async fn heartbeat(aws: &Aws, hook: LifecycleHook<'_>, deadline: Duration) -> Result<(), CallError> {
    let call = AwsCall::new(aws, Action::RecordLifecycleActionHeartbeat, hook.id.as_str());
    let attempt = || async {
        let asking = aws.autoscaling().record_lifecycle_action_heartbeat().instance_id(hook.id.as_str());
        let asking = asking.auto_scaling_group_name(hook.group).lifecycle_hook_name(hook.name);
        asking.send().await.map(drop).map_err(|error| Failure::of(&error))
    };
    call.within(deadline, passes, attempt).await
}

/// Lets the group go on: with what it was about to do, or (of a launch) by giving the instance up. `awaited`: the group
/// may not have begun to wait yet, so that it is asked again inside the deadline.
///
/// # Errors
/// The first failure that repeating would not change, or the last one inside the deadline.
pub async fn complete(
    aws: &Aws,
    hook: LifecycleHook<'_>,
    go_on: bool,
    awaited: bool,
    deadline: Duration,
) -> Result<(), CallError> {
    let call = AwsCall::new(aws, Action::CompleteLifecycleAction, hook.id.as_str());
    let attempt = || async {
        let asking = aws.autoscaling().complete_lifecycle_action().instance_id(hook.id.as_str());
        let asking = asking.auto_scaling_group_name(hook.group).lifecycle_hook_name(hook.name);
        let asking = asking.lifecycle_action_result(if go_on { "CONTINUE" } else { "ABANDON" });
        asking.send().await.map(drop).map_err(|error| Failure::of(&error))
    };
    let again = |failure: &Failure| passes(failure) || awaited && says_not_waiting(failure.class, &failure.detail);
    call.within(deadline, again, attempt).await
}

/// The group does not wait for this hook (any more): `No active Lifecycle Action found with instance ID ...`.
#[must_use]
pub fn is_not_waiting(error: &CallError) -> bool {
    says_not_waiting(error.class, &error.detail)
}

fn says_not_waiting(class: Class, detail: &str) -> bool {
    class == Class::Invalid && detail.contains("No active Lifecycle Action")
}

/// The documentation names the errors with `Fault` at the end, the wire without.
fn is_busy(code: Option<&str>) -> bool {
    let code = code.unwrap_or_default();
    matches!(code.strip_suffix("Fault").unwrap_or(code), "ScalingActivityInProgress" | "ResourceContention")
}
