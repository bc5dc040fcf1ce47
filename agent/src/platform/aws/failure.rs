//! What a failed call means, whatever service it came from.
//!
//! Most of the errors that matter here are not part of the services' models (throttling, denials, expired credentials):
//! they are told apart by their codes.

use std::error::Error;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_ssm::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_ssm::operation::RequestId;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;

/// The longest text of a service or a library that is kept, in characters. EC2's encoded authorization messages, which
/// operators decode, have more than a thousand.
const LONGEST_TEXT: usize = 3000;

/// What a failed call means for the one who called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// What was asked for is not there, and the service said so.
    NotFound,
    /// Too many calls: worth repeating, later.
    Throttled,
    /// No answer, half an answer, or a fault on the other side: worth repeating.
    Transient,
    /// Not allowed, to this role or to anyone.
    Denied,
    /// The service refuses what is asked.
    Invalid,
    /// There are no credentials, or they are not accepted (any more).
    Credentials,
    /// Anything else.
    Other,
}

impl Class {
    /// Whether the next attempt may well succeed.
    #[must_use]
    pub fn passes(self) -> bool {
        matches!(self, Self::Throttled | Self::Transient)
    }

    /// A stable name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotFound => "not-found",
            Self::Throttled => "throttled",
            Self::Transient => "transient",
            Self::Denied => "denied",
            Self::Invalid => "invalid",
            Self::Credentials => "credentials",
            Self::Other => "other",
        }
    }

    fn of_answer(code: &str, status: u16) -> Self {
        match code {
            "ParameterNotFound" | "InvalidInstanceID.NotFound" | "ResourceNotFoundException" => Self::NotFound,
            "ThrottlingException"
            | "Throttling"
            | "ThrottledException"
            | "TooManyUpdates"
            | "RequestLimitExceeded"
            | "TooManyRequestsException"
            | "RequestThrottled"
            | "RequestThrottledException"
            | "EC2ThrottledException" => Self::Throttled,
            // The last one is a machine with termination protection.
            "AccessDeniedException" | "AccessDenied" | "UnauthorizedOperation" | "OperationNotPermitted" => {
                Self::Denied
            }
            "ExpiredTokenException"
            | "ExpiredToken"
            | "RequestExpired"
            | "UnrecognizedClientException"
            | "InvalidClientTokenId"
            | "AuthFailure"
            | "InvalidSignatureException"
            | "SignatureDoesNotMatch"
            | "MissingAuthenticationToken" => Self::Credentials,
            "ValidationException" | "ValidationError" | "InvalidParameterValue" | "InvalidParameterException" => {
                Self::Invalid
            }
            _ if status == 429 => Self::Throttled,
            _ if status >= 500 => Self::Transient,
            _ => Self::Other,
        }
    }
}

/// One failed attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) class: Class,
    /// The service's error code, if it answered with one.
    pub(super) code: Option<String>,
    /// Half a sentence: code, message, status, request id, or why there was no answer.
    pub(super) detail: String,
}

impl Failure {
    pub(super) fn new(class: Class, detail: impl Into<String>) -> Self {
        Self { class, code: None, detail: detail.into() }
    }

    /// Reads an error of the SDK. Bodies and headers are never part of what is kept.
    pub(super) fn of<E>(error: &SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        match error {
            SdkError::ServiceError(context) => {
                let meta = context.err().meta();
                Self::of_answer(meta.code(), meta.message(), context.raw().status().as_u16(), meta.request_id())
            }
            SdkError::ResponseError(context) => {
                let status = context.raw().status().as_u16();
                let class = if (400..500).contains(&status) { Class::Other } else { Class::Transient };
                Self::new(class, format!("an answer with HTTP status {status} that is incomplete or not readable"))
            }
            SdkError::TimeoutError(_) => Self::new(Class::Transient, "no complete answer in the time of one attempt"),
            _ => Self::without_answer(error),
        }
    }

    fn of_answer(code: Option<&str>, message: Option<&str>, status: u16, request: Option<&str>) -> Self {
        let class = Class::of_answer(code.unwrap_or_default(), status);
        let mut detail = match (code, message) {
            (Some(code), Some(message)) => format!("{}: {}", plain(code), plain(message)),
            (Some(code), None) => plain(code),
            (None, _) => "an answer without an error code".to_owned(),
        };
        let request = request.map(|id| format!(", request {}", plain(id))).unwrap_or_default();
        detail.push_str(&format!(" (HTTP status {status}{request})"));
        Self { class, code: code.map(str::to_owned), detail }
    }

    fn without_answer(error: &(dyn Error + 'static)) -> Self {
        let chain = || std::iter::successors(Some(error), |&error| error.source());
        // The innermost cause says most, such as "Connection refused (os error 111)".
        let innermost = chain().last().map(|cause| plain(&cause.to_string())).unwrap_or_default();
        if chain().any(<dyn Error>::is::<CredentialsError>) {
            return Self::new(Class::Credentials, format!("there are no credentials: {innermost}"));
        }
        // Whatever the environment says (no route, no name, no trusted certificate) may change.
        Self::new(Class::Transient, format!("no answer: {innermost}"))
    }
}

/// One line of bounded length: what comes from outside must not write lines of its own into a log.
fn plain(text: &str) -> String {
    text.chars().take(LONGEST_TEXT).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_go_before_the_status() {
        for (code, status, class) in [
            ("ParameterNotFound", 400, Class::NotFound),
            ("ThrottlingException", 400, Class::Throttled),
            ("RequestLimitExceeded", 503, Class::Throttled),
            ("", 429, Class::Throttled),
            ("InternalServerError", 500, Class::Transient),
            ("", 502, Class::Transient),
            ("UnauthorizedOperation", 403, Class::Denied),
            ("ExpiredTokenException", 400, Class::Credentials),
            ("ValidationError", 400, Class::Invalid),
            ("InvalidKeyId", 400, Class::Other),
            ("", 404, Class::Other),
        ] {
            assert_eq!(Class::of_answer(code, status), class, "{code} {status}");
        }
    }

    #[test]
    fn what_a_service_says_stays_on_one_line_and_bounded() {
        let long = format!("a\nb\x1b[31m{}", "x".repeat(2 * LONGEST_TEXT));
        let failure = Failure::of_answer(Some("AccessDenied"), Some(&long), 403, Some("id"));
        assert!(failure.detail.starts_with("AccessDenied: a b [31mxx") && failure.detail.len() < LONGEST_TEXT + 100);
        assert!(failure.detail.ends_with(" (HTTP status 403, request id)"), "{}", failure.detail);
    }
}
