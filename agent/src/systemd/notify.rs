//! What a service of `Type=notify` tells systemd. Outside systemd all of it does nothing.

use std::time::Duration;

use sd_notify::NotifyState;

/// The agent is up.
pub fn ready() {
    tell(NotifyState::Ready);
}

/// What the agent does, in words, for `systemctl status`.
pub fn status(text: &str) {
    tell(NotifyState::Status(text));
}

/// The loop makes progress.
pub fn alive() {
    tell(NotifyState::Watchdog);
}

/// How often [`alive`] has to be told, if systemd watches at all: half of `WatchdogSec=`.
#[must_use]
pub fn interval() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|interval| interval / 2)
}

fn tell(state: NotifyState<'_>) {
    // A full queue of PID 1 is no reason to stop: the next word follows.
    let _ = sd_notify::notify(&[state]);
}
