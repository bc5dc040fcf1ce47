//! What the runner's double may play, and how such a run ends if nothing else interferes.

/// A scenario and its outcomes.
#[derive(Clone, Copy, Debug)]
pub struct Story {
    /// The scenario's name.
    pub name: &'static str,
    /// The outcomes that it may have undisturbed, the usual one first.
    pub outcomes: &'static [&'static str],
    /// Whether the idle time and the job's time may be drawn.
    pub paced: bool,
}

const fn story(name: &'static str, outcomes: &'static [&'static str]) -> Story {
    Story { name, outcomes, paced: false }
}

/// A story of one ordinary job.
const fn paced(name: &'static str, outcomes: &'static [&'static str]) -> Story {
    Story { name, outcomes, paced: true }
}

/// All of them. `success` is there more than once, since most jobs mean no harm.
pub const ALL: &[Story] = &[
    paced("success", &["job-succeeded"]),
    paced("success", &["job-succeeded"]),
    paced("success", &["job-succeeded"]),
    paced("success", &["job-succeeded"]),
    paced("succeeded-with-issues", &["job-succeeded"]),
    paced("failed", &["job-failed"]),
    paced("failed", &["job-failed"]),
    paced("canceled", &["job-canceled"]),
    paced("skipped", &["job-succeeded"]),
    paced("abandoned", &["job-abandoned"]),
    paced("odd-name", &["job-succeeded"]),
    paced("imitating-names", &["job-succeeded"]),
    paced("imitating-names-newline", &["job-failed"]),
    story("exit-0-no-job", &["runner-crashed"]),
    story("exit-1", &["runner-crashed"]),
    story("exit-2", &["runner-crashed"]),
    story("exit-134", &["runner-crashed"]),
    story("abort", &["runner-crashed"]),
    story("killed-by-signal", &["runner-crashed"]),
    story("exit-before-output", &["runner-crashed"]),
    story("exit-2-then-success", &["runner-crashed"]),
    story("diag-not-writable", &["runner-crashed"]),
    story("never-listens", &["runner-not-listening"]),
    // Three seconds: longer than the limit here.
    story("slow-start", &["runner-not-listening"]),
    story("no-icu", &["runner-crashed"]),
    story("registration-deleted", &["registration-deleted"]),
    story("exit-5", &["session-conflict"]),
    story("clock-skew", &["clock-skew"]),
    story("exit-7", &["runner-version-deprecated"]),
    story("deprecated-old-spelling", &["runner-version-deprecated"]),
    story("no-job", &["idle-timeout"]),
    story("refresh-while-idle", &["idle-timeout"]),
    story("slow-shutdown", &["idle-timeout"]),
    story("ignores-sigint", &["idle-timeout"]),
    story("ghost", &["runner-wedged"]),
    story("ghost-then-job", &["job-succeeded"]),
    story("acknowledged-no-worker", &["runner-wedged"]),
    story("running-no-worker", &["runner-wedged"]),
    story("deleted-while-idle", &["registration-removed"]),
    story("deleted-while-idle-old", &["registration-removed"]),
    story("network-down", &["network-unreachable"]),
    story("network-down-then-reconnect", &["job-succeeded"]),
    story("poll-failure-mid-job", &["job-canceled"]),
    story("poll-failures-spread", &["job-canceled"]),
    story("100-without-worker", &["job-unknown"]),
    story("worker-crash", &["worker-crashed"]),
    story("worker-exit-1", &["worker-crashed"]),
    story("disk-full", &["worker-crashed"]),
    story("worker-hang", &["job-timeout"]),
    story("worker-ipc-timeout", &["job-unknown"]),
    story("listener-killed", &["runner-crashed"]),
    story("completes-never-exits", &["job-succeeded"]),
    story("worker-gone-listener-alive", &["runner-wedged"]),
    story("flood", &["job-succeeded"]),
    story("ignores-sigint-with-job", &["job-timeout"]),
    story("late-job", &["job-succeeded"]),
    story("long-job", &["job-timeout"]),
    story("stubborn-step", &["job-timeout"]),
    story("leaves-children", &["job-succeeded"]),
    story("update-exit-4", &["runner-updating"]),
    story("update-then-success", &["runner-updating"]),
    story("exit-3", &["runner-updating"]),
    story("update-failed-goes-on", &["job-succeeded"]),
];

/// The story of this name.
#[must_use]
pub fn named(name: &str) -> Story {
    *ALL.iter().find(|story| story.name == name).unwrap_or_else(|| panic!("no story {name}"))
}
