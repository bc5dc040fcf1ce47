//! What came back from GitHub, in classes.

use mayfly_core::launcher::{Moment, Problem, ProblemKind};
use reqwest::StatusCode;
use reqwest::header::HeaderMap;
use thiserror::Error;

/// A call of GitHub that failed.
#[derive(Clone, Debug, Error)]
#[error("{what}: {message}")]
pub struct GithubError {
    /// What was tried, on what.
    pub what: String,
    /// What kind of failure it is.
    pub kind: ProblemKind,
    /// What came back; never secret.
    pub message: String,
    /// The status, if there was an answer.
    pub status: Option<u16>,
    /// When GitHub wants to be asked again.
    pub retry_at: Option<Moment>,
}

impl GithubError {
    /// Nobody knows whether it was carried out.
    pub(super) fn unclear(what: &str, message: impl Into<String>) -> Self {
        Self {
            what: what.to_owned(),
            kind: ProblemKind::Unclear,
            message: message.into(),
            status: None,
            retry_at: None,
        }
    }

    /// It will fail every time.
    pub(super) fn permanent(what: &str, message: impl Into<String>) -> Self {
        Self { kind: ProblemKind::Permanent, ..Self::unclear(what, message) }
    }

    /// An answer that is no success. A rate limit comes as 403 too: it is told by its headers and words.
    pub(super) fn of(what: &str, status: StatusCode, headers: &HeaderMap, body: &[u8], now: Moment) -> Self {
        let said = said(body);
        let number = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        let spent = number("x-ratelimit-remaining") == Some(0);
        let wait = number("retry-after").map(|seconds| Moment(now.0.saturating_add(seconds.saturating_mul(1000))));
        let reset = number("x-ratelimit-reset").filter(|_| spent).map(|seconds| Moment(seconds.saturating_mul(1000)));
        let limited = spent || wait.is_some() || said.to_lowercase().contains("rate limit");
        let kind = match status.as_u16() {
            429 => ProblemKind::Throttled,
            403 if limited => ProblemKind::Throttled,
            409 => ProblemKind::Taken,
            422 if said.to_lowercase().contains("already exists") => ProblemKind::Taken,
            408 | 500..=599 => ProblemKind::Unclear,
            _ => ProblemKind::Permanent,
        };
        // GitHub asks for a minute where it names no time.
        let minute = Some(Moment(now.0.saturating_add(60_000))).filter(|_| kind == ProblemKind::Throttled);
        Self {
            what: what.to_owned(),
            kind,
            message: format!("{}: {said}", status.as_u16()),
            status: Some(status.as_u16()),
            retry_at: wait.or(reset).or(minute),
        }
    }

    /// As the decisions see it.
    #[must_use]
    pub fn problem(&self) -> Problem {
        Problem { kind: self.kind, message: self.to_string(), retry_at: self.retry_at }
    }
}

/// `message` and `errors` of an error body, bounded; else nothing: a proxy's page is of no use in a log line.
fn said(body: &[u8]) -> String {
    let Ok(value) = serde_json::from_slice::<serde_json::Value>(body) else {
        return "the answer is not GitHub's (no JSON): is there a proxy in between?".to_owned();
    };
    let message = value.get("message").and_then(|message| message.as_str()).unwrap_or("no message");
    let errors = value.get("errors").map(ToString::to_string).unwrap_or_default();
    let all = if errors.is_empty() { message.to_owned() } else { format!("{message} {errors}") };
    all.chars().filter(|c| !c.is_control()).take(300).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(status: u16, headers: &[(&'static str, &'static str)], body: &str) -> GithubError {
        let headers = headers.iter().map(|(name, value)| {
            (reqwest::header::HeaderName::from_static(name), reqwest::header::HeaderValue::from_static(value))
        });
        let status = StatusCode::from_u16(status).unwrap_or_default();
        GithubError::of("a call", status, &headers.collect(), body.as_bytes(), Moment(1_000_000))
    }

    #[test]
    fn a_rate_limit_is_not_a_denial_and_a_denial_is_no_rate_limit() {
        let secondary = of(403, &[("retry-after", "30")], r#"{"message":"You have exceeded a secondary rate limit."}"#);
        assert_eq!((secondary.kind, secondary.retry_at), (ProblemKind::Throttled, Some(Moment(1_030_000))));
        let primary = of(
            403,
            &[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "2000")],
            r#"{"message":"API rate limit exceeded"}"#,
        );
        assert_eq!((primary.kind, primary.retry_at), (ProblemKind::Throttled, Some(Moment(2_000_000))));
        let silent = of(403, &[], r#"{"message":"You have exceeded a secondary rate limit"}"#);
        assert_eq!((silent.kind, silent.retry_at), (ProblemKind::Throttled, Some(Moment(1_060_000))));
        let denied =
            of(403, &[("x-ratelimit-remaining", "4999")], r#"{"message":"Resource not accessible by integration"}"#);
        assert_eq!((denied.kind, denied.retry_at), (ProblemKind::Permanent, None), "a denial is retried for ever");
    }

    #[test]
    fn the_rest_has_its_classes() {
        assert_eq!(
            of(409, &[], r#"{"message":"Already exists - A runner with the name x already exists."}"#).kind,
            ProblemKind::Taken
        );
        assert_eq!(of(422, &[], r#"{"message":"Invalid request"}"#).kind, ProblemKind::Permanent);
        assert_eq!(of(503, &[], "<html>").kind, ProblemKind::Unclear);
        assert!(of(502, &[], "<html>secret</html>").to_string().contains("proxy"));
    }
}
