//! One request to the proxy and its answer.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::{DATE, HOST, HeaderName, HeaderValue};
use hyper::{Method, Request, Response};

use super::call::Call;
use super::error::{REQUEST_ID, Rendered, empty_success};
use super::lifecycle::termination;
use super::rule::Fault;
use super::upstream::Upstream;
use super::{AwsRequest, Shared};
use crate::dates::skewed_date;
use crate::record::lock;
use crate::rules::Fate;
use crate::serve::{Body, Conn, full, half};

/// Records the call, lets faults befall it, and answers or passes it on.
pub(crate) async fn answer(
    shared: Arc<Shared>,
    upstream: Upstream,
    request: Request<Incoming>,
    conn: Conn,
) -> Response<Body> {
    let at = shared.started.elapsed();
    let (head, incoming) = request.into_parts();
    if head.method == Method::CONNECT {
        return full(405, "text/plain", "no tunnels here\n");
    }
    let Ok(body) = incoming.collect().await else {
        return full(400, "text/plain", "the request broke off\n");
    };
    let body = body.to_bytes();
    let call = Call::of(&head.headers, head.uri.query(), &body);
    if let Some(witness) = shared.witness.get() {
        witness(&call);
    }
    let (fate, decided, latency, skew, key_matched) = {
        let mut state = lock(&shared.state);
        let mut fate = state.rules.fate(Instant::now(), |matching| matching.fits(&call, &body));
        if fate.fault.is_none() {
            let canned = state.canned.fate(Instant::now(), |matching| matching.fits(&call, &body));
            fate.fault = canned.fault;
            fate.delay += canned.delay;
        }
        // A call that does not arrive decides nothing; one whose answer is lost does.
        let arrives = matches!(fate.fault, None | Some(Fault::HalfBody | Fault::LoseAnswer));
        let decided = if arrives { state.lifecycle.decide(&call, &body) } else { None };
        let expected = state.expected_key.as_ref();
        let key_matched = expected.map(|key| *key == call.access_key);
        (fate, decided, state.latency, state.clock_skew, key_matched)
    };
    let host = head.headers.get(HOST).and_then(|host| host.to_str().ok());
    let place = shared.log.push(AwsRequest {
        at,
        call: call.clone(),
        method: head.method.to_string(),
        target: head.uri.to_string(),
        proxy_form: head.uri.authority().is_some(),
        host: host.unwrap_or_default().to_owned(),
        body: body.clone(),
        connection: conn.id,
        key_matched,
        status: None,
        fault: fate.fault.clone(),
    });
    let Fate { delay, fault } = fate;
    let wait = delay + latency;
    if !wait.is_zero() {
        tokio::time::sleep(wait).await;
    }
    let (decided, ended) = decided.map_or((None, None), |(rendered, ended)| (Some(rendered), ended));
    if let Some(instance) = ended {
        let (head, body) = termination(&head, &instance);
        upstream.pass(&head, body).await;
    }
    let mut response = match &fault {
        Some(Fault::Hang) => std::future::pending().await,
        Some(Fault::Reset) => return conn.reset().await,
        Some(fault @ (Fault::HalfBody | Fault::LoseAnswer)) => {
            let (response, whole) = upstream.pass(&head, body).await;
            if *fault == Fault::LoseAnswer {
                return conn.reset().await;
            }
            half(response, &whole, &conn)
        }
        Some(fault) => made_up(fault, &call, &body),
        None => match decided {
            Some(rendered) => dressed(rendered),
            None => upstream.pass(&head, body).await.0,
        },
    };
    if let Some(date) = skewed_date(skew) {
        response.headers_mut().insert(DATE, date);
    }
    let status = response.status().as_u16();
    shared.log.update(place, |entry| entry.status = Some(status));
    response
}

/// An answer that no service has given.
fn made_up(fault: &Fault, call: &Call, body: &[u8]) -> Response<Body> {
    let rendered: Rendered = match fault {
        Fault::Error(error) => error.render(call, body),
        Fault::Html(status) => {
            let page = format!("<html><body><h1>{status}</h1></body></html>\n");
            return full(*status, "text/html", page);
        }
        Fault::Answer { status, content_type, body } => return full(*status, content_type, body.clone()),
        _ => empty_success(call),
    };
    dressed(rendered)
}

fn dressed((status, content_type, text): Rendered) -> Response<Body> {
    let mut response = full(status, content_type, Bytes::from(text));
    // SDKs take the request id of JSON services from here.
    response.headers_mut().insert(HeaderName::from_static("x-amzn-requestid"), HeaderValue::from_static(REQUEST_ID));
    response
}
