//! Log lines: for people on a terminal, as JSON elsewhere; the job's id is a field of each line that is about one.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _};

/// What the SDK logs is capped whatever the variable says: at the level trace it logs whole bodies.
const CAPS: &str =
    "trace,aws_smithy_runtime=info,aws_sigv4=info,h2=info,hyper=info,hyper_util=info,reqwest=info,rustls=info";

/// Begins. `MAYFLY_LOG` sets the level, as in `debug` or `mayfly_launcher=debug`.
pub(crate) fn begin(json: bool, level: &str) {
    let ours = format!("warn,mayfly_launcher={level}");
    let filter = std::env::var("MAYFLY_LOG").ok().and_then(|text| EnvFilter::try_new(text).ok());
    let filter = filter.unwrap_or_else(|| EnvFilter::new(ours));
    let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let lines = if json || !io::stderr().is_terminal() {
        tracing_subscriber::fmt::layer().json().flatten_event(true).with_writer(io::stderr).boxed()
    } else {
        tracing_subscriber::fmt::layer().with_writer(io::stderr).with_target(false).with_ansi(!no_colour).boxed()
    };
    tracing_subscriber::registry().with(filter).with(EnvFilter::new(CAPS)).with(lines).init();
}
