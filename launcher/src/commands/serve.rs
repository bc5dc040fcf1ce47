//! `mayfly-launcher serve`

use std::process::ExitCode;

use ring::hmac;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::{connect, failed};
use crate::config::Config;
use crate::github::read_secret;
use crate::serve::{Engine, Front, Stop, serve};

pub(super) async fn run(config: Config) -> ExitCode {
    let secrets = match secrets(&config) {
        Ok(secrets) => secrets,
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
    let front = Front::new(&engine, secrets);
    if let Some(listener) = listener {
        if let Ok(address) = listener.local_addr() {
            tracing::info!(%address, "serving /webhook, /healthz and /readyz");
        }
        tokio::spawn(serve(listener, front));
    }
    tracing::info!(classes = config.settings.classes.len(), apps = config.apps.len(), "waiting for jobs");
    let (stop, stopped) = mpsc::channel(2);
    tokio::spawn(signals(stop));
    engine.run(stopped).await;
    ExitCode::SUCCESS
}

fn secrets(config: &Config) -> Result<Vec<hmac::Key>, crate::github::KeyError> {
    let files = config.apps.iter().filter_map(|app| app.webhook_secret.as_deref());
    files
        .map(|path| {
            let text = read_secret(path)?;
            let secret = text.strip_suffix(b"\n").unwrap_or(&text);
            Ok(hmac::Key::new(hmac::HMAC_SHA256, secret))
        })
        .collect()
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
