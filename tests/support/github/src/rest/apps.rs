//! The App, its installations and their tokens.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::page::Page;
use super::reply::either;
use super::{Ctx, Reply};
use crate::auth::{APP_ID, CLIENT_ID, Token};
use crate::examples::example;
use crate::webhook::payload_renamed;
use crate::world::{Owner, World};

const EVENTS: [&str; 1] = ["workflow_job"];

pub(super) fn app(ctx: &mut Ctx<'_>) -> Reply {
    let mut app = example("app");
    app["id"] = APP_ID.into();
    app["client_id"] = CLIENT_ID.into();
    app["slug"] = "mayfly-test".into();
    app["name"] = "mayfly-test".into();
    app["events"] = json!(EVENTS);
    app["permissions"] = ctx.world.owners.first().map_or_else(|| json!({}), |owner| json!(owner.permissions));
    app["installations_count"] = ctx.world.owners.len().into();
    Reply::json(200, app)
}

fn described(world: &World, owner: &Owner) -> Value {
    let mut installation = payload_renamed(&example("installation"), "github/", &format!("{}/", owner.login));
    installation["id"] = owner.installation.into();
    installation["account"]["login"] = owner.login.clone().into();
    installation["account"]["id"] = owner.id.into();
    installation["app_id"] = APP_ID.into();
    installation["target_id"] = owner.id.into();
    installation["target_type"] = if owner.user { "User" } else { "Organization" }.into();
    installation["app_slug"] = "mayfly-test".into();
    installation["events"] = json!(EVENTS);
    installation["permissions"] = json!(owner.permissions);
    installation["created_at"] = world.clock.date(std::time::Duration::ZERO).into();
    installation["updated_at"] = world.clock.date(std::time::Duration::ZERO).into();
    installation["suspended_at"] = Value::Null;
    installation["suspended_by"] = Value::Null;
    installation
}

pub(super) fn installations(ctx: &mut Ctx<'_>) -> Reply {
    let page = Page::of(ctx, ctx.world.owners.len());
    let shown: Vec<Value> = page.cut(&ctx.world.owners).iter().map(|owner| described(ctx.world, owner)).collect();
    page.onto(Reply::json(200, json!(shown)))
}

pub(super) fn installation(ctx: &mut Ctx<'_>) -> Reply {
    either(ctx.scope().and_then(|scope| {
        let owner = ctx.world.owner(scope.owner()).ok_or_else(Reply::not_found)?;
        Ok(Reply::json(200, described(ctx.world, owner)))
    }))
}

pub(super) fn access_token(ctx: &mut Ctx<'_>) -> Reply {
    either(try_access_token(ctx))
}

fn try_access_token(ctx: &mut Ctx<'_>) -> Result<Reply, Reply> {
    let id = ctx.number("installation_id")?;
    let owner = ctx.world.owners.iter().find(|owner| owner.installation == id).ok_or_else(Reply::not_found)?;
    let permissions = narrowed(&owner.permissions, &ctx.body["permissions"])?;
    let repos = repositories(ctx, &owner.login)?;
    let expires = ctx.world.now() + ctx.world.options.token_lifetime;
    ctx.api.made += 1;
    let secret = format!("ghs_mayflyfake{:026}", ctx.api.made);
    let mut answer = json!({
        "token": secret,
        "expires_at": ctx.world.clock.date(expires),
        "permissions": permissions,
        "repository_selection": if repos.is_some() { "selected" } else { "all" },
    });
    if let Some(names) = &repos {
        let own = ctx.world.repos.iter().filter(|repo| repo.owner == owner.login && names.contains(&repo.name));
        answer["repositories"] = own.map(|repo| super::repos::described(ctx.world, repo, "short")).collect();
    }
    let token = Token { installation: id, expires, permissions, repos };
    ctx.api.tokens.insert(secret, token);
    Ok(Reply::json(201, answer))
}

/// No more than the installation has: 422 for the rest.
fn narrowed(own: &BTreeMap<String, String>, asked: &Value) -> Result<BTreeMap<String, String>, Reply> {
    let Some(asked) = asked.as_object() else { return Ok(own.clone()) };
    let mut narrowed = BTreeMap::new();
    for (name, level) in asked {
        let level = level.as_str().unwrap_or_default();
        let within = own.get(name).is_some_and(|own| own == level || own == "write");
        if !within {
            return Err(refused("The permissions requested are not granted to this installation."));
        }
        narrowed.insert(name.clone(), level.to_owned());
    }
    Ok(narrowed)
}

fn refused(message: &str) -> Reply {
    Reply::error(422, message)
}

fn repositories(ctx: &Ctx<'_>, owner: &str) -> Result<Option<Vec<String>>, Reply> {
    let own = || ctx.world.repos.iter().filter(|repo| repo.owner == owner);
    let unknown = || {
        refused("There is at least one repository that does not exist or is not accessible to the parent installation.")
    };
    let mut names = Vec::new();
    for name in ctx.body["repositories"].as_array().into_iter().flatten() {
        let found = own().find(|repo| name.as_str().is_some_and(|name| repo.name == name));
        names.push(found.ok_or_else(unknown)?.name.clone());
    }
    for id in ctx.body["repository_ids"].as_array().into_iter().flatten() {
        names.push(own().find(|repo| *id == repo.id).ok_or_else(unknown)?.name.clone());
    }
    Ok((!names.is_empty()).then_some(names))
}

pub(super) fn rate_limit(ctx: &mut Ctx<'_>) -> Reply {
    if ctx.shared.ghes {
        return Reply::error(404, "Rate limiting is not enabled.");
    }
    let now = ctx.world.now();
    let mut answer = example("rate_limit");
    let installation = match &ctx.caller {
        super::Caller::Installation(token) => token.installation,
        super::Caller::App => 0,
    };
    let buckets = ctx.api.core.get_mut(&installation).into_iter().chain([&mut ctx.api.registration]);
    for bucket in buckets {
        bucket.roll(now);
        let shown = json!({
            "limit": bucket.limit, "used": bucket.used, "remaining": bucket.remaining(),
            "reset": ctx.world.clock.unix(bucket.reset()),
        });
        answer["resources"][bucket.resource] = shown.clone();
        if bucket.resource == "core" {
            answer["rate"] = shown;
        }
    }
    Reply::json(200, answer)
}
