//! One call with a deadline: what passes is repeated, what does not is said at once.

use std::time::Duration;

use thiserror::Error;
use tokio::time::{Instant, sleep, timeout};

use super::Aws;
use super::failure::{Class, Failure};
use super::polling::after_failure;
use mayfly_core::contract::Action;

/// The longest pause between two attempts at a call with a deadline.
const LONGEST_PAUSE: Duration = Duration::from_secs(4);

/// A call that failed for good. It shows no parameter value and no credential.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{action} on {subject} failed: {detail}; {attempts} attempts in {elapsed:.1?}")]
pub struct CallError {
    /// What was tried, as IAM calls it, such as `ec2:TerminateInstances`.
    pub action: &'static str,
    /// On what: an instance's id, a parameter's name.
    pub subject: String,
    /// What it means.
    pub class: Class,
    /// The service's error code, if it answered with one.
    pub code: Option<String>,
    /// The last that came back: code, message, HTTP status and request id, or why nothing did.
    pub detail: String,
    /// How many attempts were begun.
    pub attempts: u32,
    /// How long all of it took.
    pub elapsed: Duration,
}

/// A call under way.
pub(super) struct AwsCall<'a> {
    aws: &'a Aws,
    action: Action,
    subject: &'a str,
    begun: Instant,
    attempts: u32,
    /// An attempt is under way.
    waits: bool,
    last: Failure,
}

impl<'a> AwsCall<'a> {
    pub(super) fn new(aws: &'a Aws, action: Action, subject: &'a str) -> Self {
        let last = Failure::new(Class::Transient, "no answer in time");
        Self { aws, action, subject, begun: Instant::now(), attempts: 0, waits: false, last }
    }

    /// The error that this call has become.
    pub(super) fn failed(self) -> CallError {
        CallError {
            action: self.action.name(),
            subject: self.subject.to_owned(),
            class: self.last.class,
            code: self.last.code,
            detail: self.last.detail,
            attempts: self.attempts,
            elapsed: self.begun.elapsed(),
        }
    }

    /// The same by an earlier failure, which says more than the last one.
    pub(super) fn failed_by(mut self, failure: Failure) -> CallError {
        self.last = failure;
        self.failed()
    }

    /// Makes one attempt; the failure is kept for [`AwsCall::failed`].
    pub(super) async fn attempt<T>(
        &mut self,
        attempt: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, &Failure> {
        self.attempts += 1;
        self.aws.counts().attempt(self.action, self.attempts == 1);
        self.waits = true;
        let answer = attempt.await;
        self.waits = false;
        if answer.is_ok() {
            self.aws.counts().succeeded(self.action);
        }
        answer.map_err(|failure| {
            self.aws.counts().failed(self.action, failure.class);
            self.last = failure;
            &self.last
        })
    }

    pub(super) fn attempts(&self) -> u32 {
        self.attempts
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Attempts until one succeeds, one fails with what does not pass, or the deadline (counted from now) is over.
    pub(super) async fn within<T, F>(
        mut self,
        deadline: Duration,
        passes: impl Fn(&Failure) -> bool,
        attempt: impl Fn() -> F,
    ) -> Result<T, CallError>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        let repeat = async {
            loop {
                match self.attempt(attempt()).await {
                    Ok(value) => return Some(value),
                    Err(failure) if !passes(failure) => return None,
                    Err(_) => {
                        let pause = after_failure(self.attempts, LONGEST_PAUSE, fastrand::f64());
                        sleep(self.aws.settings().scaled(pause)).await;
                    }
                }
            }
        };
        match timeout(deadline, repeat).await {
            Ok(Some(value)) => Ok(value),
            Ok(None) => Err(self.failed()),
            Err(_) => {
                if self.waits {
                    self.aws.counts().failed(self.action, Class::Transient);
                }
                Err(self.failed())
            }
        }
    }
}

/// [`AwsCall::within`] for calls that have nothing of their own to repeat for.
pub(super) fn passes(failure: &Failure) -> bool {
    failure.class.passes()
}
