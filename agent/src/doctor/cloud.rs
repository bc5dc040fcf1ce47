//! What the cloud knows of this instance, as far as somebody can ask.
//!
//! The rules that keep jobs from the metadata service keep this process from it too, and so from the role's credentials. So the
//! running agent is asked for what it saw; and where this process has credentials (an image build, or the environment), each
//! permission is tried that can be tried without doing anything: `DryRun` where EC2 has it, else a read.

use std::time::Duration;

use thiserror::Error;

use super::figures::label;
use super::{Finding, Machine, permissions};
use crate::platform::aws::instance::{Behavior, shutdown_behavior};
use crate::platform::aws::{Aws, AwsSettings, CallError, SettingsError};
use crate::platform::imds::{Identity, ImdsClient, ImdsError, ImdsSettings, InstanceId, NotAnInstanceId};
use crate::platform::power::is_ec2;
use mayfly_core::config::{Platform, Sink};
use mayfly_core::metrics::{AWS_CALLS, AWS_ERRORS, DENIED, LINES_CONFIRMED, LINES_LOST, SHUTDOWN_STOPS};

/// How long each question may take.
pub(super) const TIMEOUT: Duration = Duration::from_secs(10);

/// How long the metadata service may take: it answers in a millisecond, or this process is blocked.
const METADATA: Duration = Duration::from_secs(2);

pub(super) async fn check(machine: &Machine) -> Vec<Finding> {
    if machine.config.platform == Platform::Local {
        return vec![Finding::holds("cloud", "platform is \"local\": no cloud is needed")];
    }
    if machine.image {
        let what =
            "the role, the metadata options and the shutdown behaviour of the instances are their launch template's";
        return vec![Finding::not_tried("cloud", what, "Run mayfly doctor on an instance of the image, too.")];
    }
    // An agent that knows its instance proves more than the firmware.
    if machine.instance().is_none() && !is_ec2() {
        let advice = "Try on an instance that was launched as those of this class are.";
        return vec![Finding::not_tried("cloud", "firmware does not say Amazon EC2", advice)];
    }
    let asked = match ImdsClient::from_environment() {
        Ok(client) => Identity::fetch(&client, METADATA).await,
        Err(error) => Err(error),
    };
    let mut findings = vec![identity(machine, &asked), denied(machine)];
    let id = machine.instance().unwrap_or("INSTANCE");
    match way(machine, asked.as_ref().ok()) {
        Ok((aws, own)) => {
            findings.push(shutdown(machine, Some((&aws, &own)), id).await);
            findings.extend(permissions::check(machine, &aws, &own).await);
        }
        Err(why) => {
            findings.push(shutdown(machine, None, id).await);
            findings.push(Finding::not_tried(
                "cloud.permissions",
                why,
                "The agent's own calls are above. To try them all before the first job: with AWS_REGION, AWS_ACCESS_KEY_ID, \
                 AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN of the role in the environment, or in the image build.",
            ));
        }
    }
    findings.push(logs(machine));
    findings.push(Finding::not_tried(
        "cloud.metadata",
        "hop limit and IMDSv2 are settings of the instance, which it cannot see from inside",
        format!(
            "HttpTokens must be required and HttpPutResponseHopLimit 1: \
             aws ec2 describe-instances --instance-ids {id} --query 'Reservations[].Instances[].MetadataOptions'"
        ),
    ));
    findings
}

