//! The machine's console: what is written there, the cloud keeps when the machine is gone.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::time::Duration;

use nix::fcntl::OFlag;
use tracing::debug;

use crate::base::clock;
use mayfly_core::lifecycle::{Outcome, Time};
use mayfly_core::record::{Record, line};

/// A serial line is slow, and a stuck one must not keep the machine.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Says how the run ended, in one line for people and one for machines.
pub(super) async fn tell(record: &Record) {
    let Some(end) = &record.end else { return };
    // A serial line takes 11 KiB a second: the machine over time is left to the file.
    let document = line(&Record { series: None, ..record.clone() });
    let detail = if end.detail.is_empty() { end.outcome.meaning() } else { &end.detail };
    write(format!("\r\nmayfly: {}: {detail}\r\nmayfly-record: {document}\r\n", end.outcome)).await;
}

/// Says that the machine is kept, for whoever wonders why it is still there.
pub(super) async fn tell_held(outcome: Outcome, until: Time) {
    let until = clock::timestamp_of(until);
    write(format!("\r\nmayfly: {outcome}: this machine is held until {until}; mayfly release ends it\r\n")).await;
}

async fn write(text: String) {
    let writing = tokio::task::spawn_blocking(move || {
        let mut console = OpenOptions::new().write(true).custom_flags(OFlag::O_NOCTTY.bits()).open("/dev/console")?;
        console.write_all(text.as_bytes())
    });
    match tokio::time::timeout(TIMEOUT, writing).await {
        Ok(Ok(Ok(()))) => {}
        other => debug!("cannot write to the console: {other:?}"),
    }
}
