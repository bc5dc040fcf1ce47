//! Repositories.

use serde_json::{Value, json};

use super::page::Page;
use super::reply::either;
use super::{Caller, Ctx, Reply};
use crate::examples::example;
use crate::webhook::payload_renamed;
use crate::world::{Repo, World};

/// A repository; `kind` is `full` for its own page, `listed` in the list of an installation, `short` elsewhere.
pub(super) fn described(world: &World, repo: &Repo, kind: &str) -> Value {
    let template = match kind {
        "full" => example("repository"),
        "listed" => example("installation_repositories")["repositories"][0].clone(),
        _ => example("group_repositories")["repositories"][0].clone(),
    };
    let mut shown = payload_renamed(&template, "octocat/Hello-World", &repo.full());
    let owner = world.owner(&repo.owner);
    shown["id"] = repo.id.into();
    shown["name"] = repo.name.clone().into();
    shown["private"] = (!repo.public).into();
    shown["owner"]["login"] = repo.owner.clone().into();
    shown["owner"]["id"] = owner.map(|owner| owner.id).into();
    let user = owner.is_some_and(|owner| owner.user);
    shown["owner"]["type"] = if user { "User" } else { "Organization" }.into();
    if kind != "short" {
        shown["visibility"] = if repo.public { "public" } else { "private" }.into();
    }
    if kind == "full" {
        shown["language"] = Value::Null;
        // The example tells of a fork.
        for name in ["parent", "source", "template_repository"] {
            if let Some(members) = shown.as_object_mut() {
                members.remove(name);
            }
        }
    }
    shown
}

pub(super) fn get(ctx: &mut Ctx<'_>) -> Reply {
    either(ctx.repo().and_then(|full| {
        let repo = ctx.world.repo(&full).ok_or_else(Reply::not_found)?;
        Ok(Reply::json(200, described(ctx.world, repo, "full")))
    }))
}

pub(super) fn of_installation(ctx: &mut Ctx<'_>) -> Reply {
    let Caller::Installation(token) = &ctx.caller else { return Reply::forbidden() };
    let owner = ctx.world.owners.iter().find(|owner| owner.installation == token.installation);
    let login = owner.map_or("", |owner| owner.login.as_str());
    let within = |repo: &&Repo| token.repos.as_ref().is_none_or(|names| names.contains(&repo.name));
    let own: Vec<&Repo> = ctx.world.repos.iter().filter(|repo| repo.owner == login).filter(within).collect();
    let page = Page::of(ctx, own.len());
    let shown: Vec<Value> = page.cut(&own).iter().map(|repo| described(ctx.world, repo, "listed")).collect();
    let selection = if token.repos.is_some() { "selected" } else { "all" };
    let answer = json!({ "total_count": own.len(), "repository_selection": selection, "repositories": shown });
    page.onto(Reply::json(200, answer))
}
