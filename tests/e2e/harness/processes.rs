//! The processes of a run, found by where they live.

use std::fs;
use std::path::Path;

use super::Run;

/// One process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its number.
    pub pid: i32,
    /// Its arguments.
    pub arguments: Vec<String>,
}

/// The living processes that belong to a run: their directory, their program or their arguments are inside its
/// directory, or their environment names it. The `mayfly` process of the test itself is one of them while it runs.
#[must_use]
pub fn of_run(run: &Run) -> Vec<Process> {
    inside(run.directory())
}

/// The same for any directory.
#[must_use]
pub fn inside(directory: &Path) -> Vec<Process> {
    all().filter(|process| belongs(process.pid, directory)).collect()
}

/// Every living process.
pub fn all() -> impl Iterator<Item = Process> {
    fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| {
        let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        let state = stat.rsplit_once(')')?.1.trim_start().chars().next()?;
        let arguments = fs::read(entry.path().join("cmdline")).ok()?;
        let arguments =
            arguments.split(|byte| *byte == 0).map(|part| String::from_utf8_lossy(part).into_owned()).collect();
        (!matches!(state, 'Z' | 'X')).then_some(Process { pid, arguments })
    })
}

fn belongs(pid: i32, directory: &Path) -> bool {
    let process = Path::new("/proc").join(pid.to_string());
    let link = |name: &str| fs::read_link(process.join(name)).is_ok_and(|target| target.starts_with(directory));
    let names = |name: &str| {
        let text = directory.as_os_str().as_encoded_bytes();
        fs::read(process.join(name)).is_ok_and(|content| content.windows(text.len()).any(|window| window == text))
    };
    link("cwd") || link("exe") || names("cmdline") || names("environ")
}
