//! Auto Scaling waits for its lifecycle hooks; the emulator does not know how.

use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::header::{AUTHORIZATION, HeaderValue};
use hyper::http::request;

use super::call::{Call, form};
use super::error::{AwsError, Rendered, empty_success};

/// What a group waits with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transition {
    /// The instance is in `Pending:Wait`.
    Launch,
    /// The instance is in `Terminating:Wait`.
    Termination,
}

/// An instance that its group makes wait, or has made wait.
#[derive(Clone, Debug)]
struct Action {
    group: String,
    hook: String,
    instance: String,
    transition: Transition,
    timeout: Duration,
    until: Instant,
    result: Option<String>,
}

/// Every action there was.
#[derive(Debug, Default)]
pub(crate) struct Lifecycle {
    actions: Vec<Action>,
}

/// An answer, and the instance that the group ends because of it.
pub(crate) type Decided = (Rendered, Option<String>);

impl Lifecycle {
    pub(crate) fn wait(&mut self, group: &str, hook: &str, instance: &str, transition: Transition, timeout: Duration) {
        let [group, hook, instance] = [group, hook, instance].map(str::to_owned);
        let until = Instant::now() + timeout;
        self.actions.push(Action { group, hook, instance, transition, timeout, until, result: None });
    }

    /// `CONTINUE` or `ABANDON`, once it was said.
    pub(crate) fn result(&self, hook: &str) -> Option<String> {
        self.actions.iter().find(|action| action.hook == hook).and_then(|action| action.result.clone())
    }

    /// Answers the two calls about waiting instances; `None` for any other.
    pub(crate) fn decide(&mut self, call: &Call, body: &Bytes) -> Option<Decided> {
        if !matches!(call.action.as_str(), "CompleteLifecycleAction" | "RecordLifecycleActionHeartbeat") {
            return None;
        }
        let fields = form(body);
        let field = |name: &str| fields.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value.as_str());
        let asked = [field("AutoScalingGroupName"), field("LifecycleHookName"), field("InstanceId")];
        let active = self.actions.iter_mut().find(|action| {
            let named = [&action.group, &action.hook, &action.instance];
            named.iter().zip(asked).all(|(is, asked)| *is == asked)
                && action.result.is_none()
                && Instant::now() < action.until
        });
        let Some(action) = active else {
            let message = format!("No active Lifecycle Action found with instance ID {}", asked[2]);
            let error = AwsError::Code { status: 400, code: "ValidationError".to_owned(), message };
            return Some((error.render(call, body), None));
        };
        let mut ended = None;
        if call.action == "RecordLifecycleActionHeartbeat" {
            action.until = Instant::now() + action.timeout;
        } else {
            let result = field("LifecycleActionResult").to_owned();
            if action.transition == Transition::Termination || result == "ABANDON" {
                ended = Some(action.instance.clone());
            }
            action.result = Some(result);
        }
        Some((empty_success(call), ended))
    }
}

/// The call with which the group ends an instance, made of one of the instance's own.
pub(crate) fn termination(head: &request::Parts, instance: &str) -> (request::Parts, Bytes) {
    let mut head = head.clone();
    let signed = head.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if let Ok(signed) = HeaderValue::from_str(&signed.replace("/autoscaling/", "/ec2/")) {
        head.headers.insert(AUTHORIZATION, signed);
    }
    head.headers.remove(hyper::header::CONTENT_LENGTH);
    let body = format!("Action=TerminateInstances&Version=2016-11-15&InstanceId.1={instance}");
    (head, body.into())
}
