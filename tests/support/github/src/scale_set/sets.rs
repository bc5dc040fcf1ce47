//! Scale sets, their sessions, and the runners of them: what an administrator's token is for.

use serde_json::{Value, json};

use super::{BASE, Call, error};
use crate::jit::{self, Written};
use crate::rest::Reply;
use crate::world::model::{Runner, Scope};
use crate::world::sets::{ScaleSet, Session, Stage};
use crate::world::{DEFAULT_GROUP, HOSTED_GROUP, Registration, World};

/// The answer to a call that an administrator makes.
pub(super) fn serve(call: &Call<'_>, scope: &Scope) -> Reply {
    call.shared.world(|world| match (call.method, call.parts.as_slice()) {
        ("GET", ["_apis", "runtime", "runnergroups", ..]) => groups(call, world, scope),
        ("GET", ["_apis", "runtime", "runnerscalesets"]) => list(call, world, scope),
        ("POST", ["_apis", "runtime", "runnerscalesets"]) => create(call, world, scope),
        (_, ["_apis", "runtime", "runnerscalesets", id, rest @ ..]) => {
            let found = id.parse().ok().and_then(|id| world.sets.get(&id)).filter(|set| set.scope == *scope);
            match found.map(|set| set.id) {
                Some(id) => of_set(call, world, id, rest),
                None => error(404, "RunnerScaleSetNotFoundException", "No runner scale set found."),
            }
        }
        (_, ["_apis", "distributedtask", "pools", "0", "agents", rest @ ..]) => agents(call, world, scope, rest),
        _ => error(404, "NotFound", "There is nothing of this name."),
    })
}

fn listed(values: impl Iterator<Item = Value>) -> Reply {
    let values: Vec<Value> = values.collect();
    Reply::json(200, json!({ "count": values.len(), "value": values }))
}

fn groups(call: &Call<'_>, world: &World, scope: &Scope) -> Reply {
    let own = world.owner(scope.owner()).map(|owner| owner.groups.clone()).unwrap_or_default();
    let named =
        own.iter().filter(|group| call.query("groupName").is_none_or(|name| group.name.eq_ignore_ascii_case(name)));
    listed(named.map(
        |group| json!({ "id": group.id, "name": group.name, "size": 0, "isDefaultGroup": group.id == DEFAULT_GROUP }),
    ))
}

fn shown(world: &World, set: &ScaleSet) -> Value {
    let labels: Vec<Value> = set.labels.iter().map(|label| json!({ "type": "System", "name": label })).collect();
    let group = world.group(set.scope.owner(), set.group_id).map(|group| group.name.clone());
    json!({
        "id": set.id,
        "name": set.name,
        "runnerGroupId": set.group_id,
        "runnerGroupName": group,
        "labels": labels,
        "RunnerSetting": { "ephemeral": true, "isElastic": true, "disableUpdate": true },
        "createdOn": world.clock.date(set.created),
        "runnerJitConfigUrl": format!("_apis/runtime/runnerscalesets/{}/generatejitconfig", set.id),
        "statistics": world.statistics(set),
    })
}

fn list(call: &Call<'_>, world: &World, scope: &Scope) -> Reply {
    let group = call.query("runnerGroupId").and_then(|text| text.parse::<u64>().ok());
    let fits = |set: &&ScaleSet| {
        set.scope == *scope
            && group.is_none_or(|group| set.group_id == group)
            && call.query("name").is_none_or(|name| set.name.eq_ignore_ascii_case(name))
    };
    listed(world.sets.values().filter(fits).map(|set| shown(world, set)))
}

fn labels(body: &Value) -> Vec<String> {
    let names = body["labels"].as_array().into_iter().flatten().filter_map(|label| label["name"].as_str());
    names.map(str::to_owned).collect()
}

fn create(call: &Call<'_>, world: &mut World, scope: &Scope) -> Reply {
    let (Some(name), Some(group)) = (call.body["name"].as_str(), call.body["runnerGroupId"].as_u64()) else {
        return error(400, "ArgumentNullException", "name and runnerGroupId are needed.");
    };
    if group == HOSTED_GROUP || world.group(scope.owner(), group).is_none() {
        return error(404, "RunnerGroupNotFoundException", "No runner group found.");
    }
    match world.add_set(scope.clone(), name, group, labels(&call.body)) {
        Some(id) => Reply::json(200, world.sets.get(&id).map(|set| shown(world, set)).unwrap_or_default()),
        None => error(409, "RunnerScaleSetExistsException", &format!("Runner scale set {name} already exists.")),
    }
}

fn of_set(call: &Call<'_>, world: &mut World, id: u64, rest: &[&str]) -> Reply {
    let show = |world: &World| world.sets.get(&id).map(|set| shown(world, set)).unwrap_or_default();
    match (call.method, rest) {
        ("GET", []) => Reply::json(200, show(world)),
        ("PATCH", []) => {
            let (name, labels) = (call.body["name"].as_str().map(str::to_owned), labels(&call.body));
            if let Some(set) = world.sets.get_mut(&id) {
                set.name = name.unwrap_or_else(|| set.name.clone());
                if !labels.is_empty() {
                    set.labels = labels;
                }
            }
            Reply::json(200, show(world))
        }
        ("DELETE", []) => {
            world.sets.remove(&id);
            Reply::empty(204)
        }
        ("POST", ["generatejitconfig"]) => generate(call, world, id),
        ("GET", ["acquirablejobs"]) => acquirable(world, id),
        ("POST", ["sessions"]) => open(call, world, id),
        ("PATCH", ["sessions", session]) => renew(call, world, id, session),
        ("DELETE", ["sessions", session]) => match held(world, id, session) {
            Some(_) => {
                if let Some(set) = world.sets.get_mut(&id) {
                    set.session = None;
                }
                Reply::empty(204)
            }
            None => no_session(),
        },
        _ => error(404, "NotFound", "There is nothing of this name."),
    }
}

