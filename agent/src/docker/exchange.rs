//! One request and its whole answer, within a limit.

use std::time::Duration;

use reqwest::{Method, Response};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::{Docker, DockerError};

/// The most that is read of an answer. A host with a thousand containers answers with less than 2 MiB.
const MAX_BODY: usize = 8 * 1024 * 1024;

/// How the daemon words its refusals.
#[derive(Deserialize)]
struct Refusal {
    message: String,
}

impl Docker {
    /// Sends a request and reads the answer to its end. Any status but a 2xx is an error.
    pub(super) async fn exchange(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        limit: Duration,
    ) -> Result<Vec<u8>, DockerError> {
        let request = format!("{method} {path}");
        let address = reqwest::Url::parse_with_params(&format!("http://docker{path}"), query)
            .map_err(|error| DockerError::NoClient(format!("{path}: {error}")))?;
        let unanswered = || DockerError::NoAnswer {
            request: request.clone(),
            socket: self.socket.clone(),
            limit,
            seen: "no complete answer",
        };
        let (status, body) = timeout(limit, async {
            let response = self.http.request(method, address).send().await;
            let response = response.map_err(|error| self.failed(&request, limit, error))?;
            Ok((response.status(), self.body(&request, limit, response).await?))
        })
        .await
        .map_err(|_| unanswered())??;
        if status.is_success() {
            return Ok(body);
        }
        let message = serde_json::from_slice(&body).map_or_else(|_| excerpt(&body), |refusal: Refusal| refusal.message);
        Err(DockerError::Status { request, status: status.as_u16(), message })
    }

    /// The answer to a GET, read as JSON.
    pub(super) async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, &str)],
        limit: Duration,
    ) -> Result<T, DockerError> {
        let body = self.exchange(Method::GET, path, query, limit).await?;
        serde_json::from_slice(&body).map_err(|error| DockerError::NotDocker {
            request: format!("GET {path}"),
            reason: format!("{error} in {:?}", excerpt(&body)),
        })
    }

    async fn body(&self, request: &str, limit: Duration, mut response: Response) -> Result<Vec<u8>, DockerError> {
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.failed(request, limit, error))? {
            if body.len() + chunk.len() > MAX_BODY {
                let reason = format!("more than {MAX_BODY} bytes, the most that is read");
                return Err(DockerError::NotDocker { request: request.to_owned(), reason });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    fn failed(&self, request: &str, limit: Duration, error: reqwest::Error) -> DockerError {
        DockerError::of_transport(request.to_owned(), self.socket.clone(), limit, error)
    }
}

/// The beginning of an answer that cannot be read otherwise.
pub(super) fn excerpt(body: &[u8]) -> String {
    String::from_utf8_lossy(body).trim().chars().take(200).collect()
}
