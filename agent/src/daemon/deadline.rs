//! systemd's timer of the lifetime begins anew: the time in a warm pool does not count.

use std::time::Duration;

use tracing::{info, warn};

use crate::systemd::{DEADLINE, Manager};

/// How often it is tried, and how far apart.
const TRIES: u32 = 10;
const PAUSE: Duration = Duration::from_secs(30);

/// How long systemd may take for it; it takes milliseconds.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Restarts the timer; one that somebody turned off stays off. A failure ends nothing: the next renewal tries again, and a
/// machine whose timer comes true early is told as that.
pub(super) async fn renew(manager: Manager) {
    for tries_left in (0..TRIES).rev() {
        match manager.try_restart(DEADLINE, TIMEOUT).await {
            Ok(()) => return info!("{DEADLINE} was restarted: the time in the warm pool does not count"),
            Err(error) => warn!("{DEADLINE} could not be renewed ({tries_left} tries left): {error}"),
        }
        tokio::time::sleep(PAUSE).await;
    }
}
