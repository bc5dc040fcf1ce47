//! The clean-up at the end of a job: processes that came up during the job
//! and carry its tracking id are killed. Other users' processes, and those
//! that changed the variable, are missed, as upstream misses them.

use std::collections::BTreeSet;
use std::fs;

use mayfly_fake_runner::strings;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::pages::Pages;

pub(crate) fn snapshot() -> BTreeSet<i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

pub(crate) fn clean_up(before: &BTreeSet<i32>, tracking: &str, pages: &Pages) {
    pages.line(strings::ORPHANS);
    let wanted = format!("RUNNER_TRACKING_ID={tracking}").into_bytes();
    for pid in snapshot().difference(before) {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        if !environment.split(|byte| *byte == 0).any(|one| one == wanted) {
            continue;
        }
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        let values = [("pid", &*pid.to_string()), ("name", name.trim())];
        pages.line(&strings::fill(strings::ORPHAN, &values));
        let _ = kill(Pid::from_raw(*pid), Signal::SIGKILL);
    }
}
