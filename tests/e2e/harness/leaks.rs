//! Looking for secrets where none may be.

use std::fs;
use std::path::{Path, PathBuf};

use super::processes;

/// Every place that shows one of the secrets: arguments and environment of every process of this machine that can be
/// read, and every file below `directories` but those that `allowed` names.
#[must_use]
pub fn find(secrets: &[String], directories: &[&Path], allowed: impl Fn(&Path) -> bool) -> Vec<String> {
    let mut places: Vec<PathBuf> = Vec::new();
    for process in processes::all() {
        let directory = Path::new("/proc").join(process.pid.to_string());
        places.extend([directory.join("cmdline"), directory.join("environ")]);
    }
    places.retain(|place| !allowed(place));
    let mut found = in_places(secrets, &places);
    found.extend(in_files(secrets, directories, allowed));
    found
}

/// The same, but files only.
#[must_use]
pub fn in_files(secrets: &[String], directories: &[&Path], allowed: impl Fn(&Path) -> bool) -> Vec<String> {
    let mut places = Vec::new();
    for directory in directories {
        files_below(directory, &mut places);
    }
    places.retain(|place| !allowed(place));
    in_places(secrets, &places)
}

fn in_places(secrets: &[String], places: &[PathBuf]) -> Vec<String> {
    let mut found = Vec::new();
    for place in places {
        let Ok(content) = fs::read(place) else { continue };
        for secret in secrets {
            if content.windows(secret.len()).any(|window| window == secret.as_bytes()) {
                found.push(format!("{} shows {secret:?}", place.display()));
            }
        }
    }
    found
}

fn files_below(directory: &Path, places: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => files_below(&entry.path(), places),
            Ok(kind) if kind.is_file() => places.push(entry.path()),
            _ => {}
        }
    }
}
