//! The REST API: which path is which operation, and who may call it.

mod apps;
mod checks;
mod groups;
mod hooks;
mod page;
mod pipeline;
mod reply;
mod repos;
mod runners;
mod runs;

use serde_json::Value;

use crate::auth::Token;
use crate::shared::{Api, Shared};
use crate::webhook::Courier;
use crate::world::World;
use crate::world::model::Scope;
pub(crate) use pipeline::answer;
pub(crate) use reply::Reply;

/// Who may call an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Needs {
    /// The App, by its JWT.
    App,
    /// An installation with a permission at a level.
    Token(&'static str, &'static str),
    /// An installation that administers the runners of an organisation or a repository.
    Runners(&'static str),
    /// Any installation.
    Any,
}

type Act = fn(&mut Ctx<'_>) -> Reply;

/// An operation that is served.
struct Route {
    method: &'static str,
    path: &'static str,
    needs: Needs,
    /// Charged to `actions_runner_registration`.
    registers: bool,
    act: Act,
}

const fn route(method: &'static str, path: &'static str, needs: Needs, act: Act) -> Route {
    Route { method, path, needs, registers: false, act }
}

const fn registers(path: &'static str, act: Act) -> Route {
    Route { method: "POST", path, needs: Needs::Runners("write"), registers: true, act }
}

const ACTIONS_READ: Needs = Needs::Token("actions", "read");
const ACTIONS_WRITE: Needs = Needs::Token("actions", "write");
const CHECKS: Needs = Needs::Token("checks", "write");
const GROUPS: Needs = Needs::Token("organization_self_hosted_runners", "read");

const ROUTES: &[Route] = &[
    route("GET", "/app", Needs::App, apps::app),
    route("GET", "/app/hook/config", Needs::App, hooks::config),
    route("GET", "/app/hook/deliveries", Needs::App, hooks::list),
    route("GET", "/app/hook/deliveries/{delivery_id}", Needs::App, hooks::get),
    route("POST", "/app/hook/deliveries/{delivery_id}/attempts", Needs::App, hooks::attempt),
    route("GET", "/app/installations", Needs::App, apps::installations),
    route("POST", "/app/installations/{installation_id}/access_tokens", Needs::App, apps::access_token),
    route("GET", "/orgs/{org}/installation", Needs::App, apps::installation),
    route("GET", "/repos/{owner}/{repo}/installation", Needs::App, apps::installation),
    route("GET", "/installation/repositories", Needs::Any, repos::of_installation),
    route("GET", "/rate_limit", Needs::Any, apps::rate_limit),
    route("GET", "/repos/{owner}/{repo}", Needs::Any, repos::get),
    route("GET", "/repos/{owner}/{repo}/actions/jobs/{job_id}", ACTIONS_READ, runs::job),
    route("GET", "/repos/{owner}/{repo}/actions/runs", ACTIONS_READ, runs::list),
    route("GET", "/repos/{owner}/{repo}/actions/runs/{run_id}", ACTIONS_READ, runs::get),
    route("POST", "/repos/{owner}/{repo}/actions/runs/{run_id}/cancel", ACTIONS_WRITE, runs::cancel),
    route("GET", "/repos/{owner}/{repo}/actions/runs/{run_id}/jobs", ACTIONS_READ, runs::jobs),
    route("POST", "/repos/{owner}/{repo}/actions/runs/{run_id}/rerun-failed-jobs", ACTIONS_WRITE, runs::rerun),
    route("POST", "/repos/{owner}/{repo}/check-runs", CHECKS, checks::create),
    route("PATCH", "/repos/{owner}/{repo}/check-runs/{check_run_id}", CHECKS, checks::update),
    route("GET", "/orgs/{org}/actions/runner-groups", GROUPS, groups::list),
    route("GET", "/orgs/{org}/actions/runner-groups/{runner_group_id}", GROUPS, groups::get),
    route("GET", "/orgs/{org}/actions/runner-groups/{runner_group_id}/repositories", GROUPS, groups::repositories),
    route("GET", "/orgs/{org}/actions/runners", Needs::Runners("read"), runners::list),
    route("GET", "/repos/{owner}/{repo}/actions/runners", Needs::Runners("read"), runners::list),
    registers("/orgs/{org}/actions/runners/generate-jitconfig", runners::generate),
    registers("/repos/{owner}/{repo}/actions/runners/generate-jitconfig", runners::generate),
    registers("/orgs/{org}/actions/runners/registration-token", runners::registration_token),
    registers("/repos/{owner}/{repo}/actions/runners/registration-token", runners::registration_token),
    route("GET", "/orgs/{org}/actions/runners/{runner_id}", Needs::Runners("read"), runners::get),
    route("GET", "/repos/{owner}/{repo}/actions/runners/{runner_id}", Needs::Runners("read"), runners::get),
    route("DELETE", "/orgs/{org}/actions/runners/{runner_id}", Needs::Runners("write"), runners::delete),
    route("DELETE", "/repos/{owner}/{repo}/actions/runners/{runner_id}", Needs::Runners("write"), runners::delete),
];

impl Route {
    /// The values in a path, if it is of this operation.
    fn fits(&self, method: &str, path: &str) -> Option<Vec<(&'static str, String)>> {
        if method != self.method {
            return None;
        }
        let (mut wanted, mut found) = (self.path.split('/'), path.split('/'));
        let mut values = Vec::new();
        loop {
            match (wanted.next(), found.next()) {
                (None, None) => return Some(values),
                (Some(name), Some(value)) => match name.strip_prefix('{').and_then(|name| name.strip_suffix('}')) {
                    Some(name) if !value.is_empty() => values.push((name, value.to_owned())),
                    None if name == value => {}
                    _ => return None,
                },
                _ => return None,
            }
        }
    }

    fn operation(&self) -> String {
        format!("{} {}", self.method, self.path)
    }
}

/// Who calls.
#[derive(Clone, Debug)]
enum Caller {
    App,
    Installation(Token),
}

/// One call, with all that it may read and change.
struct Ctx<'a> {
    world: &'a mut World,
    api: &'a mut Api,
    courier: &'a mut Courier,
    shared: &'a std::sync::Arc<Shared>,
    params: Vec<(&'static str, String)>,
    query: Vec<(String, String)>,
    body: Value,
    caller: Caller,
    /// The address of this operation, without its query.
    address: String,
}

impl Ctx<'_> {
    fn param(&self, name: &str) -> &str {
        self.params.iter().find(|(key, _)| *key == name).map_or("", |(_, value)| value)
    }

    fn number(&self, name: &str) -> Result<u64, Reply> {
        self.param(name).parse().map_err(|_| Reply::not_found())
    }

    fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The organisation or repository in the path; 404 where the caller must not know of it.
    fn scope(&self) -> Result<Scope, Reply> {
        let org = self.param("org");
        let scope = if org.is_empty() {
            let full = format!("{}/{}", self.param("owner"), self.param("repo"));
            Scope::Repo(self.world.repo(&full).ok_or_else(Reply::not_found)?.full())
        } else {
            let owner = self.world.owner(org).filter(|owner| !owner.user);
            Scope::Org(owner.ok_or_else(Reply::not_found)?.login.clone())
        };
        let owner = self.world.owner(scope.owner()).ok_or_else(Reply::not_found)?;
        match &self.caller {
            Caller::App => Ok(scope),
            Caller::Installation(token) if token.installation == owner.installation => match (&scope, &token.repos) {
                (Scope::Repo(full), Some(repos)) if !repos.iter().any(|name| full.ends_with(&format!("/{name}"))) => {
                    Err(Reply::not_found())
                }
                _ => Ok(scope),
            },
            Caller::Installation(_) => Err(Reply::not_found()),
        }
    }

    /// The repository in the path, as `owner/name`.
    fn repo(&self) -> Result<String, Reply> {
        match self.scope()? {
            Scope::Repo(full) => Ok(full),
            Scope::Org(_) => Err(Reply::not_found()),
        }
    }
}
