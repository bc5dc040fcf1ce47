//! A wall clock for one run that a test can set, as an administrator or time synchronisation does. The boot clock goes on.

use std::path::PathBuf;
use std::process::Command;

use super::Run;

/// See the module.
#[derive(Debug)]
pub struct WallClock(PathBuf);

impl WallClock {
    /// Gives the run's processes a clock of their own.
    #[must_use]
    pub fn of(run: Run) -> (Run, Self) {
        let (library, file) = (run.directory().join("wall.so"), run.directory().join("wall-clock"));
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/support/clock/wall.c");
        // Rust itself links with it.
        let made =
            Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(source).status().unwrap();
        assert!(made.success(), "cc cannot make the clock: {made}");
        let set = |run: Run, name, path: &PathBuf| run.set(name, &path.to_string_lossy());
        let run = set(run, "LD_PRELOAD", &library);
        (set(run, "MAYFLY_TEST_WALL_CLOCK", &file), Self(file))
    }

    /// Sets it so far from the real one.
    pub fn set(&self, seconds: i64) {
        let new = self.0.with_extension("new");
        std::fs::write(&new, seconds.to_string()).unwrap();
        std::fs::rename(new, &self.0).unwrap();
    }
}
