//! What goes wrong with a webhook on its way.

use std::str::FromStr;
use std::time::Duration;

use mayfly_fake_aws::rules::Befalls;

use super::Event;
use crate::world::model::JobId;

/// What befalls a webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WebhookFault {
    /// Is never made: there is no delivery to be found either.
    Lose,
    /// Is not received; the delivery is recorded as failed.
    Fail,
    /// Comes late, by the double's clock.
    Delay(Duration),
    /// Is sent twice, with the same GUID.
    Double,
    /// Is sent as two deliveries with different GUIDs.
    Twice,
    /// Is sent after the next one.
    AfterNext,
    /// Is held until [`crate::FakeGithub::release_webhooks`].
    Hold,
    /// Has `workflow_job: null`.
    NullJob,
    /// Has this body, correctly signed.
    Body(String),
    /// Is signed with another secret.
    Forge,
}

impl Befalls for WebhookFault {
    fn delay(&self) -> Option<Duration> {
        match self {
            Self::Delay(delay) => Some(*delay),
            _ => None,
        }
    }
}

/// Reads `lose`, `fail`, `delay:MILLISECONDS`, `double`, `twice`, `after-next`, `hold`, `null`, `body:TEXT` or `forge`.
impl FromStr for WebhookFault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let unknown = || format!("no such fault of a webhook: {text}");
        let (name, argument) = text.split_once(':').unwrap_or((text, ""));
        Ok(match name {
            "lose" => Self::Lose,
            "fail" => Self::Fail,
            "delay" => Self::Delay(Duration::from_millis(argument.parse().map_err(|_| unknown())?)),
            "double" => Self::Double,
            "twice" => Self::Twice,
            "after-next" => Self::AfterNext,
            "hold" => Self::Hold,
            "null" => Self::NullJob,
            "body" => Self::Body(argument.to_owned()),
            "forge" => Self::Forge,
            _ => return Err(unknown()),
        })
    }
}

/// The webhooks that a fault befalls. The default is every one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WebhookMatch {
    /// Such as `queued`.
    pub action: Option<String>,
    /// Of this job.
    pub job: Option<JobId>,
}

impl WebhookMatch {
    /// Webhooks with this action.
    pub fn action(action: &str) -> Self {
        Self { action: Some(action.to_owned()), job: None }
    }

    /// Webhooks of this job.
    pub fn job(job: JobId) -> Self {
        Self { action: None, job: Some(job) }
    }

    pub(super) fn fits(&self, event: &Event) -> bool {
        self.action.as_ref().is_none_or(|action| action == event.action.as_str())
            && self.job.is_none_or(|job| job == event.job.id)
    }
}
