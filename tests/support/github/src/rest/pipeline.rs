//! One request to the API, from its first byte to the last of the answer.

use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::{HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Request, Response};
use mayfly_fake_aws::http::decode;
use mayfly_fake_aws::record::lock;
use mayfly_fake_aws::serve::{Body, Conn, full, half};
use serde_json::{Value, json};

use super::{Caller, Ctx, Needs, ROUTES, Reply, Route};
use crate::auth::check_jwt;
use crate::fault::Fault;
use crate::rate::{Bucket, Spent};
use crate::request::GithubRequest;
use crate::scale_set;
use crate::schema::Side;
use crate::shared::{Api, Shared};

/// Those that GitHub serves; without a word it is the first.
const VERSIONS: [&str; 2] = ["2022-11-28", "2026-03-10"];
const JSON: &str = "application/json; charset=utf-8";

/// Answers a request, and records it.
pub(crate) async fn answer(shared: Arc<Shared>, request: Request<Incoming>, conn: Conn) -> Response<Body> {
    let began = Instant::now();
    let (head, incoming) = request.into_parts();
    let Ok(body) = incoming.collect().await else {
        return full(400, JSON, "{}");
    };
    let body = body.to_bytes();
    let path = head.uri.path_and_query().map_or_else(String::new, ToString::to_string);
    if let Some(rest) = path.strip_prefix("/_runner/") {
        return crate::runner_service::answer(&shared, rest, &body);
    }
    let found = find(&shared, &head);
    let of_sets = scale_set::operation(head.method.as_str(), head.uri.path());
    let operation = found.as_ref().map(|(route, _)| route.operation()).or(of_sets.clone()).unwrap_or_default();
    let (fate, latency) = {
        let mut api = lock(&shared.api);
        let fate = api.rules.fate(shared.clock.instant(), |matching| matching.fits(&operation, &path, &body));
        (fate, api.latency)
    };
    let header = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let place = shared.log.push(GithubRequest {
        at: shared.clock.elapsed(),
        operation: operation.clone(),
        method: head.method.to_string(),
        path,
        body: body.clone(),
        user_agent: header("user-agent"),
        accept: header("accept"),
        api_version: header("x-github-api-version"),
        installation: None,
        connection: conn.id,
        status: None,
        fault: fate.fault.as_ref().map(|fault| format!("{fault:?}")),
        took: began.elapsed(),
    });
    let wait = fate.delay + latency;
    if !wait.is_zero() {
        tokio::time::sleep(wait).await;
    }
    match &fate.fault {
        Some(Fault::Reset) => return conn.reset().await,
        Some(Fault::Hang) => return std::future::pending().await,
        _ => {}
    }
    let (reply, installation) = match (&of_sets, fate.fault.as_ref()) {
        (Some(_), fault) => (of_scale_sets(&shared, &head, &body, fault).await, None),
        (None, fault) => serve(&shared, &head, &body, found, fault),
    };
    match &fate.fault {
        Some(Fault::LoseAnswer) => return conn.reset().await,
        Some(Fault::HangAfter) => return std::future::pending().await,
        _ => {}
    }
    shared.log.update(place, |entry| {
        entry.status = Some(reply.status);
        entry.installation = installation;
        entry.took = began.elapsed();
    });
    rendered(reply, fate.fault.as_ref(), &conn)
}

type Found = (&'static Route, Vec<(&'static str, String)>);

fn find(shared: &Shared, head: &Parts) -> Option<Found> {
    let path = head.uri.path();
    let path = if shared.ghes { path.strip_prefix("/api/v3").filter(|rest| rest.starts_with('/'))? } else { path };
    ROUTES.iter().find_map(|route| route.fits(head.method.as_str(), path).map(|values| (route, values)))
}

/// A call of the scale sets' service, with what befalls it.
async fn of_scale_sets(shared: &Arc<Shared>, head: &Parts, body: &Bytes, fault: Option<&Fault>) -> Reply {
    if let Some(reply) = instead(fault) {
        return reply;
    }
    after(scale_set::serve(shared, head, body).await, fault)
}

