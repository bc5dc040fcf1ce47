//! The parameter that carries the JIT configuration: waiting for it, and deleting it.
//!
//! Contract: SSM's API reference and `reference/aws-contracts.md` 4. `ParameterNotFound` is the normal first answer.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use secrecy::SecretString;
use secrecy::zeroize::Zeroize;
use tokio::time::{Instant, sleep, timeout_at};
use tracing::warn;

use super::Aws;
use super::call::{AwsCall, CallError, passes};
use super::failure::{Class, Failure};
use super::polling::{PollSchedule, after_failure};
use mayfly_core::contract::Action;

/// The longest pause between two attempts to delete.
const LONGEST_DELETE_PAUSE: Duration = Duration::from_secs(30);

/// How often a refusal that lasts is said in the log.
const COMPLAINT_PAUSE: Duration = Duration::from_secs(20);

/// A parameter that was there.
#[derive(Debug)]
pub struct Fetched {
    /// Its value, decrypted. It is wiped from memory when it is dropped; the copies in the HTTP and TLS libraries'
    /// buffers are freed but not wiped.
    pub value: SecretString,
    /// How many times it was asked for.
    pub attempts: u32,
    /// How long all of it took.
    pub elapsed: Duration,
}

/// What came back last, for those whose own deadline ends a [`fetch`] or a [`delete`]. Clones show the same.
#[derive(Clone, Debug, Default)]
pub struct LastAnswer {
    said: Arc<Mutex<Said>>,
}

#[derive(Debug, Default)]
struct Said {
    attempts: u32,
    throttled: u32,
    last: Option<Failure>,
}

impl LastAnswer {
    /// What the last answer means; `None` if there was none yet.
    #[must_use]
    pub fn class(&self) -> Option<Class> {
        self.with(|said| said.last.as_ref().map(|failure| failure.class))
    }

    fn note(&self, failure: &Failure) {
        self.with(|said| {
            said.attempts += 1;
            said.throttled += u32::from(failure.class == Class::Throttled);
            said.last = Some(failure.clone());
        });
    }

    fn with<T>(&self, look: impl FnOnce(&mut Said) -> T) -> T {
        look(&mut self.said.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Such as `not there yet (asked 31 times, 3 of them throttled)`.
impl fmt::Display for LastAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.with(|said| {
            let last = match &said.last {
                None => return write!(f, "no answer yet"),
                Some(Failure { class: Class::NotFound, .. }) => "not there yet",
                Some(failure) => &failure.detail,
            };
            write!(f, "{last} (asked {} times", said.attempts)?;
            match said.throttled {
                0 => write!(f, ")"),
                count => write!(f, ", {count} of them throttled)"),
            }
        })
    }
}

/// Waits until the parameter is there, at the [`PollSchedule`] of waiting agents.
///
/// It has no deadline: while the answer is that there is no such parameter, throttling, or none at all, it goes on
/// until it is dropped; `last` then tells what came back. Dropping it is always safe.
///
/// # Errors
/// Any other answer, once such answers have come for [`AwsSettings::denied_timeout`](super::AwsSettings), or until
/// `last_moment`, without a `ParameterNotFound` between: denied by IAM or by the key, refused, without credentials, or
/// unknown.
pub async fn fetch(aws: &Aws, name: &str, last: &LastAnswer, last_moment: Instant) -> Result<Fetched, CallError> {
    let mut call = AwsCall::new(aws, Action::GetParameter, name);
    let mut interval = PollSchedule::default();
    let mut refusal: Option<(Instant, Failure)> = None;
    let mut complaint = Complaint::default();
    loop {
        let attempt = call.attempt(get(aws, name));
        // An answer that may not come in time takes nothing back from the one that is here.
        let answer = match &refusal {
            Some((_, failure)) => match timeout_at(last_moment, attempt).await {
                Ok(answer) => answer,
                Err(_) => return Err(call.failed_by(failure.clone())),
            },
            None => attempt.await,
        };
        let failure = match answer {
            Ok(value) => return Ok(Fetched { value, attempts: call.attempts(), elapsed: call.elapsed() }),
            Err(failure) => failure,
        };
        last.note(failure);
        let class = failure.class;
        if class == Class::NotFound {
            refusal = None;
        } else if !class.passes() {
            complaint.make(aws, name, &failure.detail);
            let since = refusal.take().map_or_else(Instant::now, |(since, _)| since);
            refusal = Some((since, failure.clone()));
        }
        let mut pause = aws.settings().scaled(interval.next(class == Class::Throttled, fastrand::f64));
        if let Some((since, refused)) = &refusal {
            let now = Instant::now();
            let denied_until = *since + aws.settings().denied_timeout;
            if now >= last_moment || (now >= denied_until && !class.passes()) {
                return Err(call.failed_by(refused.clone()));
            }
            // The last attempt comes when that time ends, not a pause later.
            let ends = if class.passes() { last_moment } else { last_moment.min(denied_until) };
            pause = pause.min(ends - now);
        }
        sleep(pause).await;
    }
}

/// Says in the log that a refusal lasts: at once, and then now and then.
#[derive(Default)]
struct Complaint(Option<Instant>);

impl Complaint {
    fn make(&mut self, aws: &Aws, name: &str, reason: &str) {
        let pause = aws.settings().scaled(COMPLAINT_PAUSE);
        if self.0.is_none_or(|last| last.elapsed() >= pause) {
            warn!(
                "reading the JIT configuration's parameter {name} is refused, and is tried again for a while: {reason}"
            );
            self.0 = Some(Instant::now());
        }
    }
}

async fn get(aws: &Aws, name: &str) -> Result<SecretString, Failure> {
    let asking = aws.ssm().get_parameter().name(name).with_decryption(true);
    let answer = asking.send().await.map_err(|error| Failure::of(&error))?;
    let value = answer.parameter.and_then(|parameter| parameter.value);
    let mut value = value.ok_or_else(|| Failure::new(Class::Other, "the answer carries no value"))?;
    // A copy of exactly its length: turning the string itself into a secret could move it and leave a trace.
    let secret = SecretString::from(Box::<str>::from(value.as_str()));
    value.zeroize();
    Ok(secret)
}

/// Whether there is such a parameter, for who wants to know whether it may be read: the value is wiped at once.
///
/// # Errors
/// The first failure that repeating would not change, or the last one inside the deadline.
pub async fn is_there(aws: &Aws, name: &str, deadline: Duration) -> Result<bool, CallError> {
    let call = AwsCall::new(aws, Action::GetParameter, name);
    let read = call.within(deadline, passes, || async { get(aws, name).await.map(drop) }).await;
    match read {
        Err(error) if error.class == Class::NotFound => Ok(false),
        read => read.map(|()| true),
    }
}

/// Deletes the parameter, and says after how many attempts it was gone; that there is none counts as that.
///
/// It never gives up: the one who cares no longer drops it, and finds the last answer in `last`.
pub async fn delete(aws: &Aws, name: &str, last: &LastAnswer) -> u32 {
    let mut call = AwsCall::new(aws, Action::DeleteParameter, name);
    loop {
        let deleting = async {
            let deleted = aws.ssm().delete_parameter().name(name).send().await;
            deleted.map(drop).map_err(|error| Failure::of(&error))
        };
        match call.attempt(deleting).await {
            Ok(()) | Err(Failure { class: Class::NotFound, .. }) => return call.attempts(),
            Err(failure) => last.note(failure),
        }
        let pause = after_failure(call.attempts(), LONGEST_DELETE_PAUSE, fastrand::f64());
        sleep(aws.settings().scaled(pause)).await;
    }
}
