//! What the cloud knows of this instance, as far as this process can ask.
//!
//! The rules that keep jobs from the metadata service keep this process from it too, and so from the role's credentials:
//! only credentials of the environment are of use here.

use std::time::Duration;

use thiserror::Error;

use super::{Finding, Machine};
use crate::platform::aws::instance::{Behavior, shutdown_behavior};
use crate::platform::aws::{Aws, AwsSettings, CallError, SettingsError};
use crate::platform::imds::{ImdsError, ImdsSettings, InstanceId, NotAnInstanceId};
use crate::platform::power::is_ec2;
use mayfly_core::config::Platform;

const TIMEOUT: Duration = Duration::from_secs(10);

pub(super) async fn check(machine: &Machine) -> Vec<Finding> {
    if machine.config.platform == Platform::Local {
        return vec![Finding::holds("cloud", "platform is \"local\": no cloud is needed")];
    }
    if !is_ec2() {
        let advice = "Try on an instance that was launched as those of this class are.";
        return vec![Finding::not_tried("cloud", "firmware does not say Amazon EC2", advice)];
    }
    let id = machine.instance().unwrap_or("INSTANCE");
    vec![
        shutdown(machine).await.unwrap_or_else(|why| {
            Finding::not_tried(
                "cloud.shutdown",
                why,
                format!(
                    "The agent asks by itself, and its log has an error if the answer is \"stop\". Elsewhere: \
                     aws ec2 describe-instance-attribute --instance-id {id} --attribute instanceInitiatedShutdownBehavior"
                ),
            )
        }),
        Finding::not_tried(
            "cloud.metadata",
            "hop limit and IMDSv2 are settings of the instance, which it cannot see from inside",
            format!(
                "HttpTokens must be required and HttpPutResponseHopLimit 1: \
                 aws ec2 describe-instances --instance-ids {id} --query 'Reservations[].Instances[].MetadataOptions'"
            ),
        ),
        Finding::not_tried(
            "cloud.scale-in",
            "the role needs no right to read its group, so it is not asked for",
            "In a group NewInstancesProtectedFromScaleIn must be true: aws autoscaling describe-auto-scaling-groups",
        ),
    ]
}

/// Why EC2 was not asked, or did not answer.
#[derive(Debug, Error)]
enum NotAsked {
    #[error("no running agent says which instance this is")]
    NoAgent,
    #[error("the running agent names no instance")]
    NoInstance(#[from] NotAnInstanceId),
    #[error(transparent)]
    Metadata(#[from] ImdsError),
    #[error(
        "the role's credentials are blocked from this process as from a job; with AWS_REGION, AWS_ACCESS_KEY_ID and \
         AWS_SECRET_ACCESS_KEY in the environment it would be asked"
    )]
    NoCredentials,
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error(transparent)]
    Call(#[from] CallError),
}

async fn shutdown(machine: &Machine) -> Result<Finding, NotAsked> {
    let id: InstanceId = machine.instance().ok_or(NotAsked::NoAgent)?.parse()?;
    let region = std::env::var("AWS_REGION").unwrap_or_default();
    let imds = ImdsSettings::from_environment()?;
    let settings = AwsSettings::from_environment(&region, &imds);
    if region.is_empty() || settings.credentials.is_none() {
        return Err(NotAsked::NoCredentials);
    }
    let aws = Aws::new(settings)?;
    Ok(match shutdown_behavior(&aws, &id, TIMEOUT).await? {
        Behavior::Terminate => Finding::holds("cloud.shutdown", "a power-off terminates the instance"),
        Behavior::Stop | Behavior::Other(_) => Finding::broken(
            "cloud.shutdown",
            "a power-off only stops the instance: it stays, billed, for ever",
            "Set InstanceInitiatedShutdownBehavior to terminate in the launch template.",
        ),
    })
}