/// The answer to a call that a fault keeps from its effect.
fn instead(fault: Option<&Fault>) -> Option<Reply> {
    Some(match fault? {
        Fault::Status(status) => made_up(*status),
        Fault::Secondary(after) => Reply::secondary(403, *after),
        Fault::Forbidden => Reply::forbidden(),
        _ => return None,
    })
}

/// What a fault makes of an answer.
fn after(mut reply: Reply, fault: Option<&Fault>) -> Reply {
    match fault {
        Some(Fault::StatusAfter(status)) => return made_up(*status),
        Some(Fault::Replace(members)) => replace(&mut reply, members),
        _ => {}
    }
    reply
}

fn serve(
    shared: &Arc<Shared>,
    head: &Parts,
    body: &Bytes,
    found: Option<Found>,
    fault: Option<&Fault>,
) -> (Reply, Option<u64>) {
    let operation = found.as_ref().map(|(route, _)| route.operation()).unwrap_or_default();
    if let Some(reply) = instead(fault) {
        return (reply, None);
    }
    if !head.headers.contains_key("user-agent") {
        let text = "Request forbidden by administrative rules. Please make sure your request has a User-Agent header";
        shared.violated(Side::Request, &operation, "no User-Agent".to_owned());
        return (Reply::error(403, text), None);
    }
    let version = head.headers.get("x-github-api-version").map(|version| version.to_str().unwrap_or_default());
    if let Some(version) = version.filter(|version| !VERSIONS.contains(version)) {
        shared.violated(Side::Request, &operation, format!("no such version of the API: {version}"));
        return (Reply::error(400, &format!("{version} is not a supported version of the API")), None);
    }
    let Some((route, params)) = found else {
        let asked = format!("{} {}", head.method, head.uri);
        shared.violated(Side::Request, &asked, "it is not among the operations that are served".to_owned());
        return (Reply::not_found(), None);
    };
    let (reply, installation) = shared.world(|world| {
        let mut api = lock(&shared.api);
        let caller = match caller(shared, &api, head, route) {
            Ok(caller) => caller,
            Err(error) => return (error, None),
        };
        let installation = match &caller {
            Caller::Installation(token) => Some(token.installation),
            Caller::App => None,
        };
        let limited = if world.options.ghes { Ok(Vec::new()) } else { limit(&mut api, world, route, installation) };
        let limits = match limited {
            Ok(limits) => limits,
            Err(error) => return (error, installation),
        };
        let (query, json) = match read(shared, &operation, head, body) {
            Ok(read) => read,
            Err(error) => return (error, installation),
        };
        let mut ctx = Ctx {
            world,
            api: &mut api,
            courier: &mut lock(&shared.courier),
            shared,
            params,
            query,
            body: json,
            caller,
            address: format!("{}{}", shared.url(), head.uri.path()),
        };
        let mut reply = (route.act)(&mut ctx);
        reply.headers.extend(limits);
        (reply, installation)
    });
    if let Err(problem) = shared.judge.answer(&operation, reply.status, reply.body.as_ref()) {
        shared.violated(Side::Answer, &operation, problem);
    }
    (after(reply, fault), installation)
}

fn replace(reply: &mut Reply, members: &Value) {
    let (Some(body), Some(members)) = (&mut reply.body, members.as_object()) else { return };
    for (name, value) in members {
        body[name] = value.clone();
    }
}

fn made_up(status: u16) -> Reply {
    let message = match status {
        401 => "Bad credentials",
        404 => "Not Found",
        429 => "API rate limit exceeded",
        502 => "Server Error",
        503 => "No server is currently available to service your request. Sorry about that.",
        _ => "Server Error",
    };
    Reply::error(status, message)
}

/// Query and body; a body that is no JSON is refused as GitHub does it.
fn read(shared: &Shared, operation: &str, head: &Parts, body: &Bytes) -> Result<(Vec<(String, String)>, Value), Reply> {
    let fields = head.uri.query().unwrap_or_default().split('&').filter_map(|field| field.split_once('='));
    let query: Vec<_> = fields.map(|(name, value)| (decode(name, true), decode(value, true))).collect();
    let json = if body.is_empty() {
        None
    } else {
        let read = serde_json::from_slice::<Value>(body);
        Some(read.map_err(|_| Reply::error(400, "Problems parsing JSON"))?)
    };
    if let Err(problem) = shared.judge.request(operation, &query, json.as_ref()) {
        shared.violated(Side::Request, operation, problem);
    }
    Ok((query, json.unwrap_or_else(|| json!({}))))
}

