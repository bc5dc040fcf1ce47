//! Runner groups of an organisation.

use serde_json::{Value, json};

use super::page::Page;
use super::reply::either;
use super::{Ctx, Reply, repos};
use crate::world::{DEFAULT_GROUP, Group};

fn described(ctx: &Ctx<'_>, org: &str, group: &Group) -> Value {
    let url = format!("{}/orgs/{org}/actions/runner-groups/{}", ctx.shared.url(), group.id);
    let selected = group.repos.is_some();
    let mut shown = json!({
        "id": group.id,
        "name": group.name,
        "visibility": if selected { "selected" } else { "all" },
        "default": group.id == DEFAULT_GROUP,
        "runners_url": format!("{url}/runners"),
        "inherited": false,
        "allows_public_repositories": group.public,
        "restricted_to_workflows": false,
        "selected_workflows": [],
        "workflow_restrictions_read_only": false,
    });
    if selected {
        shown["selected_repositories_url"] = format!("{url}/repositories").into();
    }
    shown
}

pub(super) fn list(ctx: &mut Ctx<'_>) -> Reply {
    either(ctx.scope().map(|scope| {
        let mut groups = ctx.world.owner(scope.owner()).map(|owner| owner.groups.clone()).unwrap_or_default();
        if let Some(name) = ctx.query("visible_to_repository") {
            let repo = ctx.world.repo(&format!("{}/{name}", scope.owner()));
            groups.retain(|group| repo.is_some_and(|repo| ctx.world.group_allows(group, repo)));
        }
        let page = Page::of(ctx, groups.len());
        let shown: Vec<Value> = page.cut(&groups).iter().map(|group| described(ctx, scope.owner(), group)).collect();
        page.onto(Reply::json(200, json!({ "total_count": groups.len(), "runner_groups": shown })))
    }))
}

fn find(ctx: &Ctx<'_>) -> Result<(String, Group), Reply> {
    let scope = ctx.scope()?;
    let group = ctx.world.group(scope.owner(), ctx.number("runner_group_id")?).cloned();
    Ok((scope.owner().to_owned(), group.ok_or_else(Reply::not_found)?))
}

pub(super) fn get(ctx: &mut Ctx<'_>) -> Reply {
    either(find(ctx).map(|(org, group)| Reply::json(200, described(ctx, &org, &group))))
}

pub(super) fn repositories(ctx: &mut Ctx<'_>) -> Reply {
    either(find(ctx).map(|(org, group)| {
        let names = group.repos.unwrap_or_default();
        let own = ctx.world.repos.iter().filter(|repo| repo.owner == org && names.contains(&repo.name));
        let own: Vec<_> = own.collect();
        let page = Page::of(ctx, own.len());
        let shown: Vec<Value> = page.cut(&own).iter().map(|repo| repos::described(ctx.world, repo, "short")).collect();
        page.onto(Reply::json(200, json!({ "total_count": own.len(), "repositories": shown })))
    }))
}
