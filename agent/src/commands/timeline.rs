//! `mayfly timeline`

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::{AgentAddress, exit, fail, print, screen};
use crate::base::paths::control_socket;
use crate::control::{Request, ask};
use crate::platform::aws::{Aws, AwsSettings, Class, logs};
use crate::platform::imds::{ImdsSettings, InstanceId};
use crate::timeline::{page, read, text};
use mayfly_core::record::Record;
use mayfly_core::timeline::Timeline;

/// A console's output has 64 KiB, a page of a log's events 1 MiB.
const LONGEST: u64 = 16 * 1024 * 1024;

#[derive(Debug, clap::Args)]
pub(super) struct TimelineArgs {
    /// A record, or a console's output or a log that has one; - for standard input [default: this machine's run]
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// The run of this instance, which may be long gone, from CloudWatch Logs; with AWS_REGION and credentials in the environment
    #[arg(long, value_name = "INSTANCE", conflicts_with = "file")]
    from_logs: Option<InstanceId>,
    /// The log group of its class
    #[arg(long, value_name = "GROUP", default_value = "/mayfly/default", requires = "from_logs")]
    group: String,
    /// Write it as one HTML file, or - for standard output
    #[arg(long, value_name = "FILE", conflicts_with = "json")]
    html: Option<PathBuf>,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    agent: AgentAddress,
}

pub(super) fn run(args: &TimelineArgs) -> u8 {
    let found = match (&args.file, &args.from_logs) {
        (Some(file), _) => read_file(file),
        (None, Some(instance)) => read_logs(instance, &args.group),
        (None, None) => of_this_machine(&args.agent),
    };
    let record = match found {
        Ok(record) => record,
        Err(code) => return code,
    };
    let timeline = Timeline::of(&record);
    if let Some(file) = &args.html {
        let page = page(&timeline);
        if file != Path::new("-") {
            return match std::fs::write(file, page) {
                Ok(()) => 0,
                Err(error) => fail(exit::IO, format_args!("cannot write {}: {error}", file.display())),
            };
        }
        return print(|out| out.write_all(page.as_bytes()));
    }
    let screen = screen();
    print(|out| match args.json {
        true => {
            serde_json::to_writer_pretty(&mut *out, &timeline)?;
            writeln!(out)
        }
        false => writeln!(out, "{}", text(&timeline, screen)),
    })
}

fn read_file(file: &Path) -> Result<Record, u8> {
    let cannot = |error: io::Error| fail(exit::NO_INPUT, format_args!("cannot read {}: {error}", file.display()));
    let content = match file == Path::new("-") {
        true => bounded(io::stdin()),
        false => File::open(file).and_then(bounded),
    };
    read(&content.map_err(cannot)?).map_err(|error| fail(exit::DATA, format_args!("{}: {error}", file.display())))
}

/// The record is the last event of the agent's stream.
fn read_logs(instance: &InstanceId, group: &str) -> Result<Record, u8> {
    let stream = format!("{instance}/agent");
    let aws = || {
        let settings = AwsSettings::from_environment("", &ImdsSettings::from_environment().ok()?);
        Aws::new(Some(settings).filter(|settings| !settings.region.is_empty())?).ok()
    };
    let Some(aws) = aws() else {
        return Err(fail(exit::USAGE, "which region? AWS_REGION does not say"));
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| fail(exit::SOFTWARE, format_args!("AWS cannot be asked: {error}")))?;
    let events = runtime.block_on(logs::last(&aws, group, &stream)).map_err(|error| {
        let advice = match error.class {
            Class::Denied => format!("; your role needs {} on the group", logs::READ),
            Class::NotFound => "; see --group: the default is that of machines without a class".to_owned(),
            _ => String::new(),
        };
        fail(exit::NO_INPUT, format_args!("{error}{advice}"))
    })?;
    runtime.shutdown_background();
    read(&events.join("\n")).map_err(|error| fail(exit::DATA, format_args!("{group}:{stream}: {error}")))
}

fn bounded(file: impl Read) -> io::Result<String> {
    let mut content = Vec::new();
    file.take(LONGEST).read_to_end(&mut content)?;
    Ok(String::from_utf8_lossy(&content).into_owned())
}

/// From the agent, if one is at work; else the record that the last one left.
fn of_this_machine(address: &AgentAddress) -> Result<Record, u8> {
    let state = address.state()?;
    let told: io::Result<Record> = ask(&control_socket(&state), &Request::Record);
    if let Ok(record) = told {
        return Ok(record);
    }
    read_file(&state.join("record.json"))
}
