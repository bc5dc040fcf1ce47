//! The message queue of a session.

use std::sync::Arc;

use mayfly_fake_aws::record::lock;
use serde_json::{Value, json};

use super::{Call, error};
use crate::rest::Reply;
use crate::shared::Shared;
use crate::world::World;

/// The set whose session this token belongs to; 401 as the queue gives it.
fn entitled(call: &Call<'_>, world: &World) -> Result<u64, Reply> {
    let refused = || error(401, "MessageQueueTokenExpiredException", "The message queue access token has expired.");
    let id = call.parts.get(3).and_then(|id| id.parse::<u64>().ok()).ok_or_else(refused)?;
    let set = world.sets.get(&id).ok_or_else(|| error(404, "RunnerScaleSetNotFoundException", "Gone."))?;
    let session = set.session.as_ref().ok_or_else(refused)?;
    let good = call.bearer() == Some(session.token.as_str()) && world.now() < session.token_until;
    if good { Ok(id) } else { Err(refused()) }
}

/// Polling for a message, and acknowledging one.
pub(super) async fn messages(call: &Call<'_>) -> Reply {
    match (call.method, call.parts.get(5)) {
        ("GET", None) => poll(call).await,
        ("DELETE", Some(id)) => call.shared.world(|world| match entitled(call, world) {
            Ok(set) => {
                if let (Some(set), Ok(id)) = (world.sets.get_mut(&set), id.parse()) {
                    set.acknowledge(id);
                }
                Reply::empty(204)
            }
            Err(refused) => refused,
        }),
        _ => error(404, "NotFound", "There is nothing of this name."),
    }
}

async fn poll(call: &Call<'_>) -> Reply {
    let capacity = call.header("x-scalesetmaxcapacity").and_then(|value| value.parse::<u32>().ok());
    if capacity.is_none() {
        call.violated("no X-ScaleSetMaxCapacity");
    }
    let last = call.query("lastMessageId").and_then(|text| text.parse().ok()).unwrap_or(0);
    let mut changes = call.shared.changes.subscribe();
    let until = call.shared.clock.elapsed() + lock(&call.shared.world).options.long_poll;
    loop {
        match look(call, call.shared, last) {
            Ok(None) => {}
            Ok(Some(reply)) | Err(reply) => return reply,
        }
        tokio::select! {
            _ = changes.changed() => {}
            () = call.shared.clock.sleep_until(until) => return Reply::empty(202),
        }
    }
}

fn look(call: &Call<'_>, shared: &Arc<Shared>, last: u64) -> Result<Option<Reply>, Reply> {
    let mut world = lock(&shared.world);
    world.settle();
    let id = entitled(call, &world)?;
    let now = world.now();
    let Some(set) = world.sets.get_mut(&id) else { return Ok(None) };
    if let Some(session) = &mut set.session {
        session.heard = now;
    }
    let Some((message, items)) = set.message(last) else { return Ok(None) };
    let statistics = world.sets.get(&id).map(|set| world.statistics(set));
    Ok(Some(Reply::json(
        200,
        json!({
            "messageId": message,
            "messageType": "RunnerScaleSetJobMessages",
            "body": Value::Array(items).to_string(),
            "statistics": statistics,
        }),
    )))
}

/// Acquires available jobs; those that were granted.
pub(super) fn acquire(call: &Call<'_>) -> Reply {
    call.shared.world(|world| match entitled(call, world) {
        Ok(set) => {
            let wanted: Vec<u64> = call.body.as_array().into_iter().flatten().filter_map(Value::as_u64).collect();
            let granted = world.acquire(set, &wanted);
            Reply::json(200, json!({ "count": granted.len(), "value": granted }))
        }
        Err(refused) => refused,
    })
}
