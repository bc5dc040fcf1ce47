//! `mayfly status`

use super::{LifeArgs, environment, exit, fail, print};
use crate::config::load;
use crate::control::status::Status;
use crate::control::{Request, ask};
use crate::daemon::settings::control_socket;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    life: LifeArgs,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> u8 {
    let state = match &args.life.state_directory {
        Some(directory) => directory.clone(),
        None => match load(&args.life.config, environment(), &[]) {
            Ok(config) => config.state_directory,
            Err(problems) => return fail(exit::CONFIG, problems),
        },
    };
    let socket = control_socket(&state);
    match ask::<Status>(&socket, &Request::Status) {
        Ok(status) => print(|out| {
            if args.json {
                serde_json::to_writer_pretty(&mut *out, &status)?;
                writeln!(out)
            } else {
                writeln!(out, "{}", status.to_text())
            }
        }),
        Err(error) => fail(
            exit::UNAVAILABLE,
            format_args!(
                "no agent answers at {}: {error}; the last record, if there is one, is {}",
                socket.display(),
                state.join("record.json").display()
            ),
        ),
    }
}
