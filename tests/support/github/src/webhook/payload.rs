//! The payload of `workflow_job`, in the shape of GitHub's own example.

use std::sync::OnceLock;

use serde_json::{Value, json};

use super::{Event, JobAction};
use crate::world::World;
use crate::world::model::{Conclusion, Job, JobStatus};

const QUEUED: &str = include_str!("../../fixtures/workflow_job.6.queued.json");
const WITH_ORGANIZATION: &str = include_str!("../../fixtures/workflow_job.1.in_progress.json");

const WITH_DEPLOYMENT: &str = include_str!("../../fixtures/workflow_job.7.queued.json");

static DEPLOYMENT: OnceLock<Value> = OnceLock::new();
static TEMPLATE: OnceLock<Value> = OnceLock::new();

/// GitHub's examples, put together: all that an event of an organisation's App carries.
fn template() -> &'static Value {
    TEMPLATE.get_or_init(|| {
        let read = |text| serde_json::from_str::<Value>(text).unwrap_or_default();
        let mut template = read(QUEUED);
        template["organization"] = read(WITH_ORGANIZATION)["organization"].clone();
        template
    })
}

/// The deployment that an environment's protection holds.
fn deployment(world: &World, event: &Event, repo: &str) -> Value {
    let read = || serde_json::from_str::<Value>(WITH_DEPLOYMENT).unwrap_or_default()["deployment"].clone();
    let mut deployment = renamed(DEPLOYMENT.get_or_init(read), "lineville/elastic-machines-testing", repo);
    deployment["created_at"] = world.clock.date(event.job.created).into();
    deployment["updated_at"] = world.clock.date(event.at).into();
    deployment
}

/// A text with other names in the addresses.
pub(crate) fn renamed(value: &Value, from: &str, to: &str) -> Value {
    match value {
        Value::String(text) => Value::String(text.replace(from, to)),
        Value::Array(items) => items.iter().map(|item| renamed(item, from, to)).collect(),
        Value::Object(members) => {
            members.iter().map(|(name, value)| (name.clone(), renamed(value, from, to))).collect()
        }
        other => other.clone(),
    }
}

/// A commit of a run: always the same one, and another one for another run.
pub(crate) fn commit(run: u64) -> String {
    format!("{run:040x}")
}

/// The members of a job that its payload and its answer have in common.
pub(crate) fn job_members(world: &World, job: &Job) -> Value {
    let date = |at: Option<_>| at.map(|at| world.clock.date(at));
    let runner = job.runner.as_ref().filter(|_| job.started.is_some() || job.assigned.is_none());
    let api = format!("https://api.github.com/repos/{}", job.repo);
    let html = format!("https://github.com/{}/actions/runs/{}/job/{}", job.repo, job.run_id, job.id);
    let step = |status: &str, done: bool| {
        json!({
            "name": "Set up job", "status": status, "number": 1,
            "conclusion": done.then(|| job.conclusion.map_or("success", |c| c.as_str())),
            "started_at": date(job.started), "completed_at": if done { date(job.completed) } else { None },
        })
    };
    let steps = match (job.status, job.started) {
        (JobStatus::InProgress, Some(_)) => json!([step("in_progress", false)]),
        (JobStatus::Completed, Some(_)) => json!([step("completed", true)]),
        _ => json!([]),
    };
    json!({
        "id": job.id.0,
        "run_id": job.run_id,
        "run_attempt": job.attempt,
        "run_url": format!("{api}/actions/runs/{}", job.run_id),
        "url": format!("{api}/actions/jobs/{}", job.id),
        "html_url": html,
        "check_run_url": format!("{api}/check-runs/{}", job.id),
        "head_sha": commit(job.run_id),
        "head_branch": "main",
        "name": job.name,
        "workflow_name": job.workflow,
        "status": job.status.as_str(),
        "conclusion": job.conclusion.map(Conclusion::as_str),
        "created_at": world.clock.date(job.created),
        "started_at": world.clock.date(job.started.unwrap_or(job.created)),
        "completed_at": date(job.completed),
        "labels": job.labels,
        "steps": steps,
        "runner_id": runner.map(|runner| runner.id),
        "runner_name": runner.map(|runner| &runner.name),
        "runner_group_id": runner.map(|runner| runner.group_id),
        "runner_group_name": runner.map(|runner| &runner.group_name),
    })
}

/// The whole payload; `None` for a repository that is not there any more.
pub(crate) fn payload(world: &World, event: &Event) -> Option<Value> {
    let repo = world.repo(&event.job.repo)?;
    let owner = world.owner(&repo.owner)?;
    let mut payload = renamed(template(), "Codertocat/Hello-World", &repo.full());
    payload["action"] = event.action.as_str().into();
    let mut job = job_members(world, &event.job);
    job["node_id"] = format!("CR_kwDOMayfly{:x}", event.job.id.0).into();
    if event.action == JobAction::Queued || event.action == JobAction::Waiting {
        for name in ["runner_id", "runner_name", "runner_group_id", "runner_group_name"] {
            job[name] = Value::Null;
        }
    }
    payload["workflow_job"] = job;
    if event.job.protected {
        payload["deployment"] = deployment(world, event, &repo.full());
    }
    payload["repository"]["id"] = repo.id.into();
    payload["repository"]["name"] = repo.name.clone().into();
    payload["repository"]["private"] = (!repo.public).into();
    payload["repository"]["visibility"] = if repo.public { "public" } else { "private" }.into();
    payload["repository"]["owner"]["login"] = owner.login.clone().into();
    payload["repository"]["owner"]["id"] = owner.id.into();
    payload["repository"]["owner"]["type"] = if owner.user { "User" } else { "Organization" }.into();
    payload["organization"] = renamed(&payload["organization"], "octo-org", &owner.login);
    payload["organization"]["id"] = owner.id.into();
    if owner.user
        && let Some(members) = payload.as_object_mut()
    {
        members.remove("organization");
    }
    payload["installation"]["id"] = owner.installation.into();
    Some(payload)
}
