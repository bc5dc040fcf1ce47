//! The run's figures for Prometheus, over HTTP. Any job on the machine can read them, so nothing in here is secret.

use std::convert::Infallible;
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

use super::{MAX_CONNECTIONS, Query, Reply, Request, TIMEOUT};
use mayfly_core::metrics::text;

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
        match Query::ask(&queries, Request::Metrics).await {
            Ok((Reply::Metrics(text), _)) => (StatusCode::OK, text),
            _ => (StatusCode::SERVICE_UNAVAILABLE, "the agent is ending\n".to_owned()),
        }
    } else {
        (StatusCode::NOT_FOUND, "the metrics are at /metrics\n".to_owned())
    };
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(text::CONTENT_TYPE));
    Ok(response)
}
