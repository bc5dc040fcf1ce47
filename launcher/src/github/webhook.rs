//! Webhooks: the signature, and what a `workflow_job` message says. Everything in a body is a stranger's until the signature holds.

use mayfly_core::launcher::{JobId, JobSignal, JobStatus, RunId};
use ring::hmac;
use serde_json::Value;
use thiserror::Error;

use crate::clock;

/// Why a body is not taken.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum WebhookError {
    /// No signature of the form `sha256=` and 64 hexadecimal digits.
    #[error("no signature sha256=...")]
    NoSignature,
    /// The signature is not the secret's.
    #[error("the signature is not the secret's")]
    Forged,
    /// The body is no JSON.
    #[error("the body is no JSON")]
    NotJson,
}

/// Checks `X-Hub-Signature-256` against the raw body, in constant time.
///
/// # Errors
/// It is missing, malformed or another's.
pub fn check(secret: &hmac::Key, header: Option<&[u8]>, body: &[u8]) -> Result<(), WebhookError> {
    let digits = header.and_then(|header| header.strip_prefix(b"sha256=")).ok_or(WebhookError::NoSignature)?;
    let mut signature = [0; 32];
    if digits.len() != 2 * signature.len() {
        return Err(WebhookError::NoSignature);
    }
    for (byte, pair) in signature.iter_mut().zip(digits.chunks(2)) {
        let text = std::str::from_utf8(pair).map_err(|_| WebhookError::NoSignature)?;
        // GitHub writes lower case; a sign or a space is no digit.
        if !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(WebhookError::NoSignature);
        }
        *byte = u8::from_str_radix(text, 16).map_err(|_| WebhookError::NoSignature)?;
    }
    hmac::verify(secret, body, &signature).map_err(|_| WebhookError::Forged)
}

/// What a `workflow_job` body says; `None` for one that says nothing of a job (`workflow_job: null` came for days once, and actions
/// that are new are nobody's business).
///
/// # Errors
/// It is no JSON.
pub fn parse(body: &[u8]) -> Result<Option<JobSignal>, WebhookError> {
    let value: Value = serde_json::from_slice(body).map_err(|_| WebhookError::NotJson)?;
    let Some(repository) = value["repository"]["full_name"].as_str() else { return Ok(None) };
    let mut signal = job_signal(&value["workflow_job"], repository, value["repository"]["private"].as_bool());
    // The action says what has happened; the job inside may already be further.
    if let Some(signal) = &mut signal {
        match value["action"].as_str().and_then(status) {
            Some(status) => signal.status = status,
            None => return Ok(None),
        }
    }
    Ok(signal)
}

/// A job as the webhook and the REST API show it.
#[must_use]
pub fn job_signal(job: &Value, repository: &str, private: Option<bool>) -> Option<JobSignal> {
    if !is_repository(repository) {
        return None;
    }
    let labels =
        job["labels"].as_array()?.iter().map(|label| label.as_str().map(str::to_owned)).collect::<Option<_>>()?;
    let owned = |key: &str| job[key].as_str().unwrap_or_default().to_owned();
    Some(JobSignal {
        job: JobId(job["id"].as_u64()?),
        run: RunId(job["run_id"].as_u64()?),
        repository: repository.to_owned(),
        private,
        name: owned("name"),
        labels,
        status: status(job["status"].as_str()?)?,
        runner: job["runner_name"].as_str().filter(|name| !name.is_empty()).map(str::to_owned),
        created_at: job["created_at"].as_str().and_then(clock::parse).unwrap_or_else(clock::now),
        head_sha: owned("head_sha"),
    })
}

/// `owner/name` as GitHub allows it: it becomes part of addresses.
#[must_use]
pub fn is_repository(text: &str) -> bool {
    let part = |part: &str| {
        !part.is_empty()
            && part != "."
            && part != ".."
            && part.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
    };
    text.split_once('/').is_some_and(|(owner, name)| part(owner) && part(name))
}

/// GitHub's word for where a job is.
#[must_use]
pub fn status(word: &str) -> Option<JobStatus> {
    Some(match word {
        "queued" => JobStatus::Queued,
        "in_progress" => JobStatus::InProgress,
        "completed" => JobStatus::Completed,
        "waiting" | "pending" | "requested" => JobStatus::Waiting,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIGNATURE: &[u8] = b"sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";

    #[test]
    fn githubs_published_vector_holds_and_nothing_near_it() {
        let secret = hmac::Key::new(hmac::HMAC_SHA256, b"It's a Secret to Everybody");
        let body = b"Hello, World!";
        assert_eq!(check(&secret, Some(SIGNATURE), body), Ok(()));
        assert_eq!(check(&secret, Some(SIGNATURE), b"Hello, World?"), Err(WebhookError::Forged));
        let other = hmac::Key::new(hmac::HMAC_SHA256, b"another");
        assert_eq!(check(&other, Some(SIGNATURE), body), Err(WebhookError::Forged), "anybody can launch instances");
        let mut short = SIGNATURE.to_vec();
        short.pop();
        let upper = SIGNATURE.to_ascii_uppercase();
        let signed: Vec<u8> = [b"sha256=+5".as_slice(), SIGNATURE.get(9..).unwrap_or_default()].concat();
        for bad in [&short[..], &upper[..], &signed, b"", b"sha256=", b"sha1=757107ea0eb2509fc211221cce984b8a37570b6d"]
        {
            assert_eq!(
                check(&secret, Some(bad), body),
                Err(WebhookError::NoSignature),
                "{}",
                String::from_utf8_lossy(bad)
            );
        }
        assert_eq!(check(&secret, None, body), Err(WebhookError::NoSignature));
    }

    #[test]
    fn what_says_nothing_of_a_job_is_nothing() {
        for body in [
            r#"{"action":"queued","workflow_job":null,"repository":{"full_name":"a/b"}}"#,
            r#"{"zen":"Keep it logically awesome."}"#,
            r#"{"action":"invented","workflow_job":{"id":1,"run_id":2,"labels":[],"status":"queued"},"repository":{"full_name":"a/b"}}"#,
            r#"{"action":"queued","workflow_job":{"id":"1"},"repository":{"full_name":"a/b"}}"#,
            "[]",
            "null",
        ] {
            assert_eq!(parse(body.as_bytes()), Ok(None), "{body}");
        }
        assert_eq!(parse(b"{"), Err(WebhookError::NotJson));
    }
}
