//! `mayfly doctor`

use std::io::{self, IsTerminal};
use std::path::PathBuf;

use super::{environment, exit, fail, print};
use crate::doctor::{Machine, Report, examine};
use mayfly_core::config::{DEFAULT_PATH, load};

#[derive(Debug, clap::Args)]
pub(super) struct DoctorArgs {
    /// The agent's configuration
    #[arg(long, value_name = "FILE", default_value = DEFAULT_PATH)]
    config: PathBuf,
    /// Judge an image build: refuse warnings, and whatever was not tried that can be tried in a build
    #[arg(long)]
    image: bool,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &DoctorArgs) -> u8 {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(exit::SOFTWARE, format_args!("the doctor cannot begin: {error}")),
    };
    let machine = Machine::discover(load(&args.config, environment(), &[]), args.image);
    let colours = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let mut report = Report::new(&machine);
    runtime.block_on(examine(&machine, |section| {
        // At once: the checks with containers take seconds, and a person is waiting.
        if !args.json {
            print(|out| write!(out, "{}", section.to_text(colours)));
        }
        report.add(section);
    }));
    runtime.shutdown_background();
    let printed = if args.json {
        print(|out| {
            serde_json::to_writer_pretty(&mut *out, &report)?;
            writeln!(out)
        })
    } else {
        print(|out| writeln!(out, "{}", report.summary(colours)))
    };
    if report.passes() { printed } else { exit::BROKEN }
}
