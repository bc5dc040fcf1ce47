//! The files of the JIT configuration in the runner's directory.
//!
//! That directory belongs to the runner's user, who may have left symbolic links there: every file is made anew, never
//! opened through a link, and readable by that user only from its first moment on.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, fchown};
use std::path::Path;

use crate::base::durable;
use crate::base::users::User;

/// Files of an earlier registration, baked into an image by mistake, would be loaded by the runner.
const REGISTRATION_PREFIXES: [&str; 2] = [".runner", ".credentials"];

/// Puts the files in place, owned by `user` if one is given, mode 0600.
///
/// # Errors
/// The first file that could not be written, with its path.
pub fn place<'a>(
    directory: &Path,
    files: impl Iterator<Item = (&'a str, &'a [u8])>,
    user: Option<&User>,
) -> io::Result<()> {
    remove(directory, &[])?;
    for (name, content) in files {
        let path = directory.join(name);
        write_new(&path, content, user).map_err(|error| annotate(&error, "write", &path))?;
    }
    File::open(directory)?.sync_all()
}

fn write_new(path: &Path, content: &[u8], user: Option<&User>) -> io::Result<()> {
    durable::remove(path)?;
    // create_new implies O_EXCL, which never follows a link.
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    if let Some(user) = user {
        fchown(&file, Some(user.uid.as_raw()), Some(user.gid.as_raw()))?;
    }
    file.write_all(content)
}

/// Puts an empty `.service` file in place: with it, SIGQUIT tells the job that the operating system is shutting down.
///
/// # Errors
/// It could not be made.
pub fn mark_service(directory: &Path) -> io::Result<()> {
    write_new(&directory.join(".service"), b"", None)
}

/// What the runner shows in the job's "Set up job" step.
pub const SETUP_INFO: &str = ".setup_info";

/// Puts `.setup_info` in place.
///
/// # Errors
/// It could not be made.
pub fn tell_setup(directory: &Path, text: &str, user: Option<&User>) -> io::Result<()> {
    write_new(&directory.join(SETUP_INFO), text.as_bytes(), user)
}

/// Removes the registration's files and the further ones named, which [`place`] wrote. The runner removes most of them
/// itself after a job. Whatever a job planted under such a name goes too; nothing keeps the rest from being removed.
///
/// # Errors
/// The first file that is there and could not be removed.
pub fn remove(directory: &Path, further: &[String]) -> io::Result<()> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(|error| annotate(&error, "read", directory))?,
    };
    let mut outcome = Ok(());
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        let ours = REGISTRATION_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
            || further.iter().any(|placed| placed == name);
        if ours {
            let path = directory.join(name);
            let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
            let removed = if is_directory { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            match removed {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    outcome = outcome.and(Err(annotate(&error, "remove", &path)));
                }
                _ => {}
            }
        }
    }
    outcome
}

fn annotate(error: &io::Error, verb: &str, path: &Path) -> io::Error {
    io::Error::new(error.kind(), format!("cannot {verb} {}: {error}", path.display()))
}
