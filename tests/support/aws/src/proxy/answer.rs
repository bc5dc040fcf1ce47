//! One request to the proxy and its answer.

use std::sync::Arc;
use std::time::Instant;

use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::{DATE, HOST};
use hyper::{Method, Request, Response};

use super::call::Call;
use super::carry_out::{Asked, carry_out};
use super::error::{AwsError, empty_success};
use super::rule::Fault;
use super::service::Service;
use super::whole::Whole;
use super::{AwsRequest, Shared};
use crate::dates::skewed_date;
use crate::record::lock;
use crate::rules::Fate;
use crate::serve::{Body, Conn, full, half};

/// Records the call, lets faults befall it, and answers or passes it on.
pub(crate) async fn answer(
    shared: Arc<Shared>,
    service: Service,
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
        let repeated = shared.tokens.answered(&call, &body);
        if Fault::lets_arrive(fate.fault.as_ref()) && !state.quotas.take(&call, &body, repeated) {
            fate.fault = Some(Fault::Error(AwsError::Throttled));
        }
        if fate.fault.is_none() {
            let canned = state.canned.fate(Instant::now(), |matching| matching.fits(&call, &body));
            fate.fault = canned.fault;
            fate.delay += canned.delay;
        }
        // A call that does not arrive decides nothing; one whose answer is lost does.
        let arrives = Fault::lets_arrive(fate.fault.as_ref());
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
    let mut response = match fault {
        Some(Fault::Hang) => std::future::pending().await,
        Some(Fault::Reset) => return conn.reset().await,
        Some(fault) if !Fault::lets_arrive(Some(&fault)) => made_up(&fault, &call, &body).response(),
        fault => {
            let asked = Asked { head, call, body, fault: fault.clone(), decided };
            // A task of its own: a caller who hangs up does not undo what the service does.
            let carried = tokio::spawn(carry_out(shared.clone(), service, asked));
            let Ok(whole) = carried.await else {
                return full(500, "text/plain", "fake-aws: the double failed\n");
            };
            match fault {
                Some(Fault::LoseAnswer) => return conn.reset().await,
                Some(Fault::HalfBody) => half(whole.response(), &whole.body, &conn),
                _ => whole.response(),
            }
        }
    };
    if let Some(date) = skewed_date(skew) {
        response.headers_mut().insert(DATE, date);
    }
    let status = response.status().as_u16();
    shared.log.update(place, |entry| entry.status = Some(status));
    response
}

/// An answer that no service has given.
fn made_up(fault: &Fault, call: &Call, body: &[u8]) -> Arc<Whole> {
    match fault {
        Fault::Error(error) => Whole::of(error.render(call, body)),
        Fault::Html(status) => {
            let page = format!("<html><body><h1>{status}</h1></body></html>\n");
            Arc::new(Whole::plain(*status, "text/html", page))
        }
        Fault::Answer { status, content_type, body } => Arc::new(Whole::plain(*status, content_type, body.clone())),
        _ => Whole::of(empty_success(call)),
    }
}
