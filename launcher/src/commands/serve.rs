//! `mayfly-launcher serve`

use std::path::Path;
use std::process::ExitCode;

use ring::hmac;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::{connect, failed};
use crate::config::Config;
use crate::github::{KeyError, read_secret};
use crate::serve::{Engine, Front, Stop, serve};

/// The shortest secret, in bytes.
const SHORTEST: usize = 8;

pub(super) async fn run(config: Config) -> ExitCode {
    let secrets = match secrets(&config) {
        Ok(secrets) => secrets,
        Err(error) => return failed(78, &error),
    };
    let page = match config.page_token.as_deref().map(key).transpose() {
        Ok(page) => page,
        Err(error) => return failed(78, &error),
    };
    let (github, providers) = match connect(&config).await {
        Ok(both) => both,
        Err(code) => return code,
    };
    let listener = match config.listen {
        Some(address) => match TcpListener::bind(address).await {
            Ok(listener) => Some(listener),
            Err(error) => return failed(69, &format!("listening on {address}: {error}")),
        },
        None => None,
    };
    let mut engine = Engine::new(config.clone(), github, providers);
    let front = Front::new(&engine, &config, secrets, page);
    if let Some(listener) = listener {
        if let Ok(address) = listener.local_addr() {
            tracing::info!(%address, "serving /webhook, /healthz, /readyz, /metrics and, with page_token, a page for people");
        }
        tokio::spawn(serve(listener, front));
    }
    tracing::info!(classes = config.settings.classes.len(), apps = config.apps.len(), "waiting for jobs");
    let (stop, stopped) = mpsc::channel(2);
    tokio::spawn(signals(stop));
    engine.run(stopped).await;
    ExitCode::SUCCESS
}

fn secrets(config: &Config) -> Result<Vec<hmac::Key>, KeyError> {
    config.apps.iter().filter_map(|app| app.webhook_secret.as_deref()).map(key).collect()
}

/// A secret of a file as a key, without the line's end.
fn key(path: &Path) -> Result<hmac::Key, KeyError> {
    let text = read_secret(path)?;
    let secret = text.strip_suffix(b"\n").unwrap_or(&text);
    // With an empty one anybody could sign.
    if secret.len() < SHORTEST {
        return Err(KeyError::Short(path.display().to_string()));
    }
    Ok(hmac::Key::new(hmac::HMAC_SHA256, secret))
}

/// SIGTERM, as from systemd or a container, and SIGINT, as from a terminal.
async fn signals(stop: mpsc::Sender<Stop>) {
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return;
    };
    loop {
        let order = tokio::select! {
            _ = terminate.recv() => Stop::Now,
            _ = interrupt.recv() => Stop::Gracefully,
        };
        if stop.send(order).await.is_err() {
            return;
        }
    }
}
