//! Who the launcher is on GitHub: an App's JWT, and the tokens of its installations.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Mutex;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use mayfly_core::launcher::Moment;
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject as _;
use secrecy::{ExposeSecret as _, SecretString};
use thiserror::Error;

/// A token is renewed so long before it ends.
const RENEWED_BEFORE: u64 = 5 * 60 * 1000;

/// Why a private key cannot be used. Nothing of the key is in it.
#[derive(Debug, Error)]
pub enum KeyError {
    /// It cannot be read.
    #[error("{path}: cannot be read: {error}")]
    Unreadable {
        /// Which file.
        path: String,
        /// Why.
        error: std::io::Error,
    },
    /// It is no private key.
    #[error("{0}: is not a private key in PEM form, as GitHub gives it to an App")]
    NotPem(String),
    /// Its kind is not RSA, or it is damaged.
    #[error("{0}: is not an RSA key of 2048 bits or more")]
    NotRsa(String),
    /// It is too short to be a secret.
    #[error("{0}: has fewer than 8 characters: anybody could guess it")]
    Short(String),
    /// Others can read it.
    #[error("{0}: others can read it: chmod 600")]
    Open(String),
}

/// An App and what it has been given.
pub(super) struct App {
    pub(super) api: String,
    id: String,
    key: RsaKeyPair,
    /// What tickets are derived from; the same in every process that has the key.
    pub(super) ticket_key: ring::hmac::Key,
    tokens: Mutex<HashMap<u64, (SecretString, Moment)>>,
    /// Owner or repository to installation.
    pub(super) installations: Mutex<HashMap<String, u64>>,
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("App").field("id", &self.id).field("api", &self.api).finish_non_exhaustive()
    }
}

/// A file with a secret, which nobody but its owner and group may read.
pub(crate) fn read_secret(path: &Path) -> Result<Vec<u8>, KeyError> {
    use std::os::unix::fs::PermissionsExt as _;
    let shown = path.display().to_string();
    let unreadable = |error| KeyError::Unreadable { path: path.display().to_string(), error };
    let metadata = std::fs::metadata(path).map_err(unreadable)?;
    if metadata.permissions().mode() & 0o007 != 0 {
        return Err(KeyError::Open(shown));
    }
    std::fs::read(path).map_err(unreadable)
}

impl App {
    pub(super) fn read(app: &crate::config::App) -> Result<Self, KeyError> {
        let path = app.private_key.display().to_string();
        let pem = read_secret(&app.private_key)?;
        let der = PrivateKeyDer::from_pem_slice(&pem).map_err(|_| KeyError::NotPem(path.clone()))?;
        let key = match &der {
            PrivateKeyDer::Pkcs1(der) => RsaKeyPair::from_der(der.secret_pkcs1_der()),
            PrivateKeyDer::Pkcs8(der) => RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()),
            _ => return Err(KeyError::NotRsa(path)),
        };
        Ok(Self {
            api: app.api.clone(),
            id: app.id.clone(),
            key: key.map_err(|_| KeyError::NotRsa(path))?,
            ticket_key: ring::hmac::Key::new(ring::hmac::HMAC_SHA256, der.secret_der()),
            tokens: Mutex::default(),
            installations: Mutex::default(),
        })
    }

    /// The App's own token, for ten minutes: from a minute ago, since clocks differ, to nine ahead.
    pub(super) fn jwt(&self, now: Moment) -> Result<SecretString, &'static str> {
        let seconds = now.0 / 1000;
        let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"RS256","typ":"JWT"}"#);
        let claims = serde_json::json!({ "iat": seconds.saturating_sub(60), "exp": seconds + 540, "iss": self.id });
        let message = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims.to_string()));
        let mut signature = vec![0; self.key.public().modulus_len()];
        self.key
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message.as_bytes(), &mut signature)
            .map_err(|_| "the App's key does not sign")?;
        Ok(format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature)).into())
    }

    /// The token of an installation, if there is one that lasts.
    pub(super) fn token(&self, installation: u64, now: Moment) -> Option<SecretString> {
        let tokens = self.tokens.lock().ok()?;
        let (token, until) = tokens.get(&installation)?;
        (now.0 + RENEWED_BEFORE < until.0).then(|| token.clone())
    }

    pub(super) fn keep_token(&self, installation: u64, token: SecretString, until: Moment) {
        if let Ok(mut tokens) = self.tokens.lock() {
            tokens.insert(installation, (token, until));
        }
    }

    /// GitHub refused this token: the next call gets a new one.
    pub(super) fn drop_token(&self, installation: u64, refused: &SecretString) {
        if let Ok(mut tokens) = self.tokens.lock() {
            let same = |(token, _): &(SecretString, Moment)| token.expose_secret() == refused.expose_secret();
            if tokens.get(&installation).is_some_and(same) {
                tokens.remove(&installation);
            }
        }
    }
}
