//! The JIT configuration: what GitHub calls the encoded blob that makes a runner join once.
//!
//! It is base64 of a JSON object `file name -> base64 of the file`. The runner would write its keys unchecked, also
//! `../../etc/x`; so Mayfly decodes it, checks every name and puts the files in place itself.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::zeroize::Zeroizing;
use serde_json::Value;
use sha2::{Digest, Sha256};
use thiserror::Error;

use super::label::Label;
use super::material::Material;

/// The largest blob that is looked at. GitHub's are about 4.4 KB.
pub const MAX_ENCODED: usize = 64 * 1024;

/// The files GitHub sends today. A listener needs all of them: without one it can only fail.
const KNOWN: [&str; 3] = [".runner", CREDENTIALS[0], CREDENTIALS[1]];

/// Those by which GitHub knows the runner.
const CREDENTIALS: [&str; 2] = [".credentials", ".credentials_rsaparams"];

/// The file with the private key. (What else is in the others is told in the runner's own logs: names and addresses.)
const KEY: &str = CREDENTIALS[1];

/// Files that change how the runner behaves, and that no JIT configuration of GitHub's carries.
const FORBIDDEN: [&str; 4] = [".env", ".path", ".service", ".setup_info"];

/// Why a blob is refused. No message contains any of the blob but file names.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum JitError {
    /// Nothing in it.
    #[error("it is empty")]
    Empty,
    /// Over [`MAX_ENCODED`].
    #[error("it is {0} bytes long; no more than {MAX_ENCODED} are accepted")]
    TooLong(usize),
    /// The outer encoding is broken.
    #[error("it is not base64 (standard alphabet)")]
    NotBase64,
    /// The decoded text is not an object of strings.
    #[error("its content is not a JSON object of strings")]
    NotJson,
    /// One file's encoding is broken.
    #[error("the content of {0:?} is not base64")]
    FileNotBase64(String),
    /// A file name that would leave the runner's directory, or is not a plain dot-name.
    #[error("the file name {0:?} is not allowed: only plain names that begin with a dot are")]
    UnsafeName(String),
    /// A file that would change how the runner behaves.
    #[error("the file {0:?} is not allowed in a JIT configuration")]
    Forbidden(String),
    /// A file that every listener needs is not in it.
    #[error("it has no {0} file")]
    Missing(&'static str),
    /// The settings cannot be read.
    #[error("its .runner file is not a JSON object")]
    SettingsNotJson,
    /// The registration is for more than one job.
    #[error("its .runner file says that the runner is not ephemeral")]
    NotEphemeral,
}

/// A decoded and checked JIT configuration. Its content is wiped from memory when it is dropped.
pub struct JitConfig {
    files: BTreeMap<String, Zeroizing<Vec<u8>>>,
    material: Material,
}

impl fmt::Debug for JitConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JitConfig").field("files", &self.names().collect::<Vec<_>>()).finish_non_exhaustive()
    }
}

impl JitConfig {
    /// Decodes and checks a blob.
    ///
    /// # Errors
    /// The first reason to refuse it.
    pub fn decode(encoded: &str) -> Result<Self, JitError> {
        if encoded.len() > MAX_ENCODED {
            return Err(JitError::TooLong(encoded.len()));
        }
        // .NET's decoder, which the runner uses, ignores white space.
        let compact = Zeroizing::new(encoded.chars().filter(|c| !c.is_ascii_whitespace()).collect::<String>());
        if compact.is_empty() {
            return Err(JitError::Empty);
        }
        let json = Zeroizing::new(STANDARD.decode(compact.as_bytes()).map_err(|_| JitError::NotBase64)?);
        let encoded_files: BTreeMap<String, Zeroizing<String>> =
            serde_json::from_slice::<BTreeMap<String, String>>(&json)
                .map_err(|_| JitError::NotJson)?
                .into_iter()
                .map(|(name, content)| (name, Zeroizing::new(content)))
                .collect();
        let (mut files, mut material) = (BTreeMap::new(), Material::default());
        material.add(compact.as_bytes());
        for (name, content) in encoded_files {
            check_name(&name)?;
            let bytes = STANDARD.decode(content.as_bytes()).map_err(|_| JitError::FileNotBase64(shown(&name)))?;
            if name == KEY {
                material.add(content.as_bytes());
                material.add(&bytes);
            }
            files.insert(name, Zeroizing::new(bytes));
        }
        if let Some(missing) = KNOWN.into_iter().find(|name| !files.contains_key(*name)) {
            return Err(JitError::Missing(missing));
        }
        check_settings(&files[".runner"])?;
        Ok(Self { files, material })
    }

    /// By which a log line is known that carries a part of it.
    #[must_use]
    pub fn material(&self) -> &Material {
        &self.material
    }

