//! Where the agent's own log goes.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use crate::platform::aws::LOG_CAPS;
use crate::systemd::RUNNER;

/// The target of the runner's console lines.
const RUNNER_TARGET: &str = "runner";

/// To journald if the process was started by systemd, else to standard error.
///
/// `file`: without journald, the agent's own lines go there too.
pub fn to_journal_or_stderr(default_level: &str, file: Option<&Path>) {
    // systemd sets this for services whose output goes to the journal.
    let journal = std::env::var_os("JOURNAL_STREAM").and_then(|_| tracing_journald::layer().ok());
    let console = tracing_journald::layer().ok();
    match journal.zip(console) {
        Some((journal, console)) => {
            let ours = journal.with_filter(filter_fn(|about| about.target() != RUNNER_TARGET));
            // Bare field names and the runner's own identifier: the lines look as if the runner had written them.
            let console = console.with_field_prefix(None).with_syslog_identifier("Runner.Listener".to_owned());
            let console = console.with_filter(filter_fn(|about| about.target() == RUNNER_TARGET));
            tracing_subscriber::registry().with(filter(default_level)).with(caps()).with(ours).with(console).init();
        }
        None => to_stderr_and(default_level, file.and_then(opened)),
    }
}

/// Passes a line of the runner's console on. journald files what a daemon of root says about another unit under that unit
/// (systemd.journal-fields(7), `OBJECT_SYSTEMD_UNIT=`), so `journalctl --unit mayfly-runner` shows it.
pub fn console_line(line: &str) {
    tracing::info!(target: RUNNER_TARGET, object_systemd_unit = RUNNER, "{line}");
}

/// Writes a line of figures, which is one JSON document and nothing else: so CloudWatch finds the metrics in it.
pub fn figures(line: &str) {
    tracing::info!(target: "figures", "{line}");
}

/// Writes the record, which is one JSON document and nothing else: the last that is shipped.
pub fn record(line: &str) {
    tracing::info!(target: "record", "{line}");
}

/// To standard error. `MAYFLY_LOG` sets the level, as in `debug` or `mayfly=debug`.
pub fn to_stderr(default_level: &str) {
    to_stderr_and(default_level, None);
}

fn to_stderr_and(default_level: &str, file: Option<File>) {
    use std::io::IsTerminal;
    let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let lines =
        tracing_subscriber::fmt::layer().with_writer(io::stderr).with_ansi(io::stderr().is_terminal() && !no_colour);
    // What the runner prints is in a file of its own.
    let own = file.map(|file| tracing_subscriber::fmt::layer().with_writer(Arc::new(file)).with_ansi(false));
    let own = own.with_filter(filter_fn(|about| about.target() != RUNNER_TARGET));
    tracing_subscriber::registry().with(filter(default_level)).with(caps()).with(lines).with(own).init();
}

/// Without it the agent runs all the same: its lines go to standard error.
fn opened(path: &Path) -> Option<File> {
    DirBuilder::new().recursive(true).mode(0o700).create(path.parent()?).ok()?;
    OpenOptions::new().append(true).create(true).mode(0o600).open(path).ok()
}

/// What is written for machines goes whatever the level is: alerts and dashboards live on it.
const DOCUMENTS: [&str; 2] = ["figures=info", "record=info"];

fn filter(default_level: &str) -> EnvFilter {
    let filter = EnvFilter::try_from_env("MAYFLY_LOG").unwrap_or_else(|_| EnvFilter::new(default_level));
    DOCUMENTS.iter().filter_map(|target| target.parse().ok()).fold(filter, EnvFilter::add_directive)
}

/// The finest levels of the AWS SDK show requests and answers, and so the JIT configuration. A filter of its own, so that
/// no `MAYFLY_LOG` can lift it.
fn caps() -> EnvFilter {
    let everything = EnvFilter::new("trace");
    LOG_CAPS.iter().filter_map(|cap| cap.parse().ok()).fold(everything, EnvFilter::add_directive)
}
