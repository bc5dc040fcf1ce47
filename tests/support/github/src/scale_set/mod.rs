//! The service of runner scale sets, as `actions/scaleset` 6ce0259 talks to it: no description of it is published.
//!
//! Its paths begin with `/_actions/`; the way there is `POST /actions/runner-registration` with a registration token.

mod queue;
mod sets;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use hyper::http::request::Parts;
use mayfly_fake_aws::http::decode;
use mayfly_fake_aws::record::lock;
use serde_json::{Value, json};

use crate::clock::Time;
use crate::rest::Reply;
use crate::schema::Side;
use crate::shared::Shared;
use crate::world::model::Scope;

/// Where the service lies on the double.
pub(crate) const BASE: &str = "/_actions/tenant/";
/// How long an admin token lives.
const ADMIN_TOKEN: Duration = Duration::from_secs(3600);

/// The tokens of the service.
#[derive(Debug, Default)]
pub(crate) struct Admins {
    tokens: HashMap<String, (Scope, Time)>,
}

/// The operation of a path, for faults and the record; `None` if it is not this service's.
pub(crate) fn operation(method: &str, path: &str) -> Option<String> {
    let path = path.strip_prefix("/api/v3").unwrap_or(path);
    if path == "/actions/runner-registration" {
        return Some(format!("{method} {path}"));
    }
    let rest = path.strip_prefix(BASE)?;
    let number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let parts = rest.split('/').map(|part| match part {
        "0" => part,
        part if part.contains('-') => "{session}",
        part if number(part) => "{id}",
        part => part,
    });
    Some(format!("{method} {}", parts.collect::<Vec<_>>().join("/")))
}

/// One call of the service.
pub(crate) struct Call<'a> {
    pub(crate) shared: &'a Arc<Shared>,
    pub(crate) method: &'a str,
    /// Behind the service's base.
    pub(crate) parts: Vec<&'a str>,
    pub(crate) query: Vec<(String, String)>,
    pub(crate) body: Value,
    pub(crate) head: &'a Parts,
}

impl Call<'_> {
    pub(crate) fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.head.headers.get(name).and_then(|value| value.to_str().ok())
    }

    pub(crate) fn bearer(&self) -> Option<&str> {
        self.header("authorization").and_then(|value| value.strip_prefix("Bearer "))
    }

    fn violated(&self, problem: &str) {
        let operation = format!("{} {}", self.method, self.head.uri.path());
        self.shared.violated(Side::Request, &operation, problem.to_owned());
    }
}

/// An error in the service's own form.
pub(crate) fn error(status: u16, kind: &str, message: &str) -> Reply {
    Reply::json(status, json!({ "typeName": kind, "message": message }))
}

/// Serves a call.
pub(crate) async fn serve(shared: &Arc<Shared>, head: &Parts, body: &Bytes) -> Reply {
    let path = head.uri.path();
    let fields = head.uri.query().unwrap_or_default().split('&').filter_map(|field| field.split_once('='));
    let rest = path.strip_prefix(BASE).unwrap_or_default();
    let call = Call {
        shared,
        method: head.method.as_str(),
        parts: rest.split('/').collect(),
        query: fields.map(|(name, value)| (decode(name, true), decode(value, true))).collect(),
        body: serde_json::from_slice(body).unwrap_or_default(),
        head,
    };
    let agent = call.header("user-agent").unwrap_or_default();
    if !serde_json::from_str::<Value>(agent).is_ok_and(|agent| agent["system"].is_string()) {
        call.violated("the User-Agent is not the JSON that tells of the system");
    }
    if path.ends_with("/actions/runner-registration") {
        return register(&call);
    }
    match call.parts.as_slice() {
        ["_apis", "runtime", "runnerscalesets", _, "messages", ..] => queue::messages(&call).await,
        // With the token of the queue, not the administrator's.
        ["_apis", "runtime", "runnerscalesets", _, "acquirejobs"] => queue::acquire(&call),
        _ => administered(&call),
    }
}

fn administered(call: &Call<'_>) -> Reply {
    if call.query("api-version") != Some("6.0-preview") {
        call.violated("no api-version=6.0-preview");
        return error(400, "VssVersionNotSpecifiedException", "No api-version was supplied for the request.");
    }
    let now = call.shared.clock.elapsed();
    let admins = lock(&call.shared.admins);
    let known = call.bearer().and_then(|token| admins.tokens.get(token));
    let Some((scope, _)) = known.filter(|(_, until)| now < *until).cloned() else {
        return error(401, "UnauthorizedRequestException", "The token is not valid.");
    };
    drop(admins);
    sets::serve(call, &scope)
}

/// A registration token becomes an admin token.
fn register(call: &Call<'_>) -> Reply {
    let token = call.header("authorization").and_then(|value| value.strip_prefix("RemoteAuth "));
    let now = call.shared.clock.elapsed();
    let known = token.and_then(|token| lock(&call.shared.api).registration_tokens.get(token).cloned());
    let Some((scope, _)) = known.filter(|(_, until)| now < *until) else {
        return Reply::error(401, "Bad credentials");
    };
    let path = match &scope {
        Scope::Org(login) => login,
        Scope::Repo(full) => full,
    };
    let url = call.body["url"].as_str().unwrap_or_default();
    if !url.trim_end_matches('/').ends_with(&format!("/{path}")) || call.body["runner_event"] != "register" {
        call.violated("url and runner_event do not belong to the token");
        return Reply::error(404, "Not Found");
    }
    let until = now + ADMIN_TOKEN;
    let mut admins = lock(&call.shared.admins);
    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let claims =
        json!({ "exp": call.shared.clock.unix(until), "nbf": call.shared.clock.unix(now), "n": admins.tokens.len() });
    let token = format!("{}.{}.{}", part(json!({ "alg": "RS256", "typ": "JWT" })), part(claims), "bWF5Zmx5");
    admins.tokens.insert(token.clone(), (scope, until));
    Reply::json(200, json!({ "url": format!("{}{BASE}", call.shared.url()), "token": token }))
}
