//! The `mayfly-launcher` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    mayfly_launcher::commands::main()
}
