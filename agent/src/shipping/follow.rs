//! A file that another process appends to, by its place in it, so that whoever comes next goes on there.
//!
//! The job's user may own the file: it may be replaced, cut, made a link or a pipe at any moment.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use nix::errno::Errno;
use nix::unistd::{Whence, lseek64};
use serde::{Deserialize, Serialize};

use super::batch::{LogEvent, PIECE, border, pieces, text};
use super::intake::Intake;
use super::stamp::{Stamp, Times, now};
use crate::base::reading;
use mayfly_core::record::LossReason;

/// The file is read in portions of this size, or, for a longer line, of this and the longest event.
const PORTION: usize = 64 * 1024;

/// A file of which more than this is not read yet is outrun: what is older is counted and not shipped.
const LONGEST_LAG: u64 = 512 * 1024 * 1024;

/// How far a file was read, and which file it was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    pub(super) device: u64,
    pub(super) inode: u64,
    /// Up to here.
    pub(super) offset: u64,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Followed {
    file: File,
    place: Place,
    times: Times,
    /// The last piece that was taken did not end its line.
    in_line: bool,
}

/// What became of a portion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Portion {
    /// There is no whole line more.
    Nothing,
    /// There may be more.
    More,
    /// There is more, and no room for it.
    Full,
}

impl Followed {
    /// Opens a file that was followed up to `place`, if it is the same one.
    ///
    /// # Errors
    /// It cannot be opened, or is no regular file.
    pub(super) fn open(path: &Path, stamp: Stamp, place: Option<Place>) -> io::Result<Self> {
        let file = reading::regular(path)?;
        let metadata = file.metadata()?;
        let mut here = Place { device: metadata.dev(), inode: metadata.ino(), offset: 0 };
        if let Some(place) = place.filter(|place| (place.device, place.inode) == (here.device, here.inode)) {
            here = place;
        }
        Ok(Self { file, place: here, times: Times::new(stamp), in_line: false })
    }

    pub(super) fn place(&self) -> Place {
        self.place
    }

    /// Whether another file, or none, is there under this name.
    pub(super) fn is_replaced(&self, path: &Path) -> bool {
        std::fs::symlink_metadata(path)
            .map_or(true, |found| (found.dev(), found.ino()) != (self.place.device, self.place.inode))
    }

    /// Reads a portion. `last`: nobody writes any more, so a rest without a line break is a line.
    ///
    /// # Errors
    /// It cannot be read.
    pub(super) fn read(&mut self, intake: &mut Intake, buffer: &mut Vec<u8>, last: bool) -> io::Result<Portion> {
        let length = self.file.metadata()?.len();
        if length < self.place.offset {
            // Cut: what is there now is new.
            (self.place.offset, self.in_line) = (0, false);
        }
        let left = length - self.place.offset;
        if left == 0 {
            return Ok(Portion::Nothing);
        }
        self.skip_hole(length);
        let left = length - self.place.offset;
        let outrun = left > LONGEST_LAG;
        let mut size = PORTION;
        loop {
            buffer.resize(size, 0);
            let count = self.file.read_at(buffer, self.place.offset)?;
            let bytes = &buffer[..count];
            if bytes.contains(&b'\n') {
                return Ok(if outrun { self.skip(bytes, intake) } else { self.lines(bytes, intake) });
            }
            if count < size {
                return Ok(if last && count > 0 { self.line(bytes, count, intake) } else { Portion::Nothing });
            }
            if size > PIECE {
                let end = border(bytes);
                return Ok(self.piece(&bytes[..end], false, end, intake));
            }
            size = PORTION + PIECE;
        }
    }

    /// Counts what is outrun and leaves it out, while nothing else can be taken in: what waits must not fill the disk.
    ///
    /// # Errors
    /// It cannot be read.
    pub(super) fn relieve(&mut self, intake: &mut Intake, buffer: &mut Vec<u8>) -> io::Result<()> {
        loop {
            let length = self.file.metadata()?.len();
            self.skip_hole(length);
            if length.saturating_sub(self.place.offset) <= LONGEST_LAG {
                return Ok(());
            }
            buffer.resize(PORTION, 0);
            let count = self.file.read_at(buffer, self.place.offset)?;
            if count == 0 {
                return Ok(());
            }
            if self.skip(&buffer[..count], intake) == Portion::Nothing {
                (self.place.offset, self.in_line) = (self.place.offset + count as u64, true);
            }
        }
    }

