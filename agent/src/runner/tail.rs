//! Reading a file that another process appends to.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use nix::fcntl::{FallocateFlags, OFlag, fallocate};
use nix::unistd::{Whence, lseek64};

/// The longest line that is kept; what is beyond is cut off. Nothing the runner says itself comes near.
const MAX_LINE: usize = 48 * 1024;

/// At most so many bytes, and so many lines, are read before the caller gets a chance to do something else.
const BURST: usize = 256 * 1024;
const BURST_LINES: usize = 2048;

/// What was read is given back to the file system in steps of this size, a step behind: a new agent process reads the
/// last part again and so misses nothing.
const GIVE_BACK: u64 = 8 * 1024 * 1024;

/// Follows one file, line by line. The file need not exist yet.
#[derive(Debug)]
pub struct Tail {
    path: PathBuf,
    file: Option<File>,
    offset: u64,
    given_back: u64,
    give_back: bool,
    /// Others read the file too, and are no further than this.
    others: Option<Arc<AtomicU64>>,
    at_most: u64,
    line: Vec<u8>,
    buffer: Vec<u8>,
}

impl Tail {
    /// Follows `path` from its beginning.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            file: None,
            offset: 0,
            given_back: 0,
            give_back: false,
            others: None,
            at_most: u64::MAX,
            line: Vec::new(),
            buffer: vec![0; 16 * 1024],
        }
    }

    /// Punches holes where the file was read, so that a job that floods its console does not fill the disk. File systems
    /// that cannot do this keep the data.
    #[must_use]
    pub fn giving_back(mut self) -> Self {
        self.give_back = true;
        self
    }

    /// Gives back no more than others, who tell here how far they are, have read too.
    pub fn share(&mut self, others: Option<Arc<AtomicU64>>) {
        self.others = others;
    }

    /// Reads so many bytes of the file and no more, however long it becomes: for what a job can write.
    #[must_use]
    pub fn at_most(mut self, bytes: u64) -> Self {
        self.at_most = bytes;
        self
    }

    /// Up to here the file was read.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// How long the file is right now.
    #[must_use]
    pub fn length(&self) -> u64 {
        std::fs::symlink_metadata(&self.path).map_or(0, |metadata| metadata.len())
    }

    /// Whether the file is longer than is read of it.
    #[must_use]
    pub fn is_spent(&self) -> bool {
        self.offset >= self.at_most
    }

    /// Passes every whole line that is there to `each`, with the place in the file where it ends, up to a bound of bytes
    /// and of lines. Returns whether there may be more.
    ///
    /// # Errors
    /// The file exists and cannot be read.
    pub fn read(&mut self, mut each: impl FnMut(&str, u64)) -> io::Result<bool> {
        if self.file.is_none() && !self.open()? {
            return Ok(false);
        }
        let Some(file) = &self.file else { return Ok(false) };
        let (mut budget, mut lines) = (BURST, 0);
        while budget > 0 && lines < BURST_LINES {
            let room = self.at_most.saturating_sub(self.offset);
            let wanted = self.buffer.len().min(usize::try_from(room).unwrap_or(usize::MAX));
            let count = file.read_at(&mut self.buffer[..wanted], self.offset)?;
            if count == 0 {
                return Ok(false);
            }
            budget = budget.saturating_sub(count);
            for chunk in self.buffer[..count].split_inclusive(|byte| *byte == b'\n') {
                let (part, whole) = chunk.strip_suffix(b"\n").map_or((chunk, false), |part| (part, true));
                self.offset += chunk.len() as u64;
                let room = MAX_LINE - self.line.len();
                self.line.extend_from_slice(&part[..part.len().min(room)]);
                if whole {
                    // What stands for bytes that are no text is longer than they were.
                    let text = String::from_utf8_lossy(&self.line);
                    let text = &text[..text.floor_char_boundary(MAX_LINE)];
                    each(text.strip_suffix('\r').unwrap_or(text), self.offset);
                    self.line.clear();
                    lines += 1;
                }
                if lines == BURST_LINES {
                    break; // what is left of the buffer is read again
                }
            }
        }
        self.give_back();
        Ok(true)
    }

    /// Passes a last line that has no line break. Only after the writer has ended.
    pub fn finish(&mut self, mut each: impl FnMut(&str)) {
        if !self.line.is_empty() {
            each(&String::from_utf8_lossy(&self.line));
            self.line.clear();
        }
    }

    fn open(&mut self) -> io::Result<bool> {
        // The job's user may own the directory: a link is not followed, and a pipe must not keep the agent waiting.
        let careful = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
        let mut options = std::fs::OpenOptions::new();
        let opened = options.read(true).write(self.give_back).custom_flags(careful.bits()).open(&self.path);
        let opened = opened.and_then(|file| {
            if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("it is not a regular file")) }
        });
        match opened {
            Ok(file) => {
                // An earlier agent process may have given the beginning back: go on where data begins.
                if let Ok(start) = lseek64(&file, 0, Whence::SeekData) {
                    self.offset = u64::try_from(start).unwrap_or(0);
                    self.given_back = self.offset;
                }
                self.file = Some(file);
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn give_back(&mut self) {
        let Some(file) = self.file.as_ref().filter(|_| self.give_back) else { return };
        let others = self.others.as_ref().map_or(u64::MAX, |others| others.load(Ordering::Relaxed));
        let Some(done) = self.offset.min(others).checked_sub(GIVE_BACK) else { return };
        let length = done.saturating_sub(self.given_back) / GIVE_BACK * GIVE_BACK;
        if length == 0 {
            return;
        }
        let (Ok(from), Ok(size)) = (i64::try_from(self.given_back), i64::try_from(length)) else { return };
        let flags = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
        self.give_back = fallocate(file, flags, from, size).is_ok();
        self.given_back += length;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_pipe_or_a_link_that_a_job_planted_is_an_error_and_no_wait() {
        let directory = tempfile::tempdir().unwrap();
        let (pipe, link) = (directory.path().join("pipe"), directory.path().join("link"));
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", &link).unwrap();
        for path in [pipe, link] {
            let mut read = 0;
            assert!(Tail::new(&path).read(|_, _| read += 1).is_err(), "{} was read", path.display());
            assert_eq!(read, 0);
        }
    }

    #[test]
    fn lines_come_whole_and_once_whatever_the_pieces() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let (mut tail, mut lines) = (Tail::new(&path), Vec::new());
        for piece in ["on", "e\ntw", "o\r\n", "", "three\nrest"] {
            let mut file = std::fs::OpenOptions::new().append(true).create(true).open(&path).unwrap();
            io::Write::write_all(&mut file, piece.as_bytes()).unwrap();
            assert!(!tail.read(|line, _| lines.push(line.to_owned())).unwrap());
        }
        tail.finish(|line| lines.push(line.to_owned()));
        assert_eq!(lines, ["one", "two", "three", "rest"]);
    }

    #[test]
    fn a_million_line_breaks_come_in_bounded_portions_and_none_is_lost() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        std::fs::write(&path, [vec![b'\n'; 1_000_000], b"last\n".to_vec()].concat()).unwrap();
        let (mut tail, mut all, mut last) = (Tail::new(&path), 0, String::new());
        loop {
            let mut portion = 0;
            let more = tail.read(|line, _| {
                portion += 1;
                line.clone_into(&mut last);
            });
            assert!(portion <= BURST_LINES, "{portion} lines at once: a job decides how much memory the agent takes");
            all += portion;
            if !more.unwrap() {
                break;
            }
        }
        assert_eq!((all, last.as_str()), (1_000_001, "last"));
    }

    #[test]
    fn of_a_file_that_a_job_writes_no_more_is_read_than_allowed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        std::fs::write(&path, "abc\n".repeat(1000)).unwrap();
        let (mut tail, mut lines) = (Tail::new(&path).at_most(100), 0);
        while tail.read(|_, _| lines += 1).unwrap() {}
        assert_eq!((lines, tail.is_spent()), (25, true));
    }
}
