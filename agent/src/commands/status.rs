//! `mayfly status`

use super::{AgentAddress, print};
use crate::control::Request;
use crate::control::status::Status;

#[derive(Debug, clap::Args)]
pub(super) struct StatusArgs {
    #[command(flatten)]
    agent: AgentAddress,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &StatusArgs) -> u8 {
    match args.agent.ask::<Status>(Request::Status) {
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
