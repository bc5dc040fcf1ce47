//! JIT configurations of GitHub's real shape, and of every bad one.
//!
//! The shape: base64 of a JSON object whose members are file names and whose
//! values are base64 of file contents. Booleans and numbers inside `.runner`
//! are JSON strings, as GitHub sends them. The key material is noise of the
//! right length: deterministic per seed, useless as a key, easy to look for.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

/// The parameters of the RSA key that must never leak.
const PRIVATE_PARAMETERS: [(&str, usize); 6] =
    [("d", 256), ("dp", 128), ("dq", 128), ("inverseQ", 128), ("p", 128), ("q", 128)];

/// Builder of one JIT configuration.
#[derive(Debug, Clone)]
pub struct JitConfig {
    runner: Map<String, Value>,
    credentials: Value,
    rsa: Map<String, Value>,
    extra: Vec<(String, Value)>,
    without: Vec<String>,
}

impl JitConfig {
    /// A good configuration; the same seed gives the same bytes.
    pub fn new(seed: u64) -> Self {
        Self {
            runner: runner_settings(seed),
            credentials: credentials(seed),
            rsa: rsa_parameters(seed),
            extra: Vec::new(),
            without: Vec::new(),
        }
    }

    /// Sets `.runner`'s `Ephemeral`, or leaves it out.
    #[must_use]
    pub fn ephemeral(self, value: Option<Value>) -> Self {
        self.setting("Ephemeral", value)
    }

    /// Sets any member of `.runner`, or leaves it out.
    #[must_use]
    pub fn setting(mut self, key: &str, value: Option<Value>) -> Self {
        match value {
            Some(value) => self.runner.insert(key.to_owned(), value),
            None => self.runner.remove(key),
        };
        self
    }

    /// Adds an entry, or replaces one. The name is not checked: upstream does
    /// not check it either, and `../x` or `/x` are what a test wants to send.
    #[must_use]
    pub fn file(self, name: &str, bytes: &[u8]) -> Self {
        let encoded = Value::String(STANDARD.encode(bytes));
        self.raw_entry(name, encoded)
    }

    /// Adds an entry whose JSON value is given as it is: a number, a string
    /// that is no base64, an object.
    #[must_use]
    pub fn raw_entry(mut self, name: &str, value: Value) -> Self {
        self.extra.retain(|(existing, _)| existing != name);
        self.extra.push((name.to_owned(), value));
        self
    }

    /// Leaves an entry out.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.without.push(name.to_owned());
        self
    }

    /// Makes `.runner` longer by about `bytes` bytes, by a member the runner
    /// does not know. Each byte is encoded twice, so it costs 16/9 bytes.
    #[must_use]
    pub fn padding(self, bytes: usize) -> Self {
        self.setting("Padding", Some(Value::String("x".repeat(bytes))))
    }

    /// The blob, as it comes from GitHub's `generate-jitconfig`.
    pub fn encode(&self) -> String {
        encode_outer(Value::Object(self.entries()).to_string().as_bytes())
    }

    /// Texts that must appear nowhere but in the blob and the files made from
    /// it: pieces of the blob, the encoded credential files and each private
    /// key parameter.
    pub fn secrets(&self) -> Vec<String> {
        let mut secrets: Vec<String> = PRIVATE_PARAMETERS
            .iter()
            .filter_map(|(name, _)| self.rsa.get(*name)?.as_str())
            .map(ToOwned::to_owned)
            .collect();
        let entries = self.entries();
        for name in [".credentials", ".credentials_rsaparams"] {
            secrets.extend(entries.get(name).and_then(Value::as_str).map(str::to_owned));
        }
        secrets.extend(chunks(&self.encode()));
        secrets
    }

    fn entries(&self) -> Map<String, Value> {
        let files = [
            (".runner", Value::Object(self.runner.clone())),
            (".credentials", self.credentials.clone()),
            (".credentials_rsaparams", Value::Object(self.rsa.clone())),
        ];
        let mut entries = Map::new();
        for (name, content) in files {
            let encoded = STANDARD.encode(content.to_string());
            entries.insert(name.to_owned(), Value::String(encoded));
        }
        entries.extend(self.extra.iter().cloned());
        entries.retain(|name, _| !self.without.iter().any(|gone| gone == name));
        entries
    }
}

