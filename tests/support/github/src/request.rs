//! The requests that the double has seen.

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};

use crate::clock::Time;

/// One request.
#[derive(Clone, Debug)]
pub struct GithubRequest {
    /// When it came, by the double's clock.
    pub at: Time,
    /// The operation, such as `GET /repos/{owner}/{repo}`; empty for one that is not served.
    pub operation: String,
    /// The HTTP method.
    pub method: String,
    /// Path and query as sent.
    pub path: String,
    /// The body.
    pub body: Bytes,
    /// `User-Agent`.
    pub user_agent: Option<String>,
    /// `Accept`.
    pub accept: Option<String>,
    /// `X-GitHub-Api-Version`.
    pub api_version: Option<String>,
    /// The installation of the token that it came with.
    pub installation: Option<u64>,
    /// The number of the connection, from 1.
    pub connection: u64,
    /// The status answered; `None` if it was not answered (yet).
    pub status: Option<u16>,
    /// What befell it.
    pub fault: Option<String>,
    /// How long the double took over it, waits included.
    pub took: Duration,
}

impl GithubRequest {
    /// The body as JSON; `null` if it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    pub(crate) fn summary(&self) -> Value {
        json!({
            "at_ms": self.at.as_secs_f64() * 1000.0,
            "operation": self.operation,
            "method": self.method,
            "path": self.path,
            "body": String::from_utf8_lossy(&self.body),
            "api_version": self.api_version,
            "installation": self.installation,
            "connection": self.connection,
            "status": self.status,
            "fault": self.fault,
        })
    }
}
