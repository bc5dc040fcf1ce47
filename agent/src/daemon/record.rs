//! The record of this run: begun from the journal, kept up with what is seen, written whole.

use std::io;
use std::path::Path;

use mayfly_core::lifecycle::{Event, Policy};
use mayfly_core::record::{Record, SCHEMA};
use tracing::warn;

use super::journal::{Binding, Entry};
use crate::base::{clock, durable};

/// A record that goes on from what earlier agent processes of this boot wrote to the journal.
pub(super) fn begin(binding: &Binding, entries: &[Entry], policy: &Policy, agent_restarted: bool) -> Record {
    let mut record = Record {
        schema: SCHEMA,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        instance: binding.instance.clone(),
        boot: binding.boot.clone(),
        started_at: clock::timestamp_of(entries.first().map_or_else(clock::now, |first| first.at)),
        agent_restarted,
        ..Record::default()
    };
    entries.iter().for_each(|entry| note(&mut record, entry, policy));
    record
}

/// Notes a state change.
pub(super) fn note(record: &mut Record, entry: &Entry, policy: &Policy) {
    record.note(entry.at, &entry.state);
    if let Some(renewed) = entry.state.phase.runner().and_then(|runner| runner.lock_renewed(policy)) {
        record.lock_renewed_at = Some(clock::timestamp_of(renewed));
    }
}

/// Notes what an event tells, and logs an announcement once.
pub(super) fn absorb(record: &mut Record, event: &Event) {
    record.termination(event);
    match event {
        Event::Notice(notice) => {
            let due_at = notice.due().map(clock::timestamp_of);
            let when = due_at.as_deref().map(|due| format!(", due at {due}")).unwrap_or_default();
            if record.notice(*notice, clock::timestamp(), due_at) {
                warn!("EC2 announces {}{when}", notice.outcome());
            }
        }
        Event::Withdrawn(notice) => {
            warn!("EC2 withdrew {}", notice.outcome());
            record.withdrawn(*notice, clock::timestamp());
        }
        _ => {}
    }
}

/// Writes the record, durably, whole or not at all.
///
/// # Errors
/// It could not be written.
pub(super) fn write(record: &Record, path: &Path) -> io::Result<()> {
    durable::replace(path, &serde_json::to_vec_pretty(record)?)
}
