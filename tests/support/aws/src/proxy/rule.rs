//! Which calls a fault befalls, and what it does to them.

use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;

use super::call::Call;
use super::error::AwsError;
use crate::rules::Befalls;

/// What befalls a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Is answered like this without reaching the service.
    Error(AwsError),
    /// Is answered with this status and a web page, as by a broken balancer.
    Html(u16),
    /// Is carried out and answered, but late.
    Delay(Duration),
    /// Is cut with a TCP reset before it reaches the service.
    Reset,
    /// Is never answered and does not reach the service.
    Hang,
    /// Is carried out, but only half of the answer arrives.
    HalfBody,
    /// Is carried out, but a TCP reset comes instead of the answer.
    LoseAnswer,
    /// Is carried out and answered, but a list is as it was so long ago. The instances of the double in this process
    /// are exactly so; any other list is as the same question was answered then, or the first time if it was not asked
    /// by then.
    Stale(Duration),
    /// `CreateFleet` launches at most so many instances and says of the rest, inside a 200, why not.
    FleetErrors {
        /// Such as `InsufficientInstanceCapacity`.
        code: String,
        /// How many are launched nevertheless.
        launched: u32,
    },
    /// Is answered with an empty success without reaching the service.
    EmptySuccess,
    /// Is answered with exactly this without reaching the service.
    Answer {
        /// The HTTP status.
        status: u16,
        /// The content type.
        content_type: &'static str,
        /// The body.
        body: Bytes,
    },
}

impl Befalls for Fault {
    fn delay(&self) -> Option<Duration> {
        match self {
            Self::Delay(delay) => Some(*delay),
            _ => None,
        }
    }
}

impl Fault {
    /// Whether a call that this befalls reaches the service.
    pub(crate) fn lets_arrive(fault: Option<&Self>) -> bool {
        let arriving = |fault: &Self| {
            matches!(fault, Self::HalfBody | Self::LoseAnswer | Self::Stale(_) | Self::FleetErrors { .. })
        };
        fault.is_none_or(arriving)
    }
}

/// Reads `throttled`, `access-denied`, `kms-denied`, `validation:REASON`,
/// `expired`, `internal`, `min-size`, `scaling-in-progress`, `contention`,
/// `code:STATUS:CODE:MESSAGE`, `html:STATUS`, `delay:MILLISECONDS`, `reset`,
/// `hang`, `half`, `lose-answer`, `stale:MILLISECONDS`, `fleet-errors:CODE`, `fleet-errors:CODE:LAUNCHED` or `ok`.
impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let unknown = || format!("no such fault: {text}");
        let (name, argument) = text.split_once(':').unwrap_or((text, ""));
        let number = |text: &str| text.parse::<u16>().map_err(|_| unknown());
        Ok(match name {
            "throttled" => Self::Error(AwsError::Throttled),
            "access-denied" => Self::Error(AwsError::AccessDenied),
            "kms-denied" => Self::Error(AwsError::KmsDenied),
            "validation" => Self::Error(AwsError::Validation(argument.to_owned())),
            "expired" => Self::Error(AwsError::ExpiredCredentials),
            "internal" => Self::Error(AwsError::Internal),
            "min-size" => Self::Error(AwsError::MinSize),
            "scaling-in-progress" => Self::Error(AwsError::ScalingActivityInProgress),
            "contention" => Self::Error(AwsError::ResourceContention),
            "code" => {
                let mut parts = argument.splitn(3, ':');
                let mut part = || parts.next().ok_or_else(unknown);
                Self::Error(AwsError::Code {
                    status: number(part()?)?,
                    code: part()?.to_owned(),
                    message: part()?.to_owned(),
                })
            }
            "html" => Self::Html(number(argument)?),
            "delay" => {
                let millis = argument.parse().map_err(|_| unknown())?;
                Self::Delay(Duration::from_millis(millis))
            }
            "reset" => Self::Reset,
            "hang" => Self::Hang,
            "half" => Self::HalfBody,
            "lose-answer" => Self::LoseAnswer,
            "stale" => Self::Stale(Duration::from_millis(argument.parse().map_err(|_| unknown())?)),
            "fleet-errors" => {
                let (code, launched) = argument.split_once(':').unwrap_or((argument, "0"));
                Self::FleetErrors { code: code.to_owned(), launched: launched.parse().map_err(|_| unknown())? }
            }
            "ok" => Self::EmptySuccess,
            _ => return Err(unknown()),
        })
    }
}

/// The calls that a fault befalls. The default is every call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Match {
    /// The action, such as `GetParameter`.
    pub action: Option<String>,
    /// The service, such as `ssm`.
    pub service: Option<String>,
    /// What the request body contains, as sent (forms are percent-encoded).
    pub containing: Option<String>,
}

impl Match {
    /// Every call of an action.
    pub fn action(action: &str) -> Self {
        Self { action: Some(action.to_owned()), ..Self::default() }
    }

    /// Every call of a service.
    pub fn service(service: &str) -> Self {
        Self { service: Some(service.to_owned()), ..Self::default() }
    }

    /// Only calls whose body contains this.
    #[must_use]
    pub fn containing(mut self, text: &str) -> Self {
        self.containing = Some(text.to_owned());
        self
    }

    pub(crate) fn fits(&self, call: &Call, body: &[u8]) -> bool {
        let same = |wanted: &Option<String>, found: &String| wanted.as_ref().is_none_or(|wanted| wanted == found);
        let contains = |text: &String| String::from_utf8_lossy(body).contains(text.as_str());
        same(&self.action, &call.action)
            && same(&self.service, &call.service)
            && self.containing.as_ref().is_none_or(contains)
    }
}
