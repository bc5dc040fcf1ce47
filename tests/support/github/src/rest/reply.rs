//! Answers of the REST API.

use serde_json::{Value, json};

/// An answer in the making.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) body: Option<Value>,
    pub(crate) headers: Vec<(&'static str, String)>,
}

const DOCUMENTATION: &str = "https://docs.github.com/rest";

impl Reply {
    pub(crate) fn json(status: u16, body: Value) -> Self {
        Self { status, body: Some(body), headers: Vec::new() }
    }

    pub(crate) fn empty(status: u16) -> Self {
        Self { status, body: None, headers: Vec::new() }
    }

    pub(crate) fn error(status: u16, message: &str) -> Self {
        Self::json(
            status,
            json!({ "message": message, "documentation_url": DOCUMENTATION, "status": status.to_string() }),
        )
    }

    pub(crate) fn not_found() -> Self {
        Self::error(404, "Not Found")
    }

    pub(crate) fn forbidden() -> Self {
        Self::error(403, "Resource not accessible by integration")
    }

    /// `validation-error-simple`: its errors are plain texts.
    pub(crate) fn invalid(message: &str) -> Self {
        Self::json(422, json!({ "message": message, "documentation_url": DOCUMENTATION, "errors": [message] }))
    }

    /// Over the secondary rate limit.
    pub(crate) fn secondary(status: u16, retry_after: Option<u64>) -> Self {
        let message = "You have exceeded a secondary rate limit. Please wait a few minutes before you try again. \
                       If you reach out to GitHub Support for help, please include the request ID 0000:MAYFLY.";
        let reply = Self::error(status, message);
        match retry_after {
            Some(seconds) => reply.with("retry-after", seconds.to_string()),
            None => reply,
        }
    }

    pub(crate) fn with(mut self, name: &'static str, value: String) -> Self {
        self.headers.push((name, value));
        self
    }
}

/// So that `?` serves in what an operation does.
pub(super) fn either(result: Result<Reply, Reply>) -> Reply {
    result.unwrap_or_else(|error| error)
}
