//! The table of keys.

use super::template;
use super::values::{ValueError, duration, positive, size};
use super::{Config, DockerMode, Level, Platform, PowerOff, Rebalance, Sink, Supervisor};

/// How a value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueKind {
    /// Any text.
    Text,
    /// An absolute path.
    Path,
    /// `90s`, `5m`, `6h30m`
    Duration,
    /// `2GiB`
    Size,
    /// `true` or `false`
    Boolean,
    /// One of these words.
    Word(&'static [&'static str]),
}

/// One key.
#[derive(Debug)]
pub struct Key {
    /// `section.key`, or `key` at the top.
    pub name: &'static str,
    /// How its value is written.
    pub kind: ValueKind,
    /// Its default.
    pub default: &'static str,
    /// What it does.
    pub about: &'static str,
    /// Checks a value and puts it in its place.
    pub(super) set: fn(&mut Config, &str) -> Result<(), ValueError>,
}

const fn key(
    name: &'static str,
    kind: ValueKind,
    default: &'static str,
    about: &'static str,
    set: fn(&mut Config, &str) -> Result<(), ValueError>,
) -> Key {
    Key { name, kind, default, about, set }
}

/// Every key there is.
pub const KEYS: &[Key] = &[
    key(
        "platform",
        ValueKind::Word(Platform::WORDS),
        "ec2",
        "Where the agent runs: on an EC2 instance it terminates the instance at the end, on a local machine only the process ends.",
        |c, v| Platform::parse(v).map(|v| c.platform = v),
    ),
    key("class", ValueKind::Text, "{tag:mayfly:class}", "The runner class; {tag:KEY} is an instance tag.", |c, v| {
        template::check_class(v)?;
        c.class = v.to_owned();
        Ok(())
    }),
    key("state_directory", ValueKind::Path, "/var/lib/mayfly", "Journal, record and control socket.", |c, v| {
        path(v).map(|v| c.state_directory = v)
    }),
    key(
        "jit.parameter",
        ValueKind::Text,
        "/mayfly/runners/{instance_id}",
        "The SSM parameter with the JIT configuration; {instance_id}, {class} and {tag:KEY} are filled in, and one of them must be this instance's alone.",
        |c, v| {
            template::check_parameter(v)?;
            c.jit.parameter = v.to_owned();
            Ok(())
        },
    ),
    key(
        "jit.file",
        ValueKind::Path,
        "",
        "The file with the JIT configuration, with platform = \"local\"; waited for, and deleted once it is spent.",
        |c, v| optional_path(v).map(|v| c.jit.file = v),
    ),
    key("jit.wait", ValueKind::Duration, "10m", "How long the JIT configuration is waited for.", |c, v| {
        positive(v).map(|v| c.jit.wait = v)
    }),
    key("runner.directory", ValueKind::Path, "/opt/actions-runner", "Where GitHub's runner is unpacked.", |c, v| {
        path(v).map(|v| c.runner.directory = v)
    }),
    key(
        "runner.user",
        ValueKind::Text,
        "runner",
        "Who runs the runner and its jobs; empty for whoever runs the agent.",
        |c, v| {
            c.runner.user = v.to_owned();
            Ok(())
        },
    ),
    key(
        "runner.supervisor",
        ValueKind::Word(Supervisor::WORDS),
        "systemd",
        "Who supervises the runner: systemd as a unit of its own, or the agent as a child process.",
        |c, v| Supervisor::parse(v).map(|v| c.runner.supervisor = v),
    ),
    key(
        "runner.read_ahead",
        ValueKind::Size,
        "128MiB",
        "The most that is read of the files in runner.read_ahead_list when the agent starts; 0 for nothing.",
        |c, v| size(v).map(|v| c.runner.read_ahead = v),
    ),
    key(
        "runner.read_ahead_list",
        ValueKind::Path,
        "/usr/share/mayfly/read-ahead.list",
        "The files that a start of the runner touches, which the image's builder has listed; read only if it is root's.",
        |c, v| path(v).map(|v| c.runner.read_ahead_list = v),
    ),
    key("limits.booting", ValueKind::Duration, "60s", "Learning who the machine is.", |c, v| {
        positive(v).map(|v| c.limits.booting = v)
    }),
    key(
        "limits.listening",
        ValueKind::Duration,
        "5m",
        "From the runner's start to 'Listening for Jobs'. GitHub's runner itself tries a conflicting session for 3.5 minutes.",
        |c, v| positive(v).map(|v| c.limits.listening = v),
    ),
    key("limits.idle", ValueKind::Duration, "5m", "Listening without a job.", |c, v| {
        positive(v).map(|v| c.limits.idle = v)
    }),
    key("limits.assigned", ValueKind::Duration, "5m", "From the job request to a worker process.", |c, v| {
        positive(v).map(|v| c.limits.assigned = v)
    }),
    key(
        "limits.job",
        ValueKind::Duration,
        "6h30m",
        "A job at work. GitHub's own limit is 6 hours by default.",
        |c, v| positive(v).map(|v| c.limits.job = v),
    ),
    key("limits.finishing", ValueKind::Duration, "2m", "From the job's end to the runner's exit.", |c, v| {
        positive(v).map(|v| c.limits.finishing = v)
    }),
    key("limits.updating", ValueKind::Duration, "5m", "The runner replacing itself.", |c, v| {
        positive(v).map(|v| c.limits.updating = v)
    }),
    key("limits.draining", ValueKind::Duration, "45s", "From the request to stop to the kill.", |c, v| {
        positive(v).map(|v| c.limits.draining = v)
    }),
    key("limits.closing", ValueKind::Duration, "30s", "Flushing logs and writing the record.", |c, v| {
        positive(v).map(|v| c.limits.closing = v)
    }),
    key("limits.terminating", ValueKind::Duration, "60s", "Each termination method.", |c, v| {
        positive(v).map(|v| c.limits.terminating = v)
    }),
    key(
        "limits.lifetime",
        ValueKind::Duration,
        "7h30m",
        "The whole run, from launch or from leaving the warm pool.",
        |c, v| positive(v).map(|v| c.limits.lifetime = v),
    ),
    key(
        "interruption.spot_poll",
        ValueKind::Duration,
        "2s",
        "How often a spot interruption notice is looked for; 1s or more.",
        |c, v| at_least_a_second(v).map(|v| c.interruption.spot_poll = v),
    ),
    key(
        "interruption.rebalance",
        ValueKind::Word(Rebalance::WORDS),
        "drain-idle",
        "What a rebalance recommendation does: end an instance without a job, or nothing but a record.",
        |c, v| Rebalance::parse(v).map(|v| c.interruption.rebalance = v),
    ),
    key(
        "interruption.stop_at",
        ValueKind::Duration,
        "25s",
        "How long before an interruption a running job is asked to stop.",
        |c, v| positive(v).map(|v| c.interruption.stop_at = v),
    ),
    key(
        "interruption.kill_at",
        ValueKind::Duration,
        "8s",
        "How long before an interruption a running job is killed.",
        |c, v| positive(v).map(|v| c.interruption.kill_at = v),
    ),
    key(
        "autoscaling.launch_hook",
        ValueKind::Text,
        "",
        "The lifecycle hook of the Auto Scaling group for launches; answered once the runner listens. Empty for none.",
        |c, v| {
            c.autoscaling.launch_hook = v.to_owned();
            Ok(())
        },
    ),
    key(
        "autoscaling.termination_hook",
        ValueKind::Text,
        "",
        "The lifecycle hook of the Auto Scaling group for terminations; kept waiting until the job is done. Empty for none.",
        |c, v| {
            c.autoscaling.termination_hook = v.to_owned();
            Ok(())
        },
    ),
    key("docker.mode", ValueKind::Word(DockerMode::WORDS), "if-present", "What a job needs of Docker.", |c, v| {
        DockerMode::parse(v).map(|v| c.docker = v)
    }),
    key(
        "host.min_disk",
        ValueKind::Size,
        "2GiB",
        "What must be free for runner, state and Docker each before a job is fetched, with 1 % of the inodes; below a quarter of it a running job's log gets a warning.",
        |c, v| size(v).map(|v| c.host.min_disk = v),
    ),
    key(
        "isolation.level",
        ValueKind::Word(Level::WORDS),
        "compatible",
        "What a job may do on its machine. provision makes it so and writes this; mayfly doctor checks it.",
        |c, v| Level::parse(v).map(|v| c.isolation = v),
    ),
    key(
        "job.summary",
        ValueKind::Boolean,
        "false",
        "Whether the start-up's times and the machine's peaks are written to the job's summary page, by the job-completed hook.",
        |c, v| boolean(v).map(|v| c.job_summary = v),
    ),
    key(
        "logs.sink",
        ValueKind::Word(Sink::WORDS),
        "cloudwatch",
        "Where logs go. With platform = \"local\" there is no AWS, and cloudwatch is none.",
        |c, v| Sink::parse(v).map(|v| c.logs.sink = v),
    ),
    key(
        "logs.group",
        ValueKind::Text,
        "/mayfly/{class}",
        "The CloudWatch Logs group; {class}, {instance_id} and {tag:KEY} are filled in. It is made if it is not there.",
        |c, v| {
            template::check_group(v)?;
            c.logs.group = v.to_owned();
            Ok(())
        },
    ),
    key(
        "logs.directory",
        ValueKind::Path,
        "",
        "Where logs go with sink = \"directory\": a directory for each instance, a file for each stream.",
        |c, v| optional_path(v).map(|v| c.logs.directory = v),
    ),
    key(
        "logs.max_bytes",
        ValueKind::Size,
        "1GiB",
        "The most that is shipped in one run; what is beyond is counted as lost. The agent's own lines still go.",
        |c, v| size(v).map(|v| c.logs.max_bytes = v),
    ),
    key(
        "metrics.listen",
        ValueKind::Text,
        "127.0.0.1:29464",
        "Where Prometheus finds the metrics; empty for nowhere.",
        |c, v| listen(v).map(|v| c.metrics = v),
    ),
    key(
        "terminate.decrement",
        ValueKind::Boolean,
        "true",
        "Whether ending the instance lowers its Auto Scaling group's desired capacity.",
        |c, v| boolean(v).map(|v| c.terminate.decrement = v),
    ),
    key(
        "terminate.poweroff",
        ValueKind::Word(PowerOff::WORDS),
        "ec2-only",
        "When the machine may be powered off.",
        |c, v| PowerOff::parse(v).map(|v| c.terminate.poweroff = v),
    ),
    key(
        "terminate.poweroff_command",
        ValueKind::Text,
        "systemctl poweroff",
        "What powers the machine off; run by /bin/sh.",
        |c, v| {
            c.terminate.poweroff_command = v.to_owned();
            Ok(())
        },
    ),
    key(
        "terminate.hold_on_failure",
        ValueKind::Duration,
        "0s",
        "How long a machine whose run failed is kept for a person to look at.",
        |c, v| duration(v).map(|v| c.terminate.hold_on_failure = v),
    ),
];

