//! Lives in which anything may go wrong, each judged by witnesses. `scripts/chaos` lives thousands.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail there")]

use std::process::Command;

#[test]
fn two_hundred_lives_of_chaos_keep_every_promise() {
    let output =
        Command::new(env!("CARGO_BIN_EXE_mayfly-chaos")).args(["--seed", "1", "--lives", "200"]).output().unwrap();
    let told = format!("{}{}", String::from_utf8_lossy(&output.stderr), String::from_utf8_lossy(&output.stdout));
    assert!(output.status.success(), "{told}");
    assert!(told.contains("200 lives"), "not every life was lived: {told}");
    print!("{told}");
}