fn generate(call: &Call<'_>, world: &mut World, id: u64) -> Reply {
    let Some(set) = world.sets.get(&id) else { return error(404, "RunnerScaleSetNotFoundException", "Gone.") };
    let Some(name) = call.body["name"].as_str().filter(|name| !name.is_empty()) else {
        return error(400, "ArgumentNullException", "name is needed.");
    };
    let wanted = Registration {
        name: name.to_owned(),
        scope: set.scope.clone(),
        group_id: set.group_id,
        labels: set.labels.clone(),
        scale_set: Some(id),
    };
    let Some(runner) = world.register(wanted) else {
        return error(409, "AgentExistsException", &format!("A runner exists with the same name {name}."));
    };
    let written = Written {
        service: &format!("{}/", call.shared.url()),
        work_folder: call.body["workFolder"].as_str().unwrap_or("_work"),
    };
    let blob = jit::encode(&runner, &written, world.options.jit_size);
    Reply::json(200, json!({ "runner": reference(&runner), "encodedJITConfig": blob }))
}

fn acquirable(world: &World, id: u64) -> Reply {
    let Some(set) = world.sets.get(&id) else { return Reply::empty(204) };
    let available = set.jobs.iter().filter(|(_, stage)| **stage == Stage::Available);
    let jobs = available.filter_map(|(job, _)| world.job(crate::JobId(*job)));
    let values: Vec<Value> = jobs
        .map(|job| {
            let mut told = world.base(job);
            told["acquireJobUrl"] = format!("_apis/runtime/runnerscalesets/{id}/acquirejobs").into();
            told["messageType"] = "JobAvailable".into();
            told
        })
        .collect();
    if values.is_empty() { Reply::empty(204) } else { listed(values.into_iter()) }
}

fn no_session() -> Reply {
    error(404, "RunnerScaleSetSessionNotFoundException", "session ID doesn't exist in redis")
}

fn held<'a>(world: &'a World, id: u64, session: &str) -> Option<&'a Session> {
    world.sets.get(&id)?.session.as_ref().filter(|held| held.id == session)
}

fn open(call: &Call<'_>, world: &mut World, id: u64) -> Reply {
    let (now, stale) = (world.now(), world.options.stale_session);
    let holder = world.sets.get(&id).and_then(|set| set.session.as_ref());
    if let Some(held) = holder.filter(|held| now < held.heard + stale) {
        let message =
            format!("The actions runner scale set {id} already has an active session for owner {}.", held.owner);
        return error(409, "RunnerScaleSetSessionConflictException", &message);
    }
    world.replay(id);
    let owner = call.body["ownerName"].as_str().unwrap_or_default().to_owned();
    let number = world.fresh(0);
    let id_text = format!("00000000-5e55-4000-8000-{number:012x}");
    give(call, world, id, Session { id: id_text, owner, token: String::new(), token_until: now, heard: now })
}

fn renew(call: &Call<'_>, world: &mut World, id: u64, session: &str) -> Reply {
    match held(world, id, session).cloned() {
        Some(session) => give(call, world, id, session),
        None => no_session(),
    }
}

/// Hands a session out, with a fresh token for its queue.
fn give(call: &Call<'_>, world: &mut World, id: u64, mut session: Session) -> Reply {
    let now = world.now();
    session.token = format!("queue-token-{}", world.fresh(0));
    session.token_until = now + world.options.queue_token;
    session.heard = now;
    // With a query of its own, as the real one has.
    let messages = format!("{BASE}_apis/runtime/runnerscalesets/{id}/messages?sessionId={}", session.id);
    let url = format!("{}{messages}", call.shared.url());
    let Some(set) = world.sets.get_mut(&id) else { return no_session() };
    set.session = Some(session.clone());
    let Some(set) = world.sets.get(&id) else { return no_session() };
    Reply::json(
        200,
        json!({
            "sessionId": session.id,
            "ownerName": session.owner,
            "runnerScaleSet": shown(world, set),
            "messageQueueUrl": url,
            "messageQueueAccessToken": session.token,
            "statistics": world.statistics(set),
        }),
    )
}

fn reference(runner: &Runner) -> Value {
    json!({ "id": runner.id, "name": runner.name, "runnerScaleSetId": runner.scale_set.unwrap_or_default() })
}

fn agents(call: &Call<'_>, world: &mut World, scope: &Scope, rest: &[&str]) -> Reply {
    let own = |runner: &&Runner| runner.scope == *scope;
    if rest.is_empty() {
        let named = |runner: &&Runner| call.query("agentName").is_none_or(|name| runner.name == name);
        return listed(world.live_runners().filter(own).filter(named).map(reference));
    }
    let found = rest.first().and_then(|id| id.parse().ok()).and_then(|id| world.runner(id)).filter(own).cloned();
    let Some(runner) = found else {
        return error(404, "AgentNotFoundException", "The agent cannot be found.");
    };
    match call.method {
        "GET" => Reply::json(200, reference(&runner)),
        "DELETE" if runner.job.is_some() => {
            let message = format!("Runner \"{}\" is still running a job.", runner.name);
            error(400, "JobStillRunningException", &message)
        }
        "DELETE" => {
            world.remove_runner(runner.id);
            Reply::empty(204)
        }
        _ => error(405, "MethodNotAllowed", "GET or DELETE."),
    }
}
