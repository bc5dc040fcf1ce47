//! The session token: in memory only, renewed before it ends, fetched by one caller for all.

use std::fmt;
use std::time::Duration;

use reqwest::header::HeaderValue;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::error::Setback;

/// How long before its end a token is renewed, at most; short-lived ones are renewed after nine tenths of their life.
const MARGIN: Duration = Duration::from_secs(120);

/// A session token.
#[derive(Clone)]
pub(super) struct Token {
    header: HeaderValue,
    number: u64,
    /// By the monotonic clock, which stands still while an instance is hibernated: the 401 that follows is the cure.
    renew_at: Instant,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("number", &self.number).finish_non_exhaustive()
    }
}

impl Token {
    /// What goes into the request's header.
    pub(super) fn header(&self) -> HeaderValue {
        self.header.clone()
    }
}

/// Reads a token as the service sends it; `None` if it is empty or does not fit into a header.
pub(super) fn header_of(body: &[u8]) -> Option<HeaderValue> {
    let mut header = HeaderValue::from_bytes(body.trim_ascii()).ok().filter(|header| !header.is_empty())?;
    header.set_sensitive(true);
    Some(header)
}

/// The one token of a client.
#[derive(Debug, Default)]
pub(super) struct Session {
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    token: Option<Token>,
    issued: u64,
}

impl Session {
    /// The token in force, or the one that `fetch` gets (with its life). Callers meanwhile wait for the same one.
    pub(super) async fn token<F>(&self, fetch: impl FnOnce() -> F) -> Result<Token, Setback>
    where
        F: Future<Output = Result<(HeaderValue, Duration), Setback>>,
    {
        let mut held = self.held.lock().await;
        if let Some(token) = held.token.as_ref().filter(|token| Instant::now() < token.renew_at) {
            return Ok(token.clone());
        }
        // Its life begins no later than when it was asked for.
        let asked = Instant::now();
        let (header, life) = fetch().await?;
        held.issued += 1;
        let renew_at = asked + life.saturating_sub(MARGIN.min(life / 10));
        let token = Token { header, number: held.issued, renew_at };
        held.token = Some(token.clone());
        Ok(token)
    }

    /// Drops a token that was refused, unless another has already taken its place.
    pub(super) async fn forget(&self, refused: &Token) {
        let mut held = self.held.lock().await;
        if held.token.as_ref().is_some_and(|token| token.number == refused.number) {
            held.token = None;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_no_token_is_not_taken_for_one_and_none_is_ever_shown() {
        for body in [&b""[..], b" \n", b"<html>\n<body>", b"a\0b"] {
            assert_eq!(header_of(body), None);
        }
        let token = Token { header: header_of(b"s3cret==\n").unwrap(), number: 1, renew_at: Instant::now() };
        assert_eq!(token.header().as_bytes(), b"s3cret==");
        assert!(!format!("{token:?} {:?}", token.header()).contains("s3cret"));
    }
}
