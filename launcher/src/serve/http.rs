//! What comes in: webhooks, and who asks whether all is well. A stranger's request costs a hash of its body and changes nothing.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use ring::hmac;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, watch};

use super::engine::{Engine, Known, Told};
use super::{figures, page as people};
use crate::clock;
use crate::config::Config;
use crate::github::webhook::{self, WebhookError};

/// The longest body. GitHub sends up to 25 MB, of events that nobody asked for; a `workflow_job` is some 20 KB.
const LONGEST_BODY: usize = 1 << 20;

/// The most connections at once.
const CONNECTIONS: usize = 512;

/// What a client may take for its headers, and for its body: GitHub itself gives up after 10 seconds.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the endpoint needs.
#[derive(Clone)]
pub struct Front {
    secrets: Arc<Vec<hmac::Key>>,
    told: mpsc::Sender<Told>,
    known: watch::Receiver<Arc<Known>>,
    config: Arc<Config>,
    /// The page's token, as a key: comparing by it takes the same time whatever is wrong.
    page: Option<hmac::Key>,
}

impl std::fmt::Debug for Front {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Front").finish_non_exhaustive()
    }
}

impl Front {
    /// An endpoint for this loop that takes what these secrets have signed, and shows the page to who has its token.
    #[must_use]
    pub fn new(engine: &Engine, config: &Config, secrets: Vec<hmac::Key>, page: Option<hmac::Key>) -> Self {
        Self {
            secrets: Arc::new(secrets),
            told: engine.sender(),
            known: engine.shared(),
            config: Arc::new(config.clone()),
            page,
        }
    }
}

/// Serves until the future is dropped.
pub async fn serve(listener: TcpListener, front: Front) {
    let app = Router::new()
        .route("/webhook", post(taken))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/", get(page))
        .with_state(front);
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!("a connection could not be accepted: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let service = TowerToHyperService::new(app.clone());
        tokio::spawn(async move {
            let served = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(PATIENCE)
                .max_buf_size(64 * 1024)
                .serve_connection(TokioIo::new(stream), service)
                .await;
            if let Err(error) = served {
                tracing::debug!("a connection ended: {error}");
            }
            drop(place);
        });
    }
}

async fn ready(State(front): State<Front>) -> Response {
    if front.known.borrow().world.listed_at.is_some() {
        (StatusCode::OK, "ready\n").into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "no list of the instances yet: nothing is launched before there is one\n")
            .into_response()
    }
}

/// For a monitoring system, with the page's token; without one only where nobody else can come from.
async fn metrics(State(front): State<Front>, headers: HeaderMap) -> Response {
    let here = front.config.listen.is_some_and(|address| address.ip().is_loopback());
    if !front.page.as_ref().map_or(here, |key| knows(key, &headers)) {
        return refused();
    }
    let known = Arc::clone(&front.known.borrow());
    let text = figures::text(&front.config, &known.world, &known.counters, clock::now());
    ([("content-type", "text/plain; version=0.0.4")], text).into_response()
}

fn refused() -> Response {
    let ask = [("www-authenticate", "Basic realm=\"mayfly-launcher\"")];
    (StatusCode::UNAUTHORIZED, ask, "the password is the one of page_token\n").into_response()
}

/// Whether a request has the token as its password.
fn knows(key: &hmac::Key, headers: &HeaderMap) -> bool {
    let given = headers.get("authorization").and_then(|value| value.to_str().ok()?.strip_prefix("Basic "));
    let given = given.and_then(|text| BASE64_STANDARD.decode(text).ok()).unwrap_or_default();
    let place = given.iter().position(|byte| *byte == b':');
    let password = place.and_then(|place| given.get(place + 1..)).unwrap_or_default();
    // Signed by itself with the token as the key: only the token gives the token's signature.
    let own = hmac::sign(key, b"page");
    hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, password), b"page", own.as_ref()).is_ok()
}

/// For people, with any name and the token as the password.
async fn page(State(front): State<Front>, headers: HeaderMap) -> Response {
    let Some(key) = &front.page else {
        return (StatusCode::NOT_FOUND, "there is no page: page_token is not set\n").into_response();
    };
    if !knows(key, &headers) {
        return refused();
    }
    let known = Arc::clone(&front.known.borrow());
    let html = people::page(&front.config, &known.world, clock::now());
    let policy = [
        ("content-type", "text/html; charset=utf-8"),
        ("content-security-policy", "default-src 'none'; style-src 'unsafe-inline'"),
        ("cache-control", "no-store"),
    ];
    (policy, html).into_response()
}

/// The signature comes first, on the raw body; the answer comes before anything is launched.
async fn taken(State(front): State<Front>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = match read(body, &parts.headers).await {
        Ok(body) => body,
        Err(status) => return status.into_response(),
    };
    let signature = parts.headers.get("x-hub-signature-256").map(HeaderValue::as_bytes);
    let checked = front.secrets.iter().map(|secret| webhook::check(secret, signature, &body));
    if !checked.into_iter().any(|checked| checked.is_ok()) {
        return (StatusCode::UNAUTHORIZED, "the signature is missing or not the secret's\n").into_response();
    }
    let header = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if header("x-github-event") != "workflow_job" {
        return (StatusCode::ACCEPTED, "not a workflow_job: nothing to do\n").into_response();
    }
    match webhook::parse(&body) {
        Ok(Some(signal)) => {
            let told = Told { guid: header("x-github-delivery").to_owned(), signal };
            match front.told.try_send(told) {
                Ok(()) => (StatusCode::ACCEPTED, "taken\n").into_response(),
                // GitHub notes a failed delivery, which the next look reads again.
                Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "too many messages wait\n").into_response(),
            }
        }
        Ok(None) => (StatusCode::ACCEPTED, "nothing about a job\n").into_response(),
        Err(WebhookError::NotJson | WebhookError::Forged | WebhookError::NoSignature) => {
            (StatusCode::BAD_REQUEST, "the body is no JSON\n").into_response()
        }
    }
}

/// Reads a bounded body. What says that it is longer is not read at all.
async fn read(body: Body, headers: &HeaderMap) -> Result<axum::body::Bytes, StatusCode> {
    let length = headers.get("content-length").and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > LONGEST_BODY as u64) {
        return Err(StatusCode::PAYLOAD_TOO_LARGE);
    }
    match tokio::time::timeout(PATIENCE, to_bytes(body, LONGEST_BODY)).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(_)) => Err(StatusCode::PAYLOAD_TOO_LARGE),
        Err(_) => Err(StatusCode::REQUEST_TIMEOUT),
    }
}
