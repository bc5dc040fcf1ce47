//! A client that hides nothing, and a receiver of webhooks.

#![allow(dead_code, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail there")]

pub(crate) mod operations;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair;
use aws_lc_rs::signature::RSA_PKCS1_SHA256;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use mayfly_fake_aws::http::{Answer, send};
use mayfly_fake_github::{APP_ID, FIRST_INSTALLATION, FakeGithub, Options};
use serde_json::{Value, json};

pub(crate) const LONG: Duration = Duration::from_secs(20);
pub(crate) const ORG: &str = "/orgs/mayfly-example/actions/runners";
pub(crate) const REPO: &str = "/repos/mayfly-example/sample";
pub(crate) const SAMPLE: &str = "mayfly-example/sample";

pub(crate) fn json_of(answer: &Answer) -> Value {
    serde_json::from_str(&answer.body).unwrap_or_else(|error| panic!("{error}: {}", answer.body))
}

pub(crate) fn unix() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// Signs claims with the App's key.
pub(crate) fn jwt(github: &FakeGithub, head: &Value, claims: &Value) -> String {
    let pem = github.app_private_key_pem();
    assert!(pem.starts_with("-----BEGIN RSA PRIVATE KEY-----\n"), "GitHub hands out PKCS#1, and clients must read it");
    let der: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    let key = KeyPair::from_der(&STANDARD.decode(der).unwrap()).unwrap();
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(head), part(claims));
    let mut signature = vec![0; key.public_modulus_len()];
    key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature).unwrap();
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

pub(crate) fn good_jwt(github: &FakeGithub) -> String {
    let now = unix();
    let claims = json!({ "iat": now - 60, "exp": now + 540, "iss": APP_ID.to_string() });
    jwt(github, &json!({ "alg": "RS256", "typ": "JWT" }), &claims)
}

/// Calls the API with a credential.
pub(crate) struct Caller<'a> {
    github: &'a FakeGithub,
    pub(crate) secret: String,
    via: SocketAddr,
}

impl<'a> Caller<'a> {
    pub(crate) fn app(github: &'a FakeGithub) -> Self {
        Self { github, secret: good_jwt(github), via: github.address() }
    }

    pub(crate) fn installation(github: &'a FakeGithub) -> Self {
        Self::narrowed(github, &json!({}))
    }

    pub(crate) fn narrowed(github: &'a FakeGithub, body: &Value) -> Self {
        let path = format!("/app/installations/{FIRST_INSTALLATION}/access_tokens");
        let answer = Self::app(github).call("POST", &path, Some(body));
        assert_eq!(answer.status, 201, "{}", answer.body);
        let secret = json_of(&answer)["token"].as_str().unwrap().to_owned();
        assert!(secret.starts_with("ghs_"));
        Self { github, secret, via: github.address() }
    }

    /// Calls through something else.
    pub(crate) fn via(mut self, address: SocketAddr) -> Self {
        self.via = address;
        self
    }

    pub(crate) fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        self.try_call(method, path, body).unwrap()
    }

    pub(crate) fn try_call(&self, method: &str, path: &str, body: Option<&Value>) -> std::io::Result<Answer> {
        let auth = format!("Bearer {}", self.secret);
        let headers = [
            ("authorization", auth.as_str()),
            ("user-agent", "mayfly-test"),
            ("accept", "application/vnd.github+json"),
            ("content-type", "application/json"),
            ("x-github-api-version", "2022-11-28"),
        ];
        let prefix = self.github.api_url().trim_start_matches(&self.github.url()).to_owned();
        let text = body.map(Value::to_string).unwrap_or_default();
        send(self.via, method, &format!("{prefix}{path}"), &headers, &text)
    }

    pub(crate) fn get(&self, path: &str) -> Value {
        let answer = self.call("GET", path, None);
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        json_of(&answer)
    }

    pub(crate) fn mint(&self, name: &str, labels: &[&str]) -> Answer {
        let body = json!({ "name": name, "runner_group_id": 3, "labels": labels });
        self.call("POST", &format!("{ORG}/generate-jitconfig"), Some(&body))
    }
}

pub(crate) fn start() -> FakeGithub {
    FakeGithub::start(Options::default()).unwrap()
}

/// One request that a receiver got.
#[derive(Clone, Debug)]
pub(crate) struct Got {
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Got {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// Takes webhooks, and answers each with a status.
pub(crate) struct Receiver {
    pub(crate) url: String,
    pub(crate) got: Arc<Mutex<Vec<Got>>>,
    pub(crate) status: Arc<AtomicU16>,
}

impl Receiver {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/webhook", listener.local_addr().unwrap());
        let got: Arc<Mutex<Vec<Got>>> = Arc::default();
        let status = Arc::new(AtomicU16::new(200));
        let (list, code) = (got.clone(), status.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let Some(request) = read(&mut stream) else { continue };
                list.lock().unwrap().push(request);
                let status = code.load(Ordering::SeqCst);
                let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        Self { url, got, status }
    }

    pub(crate) fn all(&self) -> Vec<Got> {
        self.got.lock().unwrap().clone()
    }

    pub(crate) fn actions(&self) -> Vec<String> {
        self.all().iter().map(|got| got.json()["action"].as_str().unwrap_or_default().to_owned()).collect()
    }
}

fn read(stream: &mut std::net::TcpStream) -> Option<Got> {
    let mut bytes = Vec::new();
    let mut block = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, _)) = text.split_once("\r\n\r\n") {
            let lines = head.lines().skip(1).filter_map(|line| line.split_once(": "));
            let headers: Vec<_> = lines.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
            let length = headers.iter().find(|(name, _)| name == "content-length");
            let length: usize = length.map_or(0, |(_, value)| value.parse().unwrap());
            let start = head.len() + 4;
            if bytes.len() >= start + length {
                return Some(Got { headers, body: bytes[start..start + length].to_vec() });
            }
        }
        match stream.read(&mut block) {
            Ok(0) | Err(_) => return None,
            Ok(count) => bytes.extend(&block[..count]),
        }
    }
}
