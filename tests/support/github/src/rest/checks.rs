//! Check runs: what the launcher writes on a job.

use serde_json::{Value, json};

use super::reply::either;
use super::{Ctx, Reply};
use crate::examples::example;
use crate::shared::CheckRun;
use crate::webhook::payload_renamed;

const CHECKS: u64 = 40_000_000_000;

pub(super) fn create(ctx: &mut Ctx<'_>) -> Reply {
    either(ctx.repo().and_then(|repo| {
        if !ctx.body["name"].is_string() || !ctx.body["head_sha"].is_string() {
            return Err(Reply::invalid("Invalid request. \"name\", \"head_sha\" weren't supplied."));
        }
        let id = ctx.world.fresh(CHECKS);
        let mut run = CheckRun { id, repo, sent: json!({}), annotations: Vec::new() };
        add(&mut run, &ctx.body)?;
        ctx.api.check_runs.insert(id, run.clone());
        Ok(Reply::json(201, described(ctx, &run)))
    }))
}

pub(super) fn update(ctx: &mut Ctx<'_>) -> Reply {
    either(ctx.repo().and_then(|repo| {
        let id = ctx.number("check_run_id")?;
        let run = ctx.api.check_runs.get_mut(&id).filter(|run| run.repo == repo).ok_or_else(Reply::not_found)?;
        add(run, &ctx.body)?;
        let run = run.clone();
        Ok(Reply::json(200, described(ctx, &run)))
    }))
}

fn add(run: &mut CheckRun, body: &Value) -> Result<(), Reply> {
    let annotations = body["output"]["annotations"].as_array();
    if annotations.is_some_and(|annotations| annotations.len() > 50) {
        return Err(Reply::invalid("Invalid request. No more than 50 items are allowed; 51 were supplied."));
    }
    run.annotations.extend(annotations.into_iter().flatten().cloned());
    if let (Some(sent), Some(body)) = (run.sent.as_object_mut(), body.as_object()) {
        sent.extend(body.clone());
    }
    Ok(())
}

fn described(ctx: &Ctx<'_>, run: &CheckRun) -> Value {
    let mut shown = payload_renamed(&example("check_run"), "github/hello-world", &run.repo);
    shown["id"] = run.id.into();
    let conclusion = run.sent["conclusion"].clone();
    let status = if conclusion.is_null() { "queued".into() } else { "completed".into() };
    shown["status"] = run.sent.get("status").cloned().unwrap_or(status);
    shown["completed_at"] =
        if conclusion.is_null() { Value::Null } else { ctx.world.clock.date(ctx.world.now()).into() };
    shown["conclusion"] = conclusion;
    shown["started_at"] = ctx.world.clock.date(ctx.world.now()).into();
    for name in ["name", "head_sha", "details_url", "external_id"] {
        if let Some(value) = run.sent.get(name) {
            shown[name] = value.clone();
        }
    }
    for name in ["title", "summary", "text"] {
        shown["output"][name] = run.sent["output"].get(name).cloned().unwrap_or_default();
    }
    shown["output"]["annotations_count"] = run.annotations.len().into();
    shown
}
