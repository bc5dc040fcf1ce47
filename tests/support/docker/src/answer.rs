//! One request and its answer, or what a fault makes of it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::header::{CONTENT_TYPE, HeaderValue, SERVER};
use hyper::{Request, Response, StatusCode};
use tokio::time::{Sleep, sleep};

use crate::fault::Fault;
use crate::record::{DockerRequest, lock};
use crate::world::{API, Plain, World, refusal};
use crate::{Shared, query};

type Body = UnsyncBoxBody<Bytes, io::Error>;

/// Records the request, lets a fault befall it, and answers. An error closes the connection without an answer.
pub(crate) async fn answer(shared: Arc<Shared>, request: Request<Incoming>) -> io::Result<Response<Body>> {
    let (method, path) = (request.method().as_str().to_owned(), request.uri().path().to_owned());
    let query = query::parse(request.uri().query().unwrap_or_default());
    let place = shared.log.push(DockerRequest {
        at: shared.started.elapsed(),
        method: method.clone(),
        path: path.clone(),
        query: query.clone(),
        status: None,
    });
    let fault = lock(&shared.faults).befalls(&path);
    match fault {
        Some(Fault::Hang) => std::future::pending().await,
        Some(Fault::Drop) => return Err(io::Error::other("dropped as ordered")),
        Some(Fault::Delay(delay)) => sleep(delay).await,
        _ => {}
    }
    let (status, kind, body) = match fault {
        Some(Fault::Garbage) => (200, "text/html", Bytes::from_static(b"<html>this is no Docker daemon</html>")),
        Some(Fault::Status(status)) => dressed(refusal(status, "the double was told to fail")),
        _ if path == "/_ping" => (200, "text/plain; charset=utf-8", Bytes::from_static(b"OK")),
        _ => dressed(serve(&shared, &method, &path, &query).await),
    };
    shared.log.answered(place, status);
    let body = match fault {
        Some(Fault::HalfBody) => HalfBody::of(&body).boxed_unsync(),
        _ => Full::new(body).map_err(|never| match never {}).boxed_unsync(),
    };
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert(SERVER, HeaderValue::from_static("Docker/20.10.24 (linux)"));
    Ok(response)
}

fn dressed((status, body): Plain) -> (u16, &'static str, Bytes) {
    (status, "application/json", body.map(|body| Bytes::from(body.to_string())).unwrap_or_default())
}

async fn serve(shared: &Shared, method: &str, path: &str, query: &[(String, String)]) -> Plain {
    let path = match without_version(path) {
        Ok(path) => path,
        Err(answer) => return answer,
    };
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    match (method, parts.as_slice()) {
        ("GET", ["version"]) => World::version(),
        ("GET", ["info"]) => lock(&shared.world).info(),
        ("GET", ["containers", "json"]) => lock(&shared.world).list_containers(query),
        ("GET", ["networks"]) => lock(&shared.world).list_networks(query),
        ("DELETE", ["containers", id]) => lock(&shared.world).remove_container(id, query),
        ("DELETE", ["networks", id]) => lock(&shared.world).remove_network(id),
        ("POST", ["containers", id, "wait"]) if query::value(query, "condition") == "removed" => {
            wait_until_gone(shared, id).await
        }
        _ => refusal(404, "page not found"),
    }
}

async fn wait_until_gone(shared: &Shared, id: &str) -> Plain {
    let is_there = || lock(&shared.world).has_container(id);
    if !is_there() {
        return refusal(404, &format!("No such container: {id}"));
    }
    loop {
        let changed = shared.changed.notified();
        if !is_there() {
            return (200, Some(serde_json::json!({ "StatusCode": 137 })));
        }
        changed.await;
    }
}

/// Takes `/v1.41` off; a version that is newer than the daemon is refused, as by a real one.
fn without_version(path: &str) -> Result<&str, Plain> {
    let Some((version, rest)) = path.strip_prefix("/v").and_then(|path| path.split_once('/')) else { return Ok(path) };
    let number = version.split_once('.').and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
    match number {
        None => Ok(path),
        Some(number) if number <= API => Ok(&path[path.len() - rest.len() - 1..]),
        Some(_) => {
            let newest = format!("Maximum supported API version is {}.{}", API.0, API.1);
            Err(refusal(400, &format!("client version {version} is too new. {newest}")))
        }
    }
}

/// Announces the whole length, sends the first half and fails.
struct HalfBody {
    first: Option<Bytes>,
    left: u64,
    linger: Option<Pin<Box<Sleep>>>,
}

impl HalfBody {
    fn of(whole: &Bytes) -> Self {
        Self { first: Some(whole.slice(..whole.len() / 2)), left: whole.len() as u64, linger: None }
    }
}

impl hyper::body::Body for HalfBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if let Some(first) = self.first.take() {
            self.left -= first.len() as u64;
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        // A body that fails at once would be dropped before it is written; a pending one is flushed.
        let linger = self.linger.get_or_insert_with(|| Box::pin(sleep(Duration::from_millis(20))));
        linger.as_mut().poll(context).map(|()| Some(Err(io::Error::other("cut off as ordered"))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
