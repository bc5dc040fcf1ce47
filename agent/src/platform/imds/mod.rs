//! The instance metadata service (IMDS): a client that never gives up early, never lies and never blocks for long.
//!
//! Version 2 only: every request but the one for the session token carries one. What the client holds to:
//!
//! - "absent" (404) and "no answer" are different things: the latter is an error, or [`Poll::Unknown`];
//! - one total time bounds everything a call does, the session token's request and pauses included;
//! - refused connections, time-outs, broken answers, 401, 429 and 5xx are repeated; all of them occur in the first
//!   seconds of an instance, and the link drops packets when a job floods it (1024 packets a second);
//! - proxy variables never apply, redirects are not followed, and there are at most [`CONCURRENT`] requests at once.
//!
//! Paths are relative to `/latest/`, such as `meta-data/instance-id`.

mod error;
mod identity;
mod settings;
mod token;

use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{DATE, HeaderValue};
use reqwest::{Client, RequestBuilder, Response, redirect};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout};

use error::Setback;
pub use error::{AttemptError, ImdsError};
pub use identity::{Details, DocumentError, Identity, InstanceId, LifeCycle, NotAnInstanceId};
pub use settings::{IPV4_ENDPOINT, IPV6_ENDPOINT, ImdsSettings, LONGEST_TOKEN};
use token::{Session, Token};

use super::clock::Clock;
use mayfly_core::config::template::is_tag_key;
use mayfly_core::notices::Reading;

/// How many requests of a client are under way at most: one for each of the four sources of notices, so that one that
/// hangs does not hold up another. The service limits connections and packets per instance.
pub const CONCURRENT: usize = 4;

const TOKEN_PATH: &str = "api/token";
const TOKEN: &str = "x-aws-ec2-metadata-token";
const TOKEN_TTL: &str = "x-aws-ec2-metadata-token-ttl-seconds";

/// What a quick look found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Poll {
    /// There is something.
    Present(String),
    /// There is nothing, and the service said so (404).
    Absent,
    /// The service did not say. Never to be taken for [`Poll::Absent`].
    Unknown(ImdsError),
}

impl From<Poll> for Reading {
    fn from(poll: Poll) -> Self {
        match poll {
            Poll::Present(body) => Self::Present(body),
            Poll::Absent => Self::Absent,
            Poll::Unknown(_) => Self::Unknown,
        }
    }
}

/// A client of the metadata service. Clones share the connection, the session token and the bound on requests.
#[derive(Clone, Debug)]
pub struct ImdsClient {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    settings: ImdsSettings,
    base: String,
    http: Client,
    session: Session,
    slots: Semaphore,
    clock: Clock,
}

/// An answer of the service.
struct Answer {
    status: u16,
    /// The life that a session token has, in seconds, if the answer tells.
    granted: Option<u64>,
    /// Kept apart from the rest: the status counts even if the body breaks off.
    body: Result<Vec<u8>, Setback>,
}

/// What a call has done so far, for the report if its time runs out.
struct Effort {
    begun: Instant,
    attempts: u32,
    last: Option<AttemptError>,
    /// Whether a refused session token was replaced without a pause: once a call, so that a service that refuses all
    /// of them is not stormed.
    renewed: bool,
}

impl Effort {
    fn new() -> Self {
        Self { begun: Instant::now(), attempts: 0, last: None, renewed: false }
    }

    fn exhausted(self, request: String) -> ImdsError {
        let last = self.last.unwrap_or(AttemptError::Unfinished);
        ImdsError::Unavailable { request, last, attempts: self.attempts, elapsed: self.begun.elapsed() }
    }
}