    /// The file names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str)
    }

    /// The file names that GitHub does not send today: worth a warning, no more, so that an addition upstream does not
    /// stop a whole class.
    pub fn unknown_names(&self) -> impl Iterator<Item = &str> {
        self.names().filter(|name| !KNOWN.contains(name))
    }

    /// What it is known by once it is spent: a hash of its credentials, by which GitHub knows the runner. Whatever else is
    /// changed in a blob, or written differently, it is the same registration. The key that goes into it is random and
    /// long, so that nothing can be guessed from its hash.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let mut hash = Sha256::new();
        for name in CREDENTIALS {
            let content = self.files.get(name).map(|content| content.as_slice()).unwrap_or_default();
            hash.update((content.len() as u64).to_le_bytes());
            hash.update(content);
        }
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// What the runner of this configuration labels its containers and networks with.
    #[must_use]
    pub fn label(&self) -> Option<String> {
        self.files.get(".runner").map(|content| Label::of_runner_file(content).as_str().to_owned())
    }

    /// Names and contents.
    pub fn files(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.files.iter().map(|(name, content)| (name.as_str(), content.as_slice()))
    }
}

fn check_name(name: &str) -> Result<(), JitError> {
    if FORBIDDEN.contains(&name) {
        return Err(JitError::Forbidden(shown(name)));
    }
    let plain = name.len() > 1
        && name.len() <= 64
        && name.starts_with('.')
        && !name.starts_with("..")
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'));
    if plain { Ok(()) } else { Err(JitError::UnsafeName(shown(name))) }
}

/// As much of a name as a person needs: the rest of it could be the whole blob, and goes into journal and record.
fn shown(name: &str) -> String {
    name.chars().take(80).collect()
}

/// `Ephemeral` may be a boolean or a string. Absent is accepted: the environment forces one job.
fn check_settings(content: &[u8]) -> Result<(), JitError> {
    // .NET writes and accepts a byte order mark.
    let content = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content);
    let Ok(Value::Object(settings)) = serde_json::from_slice(content) else { return Err(JitError::SettingsNotJson) };
    // The runner reads the key in any case, and which of two it believes is its own affair: none may say no.
    let denies = |value: &Value| match value {
        Value::Bool(ephemeral) => !ephemeral,
        Value::String(text) => !text.trim().eq_ignore_ascii_case("true"),
        _ => false,
    };
    let denied = settings.iter().any(|(key, value)| key.eq_ignore_ascii_case("ephemeral") && denies(value));
    if denied { Err(JitError::NotEphemeral) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    /// A blob with these files, beside those that every listener needs.
    fn blob(files: &[(&str, &str)]) -> String {
        let needed = CREDENTIALS.map(|name| (name, STANDARD.encode("{}")));
        let mut map = BTreeMap::from(needed);
        map.extend(files.iter().map(|(name, content)| (*name, STANDARD.encode(content))));
        STANDARD.encode(serde_json::to_vec(&map).unwrap())
    }

    #[test]
    fn debug_output_shows_names_and_no_content() {
        let config = JitConfig::decode(&blob(&[(".runner", r#"{"AgentName":"s3cret"}"#)])).unwrap();
        let shown = format!("{config:?}");
        assert!(shown.contains(".runner") && !shown.contains("s3cret"), "content in Debug output: {shown}");
    }

    #[test]
    fn every_name_that_is_not_a_plain_dot_name_is_refused() {
        for name in ["../../etc/x", "/etc/x", "..", ".", "", "run.sh", ".a/b", ".a\0b", "..x", ".a\n", "a", "./.runner"]
        {
            let refused = JitConfig::decode(&blob(&[(".runner", "{}"), (name, "x")]));
            assert_eq!(refused.unwrap_err(), JitError::UnsafeName(name.to_owned()), "{name:?} was accepted");
        }
    }

    #[test]
    fn two_spellings_of_ephemeral_cannot_hide_a_no() {
        let settings = r#"{"Ephemeral":true,"ephemeral":"False"}"#;
        let refused = JitConfig::decode(&blob(&[(".runner", settings)]));
        assert_eq!(refused.unwrap_err(), JitError::NotEphemeral, "the runner may take more than one job");
    }

    #[test]
    fn the_same_credentials_are_the_same_registration_however_they_are_written() {
        let print = |files: &[(&str, &str)]| JitConfig::decode(&blob(files)).unwrap().fingerprint();
        let first = print(&[(".runner", "{}"), (".credentials", "a"), (".credentials_rsaparams", "bc")]);
        let other_work =
            [(".runner", r#"{"WorkFolder":"x"}"#), (".credentials", "a"), (".credentials_rsaparams", "bc")];
        assert_eq!(print(&other_work), first, "a spent registration with another work folder would be started again");
        let moved = [(".runner", "{}"), (".credentials", "ab"), (".credentials_rsaparams", "c")];
        assert_ne!(print(&moved), first, "another registration would be refused");
    }

    #[test]
    fn a_refusal_is_short_whatever_the_name() {
        let name = "x".repeat(30_000);
        let error = JitConfig::decode(&blob(&[(&name, "x")])).unwrap_err().to_string();
        assert!(error.len() < 300, "{} bytes of a blob go into journal and record", error.len());
    }

    proptest! {
        #[test]
        fn any_text_is_decoded_or_refused_without_a_panic(text in ".{0,400}") {
            let _ = JitConfig::decode(&text);
        }

        #[test]
        fn any_object_keeps_its_names_inside_the_directory(name in ".{0,12}", content in ".{0,40}") {
            if let Ok(config) = JitConfig::decode(&blob(&[(".runner", "{}"), (&name, &content)])) {
                for name in config.names() {
                    prop_assert!(!name.contains('/') && !name.contains('\0') && name.starts_with('.') && name != "..");
                }
            }
        }
    }
}
