//! The double of GitHub for scripts and demos.
//!
//! ```text
//! fake-github [--port N] [--ghes] [--owner LOGIN [--repo NAME | --public-repo NAME | --group NAME]...]...
//!             [--webhook URL --secret SECRET] [--key-file FILE] [--manual-clock] [--no-auto-assign]
//!             [--idle-removal SECONDS] [--long-poll SECONDS]
//! ```
//!
//! Prints `{"url": …, "api_url": …, "app_id": …, "client_id": …, "installations": {LOGIN: ID}}` once it listens; the
//! App's private key is written to the key file. Then every line of input is a command and is answered with one line:
//! `queue {"repo": …, "labels": […], "run": N, "name": …, "workflow": …, "group": …, "waiting": BOOL}`,
//! `start {"job": ID, "runner": NAME}`, `complete {"job": ID, "conclusion": …}`, `cancel ID`, `approve ID`, `hold ID`,
//! `online NAME`, `gone NAME`, `job ID`, `jobs`, `runners`, `add-runner {"scope": …, "name": …, "group_id": N,
//! "labels": […]}`, `requests`, `violations`, `webhooks`, `check-runs`, `webhook-to {"url": …, "secret": …}`,
//! `send-webhook EVENT BODY`,
//! `webhook-fault {"fault": …, "action": …, "job": ID, "times": N, "after": N, "seconds": S}`,
//! `release-webhooks [reversed]`, `fault {"fault": …, "operation": …, "path": …, "containing": …, "times": N,
//! "after": N, "seconds": S}`, `serve-list {"list": "runners|jobs|runs", "stale": S, "inflated": N}`,
//! `advance SECONDS`, `latency SECONDS`, `refuse [SECONDS]`, `black-hole [SECONDS]`, `clear`, with the faults that
//! `mayfly_fake_github::Fault` and `WebhookFault` read.

use std::process::ExitCode;
use std::time::Duration;

use mayfly_fake_aws::script::{Flags, converse, exit};
use mayfly_fake_github::{
    APP_ID, CLIENT_ID, ClockKind, FIRST_INSTALLATION, FakeGithub, GroupSpec, Options, OwnerSpec, RepoSpec,
    WebhookTarget,
};
use serde_json::{Value, json};

fn seconds(flags: &mut Flags, flag: &str) -> Result<Duration, String> {
    Duration::try_from_secs_f64(flags.number(flag)?).map_err(|error| error.to_string())
}

fn run() -> Result<(), String> {
    let mut flags = Flags::of_process();
    let mut options = Options::default();
    let mut owners: Vec<OwnerSpec> = Vec::new();
    let (mut webhook, mut secret, mut key_file) = (None, None, None);
    while let Some(flag) = flags.next_flag() {
        match flag.as_str() {
            "--port" => options.port = flags.number(&flag)?,
            "--ghes" => options.ghes = true,
            "--owner" => owners.push(OwnerSpec::new(&flags.value(&flag)?)),
            "--repo" | "--public-repo" => {
                let repo = RepoSpec { name: flags.value(&flag)?, public: flag == "--public-repo" };
                owners.last_mut().ok_or("--repo needs an --owner before it")?.repos.push(repo);
            }
            "--group" => {
                let group = GroupSpec::new(&flags.value(&flag)?);
                owners.last_mut().ok_or("--group needs an --owner before it")?.groups.push(group);
            }
            "--webhook" => webhook = Some(flags.value(&flag)?),
            "--secret" => secret = Some(flags.value(&flag)?),
            "--key-file" => key_file = Some(flags.value(&flag)?),
            "--manual-clock" => options.clock = ClockKind::Manual,
            "--no-auto-assign" => options.auto_assign = false,
            "--idle-removal" => options.idle_removal = Some(seconds(&mut flags, &flag)?),
            "--long-poll" => options.long_poll = seconds(&mut flags, &flag)?,
            unknown => return Err(format!("unknown flag {unknown}")),
        }
    }
    if !owners.is_empty() {
        options.owners = owners;
    }
    if let Some(url) = webhook {
        options.webhook = Some(WebhookTarget { url, secret: secret.ok_or("--webhook needs a --secret")? });
    }
    let installations: Value = (FIRST_INSTALLATION..)
        .zip(&options.owners)
        .map(|(id, owner)| (owner.login.clone(), Value::from(id)))
        .collect::<serde_json::Map<_, _>>()
        .into();
    let github = FakeGithub::start(options).map_err(|error| error.to_string())?;
    if let Some(file) = key_file {
        std::fs::write(&file, github.app_private_key_pem()).map_err(|error| format!("{file}: {error}"))?;
    }
    let ready = json!({
        "url": github.url(), "api_url": github.api_url(), "app_id": APP_ID, "client_id": CLIENT_ID,
        "installations": installations,
    });
    converse(&ready, |line| github.command(line)).map_err(|error| error.to_string())
}

fn main() -> ExitCode {
    exit("fake-github", run())
}
