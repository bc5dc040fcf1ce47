//! SIGTERM and SIGINT become events.

use std::io;
use std::os::unix::net::UnixStream as StdUnixStream;

use signal_hook::consts::{SIGINT, SIGTERM};
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio::sync::mpsc;

use crate::base::seen::Seen;
use crate::systemd::Manager;
use mayfly_core::lifecycle::{Event, Stop};

/// SIGTERM and SIGINT, caught from the first moment on. They wait until the run begins: learning who the machine is may
/// take a minute, and who asks for the end of an agent meanwhile must not be left with a machine that nobody ends.
#[derive(Debug)]
pub struct Signals(StdUnixStream);

impl Signals {
    /// Begins to catch them.
    ///
    /// # Errors
    /// The operating system has no pipe left.
    pub fn catch() -> io::Result<Self> {
        let (receiver, sender) = StdUnixStream::pair()?;
        signal_hook::low_level::pipe::register(SIGTERM, sender.try_clone()?)?;
        signal_hook::low_level::pipe::register(SIGINT, sender)?;
        receiver.set_nonblocking(true)?;
        Ok(Self(receiver))
    }

    /// Sends a stop for every SIGTERM and SIGINT; the second one kills. Where systemd keeps the runner, a signal while the
    /// machine is not shutting down is a restart or an upgrade of the agent, and no business of the runner's.
    pub(super) fn forward(self, events: mpsc::Sender<Seen>, manager: Option<Manager>) -> io::Result<()> {
        let mut receiver = UnixStream::from_std(self.0)?;
        tokio::spawn(async move {
            let mut signals = [0; 16];
            while let Ok(count @ 1..) = receiver.read(&mut signals).await {
                for _ in 0..count {
                    let seen = match &manager {
                        // Where nobody says: a machine that goes stops the runner itself, and an agent that is only restarted must not.
                        Some(manager) if !manager.is_stopping().await.unwrap_or(false) => Seen::Detach,
                        _ => Seen::Event(Event::Stop(Stop::Shutdown)),
                    };
                    if events.send(seen).await.is_err() {
                        return;
                    }
                }
            }
        });
        Ok(())
    }
}
