//! What can befall a call of the API.

use std::str::FromStr;
use std::time::Duration;

use mayfly_fake_aws::rules::Befalls;
use serde_json::Value;

/// What befalls a call.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// Is answered with this status and has no effect.
    Status(u16),
    /// Is carried out, but answered with this status.
    StatusAfter(u16),
    /// Is carried out and answered, but late.
    Delay(Duration),
    /// Is cut with a TCP reset before it has an effect.
    Reset,
    /// Is carried out, but a TCP reset comes instead of the answer.
    LoseAnswer,
    /// Is never answered and has no effect.
    Hang,
    /// Is carried out and never answered.
    HangAfter,
    /// Is carried out, but only half of the answer arrives.
    HalfBody,
    /// Is answered as over the secondary rate limit: 403, with `retry-after` if given.
    Secondary(Option<u64>),
    /// Is answered as without permission: 403.
    Forbidden,
    /// Is carried out; the answer begins with a byte order mark.
    ByteOrderMark,
    /// Is carried out; the answer has this text as its body.
    BodyAfter(String),
    /// Is carried out; these members of the answer are other ones.
    Replace(Value),
}

impl Befalls for Fault {
    fn delay(&self) -> Option<Duration> {
        match self {
            Self::Delay(delay) => Some(*delay),
            _ => None,
        }
    }
}

/// Reads `503`, `after:503`, `delay:MILLISECONDS`, `reset`, `lose-answer`, `hang`, `hang-after`, `half`,
/// `secondary[:SECONDS]`, `bom`, `forbidden`, `body:TEXT` or `replace:JSON`.
impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let unknown = || format!("no such fault: {text}");
        let (name, argument) = text.split_once(':').unwrap_or((text, ""));
        let number = |text: &str| text.parse::<u64>().map_err(|_| unknown());
        let status = |text: &str| text.parse::<u16>().map_err(|_| unknown());
        Ok(match name {
            "after" => Self::StatusAfter(status(argument)?),
            "delay" => Self::Delay(Duration::from_millis(number(argument)?)),
            "reset" => Self::Reset,
            "lose-answer" => Self::LoseAnswer,
            "hang" => Self::Hang,
            "hang-after" => Self::HangAfter,
            "half" => Self::HalfBody,
            "secondary" if argument.is_empty() => Self::Secondary(None),
            "secondary" => Self::Secondary(Some(number(argument)?)),
            "bom" => Self::ByteOrderMark,
            "forbidden" => Self::Forbidden,
            "body" => Self::BodyAfter(argument.to_owned()),
            "replace" => Self::Replace(serde_json::from_str(argument).map_err(|error| error.to_string())?),
            code => Self::Status(status(code)?),
        })
    }
}

/// The calls that a fault befalls. The default is every call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Match {
    /// A part of the operation, such as `generate-jitconfig` or `GET /orgs/{org}/actions/runners`.
    pub operation: Option<String>,
    /// A part of the path as sent, with its query.
    pub path: Option<String>,
    /// A part of the body as sent.
    pub containing: Option<String>,
}

impl Match {
    /// Calls of operations (`METHOD /path/{template}`) that contain this.
    pub fn operation(part: &str) -> Self {
        Self { operation: Some(part.to_owned()), ..Self::default() }
    }

    /// Calls whose path, as sent, contains this.
    pub fn path(part: &str) -> Self {
        Self { path: Some(part.to_owned()), ..Self::default() }
    }

    /// Only calls whose body contains this.
    #[must_use]
    pub fn containing(mut self, text: &str) -> Self {
        self.containing = Some(text.to_owned());
        self
    }

    pub(crate) fn fits(&self, operation: &str, path: &str, body: &[u8]) -> bool {
        let within = |wanted: &Option<String>, found: &str| wanted.as_ref().is_none_or(|part| found.contains(part));
        within(&self.operation, operation)
            && within(&self.path, path)
            && (self.containing.is_none() || within(&self.containing, &String::from_utf8_lossy(body)))
    }
}
