//! The double of `Runner.Listener` and `Runner.Worker`.
//!
//! One program, three parts: as `bin/Runner.Listener` it plays the scenario of
//! its root, as `bin/Runner.Worker` it runs a job, under any other name it
//! installs itself and prints what tests need.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod arguments;
mod boot;
mod child;
mod console;
mod environment;
mod introspect;
mod job;
mod listener;
mod logs;
mod message;
mod orphans;
mod pages;
mod service;
mod settings;
mod signals;
mod verbs;
mod worker;

use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    let Ok(program) = std::env::current_exe() else {
        return ExitCode::FAILURE;
    };
    let root = program.ancestors().nth(2).map(PathBuf::from);
    let name = program.file_name().and_then(|name| name.to_str());
    let code = match (name, root) {
        (Some("Runner.Listener"), Some(root)) => boot::run(&root),
        (Some("Runner.Worker"), Some(root)) => worker::run(&root),
        _ => verbs::run(),
    };
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}
