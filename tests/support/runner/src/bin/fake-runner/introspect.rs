//! How this process finds itself: what a test of the supervisor wants to know.

use std::collections::BTreeMap;
use std::fs;

use mayfly_fake_runner::recording::{Descriptor, Start};
use nix::unistd;
use signal_hook::consts::SIGPIPE;

/// Variables whose values are recorded: no secrets, and set by a supervisor.
const SHOWN: [&str; 7] = [
    "PATH",
    "HOME",
    "LANG",
    "RUNNER_PERFLOG",
    "ACTIONS_RUNNER_RETURN_JOB_RESULT_FOR_HOSTED",
    "ACTIONS_RUNNER_RETURN_VERSION_DEPRECATED_EXIT_CODE",
    "DOTNET_SYSTEM_GLOBALIZATION_INVARIANT",
];

pub(crate) fn start() -> Start {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let numbers = |key| -> Vec<u32> {
        let words = field(&status, key).split_whitespace();
        words.filter_map(|word| word.parse().ok()).collect()
    };
    let environment: BTreeMap<String, String> = std::env::vars_os()
        .map(|(key, value)| {
            let (key, value) = (key.to_string_lossy(), value.to_string_lossy());
            (key.into_owned(), value.into_owned())
        })
        .collect();
    Start {
        pid: std::process::id(),
        ppid: std::os::unix::process::parent_id(),
        pgid: unistd::getpgrp().as_raw(),
        sid: unistd::getsid(None).map_or(-1, unistd::Pid::as_raw),
        uid: numbers("Uid").first().copied().unwrap_or_default(),
        gid: numbers("Gid").first().copied().unwrap_or_default(),
        groups: numbers("Groups"),
        argv: masked_arguments(),
        env_keys: environment.keys().cloned().collect(),
        env: environment
            .into_iter()
            .filter(|(key, _)| SHOWN.contains(&key.as_str()) || key.starts_with("ACTIONS_RUNNER_HOOK_"))
            .collect(),
        fds: descriptors(),
        umask: field(&status, "Umask").to_owned(),
        cwd: std::env::current_dir().map(|path| path.to_string_lossy().into_owned()).unwrap_or_default(),
        sigign: ignored(&status),
    }
}

/// Whether this signal was inherited as ignored.
pub(crate) fn is_ignored(signal: i32) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    ignored(&status).contains(&signal)
}

fn field<'a>(status: &'a str, key: &str) -> &'a str {
    let value = |line: &'a str| line.strip_prefix(key)?.strip_prefix(':');
    status.lines().find_map(value).unwrap_or_default().trim()
}

/// `SigIgn` is a mask in hexadecimal; bit 0 is signal 1. SIGPIPE is left out:
/// Rust's own start-up ignores it, so what was inherited cannot be told.
fn ignored(status: &str) -> Vec<i32> {
    let mask = u64::from_str_radix(field(status, "SigIgn"), 16).unwrap_or(0);
    (1..=64).filter(|signal| *signal != SIGPIPE && mask >> (signal - 1) & 1 == 1).collect()
}

/// The blob must not get into the recording, where a leak test would find it.
fn masked_arguments() -> Vec<String> {
    let mut after_jit = false;
    std::env::args_os()
        .map(|word| {
            let word = word.to_string_lossy().into_owned();
            let hidden = std::mem::replace(&mut after_jit, word.eq_ignore_ascii_case("--jitconfig"));
            if hidden { "***".to_owned() } else { word }
        })
        .collect()
}

fn descriptors() -> Vec<Descriptor> {
    let Ok(entries) = fs::read_dir("/proc/self/fd") else {
        return Vec::new();
    };
    let mut open: Vec<Descriptor> = entries
        .flatten()
        .filter_map(|entry| {
            let target = fs::read_link(entry.path()).ok()?;
            let target = target.to_string_lossy().into_owned();
            let fd = entry.file_name().to_str()?.parse().ok()?;
            // The descriptor this very listing reads from.
            let own = target.starts_with("/proc/") && target.ends_with("/fd");
            (!own).then_some(Descriptor { fd, target })
        })
        .collect();
    open.sort_by_key(|descriptor| descriptor.fd);
    open
}
