//! The run's figures for Prometheus, over HTTP. Any job on the machine can read them, so nothing in here is secret.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::CONTENT_TYPE;
use hyper::service::service_fn;
use hyper::{Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{sleep, timeout};
use tracing::warn;

use super::status::Status;
use super::{MAX_CONNECTIONS, Query, Reply, Request, TIMEOUT};

/// What Prometheus's text format calls itself.
const FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Answers `GET /metrics` as long as the run lasts. A run goes on without.
pub(super) async fn serve(address: SocketAddr, queries: mpsc::Sender<Query>) {
    let listener = match TcpListener::bind(address).await {
        Ok(listener) => listener,
        Err(error) => {
            return warn!("nobody can read the metrics: cannot listen on {address}: {error}; see metrics.listen");
        }
    };
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(slot) = slots.clone().acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            sleep(TIMEOUT).await; // out of files: later there may be some again
            continue;
        };
        let queries = queries.clone();
        tokio::spawn(async move {
            let answer = service_fn(|request| answer(request, queries.clone()));
            let server = hyper::server::conn::http1::Builder::new()
                .keep_alive(false)
                .serve_connection(TokioIo::new(stream), answer);
            let _ = timeout(TIMEOUT, server).await;
            drop(slot);
        });
    }
}

async fn answer(
    request: hyper::Request<Incoming>,
    queries: mpsc::Sender<Query>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (status, text) = if request.uri().path() == "/metrics" {
        match Query::ask(&queries, Request::Status).await {
            Ok((Reply::Status(status), _)) => (StatusCode::OK, text(&status)),
            _ => (StatusCode::SERVICE_UNAVAILABLE, "the agent is ending\n".to_owned()),
        }
    } else {
        (StatusCode::NOT_FOUND, "the metrics are at /metrics\n".to_owned())
    };
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(FORMAT));
    Ok(response)
}

/// A status as Prometheus reads it.
fn text(status: &Status) -> String {
    let mut text = String::new();
    let mut gauge = |name: &str, help: &str, labels: &[(&str, &str)], value: u64| {
        let labels: Vec<String> = labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} gauge\n{name}{labels} {value}\n");
    };
    let about = [("version", &*status.version), ("instance", &*status.instance)];
    gauge("mayfly_info", "The agent and its instance.", &about, 1);
    gauge("mayfly_state", "The state of the run.", &[("state", &*status.state)], 1);
    gauge("mayfly_state_seconds", "How long it is in that state.", &[], status.since_seconds);
    gauge(
        "mayfly_held",
        "Whether a person keeps the machine although its run has ended.",
        &[],
        u64::from(status.state == "Held"),
    );
    if let Some(seconds) = status.lifetime_seconds {
        gauge("mayfly_lifetime_remaining_seconds", "How long until the machine ends at the latest.", &[], seconds);
    }
    gauge("mayfly_notices", "What EC2 and the Auto Scaling group announced so far.", &[], status.notices.len() as u64);
    text
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