/// The sections there are.
pub(super) fn sections() -> impl Iterator<Item = &'static str> {
    let mut sections: Vec<_> =
        KEYS.iter().filter_map(|key| key.name.split_once('.').map(|(section, _)| section)).collect();
    sections.dedup();
    sections.into_iter()
}

fn path(text: &str) -> Result<std::path::PathBuf, ValueError> {
    let path = std::path::PathBuf::from(text);
    if path.is_absolute() { Ok(path) } else { Err(ValueError::NotAbsolute(text.to_owned())) }
}

fn optional_path(text: &str) -> Result<std::path::PathBuf, ValueError> {
    if text.is_empty() { Ok(std::path::PathBuf::new()) } else { path(text) }
}

/// The metadata service is shared with the job's own traffic, and limits both.
fn at_least_a_second(text: &str) -> Result<std::time::Duration, ValueError> {
    let value = duration(text)?;
    if value.as_secs() == 0 { Err(ValueError::UnderASecond) } else { Ok(value) }
}

fn boolean(text: &str) -> Result<bool, ValueError> {
    text.parse().map_err(|_| ValueError::NotABoolean(text.to_owned()))
}

fn listen(text: &str) -> Result<Option<std::net::SocketAddr>, ValueError> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| ValueError::NotAnAddress(text.to_owned()))
}