impl ImdsClient {
    /// Makes a client; nothing is asked yet.
    ///
    /// # Errors
    /// [`ImdsError::BadEndpoint`] and [`ImdsError::NoClient`].
    pub fn new(settings: ImdsSettings) -> Result<Self, ImdsError> {
        let base = settings.base()?;
        let http = crate::base::http::client()
            .no_proxy()
            .redirect(redirect::Policy::none())
            .retry(reqwest::retry::never())
            // Bodies come as they are, whatever features another crate of the program turns on.
            .no_gzip()
            .no_brotli()
            .no_zstd()
            .no_deflate()
            .http1_only()
            .pool_max_idle_per_host(1)
            .timeout(settings.attempt_timeout)
            .user_agent(concat!("mayfly/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| ImdsError::NoClient(error.to_string()))?;
        let (session, slots, clock) = (Session::default(), Semaphore::new(CONCURRENT), Clock::default());
        Ok(Self { inner: Arc::new(Inner { settings, base, http, session, slots, clock }) })
    }

    /// Makes a client for the endpoint that the environment names: see [`ImdsSettings::from_environment`].
    ///
    /// # Errors
    /// [`ImdsError::BadEndpoint`] and [`ImdsError::NoClient`].
    pub fn from_environment() -> Result<Self, ImdsError> {
        Self::new(ImdsSettings::from_environment()?)
    }

    /// The service's clock minus this machine's in whole seconds, by the last answer; `None` before the first one.
    #[must_use]
    pub fn clock_difference(&self) -> Option<i64> {
        self.inner.clock.difference()
    }

    /// The value at a path, whatever its bytes; `None` if there is none (404). Repeats what is worth repeating for as
    /// long as the budget lasts.
    ///
    /// # Errors
    /// [`ImdsError::Unavailable`] when the budget is spent; [`ImdsError::Forbidden`], [`ImdsError::Status`] and
    /// [`ImdsError::TooLarge`] at once.
    pub async fn get(&self, path: &str, budget: Duration) -> Result<Option<Vec<u8>>, ImdsError> {
        let mut effort = Effort::new();
        let in_time = timeout(budget, self.persist(path, &mut effort)).await;
        in_time.unwrap_or_else(|_| Err(effort.exhausted(self.asking(path))))
    }

    /// The same as text, without white space around it. Bytes that are not UTF-8 are an error and never replaced.
    ///
    /// # Errors
    /// Those of [`ImdsClient::get`], and [`ImdsError::NotText`].
    pub async fn get_text(&self, path: &str, budget: Duration) -> Result<Option<String>, ImdsError> {
        self.get(path, budget).await?.map(|bytes| self.text(path, bytes)).transpose()
    }

    /// The value of an instance tag; `None` if the instance has no such tag or was launched without
    /// `InstanceMetadataTags=enabled`.
    ///
    /// # Errors
    /// Those of [`ImdsClient::get_text`], and [`ImdsError::BadTagKey`] without asking.
    pub async fn tag(&self, key: &str, budget: Duration) -> Result<Option<String>, ImdsError> {
        if !is_tag_key(key) {
            return Err(ImdsError::BadTagKey(key.to_owned()));
        }
        self.get_text(&format!("meta-data/tags/instance/{key}"), budget).await
    }

    /// One quick look, for those who will look again soon: no repetition but for a refused session token, and all of
    /// it within [`ImdsSettings::attempt_timeout`].
    pub async fn poll(&self, path: &str) -> Poll {
        let mut effort = Effort::new();
        match timeout(self.inner.settings.attempt_timeout, self.ask(path, &mut effort)).await {
            Ok(Ok(Some(bytes))) => self.text(path, bytes).map_or_else(Poll::Unknown, Poll::Present),
            Ok(Ok(None)) => Poll::Absent,
            Ok(Err(Setback::Final(error))) => Poll::Unknown(error),
            Ok(Err(Setback::Again(why))) => {
                effort.last = Some(why);
                Poll::Unknown(effort.exhausted(self.asking(path)))
            }
            Err(_) => Poll::Unknown(effort.exhausted(self.asking(path))),
        }
    }

    async fn persist(&self, path: &str, effort: &mut Effort) -> Result<Option<Vec<u8>>, ImdsError> {
        let mut failures = 0;
        loop {
            effort.last = match self.ask(path, effort).await {
                Ok(answer) => return Ok(answer),
                Err(Setback::Final(error)) => return Err(error),
                Err(Setback::Again(why)) => Some(why),
            };
            failures += 1;
            sleep(self.inner.settings.pause(failures)).await;
        }
    }

    /// One attempt, or two if the first is the call's first to show that the session token has ended.
    async fn ask(&self, path: &str, effort: &mut Effort) -> Result<Option<Vec<u8>>, Setback> {
        effort.attempts += 1;
        match self.attempt(path).await {
            Err(Setback::Again(why @ AttemptError::StaleToken { .. })) if !effort.renewed => effort.last = Some(why),
            other => return other,
        }
        effort.renewed = true;
        effort.attempts += 1;
        self.attempt(path).await
    }

    async fn attempt(&self, path: &str) -> Result<Option<Vec<u8>>, Setback> {
        // The semaphore is never closed.
        let _slot = self.inner.slots.acquire().await.ok();
        let token: Token = self.inner.session.token(|| self.fetch_token()).await?;
        let request = self.asking(path);
        let asking = self.inner.http.get(self.url(path)).header(TOKEN, token.header());
        let answer = self.exchange(&request, asking).await?;
        match answer.status {
            200 => answer.body.map(Some),
            404 => Ok(None),
            401 => {
                self.inner.session.forget(&token).await;
                Err(Setback::of_status(&request, 401))
            }
            status => Err(Setback::of_status(&request, status)),
        }
    }

    async fn fetch_token(&self) -> Result<(HeaderValue, Duration), Setback> {
        let request = format!("PUT {}", self.url(TOKEN_PATH));
        let wanted = self.inner.settings.token_seconds();
        let asking = self.inner.http.put(self.url(TOKEN_PATH)).header(TOKEN_TTL, wanted);
        let answer = self.exchange(&request, asking).await?;
        match answer.status {
            200 => {}
            // There is no token that could be stale: this is one of the hiccups of an instance's first seconds.
            401 => return Err(Setback::Again(AttemptError::Status { request, status: 401 })),
            status => return Err(Setback::of_status(&request, status)),
        }
        let header = token::header_of(&answer.body?).ok_or(Setback::Again(AttemptError::NoToken { request }))?;
        Ok((header, Duration::from_secs(answer.granted.unwrap_or(wanted).min(wanted))))
    }

    /// Sends a request and reads the answer to its end, whatever its status, so that the connection can be used again.
    async fn exchange(&self, request: &str, asking: RequestBuilder) -> Result<Answer, Setback> {
        let response = asking.send().await.map_err(|error| Setback::of_transport(request, error))?;
        let status = response.status().as_u16();
        if let Some(date) = response.headers().get(DATE).and_then(|value| value.to_str().ok()) {
            self.inner.clock.note(date);
        }
        let granted = response.headers().get(TOKEN_TTL).and_then(|value| value.to_str().ok()?.trim().parse().ok());
        Ok(Answer { status, granted, body: self.body(request, response).await })
    }

    async fn body(&self, request: &str, mut response: Response) -> Result<Vec<u8>, Setback> {
        let limit = self.inner.settings.max_body;
        let too_large = || Setback::Final(ImdsError::TooLarge { request: request.to_owned(), limit });
        if response.content_length().is_some_and(|length| length > limit as u64) {
            return Err(too_large());
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| Setback::of_transport(request, error))? {
            if body.len() + chunk.len() > limit {
                return Err(too_large());
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    fn text(&self, path: &str, bytes: Vec<u8>) -> Result<String, ImdsError> {
        let length = bytes.len();
        let text = String::from_utf8(bytes).map_err(|_| ImdsError::NotText { request: self.asking(path), length })?;
        Ok(text.trim().to_owned())
    }

    fn url(&self, path: &str) -> String {
        format!("{}/latest/{path}", self.inner.base)
    }

    fn asking(&self, path: &str) -> String {
        format!("GET {}", self.url(path))
    }
}
