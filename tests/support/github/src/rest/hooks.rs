//! The App's webhook and its deliveries.

use serde_json::{Value, json};

use super::reply::either;
use super::{Ctx, Reply};
use crate::webhook::{Delivery, redeliver};

/// For how long deliveries are kept.
const KEPT: std::time::Duration = std::time::Duration::from_secs(3 * 24 * 3600);

pub(super) fn config(ctx: &mut Ctx<'_>) -> Reply {
    let target = ctx.courier.target.as_ref();
    let url = target.map(|target| target.url.clone());
    let mut shown = json!({ "content_type": "json", "insecure_ssl": "0" });
    if let Some(url) = url {
        shown["url"] = url.into();
        shown["secret"] = "********".into();
    }
    Reply::json(200, shown)
}

/// Newest first; the cursor is the id that the page begins with.
pub(super) fn list(ctx: &mut Ctx<'_>) -> Reply {
    let size = ctx.query("per_page").and_then(|text| text.parse::<usize>().ok()).unwrap_or(30).clamp(1, 100);
    let cursor = match ctx.query("cursor").map(|text| text.trim_start_matches("v1_").parse::<u64>()) {
        Some(Ok(cursor)) => cursor,
        Some(Err(_)) => return Reply::error(400, "Invalid cursor"),
        None => u64::MAX,
    };
    let wanted = ctx.query("status");
    let now = ctx.world.now();
    let fits = |delivery: &&Delivery| {
        let ok = delivery.status == "OK";
        let kept = delivery.at + KEPT >= now;
        kept && delivery.id <= cursor && wanted.is_none_or(|wanted| (wanted == "success") == ok)
    };
    let mut found = ctx.courier.deliveries.iter().rev().filter(fits);
    let page: Vec<Value> =
        found.by_ref().take(size).map(|delivery| delivery.summary(&ctx.world.clock.date(delivery.at))).collect();
    let reply = Reply::json(200, json!(page));
    match found.next() {
        Some(next) => {
            let status = wanted.map(|wanted| format!("&status={wanted}")).unwrap_or_default();
            let link = format!("<{}?per_page={size}{status}&cursor=v1_{}>; rel=\"next\"", ctx.address, next.id);
            reply.with("link", link)
        }
        None => reply,
    }
}

fn find<'a>(ctx: &'a Ctx<'_>) -> Result<&'a Delivery, Reply> {
    let id = ctx.number("delivery_id")?;
    let found = ctx.courier.deliveries.iter().find(|delivery| delivery.id == id);
    found.filter(|delivery| delivery.at + KEPT >= ctx.world.now()).ok_or_else(Reply::not_found)
}

pub(super) fn get(ctx: &mut Ctx<'_>) -> Reply {
    either(find(ctx).map(|delivery| Reply::json(200, delivery.whole(&ctx.world.clock.date(delivery.at)))))
}

pub(super) fn attempt(ctx: &mut Ctx<'_>) -> Reply {
    let parcel = match find(ctx) {
        Ok(delivery) => delivery.parcel.clone(),
        Err(error) => return error,
    };
    ctx.courier.under_way += 1;
    redeliver(ctx.shared, parcel);
    Reply::json(202, json!({}))
}
