//! The AWS emulator behind the fault-injecting proxy, for scripts and demos.
//!
//! ```text
//! fake-aws [--port N] [--region R] [--group NAME] [--no-instance] [--tag KEY=VALUE]...
//!          [--shutdown-behavior terminate|stop] [--latency MILLISECONDS]
//! ```
//!
//! Launches one instance, in a group if one is named, and prints
//! `{"endpoint": …, "direct": …, "instance_id": …, "group": …, "region": …}` once it
//! listens (`direct` is moto without the proxy).
//! Then every line of input is a command and is answered with one line:
//! `put-parameter NAME FILE`, `parameter-exists NAME`, `state [ID]`,
//! `desired-capacity [GROUP]`, `tags [ID]`, `run-instance`, `requests`,
//! `latency MILLISECONDS`, `clock-skew SECONDS`, `refuse [SECONDS]`,
//! `black-hole [SECONDS]`, `clear`, `reset`, and `fault {"action": …,
//! "service": …, "containing": …, "fault": …, "times": N, "after": N,
//! "seconds": S}` with the faults that `mayfly_fake_aws::proxy::Fault` reads.

use std::process::ExitCode;
use std::time::Duration;

use mayfly_fake_aws::moto::{InstanceSpec, Moto};
use mayfly_fake_aws::proxy::AwsProxy;
use mayfly_fake_aws::script::{Flags, converse, exit};
use serde_json::{Value, json};

struct Aws {
    moto: Moto,
    proxy: AwsProxy,
    spec: InstanceSpec,
    instance: Option<String>,
    group: Option<String>,
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

impl Aws {
    fn command(&self, line: &str) -> Result<Value, String> {
        let (name, rest) = line.split_once(' ').unwrap_or((line, ""));
        let rest = rest.trim();
        match name {
            "put-parameter" => {
                let (parameter, file) = rest.split_once(' ').ok_or("put-parameter needs a name and a file")?;
                let value = std::fs::read_to_string(file.trim()).map_err(text)?;
                self.moto.put_parameter(parameter, value.trim_end()).map_err(text)?;
            }
            "parameter-exists" => {
                let exists = self.moto.parameter_exists(rest).map_err(text)?;
                return Ok(json!({ "exists": exists }));
            }
            "state" => {
                let id = or_own(rest, self.instance.as_ref())?;
                let state = self.moto.instance_state(id).map_err(text)?;
                return Ok(json!({ "state": state }));
            }
            "desired-capacity" => {
                let group = or_own(rest, self.group.as_ref())?;
                let desired = self.moto.desired_capacity(group).map_err(text)?;
                return Ok(json!({ "desired_capacity": desired }));
            }
            "tags" => {
                let id = or_own(rest, self.instance.as_ref())?;
                let tags = self.moto.instance_tags(id).map_err(text)?;
                return Ok(json!({ "tags": tags }));
            }
            "run-instance" => {
                let id = self.moto.run_instance(&self.spec).map_err(text)?;
                return Ok(json!({ "instance_id": id }));
            }
            "requests" => return Ok(json!({ "requests": self.proxy.requests_json() })),
            "fault" => {
                let command = serde_json::from_str(rest).map_err(text)?;
                return self.proxy.fault_command(&command);
            }
            "latency" => self.proxy.latency_command(rest)?,
            "clock-skew" => self.proxy.clock_skew(rest.parse().map_err(text)?),
            "refuse" => self.proxy.refuse(period(rest)?).map_err(text)?,
            "black-hole" => self.proxy.black_hole(period(rest)?).map_err(text)?,
            "clear" => self.proxy.clear_all().map_err(text)?,
            "reset" => self.moto.reset().map_err(text)?,
            unknown => return Err(format!("no such command: {unknown}")),
        }
        Ok(json!({}))
    }
}

/// The named thing, or the one made at the start.
fn or_own<'a>(named: &'a str, own: Option<&'a String>) -> Result<&'a str, String> {
    match (named, own) {
        ("", None) => Err("nothing was made at the start: name it".to_owned()),
        ("", Some(own)) => Ok(own),
        (named, _) => Ok(named),
    }
}

fn period(seconds: &str) -> Result<Option<Duration>, String> {
    if seconds.is_empty() {
        return Ok(None);
    }
    let seconds = seconds.parse().map_err(text)?;
    Duration::try_from_secs_f64(seconds).map(Some).map_err(text)
}

fn run() -> Result<(), String> {
    let mut flags = Flags::of_process();
    let (mut port, mut region, mut latency) = (0, "eu-central-1".to_owned(), None);
    let (mut group_name, mut launch) = (None, true);
    let mut spec = InstanceSpec::default();
    while let Some(flag) = flags.next_flag() {
        match flag.as_str() {
            "--port" => port = flags.number(&flag)?,
            "--region" => region = flags.value(&flag)?,
            "--group" => group_name = Some(flags.value(&flag)?),
            "--no-instance" => launch = false,
            "--tag" => {
                let (key, value) = flags.pair(&flag)?;
                spec.tags.insert(key, value);
            }
            "--shutdown-behavior" => spec.shutdown_behavior = flags.value(&flag)?,
            "--latency" => latency = Some(flags.value(&flag)?),
            unknown => return Err(format!("unknown flag {unknown}")),
        }
    }
    let moto = Moto::start_in(&region).map_err(text)?;
    let proxy = AwsProxy::start_on(port, moto.address()).map_err(text)?;
    if let Some(latency) = latency {
        proxy.latency_command(&latency)?;
    }
    let (instance, group) = match group_name {
        Some(name) => {
            let group = moto.run_group(&name, &spec).map_err(text)?;
            (Some(group.instance_id), Some(group.name))
        }
        None if launch => (Some(moto.run_instance(&spec).map_err(text)?), None),
        None => (None, None),
    };
    let ready = json!({
        "endpoint": proxy.url(), "direct": moto.url(), "instance_id": instance, "group": group, "region": region,
    });
    let aws = Aws { moto, proxy, spec, instance, group };
    converse(&ready, |line| aws.command(line)).map_err(text)
}

fn main() -> ExitCode {
    exit("fake-aws", run())
}