/// Who calls, and whether he may.
fn caller(shared: &Shared, api: &Api, head: &Parts, route: &Route) -> Result<Caller, Reply> {
    let bad = || Reply::error(401, "Bad credentials");
    let value = head.headers.get("authorization").and_then(|value| value.to_str().ok());
    let value = value.ok_or_else(|| Reply::error(401, "Requires authentication"))?;
    let (scheme, secret) = value.split_once(' ').ok_or_else(bad)?;
    if !scheme.eq_ignore_ascii_case("bearer") && !scheme.eq_ignore_ascii_case("token") {
        return Err(bad());
    }
    if route.needs == Needs::App {
        let since = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let now = shared.check_jwt_times.then(since);
        return check_jwt(shared.key, secret, now).map(|()| Caller::App).map_err(|message| Reply::error(401, message));
    }
    let token = api.tokens.get(secret).ok_or_else(bad)?;
    if shared.clock.elapsed() >= token.expires {
        return Err(bad());
    }
    let allowed = match route.needs {
        Needs::App | Needs::Any => true,
        Needs::Token(permission, level) => token.may(permission, level),
        Needs::Runners(level) if route.path.starts_with("/orgs/") => {
            token.may("organization_self_hosted_runners", level)
        }
        Needs::Runners(level) => token.may("administration", level),
    };
    if allowed { Ok(Caller::Installation(token.clone())) } else { Err(Reply::forbidden()) }
}

type Headers = Vec<(&'static str, String)>;

/// Charges the call; the headers that tell of it, or the answer that refuses it.
fn limit(
    api: &mut Api,
    world: &crate::world::World,
    route: &Route,
    installation: Option<u64>,
) -> Result<Headers, Reply> {
    let (now, options) = (world.now(), &world.options);
    let spent_status = options.spent_status;
    let bucket = if route.registers {
        &mut api.registration
    } else {
        let fresh = || Bucket::new("core", options.primary_limit, None);
        api.core.entry(installation.unwrap_or_default()).or_insert_with(fresh)
    };
    // Asking for the limits is free.
    let taken = if route.path == "/rate_limit" { Ok(()) } else { bucket.take(now) };
    let headers = vec![
        ("x-ratelimit-limit", bucket.limit.to_string()),
        ("x-ratelimit-remaining", bucket.remaining().to_string()),
        ("x-ratelimit-reset", world.clock.unix(bucket.reset()).to_string()),
        ("x-ratelimit-used", bucket.used.to_string()),
        ("x-ratelimit-resource", bucket.resource.to_owned()),
    ];
    let refused = match taken {
        Ok(()) => return Ok(headers),
        Err(Spent::Primary) => {
            let id = installation.unwrap_or_default();
            Reply::error(spent_status, &format!("API rate limit exceeded for installation ID {id}."))
        }
        Err(Spent::Secondary(wait)) => Reply::secondary(spent_status, Some(wait.as_secs_f64().ceil() as u64)),
    };
    Err(headers.into_iter().fold(refused, |reply, (name, value)| reply.with(name, value)))
}

fn rendered(reply: Reply, fault: Option<&Fault>, conn: &Conn) -> Response<Body> {
    let text = match (fault, &reply.body) {
        (Some(Fault::BodyAfter(text)), _) => text.clone(),
        (_, Some(body)) => body.to_string(),
        (_, None) => String::new(),
    };
    let mark = if fault == Some(&Fault::ByteOrderMark) { "\u{feff}" } else { "" };
    let text = Bytes::from(format!("{mark}{text}"));
    let mut response = full(reply.status, JSON, text.clone());
    for (name, value) in reply.headers {
        if let Ok(value) = HeaderValue::from_str(&value) {
            response.headers_mut().insert(HeaderName::from_static(name), value);
        }
    }
    let id = HeaderValue::from_static("0000:MAYFLY");
    response.headers_mut().insert(HeaderName::from_static("x-github-request-id"), id);
    if fault == Some(&Fault::HalfBody) { half(response, &text, conn) } else { response }
}
