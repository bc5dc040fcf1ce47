//! Which JIT configurations are spent: a runner was started with them, whatever became of it.
//!
//! The marker of a start carries the fingerprint of its JIT configuration, so that "started" and "spent" are one durable
//! write: no crash comes in between. Before a marker is removed its fingerprint is filed in the list `spent`, beside it.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::base::durable;

/// How many are remembered, the newest: GitHub has long forgotten the registrations of those before.
pub const REMEMBERED: usize = 1000;

/// A SHA-256 in hexadecimal.
const FINGERPRINT: usize = 64;

/// Where the list is.
#[must_use]
pub fn path(state_directory: &Path) -> PathBuf {
    state_directory.join("spent")
}

/// Whether a JIT configuration is on the list. A list that is not there has nobody on it.
///
/// # Errors
/// The list is there and cannot be read: then nobody knows.
pub fn contains(state_directory: &Path, fingerprint: &str) -> io::Result<bool> {
    let path = path(state_directory);
    let known = read(&path).map_err(|error| named(&error, &path))?;
    Ok(known.iter().any(|known| known == fingerprint))
}

/// Puts a JIT configuration on the list, durably; once is enough.
///
/// # Errors
/// The list could not be read or written, and is what it was.
pub fn add(state_directory: &Path, fingerprint: &str) -> io::Result<()> {
    let path = path(state_directory);
    put(&path, fingerprint).map_err(|error| named(&error, &path))
}

fn put(path: &Path, fingerprint: &str) -> io::Result<()> {
    let mut known = read(path)?;
    if known.iter().any(|known| known == fingerprint) {
        return Ok(());
    }
    known.push(fingerprint.to_owned());
    let newest = known.split_off(known.len().saturating_sub(REMEMBERED));
    durable::replace(path, (newest.join("\n") + "\n").as_bytes())
}

fn read(path: &Path) -> io::Result<Vec<String>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        file => file?,
    };
    let longest = REMEMBERED * (FINGERPRINT + 1);
    let mut text = String::new();
    file.take(longest as u64 + 1).read_to_string(&mut text)?;
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let whole = |line: &String| line.len() == FINGERPRINT && line.bytes().all(|byte| byte.is_ascii_hexdigit());
    if text.len() > longest || !lines.iter().all(whole) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is not what mayfly wrote"));
    }
    Ok(lines)
}

fn named(error: &io::Error, path: &Path) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::fs;

    fn number(number: usize) -> String {
        format!("{number:064x}")
    }

    #[test]
    fn the_list_is_bounded_and_the_newest_stay_on_it() {
        let state = tempfile::tempdir().unwrap();
        let all: Vec<String> = (0..REMEMBERED).map(number).collect();
        fs::write(path(state.path()), all.join("\n") + "\n").unwrap();
        add(state.path(), &number(5)).unwrap();
        assert!(contains(state.path(), &number(0)).unwrap(), "one that was known pushed another off the list");
        add(state.path(), &number(REMEMBERED)).unwrap();
        assert!(!contains(state.path(), &number(0)).unwrap(), "the list grows without a bound");
        assert!(contains(state.path(), &number(1)).unwrap() && contains(state.path(), &number(REMEMBERED)).unwrap());
    }

    #[test]
    fn a_list_that_cannot_be_read_is_not_an_empty_one() {
        let long = (0..=REMEMBERED).map(number).collect::<Vec<_>>().join("\n");
        for content in ["half a fingerpr", &long, "\u{0}\n"] {
            let state = tempfile::tempdir().unwrap();
            fs::write(path(state.path()), content).unwrap();
            assert!(contains(state.path(), &number(1)).is_err(), "unknown was taken for no");
            assert!(add(state.path(), &number(1)).is_err());
            assert_eq!(fs::read_to_string(path(state.path())).unwrap(), content, "evidence was overwritten");
        }
    }
}