/// Base64 around any bytes: for blobs whose JSON is wrong as a whole.
pub fn encode_outer(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// Pieces of the blob, spread so that a leak of a good part of it is seen.
/// The first characters are left out: they are the same in every blob.
fn chunks(blob: &str) -> Vec<String> {
    const SIZE: usize = 48;
    const STRIDE: usize = 256;
    (STRIDE / 2..).step_by(STRIDE).map_while(|start| blob.get(start..start + SIZE)).map(ToOwned::to_owned).collect()
}

fn runner_settings(seed: u64) -> Map<String, Value> {
    let settings = json!({
        "AgentId": (seed % 90_000 + 3).to_string(),
        "AgentName": format!("mayfly-test-{seed:016x}"),
        "DisableUpdate": "True",
        "Ephemeral": "True",
        "IsHostedServer": "True",
        "PoolId": "1",
        "PoolName": null,
        "ServerUrl": "https://pipelinesghubeus4.actions.githubusercontent.com/fakeTenantFakeTenantFakeTenantFakeTenantFake/",
        "ServerUrlV2": "https://broker.actions.githubusercontent.com/",
        "SkipSessionRecover": "True",
        "UseRunnerAdminFlow": "False",
        "UseV2Flow": "True",
        "WorkFolder": "_work",
    });
    match settings {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

fn credentials(seed: u64) -> Value {
    json!({
        "Scheme": "OAuth",
        "Data": {
            "AuthorizationUrl": "https://vstoken.actions.githubusercontent.com/_apis/oauth2/token/fake",
            "ClientId": guid(seed),
            "EnableAuthMigrationByDefault": "False",
            "RequireFipsCryptography": "True",
            "authorizationUrlV2": "https://token.actions.githubusercontent.com/v2/fake",
        },
    })
}

fn rsa_parameters(seed: u64) -> Map<String, Value> {
    let mut parameters = Map::new();
    let all = PRIVATE_PARAMETERS.iter().chain(&[("modulus", 256)]);
    for (position, (name, length)) in (1..).zip(all) {
        let bytes = noise(seed.wrapping_mul(31).wrapping_add(position), name, *length);
        let encoded = Value::String(STANDARD.encode(bytes));
        parameters.insert((*name).to_owned(), encoded);
    }
    // 65537, as in every real key.
    parameters.insert("exponent".to_owned(), Value::String("AQAB".to_owned()));
    parameters
}

/// Noise that opens with a plain tag, so a dump can be recognised by eye.
fn noise(seed: u64, name: &str, length: usize) -> Vec<u8> {
    let tag = format!("mayfly-fake-key-{name}:");
    let mut state = seed;
    let random = std::iter::repeat_with(|| split_mix(&mut state).to_le_bytes()).flatten();
    tag.into_bytes().into_iter().chain(random).take(length).collect()
}

fn guid(seed: u64) -> String {
    let mut state = seed;
    let (high, low) = (split_mix(&mut state), split_mix(&mut state));
    let hex = format!("{high:016x}{low:016x}");
    let (a, b, c) = (&hex[..8], &hex[8..12], &hex[12..16]);
    format!("{a}-{b}-{c}-{}-{}", &hex[16..20], &hex[20..])
}

/// The SplitMix64 step: enough for noise, and no dependency.
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn good_blob_has_the_real_size() {
        for seed in [0, 1, 7, u64::MAX] {
            let size = JitConfig::new(seed).encode().len();
            assert!((4200..=4600).contains(&size), "{size}");
        }
    }

    #[test]
    fn padding_reaches_seventy_kilobytes() {
        assert!(JitConfig::new(1).padding(40_000).encode().len() > 70_000);
    }

    #[test]
    fn same_seed_same_bytes_other_seed_other_secrets() {
        let (one, two) = (JitConfig::new(1), JitConfig::new(2));
        assert_eq!(one.encode(), JitConfig::new(1).encode());
        // The files' whole texts differ; pieces of the blob may be common.
        let own = &one.secrets()[..PRIVATE_PARAMETERS.len() + 2];
        assert!(own.iter().all(|secret| !two.secrets().contains(secret)));
        assert!(one.secrets()[own.len()..].len() > 10);
    }

    #[test]
    fn entries_can_be_added_and_left_out() {
        let blob = JitConfig::new(1).file("../../etc/x", b"y").without(".credentials").ephemeral(None).encode();
        let outer: Map<String, Value> = serde_json::from_slice(&STANDARD.decode(blob).unwrap()).unwrap();
        assert_eq!(outer["../../etc/x"], "eQ==");
        assert!(!outer.contains_key(".credentials"));
        let runner = STANDARD.decode(outer[".runner"].as_str().unwrap()).unwrap();
        let runner: Map<String, Value> = serde_json::from_slice(&runner).unwrap();
        assert!(!runner.contains_key("Ephemeral"));
        assert!(runner["AgentId"].is_string());
    }
}
