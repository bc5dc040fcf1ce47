//! Where the agent's own log goes.

use std::io;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::platform::aws::LOG_CAPS;

/// To journald if the process was started by systemd, else to standard error.
pub fn to_journal_or_stderr(default_level: &str) {
    // systemd sets this for services whose output goes to the journal.
    let journal = std::env::var_os("JOURNAL_STREAM").and_then(|_| tracing_journald::layer().ok());
    match journal {
        Some(journal) => {
            tracing_subscriber::registry().with(filter(default_level)).with(caps()).with(journal).init();
        }
        None => to_stderr(default_level),
    }
}

/// To standard error. `MAYFLY_LOG` sets the level, as in `debug` or `mayfly=debug`.
pub fn to_stderr(default_level: &str) {
    use std::io::IsTerminal;
    let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let lines =
        tracing_subscriber::fmt::layer().with_writer(io::stderr).with_ansi(io::stderr().is_terminal() && !no_colour);
    tracing_subscriber::registry().with(filter(default_level)).with(caps()).with(lines).init();
}

fn filter(default_level: &str) -> EnvFilter {
    EnvFilter::try_from_env("MAYFLY_LOG").unwrap_or_else(|_| EnvFilter::new(default_level))
}

/// The finest levels of the AWS SDK show requests and answers, and so the JIT configuration. A filter of its own, so that
/// no `MAYFLY_LOG` can lift it.
fn caps() -> EnvFilter {
    let everything = EnvFilter::new("trace");
    LOG_CAPS.iter().filter_map(|cap| cap.parse().ok()).fold(everything, EnvFilter::add_directive)
}
