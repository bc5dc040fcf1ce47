//! Has the kernel read the files that a start of GitHub's runner touches, before the runner touches them one after the other: a
//! disk that is made from a snapshot answers its first reads slowly, but many at once.
//!
//! Beside the run: nothing waits for it, and whatever goes wrong is a line in the log. The list is the image's; what it names is
//! opened only below the runner's directory, so a list that is wrong costs time and memory, and nothing else.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use bytesize::ByteSize;
use nix::fcntl::{OFlag, PosixFadviseAdvice, openat, posix_fadvise};
use nix::sys::stat::{Mode, SFlag, fstat};
use nix::unistd::geteuid;
use thiserror::Error;
use tracing::{info, warn};

use crate::base::reading;

/// How many files are opened at once: to open one waits for the disk, to ask for its content does not.
const AT_ONCE: usize = 16;

/// They do next to nothing.
const STACK: usize = 128 * 1024;

/// So much is read of the list.
const LONGEST_LIST: u64 = 1024 * 1024;

/// So many files of it are read. A start of GitHub's runner touches a hundred.
const MOST_FILES: usize = 4096;

/// The kernel reads no more than a window of the disk's for one question, whatever length is asked for.
const WINDOW: u64 = 128 * 1024;

/// What to read.
#[derive(Clone, Debug)]
pub struct ReadAhead {
    /// The list: a path in each line, absolute or from the runner's directory on.
    pub list: PathBuf,
    /// The runner's directory: nothing outside of it is read.
    pub directory: PathBuf,
    /// The most that is read; nothing is, with 0.
    pub most: u64,
}

/// Why nothing is read.
#[derive(Debug, Error)]
enum NotRead {
    /// The list cannot be read.
    #[error("{0}")]
    List(io::Error),
    /// Somebody else could have written it.
    #[error("it must belong to root (or to who runs the agent), and nobody else may write it")]
    NotOurs,
    /// It is no list.
    #[error("it is longer than {}", ByteSize(LONGEST_LIST))]
    TooLong,
    /// The runner's directory cannot be opened.
    #[error("{}: {error}", .directory.display())]
    Directory {
        /// Which.
        directory: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// No thread can be started.
    #[error("no thread can be started: {0}")]
    Thread(io::Error),
}

/// What was done.
#[derive(Debug, Default)]
struct Done {
    files: AtomicUsize,
    bytes: AtomicU64,
    refused: AtomicUsize,
}

impl ReadAhead {
    /// Begins, and does not wait. Where there is no list there is nothing to do.
    pub fn begin(self) {
        if self.most == 0 || !self.list.exists() {
            return;
        }
        let name = self.list.display().to_string();
        let run = move || match self.run() {
            Ok(()) => {}
            Err(why) => warn!("nothing is read ahead of the runner's start: {}: {why}", self.list.display()),
        };
        if let Err(error) = thread::Builder::new().name("read-ahead".to_owned()).stack_size(STACK).spawn(run) {
            warn!("nothing is read ahead of the runner's start: {name}: {}", NotRead::Thread(error));
        }
    }

    fn run(&self) -> Result<(), NotRead> {
        let began = Instant::now();
        let (paths, left_out) = self.paths(&self.listed()?);
        let directory = File::open(&self.directory)
            .map_err(|error| NotRead::Directory { directory: self.directory.clone(), error })?;
        let done = Done::default();
        done.refused.store(left_out, Ordering::Relaxed);
        let next = AtomicUsize::new(0);
        let work = || {
            while let Some(path) = paths.get(next.fetch_add(1, Ordering::Relaxed)) {
                self.ask_for(&directory, path, &done);
            }
        };
        thread::scope(|scope| {
            for _ in 1..AT_ONCE.min(paths.len()) {
                // Without one more it takes longer.
                let _ = thread::Builder::new().stack_size(STACK).spawn_scoped(scope, work);
            }
            work();
        });
        let (files, bytes, left_out) = (done.files.into_inner(), done.bytes.into_inner(), done.refused.into_inner());
        let took = began.elapsed().as_millis();
        info!(
            "read ahead of the runner's start: {files} files, {bytes} bytes, asked for in {took} ms; {left_out} left out"
        );
        Ok(())
    }

    fn listed(&self) -> Result<String, NotRead> {
        let list = reading::regular(&self.list).map_err(NotRead::List)?;
        let metadata = list.metadata().map_err(NotRead::List)?;
        if ![0, geteuid().as_raw()].contains(&metadata.uid()) || metadata.mode() & 0o022 != 0 {
            return Err(NotRead::NotOurs);
        }
        let mut content = Vec::new();
        list.take(LONGEST_LIST + 1).read_to_end(&mut content).map_err(NotRead::List)?;
        if content.len() as u64 > LONGEST_LIST {
            return Err(NotRead::TooLong);
        }
        Ok(String::from_utf8_lossy(&content).into_owned())
    }

    /// The paths from the runner's directory on, and how many lines are none, or too many.
    fn paths(&self, list: &str) -> (Vec<PathBuf>, usize) {
        let lines = list.lines().filter(|line| !line.is_empty());
        let below = |line: &str| {
            let path = Path::new(line);
            let path = if path.is_absolute() { path.strip_prefix(&self.directory).ok()? } else { path };
            let below = path.components().all(|part| matches!(part, Component::Normal(_)));
            (below && !path.as_os_str().is_empty()).then(|| path.to_owned())
        };
        let paths: Vec<PathBuf> = lines.clone().filter_map(below).take(MOST_FILES).collect();
        let left_out = lines.count() - paths.len();
        (paths, left_out)
    }

    /// Asks the kernel for a file's content, as far as the bound allows.
    fn ask_for(&self, directory: &File, path: &Path, done: &Done) {
        let regular = |file: OwnedFd| {
            let stat = fstat(&file).ok()?;
            let is_file = SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT == SFlag::S_IFREG;
            is_file.then(|| (file, u64::try_from(stat.st_size).unwrap_or(0)))
        };
        let Some((file, size)) = open_below(directory, path).ok().and_then(regular) else {
            done.refused.fetch_add(1, Ordering::Relaxed);
            return;
        };
        let within = |asked: u64| (asked < self.most).then(|| asked.saturating_add(size).min(self.most));
        let Ok(before) = done.bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, within) else {
            done.refused.fetch_add(1, Ordering::Relaxed);
            return;
        };
        done.files.fetch_add(1, Ordering::Relaxed);
        let mut at = 0;
        let end = size.min(self.most - before);
        while at < end {
            let length = WINDOW.min(end - at);
            let (Ok(offset), Ok(length)) = (i64::try_from(at), i64::try_from(length)) else { return };
            if posix_fadvise(&file, offset, length, PosixFadviseAdvice::POSIX_FADV_WILLNEED).is_err() {
                return;
            }
            at += WINDOW;
        }
    }
}

/// Opens what is below a directory, step by step: no link leads out of it, and a pipe in a file's place is not waited for. (Not by
/// `openat2`, which the sandbox of the agent's unit takes away with `RestrictSUIDSGID=`.)
fn open_below(directory: &File, path: &Path) -> nix::Result<OwnedFd> {
    let step = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let file = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let mut at: Option<OwnedFd> = None;
    let mut parts = path.iter().peekable();
    while let Some(part) = parts.next() {
        let flags = if parts.peek().is_some() { step } else { file };
        let opened = match &at {
            Some(at) => openat(at, part, flags, Mode::empty()),
            None => openat(directory, part, flags, Mode::empty()),
        };
        at = Some(opened?);
    }
    at.ok_or(nix::errno::Errno::ENOENT)
}
