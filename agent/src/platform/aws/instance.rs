//! What the instance does to itself through EC2. Contract: EC2's API reference and `reference/aws-contracts.md` 3.
//!
//! Every call has a total deadline; throttling, time-outs and faults on the other side are repeated inside it, anything
//! else is said at once, so that the caller can go on to the next method. All of them may be repeated.

use std::time::Duration;

use aws_sdk_ec2::types::{InstanceAttributeName, Tag};

use super::Aws;
use super::call::{AwsCall, CallError, passes};
use super::failure::{Class, Failure};
use crate::platform::imds::InstanceId;
use mayfly_core::contract::{Action, TagKey};

/// What becomes of the instance when its operating system powers off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Behavior {
    /// It is stopped: it stays, its disks cost money, and it could be started again.
    Stop,
    /// It is gone.
    Terminate,
    /// A word that is new to this version.
    Other(String),
}

/// Adds tags to the instance or changes them; nothing is asked for no tags. EC2 allows keys of 128 and values of 256
/// characters.
///
/// # Errors
/// The first failure that repeating would not change, or the last one inside the deadline.
pub async fn tag(aws: &Aws, id: &InstanceId, tags: &[(TagKey, String)], deadline: Duration) -> Result<(), CallError> {
    if tags.is_empty() {
        return Ok(());
    }
    let tags: Vec<Tag> = tags.iter().map(|(key, value)| Tag::builder().key(key.name()).value(value).build()).collect();
    let call = AwsCall::new(aws, Action::CreateTags, id.as_str());
    let attempt = || async {
        let asking = aws.ec2().create_tags().resources(id.as_str()).set_tags(Some(tags.clone()));
        asking.send().await.map(drop).map_err(|error| Failure::of(&error))
    };
    call.within(deadline, passes, attempt).await
}

/// What happens when the instance powers itself off.
///
/// # Errors
/// The first failure that repeating would not change, or the last one inside the deadline.
pub async fn shutdown_behavior(aws: &Aws, id: &InstanceId, deadline: Duration) -> Result<Behavior, CallError> {
    let call = AwsCall::new(aws, Action::DescribeInstanceAttribute, id.as_str());
    let attempt = || async {
        let attribute = InstanceAttributeName::InstanceInitiatedShutdownBehavior;
        let asking = aws.ec2().describe_instance_attribute().instance_id(id.as_str()).attribute(attribute);
        let answer = asking.send().await.map_err(|error| Failure::of(&error))?;
        let behavior = answer.instance_initiated_shutdown_behavior.and_then(|attribute| attribute.value);
        behavior.ok_or_else(|| Failure::new(Class::Other, "the answer carries no value"))
    };
    Ok(match call.within(deadline, passes, attempt).await?.as_str() {
        "stop" => Behavior::Stop,
        "terminate" => Behavior::Terminate,
        other => Behavior::Other(other.to_owned()),
    })
}

/// Whether the instance may end itself: the same request, of which nothing comes.
///
/// # Errors
/// It may not, or nobody said.
pub async fn may_terminate(aws: &Aws, id: &InstanceId, deadline: Duration) -> Result<(), CallError> {
    let call = AwsCall::new(aws, Action::TerminateInstances, id.as_str());
    let attempt = || async {
        let asking = aws.ec2().terminate_instances().instance_ids(id.as_str()).dry_run(true);
        would_do(asking.send().await.map(drop).map_err(|error| Failure::of(&error)))
    };
    call.within(deadline, passes, attempt).await
}

/// The same for its tags.
///
/// # Errors
/// It may not, or nobody said.
pub async fn may_tag(aws: &Aws, id: &InstanceId, deadline: Duration) -> Result<(), CallError> {
    let call = AwsCall::new(aws, Action::CreateTags, id.as_str());
    let attempt = || async {
        let tag = Tag::builder().key(TagKey::Phase.name()).value("idle").build();
        let asking = aws.ec2().create_tags().resources(id.as_str()).tags(tag).dry_run(true);
        would_do(asking.send().await.map(drop).map_err(|error| Failure::of(&error)))
    };
    call.within(deadline, passes, attempt).await
}

/// EC2 answers a dry run that would have worked with an error of its own.
fn would_do(answer: Result<(), Failure>) -> Result<(), Failure> {
    match answer {
        Err(failure) if failure.code.as_deref() == Some("DryRunOperation") => Ok(()),
        other => other,
    }
}

/// Ends the instance. That it is ending already counts as success.
///
/// # Errors
/// The first failure that repeating would not change, or the last one inside the deadline.
pub async fn terminate(aws: &Aws, id: &InstanceId, deadline: Duration) -> Result<(), CallError> {
    let call = AwsCall::new(aws, Action::TerminateInstances, id.as_str());
    let attempt = || async {
        let asking = aws.ec2().terminate_instances().instance_ids(id.as_str());
        asking.send().await.map(drop).map_err(|error| Failure::of(&error))
    };
    call.within(deadline, passes, attempt).await
}
