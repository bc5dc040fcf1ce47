//! Who calls: the App by its JWT, an installation by its token.

pub(crate) mod key;

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use crate::clock::Time;
use key::AppKey;

/// The App's id.
pub const APP_ID: u64 = 1_048_576;
/// The App's client id.
pub const CLIENT_ID: &str = "Iv23liMayflyFakeGitH";

/// How far ahead a JWT may end.
const LONGEST_JWT: u64 = 600;

/// An installation token.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub(crate) installation: u64,
    pub(crate) expires: Time,
    pub(crate) permissions: BTreeMap<String, String>,
    /// Names without the owner; `None` is all.
    pub(crate) repos: Option<Vec<String>>,
}

impl Token {
    /// Whether it may do something at a level: `write` includes `read`.
    pub(crate) fn may(&self, permission: &str, level: &str) -> bool {
        self.permissions.get(permission).is_some_and(|own| own == level || own == "write" || own == "admin")
    }
}

/// Checks a JWT; the error is GitHub's message.
pub(crate) fn check_jwt(key: &AppKey, jwt: &str, now: Option<u64>) -> Result<(), &'static str> {
    const UNREADABLE: &str = "A JSON web token could not be decoded";
    let (signed, signature) = jwt.rsplit_once('.').ok_or(UNREADABLE)?;
    let (head, claims) = signed.split_once('.').ok_or(UNREADABLE)?;
    let part = |text: &str| URL_SAFE_NO_PAD.decode(text).ok();
    let json = |text: &str| part(text).and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
    let (head, claims) = (json(head).ok_or(UNREADABLE)?, json(claims).ok_or(UNREADABLE)?);
    if head["alg"] != "RS256" {
        return Err("A JSON web token could not be decoded");
    }
    let signature = part(signature).ok_or(UNREADABLE)?;
    if !key.signed(signed.as_bytes(), &signature) {
        return Err(UNREADABLE);
    }
    let issuer = &claims["iss"];
    let known =
        issuer == CLIENT_ID || *issuer == APP_ID || issuer.as_str().and_then(|text| text.parse().ok()) == Some(APP_ID);
    if !known {
        return Err("Integration not found");
    }
    let time = |name: &str| claims[name].as_u64();
    let issued = time("iat")
        .ok_or("'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued")?;
    let ends = time("exp").ok_or("'Expiration time' claim ('exp') must be a numeric value representing the future time at which the assertion expires")?;
    let Some(now) = now else { return Ok(()) };
    if issued > now {
        return Err("'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued");
    }
    if ends <= now {
        return Err(
            "'Expiration time' claim ('exp') must be a numeric value representing the future time at which the assertion expires",
        );
    }
    if ends > now + LONGEST_JWT {
        return Err("'Expiration time' claim ('exp') is too far in the future");
    }
    Ok(())
}
