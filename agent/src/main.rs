//! The `mayfly` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    mayfly::commands::main()
}
