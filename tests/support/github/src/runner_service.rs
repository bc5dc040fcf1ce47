//! What the runner's double tells, and asks, under `/_runner/`. None of this is GitHub's wire format.
//!
//! Every call is a POST of `{"name": …}`: `online`, `poll` (answered with `{"job": …, "cancel": …}`), `started`,
//! `completed` (with `result`) and `gone`. A runner whose record is gone gets a 404.

use bytes::Bytes;
use hyper::Response;
use mayfly_fake_aws::serve::{Body, full};
use serde_json::{Value, json};

use crate::shared::Shared;
use crate::world::World;
use crate::world::model::{Conclusion, JobStatus};

pub(crate) fn answer(shared: &Shared, call: &str, body: &Bytes) -> Response<Body> {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let name = body["name"].as_str().unwrap_or_default();
    let told = shared.world(|world| match call {
        "online" => world.connect_runner(name, true).map(|id| json!({ "id": id })),
        "poll" => poll(world, name),
        "started" => started(world, name),
        "completed" => completed(world, name, body["result"].as_str().unwrap_or_default()),
        "gone" => world.disconnect_runner(name).map(|()| json!({})),
        _ => Err(format!("no such call: {call}")),
    });
    match told {
        Ok(answer) => full(200, "application/json", answer.to_string()),
        Err(error) => full(404, "application/json", json!({ "message": error }).to_string()),
    }
}

fn missing(name: &str) -> String {
    format!("The runner {name} no longer exists on the server")
}

fn poll(world: &mut World, name: &str) -> Result<Value, String> {
    let id = world.hear(name).ok_or_else(|| missing(name))?;
    world.settle();
    let runner = world.runner(id).ok_or_else(|| missing(name))?;
    let job = runner.job.and_then(|id| world.job(id));
    Ok(json!({
        "job": job.map(|job| json!({ "id": job.id.0, "name": job.name, "repository": job.repo })),
        "cancel": job.is_some_and(|job| job.cancelling),
    }))
}

fn started(world: &mut World, name: &str) -> Result<Value, String> {
    let runner = world.runner_named(name).ok_or_else(|| missing(name))?;
    let id = runner.job.ok_or_else(|| format!("the runner {name} has no job"))?;
    if world.job(id).is_some_and(|job| job.status == JobStatus::Queued) {
        world.begin(id);
    }
    Ok(json!({}))
}

fn completed(world: &mut World, name: &str, result: &str) -> Result<Value, String> {
    let runner = world.runner_named(name).ok_or_else(|| missing(name))?;
    let id = runner.job.ok_or_else(|| format!("the runner {name} has no job"))?;
    let conclusion = Conclusion::read(result).ok_or_else(|| format!("no such result: {result}"))?;
    world.end(id, conclusion)?;
    Ok(json!({}))
}
