//! One call: headers, deadline, bounded answer.

use std::time::Duration;

use mayfly_core::launcher::Moment;
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::{Method, StatusCode};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;

use super::error::GithubError;
use crate::clock;

/// What one attempt may take. GitHub itself gives up after 10 seconds.
const ATTEMPT: Duration = Duration::from_secs(15);

/// The longest answer that is read: a hundred jobs with all their steps are some 2 MiB.
const LONGEST: usize = 8 << 20;

/// The version of the API that this code was written for; supported until 2028.
const VERSION: &str = "2022-11-28";

/// What came back.
pub(super) struct Answer {
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn json(&self, what: &str) -> Result<Value, GithubError> {
        serde_json::from_slice(&self.body)
            .map_err(|error| GithubError::unclear(what, format!("the answer is no JSON that is complete: {error}")))
    }

    pub(super) fn number(&self, name: &str) -> Option<u64> {
        self.headers.get(name)?.to_str().ok()?.parse().ok()
    }

    /// The address of the next page, by the header `Link`.
    pub(super) fn next(&self) -> Option<String> {
        let link = self.headers.get("link")?.to_str().ok()?;
        let next = link.split(',').find(|part| part.contains("rel=\"next\""))?;
        let (_, rest) = next.split_once('<')?;
        Some(rest.split_once('>')?.0.to_owned())
    }
}

/// The client; one TLS stack, the system's certificates, proxies by the usual variables.
pub(super) fn client() -> Result<reqwest::Client, reqwest::Error> {
    reqwest::Client::builder()
        .user_agent(concat!("mayfly-launcher/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(Duration::from_secs(5))
        .timeout(ATTEMPT)
        .redirect(reqwest::redirect::Policy::none())
        .build()
}

pub(super) async fn call(
    client: &reqwest::Client,
    what: &str,
    method: Method,
    url: &str,
    token: &SecretString,
    body: Option<&Value>,
) -> Result<Answer, GithubError> {
    let mut authorization = HeaderValue::from_str(&format!("Bearer {}", token.expose_secret()))
        .map_err(|_| GithubError::permanent(what, "the token has characters that no header has"))?;
    authorization.set_sensitive(true);
    let mut request = client
        .request(method, url)
        .header(ACCEPT, "application/vnd.github+json")
        .header("X-GitHub-Api-Version", VERSION)
        .header(AUTHORIZATION, authorization);
    if let Some(body) = body {
        request = request.json(body);
    }
    let unclear = |error: reqwest::Error| GithubError::unclear(what, reason(&error.without_url()));
    let mut answer = request.send().await.map_err(unclear)?;
    let (status, headers) = (answer.status(), answer.headers().clone());
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(unclear)? {
        if body.len() + chunk.len() > LONGEST {
            return Err(GithubError::unclear(what, format!("the answer is longer than {LONGEST} bytes")));
        }
        body.extend_from_slice(&chunk);
    }
    if status.is_success() || status == StatusCode::NOT_MODIFIED {
        Ok(Answer { headers, body })
    } else {
        Err(GithubError::of(what, status, &headers, &body, Moment(clock::now().0)))
    }
}

/// An error with what is behind it, in one line.
fn reason(error: &dyn std::error::Error) -> String {
    let mut reason = error.to_string();
    let mut inner = error.source();
    while let Some(error) = inner {
        reason = format!("{reason}: {error}");
        inner = error.source();
    }
    reason
}
