//! Self-hosted runners of an organisation or a repository.

use serde_json::{Value, json};

use super::page::Page;
use super::reply::either;
use super::{Ctx, Reply};
use crate::jit::{self, Written};
use crate::world::model::{Runner, Scope};
use crate::world::{DEFAULT_GROUP, HOSTED_GROUP, List, Registration, World};

/// Longer names are refused.
const LONGEST_NAME: usize = 64;
/// Names with one of these are refused.
const NOT_IN_NAMES: &[char] = &['"', '/', ':', '<', '>', '\\', '|', '*', '?'];
const READ_ONLY: [&str; 6] = ["self-hosted", "linux", "windows", "macos", "x64", "arm64"];

pub(super) fn described(world: &World, runner: &Runner) -> Value {
    let label = |label: &String| {
        let kind = if READ_ONLY.contains(&label.as_str()) { "read-only" } else { "custom" };
        json!({ "id": 1 + label.bytes().map(u64::from).sum::<u64>(), "name": label, "type": kind })
    };
    json!({
        "id": runner.id,
        "name": runner.name,
        "os": if runner.online { "linux" } else { "unknown" },
        "status": if runner.online { "online" } else { "offline" },
        "busy": world.busy(runner),
        "ephemeral": true,
        "runner_group_id": runner.group_id,
        "labels": runner.labels.iter().map(label).collect::<Vec<_>>(),
    })
}

pub(super) fn list(ctx: &mut Ctx<'_>) -> Reply {
    either(try_list(ctx))
}

fn try_list(ctx: &Ctx<'_>) -> Result<Reply, Reply> {
    let scope = ctx.scope()?;
    let (as_of, inflated) = ctx.world.served(List::Runners);
    let mut runners = ctx.world.runners_as_of(&scope, as_of);
    if let Some(name) = ctx.query("name") {
        runners.retain(|runner| runner.name.eq_ignore_ascii_case(name));
    }
    let page = Page::of(ctx, runners.len());
    let shown: Vec<Value> = page.cut(&runners).iter().map(|runner| described(ctx.world, runner)).collect();
    let total = runners.len() as u64 + inflated;
    Ok(page.onto(Reply::json(200, json!({ "total_count": total, "runners": shown }))))
}

/// The runner in the path, if it belongs to the scope in the path.
fn find(ctx: &Ctx<'_>) -> Result<Runner, Reply> {
    let scope = ctx.scope()?;
    let id = ctx.number("runner_id")?;
    let runner = ctx.world.runner(id).filter(|runner| runner.scope == scope);
    runner.cloned().ok_or_else(Reply::not_found)
}

pub(super) fn get(ctx: &mut Ctx<'_>) -> Reply {
    either(find(ctx).map(|runner| Reply::json(200, described(ctx.world, &runner))))
}

pub(super) fn delete(ctx: &mut Ctx<'_>) -> Reply {
    match find(ctx) {
        Err(error) => error,
        Ok(runner) if runner.job.is_some() => {
            Reply::invalid(&format!("Runner \"{}\" is still running a job\" ", runner.name))
        }
        Ok(runner) => {
            ctx.world.remove_runner(runner.id);
            Reply::empty(204)
        }
    }
}

pub(super) fn registration_token(ctx: &mut Ctx<'_>) -> Reply {
    either(ctx.scope().map(|scope| {
        let expires = ctx.world.now() + std::time::Duration::from_secs(3600);
        ctx.api.made += 1;
        let token = format!("AMAYFLY{:022}", ctx.api.made);
        ctx.api.registration_tokens.insert(token.clone(), (scope, expires));
        Reply::json(201, json!({ "token": token, "expires_at": ctx.world.clock.date(expires) }))
    }))
}

pub(super) fn generate(ctx: &mut Ctx<'_>) -> Reply {
    either(try_generate(ctx))
}

fn missing(name: &str) -> Reply {
    Reply::invalid(&format!("Invalid input: object is missing required key: {name}"))
}

fn wanted(ctx: &Ctx<'_>, scope: &Scope) -> Result<Registration, Reply> {
    let name = ctx.body["name"].as_str().ok_or_else(|| missing("name"))?;
    let group_id = ctx.body["runner_group_id"].as_u64().ok_or_else(|| missing("runner_group_id"))?;
    let labels = ctx.body["labels"].as_array().ok_or_else(|| missing("labels"))?;
    let labels: Option<Vec<String>> = labels.iter().map(|label| label.as_str().map(str::to_owned)).collect();
    let labels = labels.ok_or_else(|| Reply::invalid("Invalid input: a label is not a string"))?;
    if labels.is_empty() || labels.len() > 100 || labels.iter().any(String::is_empty) {
        return Err(Reply::invalid("Invalid input: labels must have between 1 and 100 items"));
    }
    if name.is_empty() || name.chars().count() > LONGEST_NAME || name.contains(NOT_IN_NAMES) {
        let text = "The runner name may not be longer than 64 characters and may not contain \" / : < > \\ | * ?";
        return Err(Reply::invalid(text));
    }
    let name = name.to_owned();
    Ok(Registration { name, scope: scope.clone(), group_id, labels, scale_set: None })
}

fn try_generate(ctx: &mut Ctx<'_>) -> Result<Reply, Reply> {
    let scope = ctx.scope()?;
    let wanted = wanted(ctx, &scope)?;
    let group_id = wanted.group_id;
    if group_id == HOSTED_GROUP {
        return Err(Reply::forbidden());
    }
    if matches!(scope, Scope::Repo(_)) && group_id != DEFAULT_GROUP {
        return Err(Reply::not_found());
    }
    ctx.world.group(scope.owner(), group_id).ok_or_else(Reply::not_found)?;
    let name = wanted.name.clone();
    let Some(runner) = ctx.world.register(wanted) else {
        let message = format!("Already exists - A runner with the name {name} already exists.");
        return Err(Reply::error(409, &message));
    };
    let written = Written {
        service: &format!("{}/", ctx.shared.url()),
        work_folder: ctx.body["work_folder"].as_str().unwrap_or("_work"),
    };
    let blob = jit::encode(&runner, &written, ctx.world.options.jit_size);
    Ok(Reply::json(201, json!({ "runner": described(ctx.world, &runner), "encoded_jit_config": blob })))
}
