//! Files that survive a crash of the machine: whole or not at all, under their name when the call returns.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// How often this process has tried to create a file.
static TRIES: AtomicU32 = AtomicU32::new(0);

/// Readable by nobody else.
const MODE: u32 = 0o600;

/// Puts a file in place of whatever has its name: written beside, synced, renamed, and the directory synced.
///
/// # Errors
/// It could not be done, and what was there is there still. (Or the directory could not be synced: then it may be either.)
pub fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let beside = beside(path, "new")?;
    write(&beside, content)?;
    fs::rename(beside, path)?;
    sync_directory(path)
}

/// Makes a file that must not be there yet: of all who try, also at the same moment, one succeeds.
///
/// # Errors
/// `AlreadyExists` if it is there, whoever made it; others if it could not be made durable.
pub fn create(path: &Path, content: &[u8]) -> io::Result<()> {
    // Its own name for each who tries. A crash leaves it, and `remove_unfinished` removes it.
    let number = TRIES.fetch_add(1, Ordering::Relaxed);
    let beside = beside(path, &format!("{}-{number}", std::process::id()))?;
    // Not a rename: that would replace what somebody else made.
    let linked = write(&beside, content).and_then(|()| fs::hard_link(&beside, path));
    remove(&beside)?;
    linked?;
    sync_directory(path)
}

/// Removes what crashes in [`create`] have left of this file.
///
/// # Errors
/// The first that is there and could not be removed.
pub fn remove_unfinished(path: &Path) -> io::Result<()> {
    let beside = beside(path, "")?;
    let prefix = beside.file_name().unwrap_or_default().as_encoded_bytes();
    let Some(directory) = path.parent() else { return Ok(()) };
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_name().as_encoded_bytes().starts_with(prefix) {
            remove(&entry.path())?;
        }
    }
    Ok(())
}

/// Removes a file; one that is not there is removed already.
///
/// # Errors
/// It is there and could not be removed.
pub fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(MODE).open(path)?;
    file.write_all(content)?;
    file.sync_all()
}

/// `.name.suffix` in the same directory: nobody takes it for the file itself.
fn beside(path: &Path, suffix: &str) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    hidden.push(format!(".{suffix}"));
    Ok(path.with_file_name(hidden))
}

fn sync_directory(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(directory) => File::open(directory)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn of_many_who_create_a_file_at_the_same_moment_one_succeeds_and_it_is_whole() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("marker");
        let tries: Vec<_> = (0..8)
            .map(|_| {
                let path = path.clone();
                std::thread::spawn(move || create(&path, b"whole").is_ok())
            })
            .collect();
        let succeeded = tries.into_iter().filter_map(|handle| handle.join().ok()).filter(|made| *made).count();
        assert_eq!(succeeded, 1, "nobody, or two, were told that they were the first");
        assert_eq!(create(&path, b"again").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(path).unwrap(), b"whole");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "those who came too late leave files behind");
    }

    #[test]
    fn what_crashes_left_is_removed_and_the_file_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("marker");
        create(&path, b"whole").unwrap();
        for left in [".marker.17-0", ".marker.99999-3"] {
            fs::write(directory.path().join(left), "half").unwrap();
        }
        remove_unfinished(&path).unwrap();
        let names: Vec<_> = fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["marker"]);
    }

    #[test]
    fn a_file_that_cannot_be_replaced_is_what_it_was() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("record");
        replace(&path, b"first").unwrap();
        fs::create_dir(directory.path().join(".record.new")).unwrap();
        assert!(replace(&path, b"second").is_err());
        assert_eq!(fs::read(path).unwrap(), b"first");
    }
}