/// Why EC2 was not asked.
#[derive(Debug, Error)]
enum NotAsked {
    #[error("no running agent says which instance this is")]
    NoAgent,
    #[error("the running agent names no instance")]
    NoInstance(#[from] NotAnInstanceId),
    #[error(transparent)]
    Metadata(#[from] ImdsError),
    #[error("the role's credentials are blocked from this process as from a job")]
    NoCredentials,
    #[error(transparent)]
    Settings(#[from] SettingsError),
}

/// A way to AWS of this process's own, and which instance this is.
fn way(machine: &Machine, asked: Option<&Identity>) -> Result<(Aws, InstanceId), NotAsked> {
    let id = match (machine.instance(), asked) {
        (Some(id), _) => id.parse()?,
        (None, Some(identity)) => identity.instance_id.clone(),
        (None, None) => return Err(NotAsked::NoAgent),
    };
    let region = asked.map(|identity| identity.region.clone()).unwrap_or_default();
    let settings = AwsSettings::from_environment(&region, &ImdsSettings::from_environment()?);
    // Whoever is not told the identity is not told the role's credentials either.
    if settings.region.is_empty() || (settings.credentials.is_none() && asked.is_none()) {
        return Err(NotAsked::NoCredentials);
    }
    Ok((Aws::new(settings)?, id))
}

fn identity(machine: &Machine, asked: &Result<Identity, ImdsError>) -> Finding {
    const NAME: &str = "cloud.identity";
    match (machine.instance(), asked, &machine.status) {
        (Some(id), ..) => Finding::holds(NAME, format!("the agent knows from the metadata service that this is {id}")),
        (None, Ok(identity), None) => {
            Finding::holds(NAME, format!("the metadata service says that this is {}", identity.instance_id))
        }
        (None, _, Some(_)) => Finding::broken(
            NAME,
            "the agent runs and does not know which instance it is",
            "Enable the metadata service with IMDSv2 in the launch template; see isolation.rules.",
        ),
        (None, Err(error), None) => Finding::not_tried(
            NAME,
            format!("no agent answers, and this process is not told: {error}"),
            "Run it while the agent runs: systemctl status mayfly-agent.",
        ),
    }
}

/// What the agent was denied so far.
fn denied(machine: &Machine) -> Finding {
    const NAME: &str = "cloud.denied";
    let Some(figures) = &machine.figures else {
        return Finding::not_tried(NAME, "no agent answers that has called AWS", "Run it while the agent runs.");
    };
    let is_denied = |(labels, _): &(&str, f64)| label(labels, "error") == Some("denied");
    let denied: Vec<&str> =
        figures.series(&AWS_ERRORS).filter(is_denied).filter_map(|(labels, _)| label(labels, "operation")).collect();
    if denied.is_empty() {
        let called: Vec<&str> =
            figures.series(&AWS_CALLS).filter_map(|(labels, _)| label(labels, "operation")).collect();
        return Finding::holds(NAME, format!("the agent was denied nothing; it has called: {}", or_nothing(&called)));
    }
    let denied = denied.join(", ");
    if figures.value(&DENIED) == Some(0.0) {
        let what = format!("the agent was denied {denied} for a while, and no longer");
        return Finding::warning(NAME, what, "Nothing, if the role was made a moment before the instance.");
    }
    Finding::broken(
        NAME,
        format!("the agent was denied {denied}"),
        "Compare the instance role with the policy in docs/security.md; look at service control policies and the KMS key.",
    )
}

fn or_nothing(called: &[&str]) -> String {
    if called.is_empty() { "nothing yet".to_owned() } else { called.join(", ") }
}

async fn shutdown(machine: &Machine, own: Option<(&Aws, &InstanceId)>, id: &str) -> Finding {
    const NAME: &str = "cloud.shutdown";
    let stops = match machine.figures.as_ref().and_then(|figures| figures.value(&SHUTDOWN_STOPS)) {
        Some(stops) => Ok(Some(stops > 0.0)),
        None => match own {
            Some((aws, id)) => {
                shutdown_behavior(aws, id, TIMEOUT).await.map(|behavior| Some(behavior != Behavior::Terminate))
            }
            None => Ok(None),
        },
    };
    let advice = || {
        format!(
            "The agent asks once its runner listens. Elsewhere: aws ec2 describe-instance-attribute --instance-id {id} \
             --attribute instanceInitiatedShutdownBehavior"
        )
    };
    match stops {
        Ok(Some(false)) => Finding::holds(NAME, "a power-off terminates the instance"),
        Ok(Some(true)) => Finding::broken(
            NAME,
            "a power-off only stops the instance: it stays, billed, for ever",
            "Set InstanceInitiatedShutdownBehavior to terminate in the launch template.",
        ),
        Ok(None) => Finding::not_tried(NAME, "the agent has not asked yet, and this process cannot", advice()),
        Err(error) => unanswered(NAME, &error, advice()),
    }
}

/// A call that was denied is a finding; any other failure proves nothing.
pub(super) fn unanswered(name: &'static str, error: &CallError, advice: String) -> Finding {
    if error.class == crate::platform::aws::Class::Denied {
        let advice = format!("Allow {}: the policy in docs/security.md has it.", error.action);
        return Finding::broken(name, error.to_string(), advice);
    }
    Finding::not_tried(name, error, advice)
}

/// Whether lines arrive, by the agent's own count.
fn logs(machine: &Machine) -> Finding {
    const NAME: &str = "cloud.logs";
    if machine.config.logs.sink != Sink::CloudWatch {
        return Finding::holds(NAME, "logs.sink is not \"cloudwatch\": no log group is needed");
    }
    let sum = |figure| {
        let lines = machine.figures.as_ref()?.series(figure).map(|(_, value)| value).sum::<f64>();
        (lines > 0.0).then_some(lines)
    };
    let advice = "The group must be there before the first job, and the role may create streams in it and put events: aws logs \
                  describe-log-groups --log-group-name-prefix /mayfly";
    match (sum(&LINES_CONFIRMED), sum(&LINES_LOST)) {
        (_, Some(lost)) => Finding::warning(NAME, format!("{lost} log lines were lost so far"), advice),
        (Some(confirmed), None) => {
            Finding::holds(NAME, format!("CloudWatch Logs has confirmed {confirmed} lines of this run"))
        }
        (None, None) => Finding::not_tried(NAME, "no agent here has had a line confirmed by CloudWatch Logs", advice),
    }
}
