//! The metadata double for scripts and demos.
//!
//! ```text
//! fake-imds [--port N] [--instance-id ID] [--region R] [--instance-type T] [--spot]
//!           [--group NAME] [--tag KEY=VALUE]... [--no-tags] [--no-role] [--user-data FILE]
//! ```
//!
//! Prints `{"url": …}` once it listens. Then every line of input is a command
//! and is answered with one line: `{"set": [PATH, VALUE]}`, `{"remove": PATH}`,
//! `{"tag": [KEY, VALUE]}`, `{"spot_action": [ACTION, TIME]}`,
//! `{"rebalance": TIME}`, `{"scheduled_events": [...]}`,
//! `{"target_lifecycle_state": STATE}`, `{"credentials": [ROLE, EXPIRATION]}`,
//! `{"fault": {"path": PREFIX, "fault": "503|hang|delay:MS|reset|half", "times": N,
//! "after": N, "seconds": S}}`, `{"refuse": SECONDS|null}`,
//! `{"black_hole": SECONDS|null}`, `{"clear": null}`,
//! `{"invalidate_tokens": null}`, `{"keep_alive": BOOL}`,
//! `{"clock_skew": SECONDS}`, `{"requests": null}`.

use std::process::ExitCode;

use mayfly_fake_aws::imds::{ImdsDouble, Instance, LifeCycle};
use mayfly_fake_aws::script::{Flags, converse, exit};
use serde_json::json;

type Change = Box<dyn FnOnce(&mut Instance)>;

fn run() -> Result<(), String> {
    let mut flags = Flags::of_process();
    let (mut port, mut id, mut region) = (0, None, "eu-central-1".to_owned());
    let mut changes: Vec<Change> = Vec::new();
    while let Some(flag) = flags.next_flag() {
        match flag.as_str() {
            "--port" => port = flags.number(&flag)?,
            "--instance-id" => id = Some(flags.value(&flag)?),
            "--region" => region = flags.value(&flag)?,
            "--instance-type" => {
                let value = flags.value(&flag)?;
                changes.push(Box::new(move |i| i.instance_type = value));
            }
            "--spot" => changes.push(Box::new(|i| i.life_cycle = LifeCycle::Spot)),
            "--group" => {
                let value = flags.value(&flag)?;
                changes.push(Box::new(move |i| i.auto_scaling_group = Some(value)));
            }
            "--tag" => {
                let (key, value) = flags.pair(&flag)?;
                changes.push(Box::new(move |i| {
                    i.tags.insert(key, value);
                }));
            }
            "--no-tags" => changes.push(Box::new(|i| i.tags_enabled = false)),
            "--no-role" => changes.push(Box::new(|i| i.role = None)),
            "--user-data" => {
                let file = flags.value(&flag)?;
                let data = std::fs::read(&file).map_err(|error| format!("{file}: {error}"))?;
                changes.push(Box::new(move |i| i.user_data = Some(data)));
            }
            unknown => return Err(format!("unknown flag {unknown}")),
        }
    }
    let mut instance = Instance::new(id.as_deref().unwrap_or("i-0123456789abcdef0"), &region);
    for change in changes {
        change(&mut instance);
    }
    let id = instance.id.clone();
    let imds = ImdsDouble::start_on(port, instance).map_err(|error| error.to_string())?;
    let ready = json!({ "url": imds.url(), "instance_id": id, "region": region });
    converse(&ready, |line| {
        let command = serde_json::from_str(line).map_err(|error| error.to_string())?;
        imds.command(&command)
    })
    .map_err(|error| error.to_string())
}

fn main() -> ExitCode {
    exit("fake-imds", run())
}