    /// How many whole lines, and a last one, are not read. Looks at no more than `most` bytes.
    pub(super) fn unread(&self, buffer: &mut Vec<u8>, most: u64) -> u64 {
        let (mut lines, mut at, mut tail) = (0, self.place.offset, false);
        buffer.resize(PORTION, 0);
        while let Ok(count) = self.file.read_at(buffer, at)
            && count > 0
            && at - self.place.offset < most
        {
            lines += buffer[..count].iter().filter(|byte| **byte == b'\n').count() as u64;
            tail = buffer[count - 1] != b'\n';
            at += count as u64;
        }
        lines + u64::from(tail)
    }

    fn lines(&mut self, bytes: &[u8], intake: &mut Intake) -> Portion {
        let Some(end) = bytes.iter().rposition(|byte| *byte == b'\n') else { return Portion::Nothing };
        for line in bytes[..=end].split_inclusive(|byte| *byte == b'\n') {
            let shown = line.strip_suffix(b"\n").unwrap_or(line);
            let shown = shown.strip_suffix(b"\r").unwrap_or(shown);
            if self.line(shown, line.len(), intake) == Portion::Full {
                return Portion::Full;
            }
        }
        Portion::More
    }

    /// A line that takes so many bytes of the file, in as many pieces as it needs.
    fn line(&mut self, shown: &[u8], length: usize, intake: &mut Intake) -> Portion {
        for (piece, ends) in pieces(shown) {
            let length = piece.len() + if ends { length - shown.len() } else { 0 };
            if self.piece(piece, ends, length, intake) == Portion::Full {
                return Portion::Full;
            }
        }
        Portion::More
    }

    fn piece(&mut self, bytes: &[u8], ends_line: bool, length: usize, intake: &mut Intake) -> Portion {
        let now = now();
        let at = if self.in_line { self.times.take(None, now) } else { self.times.of(bytes, now) };
        if !intake.take(LogEvent { at, text: text(bytes), ends_line }) {
            return Portion::Full;
        }
        self.place.offset += length as u64;
        self.in_line = !ends_line;
        Portion::More
    }

    fn skip(&mut self, bytes: &[u8], intake: &mut Intake) -> Portion {
        let Some(end) = bytes.iter().rposition(|byte| *byte == b'\n') else { return Portion::Nothing };
        let lines = bytes[..=end].iter().filter(|byte| **byte == b'\n').count() as u64;
        intake.lost(LossReason::Overrun, lines);
        (self.place.offset, self.in_line) = (self.place.offset + end as u64 + 1, false);
        Portion::More
    }

    /// What was given back to the file system is not there to be read.
    fn skip_hole(&mut self, length: u64) {
        let offset = i64::try_from(self.place.offset).unwrap_or(i64::MAX);
        match lseek64(&self.file, offset, Whence::SeekData) {
            Ok(data) => self.place.offset = self.place.offset.max(u64::try_from(data).unwrap_or(0)),
            // Nothing but a hole up to its end, of whatever length a job likes.
            Err(Errno::ENXIO) => self.place.offset = self.place.offset.max(length),
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::{Arc, RwLock};

    use super::*;
    use crate::shipping::intake::Shared;

    #[test]
    fn a_file_that_a_job_makes_gigabytes_long_costs_no_time_and_its_lines_are_counted() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("Runner_x.log");
        std::fs::write(&path, "first\n").unwrap();
        let job = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
        job.set_len(4 << 30).unwrap();
        job.write_at(b"second\n", 4 << 30).unwrap();
        job.set_len(6 << 30).unwrap();
        let shared = Shared { max_bytes: u64::MAX, taken: Default::default(), material: RwLock::default() };
        let mut intake = Intake::new(Arc::new(shared), Default::default(), false);
        let (mut file, mut buffer) = (Followed::open(&path, Stamp::Diag, None).unwrap(), Vec::new());
        let mut portions = 0;
        loop {
            match file.read(&mut intake, &mut buffer, true).unwrap() {
                Portion::Nothing => break,
                Portion::Full => drop(intake.next()),
                Portion::More => {}
            }
            portions += 1;
            assert!(portions < 100, "a hole is read piece by piece, and shipped");
        }
        assert_eq!(intake.counts.read, 2, "a line is shipped or counted as outrun");
        assert_eq!(file.place().offset, 6 << 30);
    }
}
