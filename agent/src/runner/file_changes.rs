//! Waiting for changes of the files that a runner writes.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::path::Path;

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use tokio::io::unix::AsyncFd;

/// Becomes readable when a file in one of the directories is written, made or renamed.
#[expect(deprecated, reason = "its successor asks for unsafe to promise what an owned descriptor promises already")]
pub(super) fn changes(directories: &[&Path]) -> io::Result<AsyncFd<Notifications>> {
    let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
    let flags = AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO;
    for directory in directories {
        inotify.add_watch(*directory, flags)?;
    }
    AsyncFd::new(Notifications(inotify))
}

/// Waits for a change. The kernel has only so many notifiers for each user, and jobs use them too: without one it waits
/// for ever, and the caller looks by itself.
pub(super) async fn next_change(changes: Option<&AsyncFd<Notifications>>) -> io::Result<()> {
    let Some(changes) = changes else { return std::future::pending().await };
    let mut ready = changes.readable().await?;
    let _ = ready.get_inner().0.read_events();
    ready.clear_ready();
    Ok(())
}

/// [`Inotify`], as tokio wants it.
#[derive(Debug)]
pub(super) struct Notifications(Inotify);

impl AsFd for Notifications {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for Notifications {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}
