//! Files that others may have put there: no link is followed, no pipe is waited for, and only so much is read.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::fcntl::OFlag;

/// Opens a regular file to read it.
///
/// # Errors
/// It cannot be opened, or it is something else: a link, a pipe, a directory.
pub fn regular(path: &Path) -> io::Result<File> {
    let careful = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let file = OpenOptions::new().read(true).custom_flags(careful.bits()).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    Ok(file)
}

/// What a regular file has in it, up to so many bytes.
///
/// # Errors
/// As [`regular`], or it cannot be read.
pub fn at_most(path: &Path, bytes: u64) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    regular(path)?.take(bytes).read_to_end(&mut content)?;
    Ok(content)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_link_and_a_pipe_are_errors_at_once_and_a_long_file_is_read_in_part() {
        let directory = tempfile::tempdir().unwrap();
        let (file, link, pipe) = ["file", "link", "pipe"].map(|name| directory.path().join(name)).into();
        fs::write(&file, "12345").unwrap();
        symlink(&file, &link).unwrap();
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(at_most(&file, 3).unwrap(), b"123");
        for path in [&link, &pipe, &directory.path().to_owned()] {
            assert!(at_most(path, 3).is_err(), "{} was read", path.display());
        }
    }
}
