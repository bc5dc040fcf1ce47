//! `mayfly status`

use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::time::Duration;

use super::{AgentAddress, exit, fail, print};
use crate::base::paths::control_socket;
use crate::control::status::Status;
use crate::control::{Request, ask};

/// How often a watcher looks.
const PAUSE: Duration = Duration::from_secs(1);

/// An agent that was killed comes back after 3 s; one that does not answer so often in a row is not waited for.
const TRIES: u32 = 10;

#[derive(Debug, clap::Args)]
pub(super) struct StatusArgs {
    #[command(flatten)]
    agent: AgentAddress,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
    /// Look again each second, until the agent ends
    #[arg(long)]
    watch: bool,
}

pub(super) fn run(args: &StatusArgs) -> u8 {
    match args.agent.ask::<Status>(Request::Status) {
        Ok(status) if args.watch => watch(args, status),
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

/// On a terminal one screen that changes, else a line for each change of the state; as JSON a line each second.
fn watch(args: &StatusArgs, first: Status) -> u8 {
    let state = match args.agent.state() {
        Ok(state) => state,
        Err(code) => return code,
    };
    let (socket, terminal) = (control_socket(&state), io::stdout().is_terminal());
    let (mut status, mut shown, mut silent) = (Some(first), String::new(), 0);
    loop {
        if let Some(status) = &status {
            silent = 0;
            let drawn = match (args.json, terminal) {
                (true, _) => serde_json::to_string(status).map(|line| format!("{line}\n")).unwrap_or_default(),
                // From the top left corner; what was longer before is wiped.
                (false, true) => format!("\x1b[H\x1b[2J{}\n", status.to_text()),
                (false, false) => Some(line(status)).filter(|line| *line != shown).unwrap_or_default(),
            };
            if !args.json && !terminal && !drawn.is_empty() {
                shown.clone_from(&drawn);
            }
            let mut out = io::stdout().lock();
            if out.write_all(drawn.as_bytes()).and_then(|()| out.flush()).is_err() {
                return 0; // nobody looks any more
            }
        } else {
            silent += 1;
            if !socket.exists() {
                return ended(&state);
            }
            if silent >= TRIES {
                let since = PAUSE * TRIES;
                return fail(exit::UNAVAILABLE, format_args!("the agent does not answer any more, for {since:?}"));
            }
        }
        std::thread::sleep(PAUSE);
        status = ask(&socket, &Request::Status).ok();
    }
}

fn line(status: &Status) -> String {
    format!("{:<20} {}\n", status.state, status.doing)
}

/// The agent withdraws its socket when its run is over.
fn ended(state: &Path) -> u8 {
    let record = state.join("record.json");
    let _ = writeln!(io::stderr(), "mayfly: the run is over; mayfly timeline {} draws it", record.display());
    0
}
