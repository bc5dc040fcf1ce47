//! Runs of workflows and their jobs.

use serde_json::{Value, json};

use super::page::Page;
use super::reply::either;
use super::{Ctx, Reply};
use crate::examples::example;
use crate::webhook::{commit, job_members, payload_renamed};
use crate::world::model::{Conclusion, Job, JobId};
use crate::world::{List, Refused, Run, World, latest, standing};

pub(super) fn job_described(world: &World, job: &Job) -> Value {
    let mut shown = example("job");
    let own = job_members(world, job);
    if let (Some(shown), Some(own)) = (shown.as_object_mut(), own.as_object()) {
        shown.extend(own.clone());
    }
    shown["node_id"] = format!("CR_kwDOMayfly{:x}", job.id.0).into();
    shown
}

fn run_described(world: &World, run: &Run, as_of: std::time::Duration) -> Value {
    let (status, conclusion) = standing(&world.jobs_of(run.id, as_of));
    let mut shown = payload_renamed(&example("run"), "octo-org/octo-repo", &run.repo);
    let api = format!("https://api.github.com/repos/{}/actions/runs/{}", run.repo, run.id);
    shown["id"] = run.id.into();
    shown["name"] = run.workflow.clone().into();
    shown["run_attempt"] = run.attempt.into();
    shown["status"] = status.as_str().into();
    shown["conclusion"] = conclusion.map(Conclusion::as_str).into();
    shown["head_sha"] = commit(run.id).into();
    shown["url"] = api.clone().into();
    shown["html_url"] = format!("https://github.com/{}/actions/runs/{}", run.repo, run.id).into();
    for (member, path) in [("jobs_url", "jobs"), ("logs_url", "logs"), ("cancel_url", "cancel"), ("rerun_url", "rerun")]
    {
        shown[member] = format!("{api}/{path}").into();
    }
    shown["created_at"] = world.clock.date(run.created).into();
    shown["run_started_at"] = world.clock.date(run.created).into();
    shown["updated_at"] = world.clock.date(run.updated).into();
    if let Some(repo) = world.repo(&run.repo) {
        shown["repository"]["id"] = repo.id.into();
        shown["repository"]["name"] = repo.name.clone().into();
        shown["repository"]["full_name"] = run.repo.clone().into();
        shown["repository"]["private"] = (!repo.public).into();
        shown["repository"]["owner"]["login"] = repo.owner.clone().into();
    }
    shown
}

fn find_run<'a>(ctx: &'a Ctx<'_>) -> Result<&'a Run, Reply> {
    let repo = ctx.repo()?;
    let run = ctx.world.runs.get(&ctx.number("run_id")?).filter(|run| run.repo == repo);
    run.ok_or_else(Reply::not_found)
}

pub(super) fn job(ctx: &mut Ctx<'_>) -> Reply {
    either(ctx.repo().and_then(|repo| {
        let id = JobId(ctx.number("job_id")?);
        let job = ctx.world.job(id).filter(|job| job.repo == repo).ok_or_else(Reply::not_found)?;
        Ok(Reply::json(200, job_described(ctx.world, job)))
    }))
}

pub(super) fn list(ctx: &mut Ctx<'_>) -> Reply {
    either(ctx.repo().map(|repo| {
        let (as_of, inflated) = ctx.world.served(List::Runs);
        let wanted = ctx.query("status");
        let fits = |run: &&Run| {
            let (status, conclusion) = standing(&ctx.world.jobs_of(run.id, as_of));
            let words = [Some(status.as_str()), conclusion.map(Conclusion::as_str)];
            wanted.is_none_or(|wanted| words.contains(&Some(wanted)))
        };
        let own = ctx.world.runs.values().rev().filter(|run| run.repo == repo && run.created <= as_of);
        let runs: Vec<&Run> = own.filter(fits).collect();
        let page = Page::of(ctx, runs.len());
        let shown: Vec<Value> = page.cut(&runs).iter().map(|run| run_described(ctx.world, run, as_of)).collect();
        let total = runs.len() as u64 + inflated;
        page.onto(Reply::json(200, json!({ "total_count": total, "workflow_runs": shown })))
    }))
}

pub(super) fn get(ctx: &mut Ctx<'_>) -> Reply {
    either(find_run(ctx).map(|run| Reply::json(200, run_described(ctx.world, run, ctx.world.now()))))
}

pub(super) fn jobs(ctx: &mut Ctx<'_>) -> Reply {
    either(find_run(ctx).map(|run| {
        let (as_of, inflated) = ctx.world.served(List::Jobs);
        let mut jobs = ctx.world.jobs_of(run.id, as_of);
        if ctx.query("filter") != Some("all") {
            jobs = latest(&jobs);
        }
        let page = Page::of(ctx, jobs.len());
        let shown: Vec<Value> = page.cut(&jobs).iter().map(|job| job_described(ctx.world, job)).collect();
        let total = jobs.len() as u64 + inflated;
        page.onto(Reply::json(200, json!({ "total_count": total, "jobs": shown })))
    }))
}

pub(super) fn cancel(ctx: &mut Ctx<'_>) -> Reply {
    let run = match find_run(ctx) {
        Ok(run) => run.id,
        Err(error) => return error,
    };
    match ctx.world.cancel_run(run) {
        Ok(()) => Reply::json(202, json!({})),
        Err(_) => Reply::error(409, "Cannot cancel a workflow run that is completed."),
    }
}

pub(super) fn rerun(ctx: &mut Ctx<'_>) -> Reply {
    let run = match find_run(ctx) {
        Ok(run) => run.id,
        Err(error) => return error,
    };
    match ctx.world.rerun_failed(run) {
        Ok(_) => Reply::json(201, json!({})),
        Err(Refused::Running | Refused::Completed) => Reply::error(403, "This workflow is already running"),
        Err(Refused::TooOften) => Reply::error(403, "This workflow run cannot be retried"),
    }
}
