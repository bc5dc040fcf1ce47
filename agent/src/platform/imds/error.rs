//! Why the metadata service gave no usable answer.

use std::error::Error as _;
use std::time::Duration;

use thiserror::Error;

use super::identity::DocumentError;

/// Why the metadata service gave no usable answer. No message contains a session token, a credential or a body.
///
/// Fields called `request` are a method and a URL, such as `GET http://169.254.169.254/latest/meta-data/ami-id`.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ImdsError {
    /// The settings name no usable endpoint.
    #[error("the metadata endpoint {endpoint:?} cannot be used: {reason}")]
    BadEndpoint {
        /// What the settings say.
        endpoint: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The HTTP client could not be made.
    #[error("no HTTP client for the metadata service could be made: {0}")]
    NoClient(String),
    /// No final answer in the time given: refused connections, time-outs, 429 or 5xx to the end.
    #[error("{request} had no usable answer in {elapsed:.1?} ({attempts} attempts); the last was: {last}")]
    Unavailable {
        /// What was wanted.
        request: String,
        /// What came back last, and from which request: the session token's may be the one that failed.
        last: AttemptError,
        /// How many attempts were begun.
        attempts: u32,
        /// How long it took.
        elapsed: Duration,
    },
    /// 403: the service is switched off (`HttpEndpoint=disabled`) or something in between forbids it.
    #[error("{request} was answered 403: the metadata service is disabled for this instance, or forbidden to it")]
    Forbidden {
        /// What was asked.
        request: String,
    },
    /// A status that repeating would not change.
    #[error("{request} was answered with the status {status}")]
    Status {
        /// What was asked.
        request: String,
        /// What came back.
        status: u16,
    },
    /// Text was wanted and something else came.
    #[error("{request} was answered with {length} bytes that are not UTF-8 text")]
    NotText {
        /// What was asked.
        request: String,
        /// The length of the answer in bytes.
        length: usize,
    },
    /// The answer is longer than the settings allow.
    #[error("{request} was answered with more than {limit} bytes, the most that is read")]
    TooLarge {
        /// What was asked.
        request: String,
        /// The bound in bytes.
        limit: usize,
    },
    /// The identity document cannot be relied on.
    #[error("{request} gave no usable identity: {reason}")]
    BadIdentity {
        /// What was asked.
        request: String,
        /// What is wrong with the answer.
        reason: DocumentError,
    },
    /// No instance that shows its tags can have a tag of this name: EC2 would have refused the launch.
    #[error(
        "the tag {0:?} cannot be in the instance metadata: keys there are made of letters, digits and +-=.,_:@ only"
    )]
    BadTagKey(String),
}

/// Why one attempt gave no answer. All of it may pass.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum AttemptError {
    /// The time ran out before the first attempt ended.
    #[error("no answer yet")]
    Unfinished,
    /// The time of one attempt ran out.
    #[error("{request}: no complete answer in the time of one attempt")]
    Timeout {
        /// What was asked.
        request: String,
    },
    /// The request or its answer was lost on the way.
    #[error("{request}: {reason}")]
    Transport {
        /// What was asked.
        request: String,
        /// The innermost cause.
        reason: String,
    },
    /// A status that may change: 429, or a fault on the other side; to the question for a session token, 401.
    #[error("{request}: status {status}")]
    Status {
        /// What was asked.
        request: String,
        /// What came back.
        status: u16,
    },
    /// The session token is not accepted (any more).
    #[error("{request}: 401, the session token is not accepted")]
    StaleToken {
        /// What was asked.
        request: String,
    },
    /// The answer to the question for a session token has none.
    #[error("{request}: status 200, but no session token in it")]
    NoToken {
        /// What was asked.
        request: String,
    },
}

/// Why one attempt gave no answer, and what follows from that.
#[derive(Debug)]
pub(super) enum Setback {
    /// Worth another attempt, after a pause; with [`AttemptError::StaleToken`] at once, since another token is fetched then.
    Again(AttemptError),
    /// Repeating would not help.
    Final(ImdsError),
}

impl Setback {
    /// What an HTTP status other than 200 and 404 means, according to the service's contract.
    pub(super) fn of_status(request: &str, status: u16) -> Self {
        let request = request.to_owned();
        match status {
            401 => Self::Again(AttemptError::StaleToken { request }),
            403 => Self::Final(ImdsError::Forbidden { request }),
            429 | 500.. => Self::Again(AttemptError::Status { request, status }),
            _ => Self::Final(ImdsError::Status { request, status }),
        }
    }

    /// What a request that failed on its way means: all of that is transient.
    pub(super) fn of_transport(request: &str, error: reqwest::Error) -> Self {
        let request = request.to_owned();
        if error.is_timeout() {
            return Self::Again(AttemptError::Timeout { request });
        }
        // The innermost cause says most, such as "Connection refused (os error 111)".
        let error = error.without_url();
        let mut reason = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            reason = cause.to_string();
            source = cause.source();
        }
        Self::Again(AttemptError::Transport { request, reason })
    }
}
