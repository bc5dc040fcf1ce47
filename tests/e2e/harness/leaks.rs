//! Looking for secrets where none may be.

use std::fs;
use std::path::{Path, PathBuf};

use super::processes;

/// Every place that shows one of the secrets: arguments and environment of every process of this machine that can be
/// read, and every file below `directories` but those that `allowed` names.
#[must_use]
pub fn find(secrets: &[String], directories: &[&Path], allowed: impl Fn(&Path) -> bool) -> Vec<String> {
    let mut paths: Vec<PathBuf> = Vec::new();
    for process in processes::all() {
        let directory = Path::new("/proc").join(process.pid.to_string());
        paths.extend([directory.join("cmdline"), directory.join("environ")]);
    }
    paths.retain(|place| !allowed(place));
    let mut found = in_places(secrets, &paths);
    found.extend(in_files(secrets, directories, allowed));
    found
}

/// The same, but files only.
#[must_use]
pub fn in_files(secrets: &[String], directories: &[&Path], allowed: impl Fn(&Path) -> bool) -> Vec<String> {
    let mut paths = Vec::new();
    for directory in directories {
        files_below(directory, &mut paths);
    }
    paths.retain(|place| !allowed(place));
    in_places(secrets, &paths)
}

fn in_places(secrets: &[String], paths: &[PathBuf]) -> Vec<String> {
    let mut found = Vec::new();
    for place in paths {
        let Ok(content) = fs::read(place) else { continue };
        for secret in secrets {
            if content.windows(secret.len()).any(|window| window == secret.as_bytes()) {
                found.push(format!("{} shows {secret:?}", place.display()));
            }
        }
    }
    found
}

fn files_below(directory: &Path, paths: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => files_below(&entry.path(), paths),
            Ok(kind) if kind.is_file() => paths.push(entry.path()),
            _ => {}
        }
    }
}
