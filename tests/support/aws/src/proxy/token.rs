//! `ClientToken`: a launch that is asked for again is not made again. No emulator honours it.
//!
//! As EC2 has it: the token belongs to a region and an action; only a success binds it, and one that launched
//! nothing (a fleet with errors alone) binds it as well; it outlives its instance.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tokio::sync::OnceCell;

use super::call::{Call, Protocol};
use super::error::AwsError;
use super::fields::Fields;
use super::whole::Whole;
use crate::record::lock;

/// Region, action and token.
type Key = (String, String, String);

#[derive(Debug)]
struct Entry {
    asked: Fields,
    answer: Arc<OnceCell<Arc<Whole>>>,
    /// Requests that wait for the answer or are on their way to it.
    users: usize,
}

/// Every token that was used.
#[derive(Debug, Default)]
pub(crate) struct Tokens {
    entries: Mutex<HashMap<Key, Entry>>,
}

/// What a token says about a request.
#[derive(Debug)]
pub(crate) enum Claim<'a> {
    /// It has none, or its action knows none.
    Free,
    /// Another request was made with it, or it is none.
    Refused(AwsError),
    /// The first of its kind, or the same again.
    Held(Held<'a>),
}

/// A request's share in the answer to its token.
#[derive(Debug)]
pub(crate) struct Held<'a> {
    tokens: &'a Tokens,
    key: Key,
    answer: Arc<OnceCell<Arc<Whole>>>,
}

fn of(call: &Call, body: &[u8]) -> Option<(Key, Fields)> {
    if call.protocol != Protocol::Ec2 || !matches!(call.action.as_str(), "RunInstances" | "CreateFleet") {
        return None;
    }
    let mut fields = Fields::of(body);
    let token = fields.take("ClientToken")?;
    Some(((call.region.clone(), call.action.clone(), token), fields))
}

fn refused(code: &str, message: &str) -> Claim<'static> {
    Claim::Refused(AwsError::Code { status: 400, code: code.to_owned(), message: message.to_owned() })
}

impl Tokens {
    /// Takes part in the answer to this request's token.
    pub(crate) fn claim(&self, call: &Call, body: &[u8]) -> Claim<'_> {
        let Some((key, asked)) = of(call, body) else {
            return Claim::Free;
        };
        if key.2.len() > 64 || !key.2.is_ascii() {
            return refused("InvalidParameterValue", "The client token must be at most 64 ASCII characters.");
        }
        let mut entries = lock(&self.entries);
        let entry = entries.entry(key.clone()).or_insert_with(|| Entry {
            asked: asked.clone(),
            answer: Arc::default(),
            users: 0,
        });
        if entry.asked != asked {
            return refused(
                "IdempotentParameterMismatch",
                "Arguments on this idempotent request are inconsistent with arguments used in previous request(s).",
            );
        }
        entry.users += 1;
        Claim::Held(Held { tokens: self, key, answer: entry.answer.clone() })
    }

    /// Whether the request would get an answer that there is already.
    pub(crate) fn answered(&self, call: &Call, body: &[u8]) -> bool {
        of(call, body).is_some_and(|(key, _)| {
            let entries = lock(&self.entries);
            entries.get(&key).is_some_and(|entry| entry.answer.initialized())
        })
    }
}

impl Held<'_> {
    /// The answer to the token: of the request that succeeded first, or of this one.
    pub(crate) async fn answer(self, carry_out: impl Future<Output = Arc<Whole>>) -> Arc<Whole> {
        let first = self.answer.get_or_try_init(|| async {
            let whole = carry_out.await;
            if whole.status.is_success() { Ok(whole) } else { Err(whole) }
        });
        match first.await {
            Ok(whole) => whole.clone(),
            Err(failure) => failure,
        }
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let mut entries = lock(&self.tokens.entries);
        let Some(entry) = entries.get_mut(&self.key) else {
            return;
        };
        entry.users -= 1;
        // A failure binds the token to nothing.
        if entry.users == 0 && !entry.answer.initialized() {
            entries.remove(&self.key);
        }
    }
}
