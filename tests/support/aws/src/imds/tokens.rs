//! Session tokens: unique, with a lifetime, and forgotten on command.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

/// The longest lifetime that the service grants: six hours.
pub(crate) const LONGEST: u64 = 21_600;

/// The tokens in force.
#[derive(Debug, Default)]
pub(crate) struct Tokens {
    expiries: HashMap<String, Instant>,
    issued: u64,
}

impl Tokens {
    /// Reads the requested lifetime as strictly as the service does.
    pub(crate) fn lifetime(header: Option<&str>) -> Option<u64> {
        let seconds = header?.trim().parse().ok()?;
        (1..=LONGEST).contains(&seconds).then_some(seconds)
    }

    pub(crate) fn issue(&mut self, seconds: u64) -> String {
        self.issued += 1;
        let noise = || RandomState::new().hash_one(self.issued);
        // The shape of the real thing: 56 characters of base64.
        let token = format!("AQAEA{:016x}{:016x}{:017x}==", noise(), noise(), self.issued);
        let expiry = Instant::now() + Duration::from_secs(seconds);
        self.expiries.insert(token.clone(), expiry);
        token
    }

    /// The seconds that a token has left; `None` if it is not valid.
    pub(crate) fn left(&self, token: &str) -> Option<u64> {
        let expiry = self.expiries.get(token)?;
        let left = expiry.checked_duration_since(Instant::now())?;
        (!left.is_zero()).then_some(left.as_secs())
    }

    pub(crate) fn forget(&mut self) {
        self.expiries.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifetimes_are_bounded() {
        for (header, answer) in [
            (None, None),
            (Some("0"), None),
            (Some("1"), Some(1)),
            (Some("21600"), Some(21_600)),
            (Some("21601"), None),
            (Some("-1"), None),
            (Some("1.5"), None),
            (Some("soon"), None),
        ] {
            assert_eq!(Tokens::lifetime(header), answer, "{header:?}");
        }
    }

    #[test]
    fn tokens_are_unique_and_forgotten() {
        let mut tokens = Tokens::default();
        let (one, two) = (tokens.issue(60), tokens.issue(60));
        assert_ne!(one, two);
        assert_eq!(one.len(), 56);
        assert!(tokens.left(&one).is_some_and(|left| left >= 58));
        tokens.forget();
        assert_eq!(tokens.left(&two), None);
    }
}
