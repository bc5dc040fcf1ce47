//! `mayfly status`

use super::{LifeArgs, print};
use crate::control::Request;
use crate::control::status::Status;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    life: LifeArgs,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> u8 {
    match args.life.ask::<Status>(Request::Status) {
        Ok(status) => print(|out| {
            if args.json {
                serde_json::to_writer_pretty(&mut *out, &status)?;
                writeln!(out)
            } else {
                writeln!(out, "{}", status.to_text())
            }
        }),
        Err(code) => code,
    }
}
