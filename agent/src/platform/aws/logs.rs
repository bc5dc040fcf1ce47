//! CloudWatch Logs. Contract: its API reference and `reference/aws-contracts.md` 5.
//!
//! Every function makes one attempt; who calls repeats, since what is to be sent waits in a file or in the journal.

use aws_sdk_cloudwatchlogs::types::InputLogEvent;
use tokio::time::Instant;

use super::Aws;
use super::call::{AwsCall, CallError};
use super::failure::{Class, Failure};
use mayfly_core::contract::Action;

/// A batch was accepted; which of its events the service dropped all the same, by their places in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Accepted {
    /// Those before this place are too old.
    pub old_end: usize,
    /// Those from this place on are too far in the future.
    pub new_start: Option<usize>,
}

/// Puts events, oldest first, each with its milliseconds since 1970.
///
/// # Errors
/// What came back. `NotFound`: the group or the stream is not there.
pub async fn put<'a>(
    aws: &Aws,
    group: &str,
    stream: &str,
    events: impl Iterator<Item = (i64, &'a str)>,
) -> Result<Accepted, CallError> {
    let subject = format!("{group}:{stream}");
    let mut call = AwsCall::new(aws, Action::PutLogEvents, &subject);
    let attempt = async {
        // Building fails only without time or message.
        let events = events.filter_map(|(at, text)| InputLogEvent::builder().timestamp(at).message(text).build().ok());
        let asking = aws.logs().put_log_events().log_group_name(group).log_stream_name(stream);
        let answer = asking.set_log_events(Some(events.collect())).send().await;
        let rejected = answer.map_err(|error| Failure::of(&error))?.rejected_log_events_info;
        let place = |place: Option<i32>| place.and_then(|place| usize::try_from(place).ok());
        Ok(rejected.map_or_else(Accepted::default, |rejected| Accepted {
            old_end: place(rejected.too_old_log_event_end_index)
                .max(place(rejected.expired_log_event_end_index))
                .unwrap_or(0),
            new_start: place(rejected.too_new_log_event_start_index),
        }))
    };
    let answer = call.attempt(attempt).await.map_err(Clone::clone);
    answer.or_else(|failure| match failure.code.as_deref() {
        Some("DataAlreadyAcceptedException") => Ok(Accepted::default()),
        _ => Err(call.failed()),
    })
}

/// The action of [`last`], for a person's role: the instance's own never reads.
pub const READ: &str = "logs:GetLogEvents";

/// So many events from the end of a stream have the record among them, with room for what other versions may log after it.
const LAST: i32 = 50;

/// The service may answer with an empty page before one that has events; so many are asked for.
const PAGES: u32 = 4;

/// The last events of a stream, oldest first.
///
/// # Errors
/// What came back. `NotFound`: the group or the stream is not there.
pub async fn last(aws: &Aws, group: &str, stream: &str) -> Result<Vec<String>, CallError> {
    let (begun, mut token) = (Instant::now(), None);
    for attempts in 1..=PAGES {
        let asking = aws.logs().get_log_events().log_group_name(group).log_stream_name(stream);
        let asking = asking.start_from_head(false).limit(LAST).set_next_token(token.clone());
        let page = asking.send().await.map_err(|error| {
            let Failure { class, code, detail, .. } = Failure::of(&error);
            let subject = format!("{group}:{stream}");
            CallError { action: READ, subject, class, code, detail, attempts, elapsed: begun.elapsed() }
        })?;
        let messages: Vec<String> = page.events.unwrap_or_default().into_iter().filter_map(|it| it.message).collect();
        // Before the first event the token stays the same.
        if !messages.is_empty() || page.next_backward_token == token {
            return Ok(messages);
        }
        token = page.next_backward_token;
    }
    Ok(Vec::new())
}

/// Makes the stream, and the group if that is not there. That it is there already is as good.
///
/// # Errors
/// What came back.
pub async fn create(aws: &Aws, group: &str, stream: &str) -> Result<(), CallError> {
    match create_stream(aws, group, stream).await {
        Err(error) if error.class == Class::NotFound => {
            let mut call = AwsCall::new(aws, Action::CreateLogGroup, group);
            let attempt = async {
                let answer = aws.logs().create_log_group().log_group_name(group).send().await;
                answer.map(drop).map_err(|error| Failure::of(&error)).or_else(is_there)
            };
            if call.attempt(attempt).await.is_err() {
                return Err(call.failed());
            }
            create_stream(aws, group, stream).await
        }
        other => other,
    }
}

async fn create_stream(aws: &Aws, group: &str, stream: &str) -> Result<(), CallError> {
    let subject = format!("{group}:{stream}");
    let mut call = AwsCall::new(aws, Action::CreateLogStream, &subject);
    let attempt = async {
        let asking = aws.logs().create_log_stream().log_group_name(group).log_stream_name(stream);
        asking.send().await.map(drop).map_err(|error| Failure::of(&error)).or_else(is_there)
    };
    let made = call.attempt(attempt).await.is_ok();
    if made { Ok(()) } else { Err(call.failed()) }
}

fn is_there(failure: Failure) -> Result<(), Failure> {
    if failure.code.as_deref() == Some("ResourceAlreadyExistsException") { Ok(()) } else { Err(failure) }
}
