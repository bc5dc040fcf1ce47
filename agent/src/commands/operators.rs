//! `mayfly drain`, `mayfly hold` and `mayfly release`

use std::time::Duration;

use thiserror::Error;

use super::{AgentAddress, exit, fail, print};
use crate::control::Request;
use crate::control::operators::{Answer, Order};

/// Where to send an order, and how to print the answer.
#[derive(Debug, clap::Args)]
struct Common {
    #[command(flatten)]
    agent: AgentAddress,
    /// Print the answer as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct DrainArgs {
    /// Stop the job that is running, too
    #[arg(long)]
    now: bool,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, clap::Args)]
pub(super) struct HoldArgs {
    /// For how long from now, such as 30m or 2h
    #[arg(value_parser = duration)]
    duration: Duration,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, clap::Args)]
pub(super) struct ReleaseArgs {
    #[command(flatten)]
    common: Common,
}

pub(super) fn drain(args: &DrainArgs) -> u8 {
    args.common.order(if args.now { Order::DrainNow } else { Order::Drain })
}

pub(super) fn hold(args: &HoldArgs) -> u8 {
    args.common.order(Order::Hold { seconds: args.duration.as_secs() })
}

pub(super) fn release(args: &ReleaseArgs) -> u8 {
    args.common.order(Order::Release)
}

impl Common {
    fn order(&self, order: Order) -> u8 {
        let answer: Answer = match self.agent.ask(Request::Order(order)) {
            Ok(answer) => answer,
            Err(code) => return code,
        };
        if self.json {
            let printed = print(|out| {
                serde_json::to_writer_pretty(&mut *out, &answer)?;
                writeln!(out)
            });
            return if answer.accepted { printed } else { exit::UNAVAILABLE };
        }
        if answer.accepted {
            print(|out| writeln!(out, "{}", answer.message))
        } else {
            fail(exit::UNAVAILABLE, &answer.message)
        }
    }
}

/// Why an argument is not taken for a duration.
#[derive(Debug, Error)]
enum DurationError {
    #[error("must be a second or longer")]
    TooShort,
    #[error("not a duration such as 30m or 2h: {0}")]
    NotADuration(#[from] humantime::DurationError),
}

/// Whole seconds, and at least one.
fn duration(text: &str) -> Result<Duration, DurationError> {
    match humantime::parse_duration(text)? {
        duration if duration.as_secs() > 0 => Ok(duration),
        _ => Err(DurationError::TooShort),
    }
}
