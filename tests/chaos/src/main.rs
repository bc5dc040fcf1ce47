//! `mayfly-chaos`: see `scripts/chaos`.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it talks to a person")]

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use clap::Parser;
use mayfly_chaos::campaign::{Campaign, Summary};
use mayfly_chaos::plan::Plan;

/// Makes many runs of the mayfly binary in which anything may go wrong, and judges each.
#[derive(Debug, Parser)]
#[command(name = "scripts/chaos")]
struct Args {
    /// How many runs
    #[arg(long, default_value_t = 200)]
    runs: u64,
    /// The seed of the first run; each further one has the next. Random if it is not given
    #[arg(long)]
    seed: Option<u64>,
    /// How many at once
    #[arg(long, default_value_t = 16)]
    jobs: usize,
    /// Where what tells of a failed run is kept
    #[arg(long, default_value = "/tmp/mayfly-chaos")]
    evidence: PathBuf,
    /// Keep it of every run
    #[arg(long)]
    keep: bool,
    /// Live until a promise is broken, and fail if none is: for a binary with a planted bug
    #[arg(long)]
    until_caught: bool,
    /// Only print the plans
    #[arg(long)]
    plans: bool,
    #[arg(long, hide = true)]
    apart: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let seed = args.seed.unwrap_or_else(|| fastrand::u64(0..1_000_000_000));
    if args.plans {
        (0..args.runs).for_each(|number| println!("{}", Plan::of(seed.wrapping_add(number))));
        return ExitCode::SUCCESS;
    }
    if !args.apart {
        // Small disks are mounted for some runs: where nobody else sees them, and without being root.
        eprintln!("error: cannot run unshare, of util-linux: {}", apart(seed));
        return ExitCode::FAILURE;
    }
    let campaign = Campaign {
        seed,
        runs: args.runs,
        jobs: args.jobs,
        evidence: args.evidence,
        keep: args.keep,
        until_caught: args.until_caught,
    };
    let summary = campaign.run();
    if campaign.until_caught {
        return caught(&summary);
    }
    println!("{}", summary.told(seed, &campaign.evidence));
    if summary.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What is told of a planted bug.
fn caught(summary: &Summary) -> ExitCode {
    let Some((seed, broken)) = summary.violations.first() else {
        println!("NOT caught in {} runs, {:.0} s", summary.runs, summary.wall.as_secs_f64());
        return ExitCode::FAILURE;
    };
    let promises: Vec<_> = broken.iter().map(|violation| violation.promise).collect();
    println!("caught by run {} (seed {seed}): {}", summary.caught_after, promises.join("; "));
    ExitCode::SUCCESS
}

/// This program again, in namespaces of its own; returns only if that fails.
fn apart(seed: u64) -> std::io::Error {
    let own = match std::env::current_exe() {
        Ok(own) => own,
        Err(error) => return error,
    };
    let mut command = Command::new("unshare");
    command.args(["--map-root-user", "--mount", "--"]).arg(own).args(["--apart", "--seed", &seed.to_string()]);
    command.args(without_seed()).exec()
}

/// The arguments as given, but for the seed.
fn without_seed() -> Vec<String> {
    let mut arguments = std::env::args().skip(1);
    let mut kept = Vec::new();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--seed" => drop(arguments.next()),
            _ if argument.starts_with("--seed=") => {}
            _ => kept.push(argument),
        }
    }
    kept
}
