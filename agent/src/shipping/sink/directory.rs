//! A directory: a file for each stream, an event a line, its time first. Confirmed is what was synced.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::PathBuf;

use super::SinkError;
use crate::shipping::batch::LogEvent;
use crate::shipping::stamp::rfc3339;
use mayfly_core::record::LossReason;

/// See the module.
#[derive(Debug)]
pub(in crate::shipping) struct Directory {
    directory: PathBuf,
}

impl Directory {
    pub(super) fn new(directory: PathBuf) -> Self {
        Self { directory }
    }

    pub(super) fn put(&self, stream: &str, events: &[LogEvent]) -> Result<(), SinkError> {
        let path = self.directory.join(format!("{stream}.log"));
        self.append(&path, events).map_err(|error| SinkError {
            reason: LossReason::Unreachable,
            detail: format!("{} cannot be written: {error}", path.display()),
        })
    }

    fn append(&self, path: &PathBuf, events: &[LogEvent]) -> io::Result<()> {
        fs::create_dir_all(&self.directory)?;
        let mut file = OpenOptions::new().read(true).append(true).create(true).mode(0o640).open(path)?;
        let length = file.seek(SeekFrom::End(0))?;
        let written = write(&mut file, length, events).and_then(|()| file.sync_data());
        if written.is_err() {
            // Half a batch would be there twice once it can be written again.
            let _ = file.set_len(length);
        }
        written
    }
}

fn write(file: &mut File, length: u64, events: &[LogEvent]) -> io::Result<()> {
    let mut text = String::with_capacity(events.iter().map(|event| event.text.len() + 26).sum());
    // An agent that was killed in the middle of a line has not confirmed it: it comes again, on a line of its own.
    if length > 0 {
        let mut last = [0];
        file.read_exact_at(&mut last, length - 1)?;
        if last != *b"\n" {
            text.push('\n');
        }
    }
    for event in events {
        text.push_str(&rfc3339(event.at));
        text.push(' ');
        text.push_str(&event.text.replace('\n', "\\n"));
        text.push('\n');
    }
    file.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_event_is_a_line_and_half_a_line_of_a_killed_agent_spoils_none() {
        let directory = tempfile::tempdir().unwrap();
        let sink = Directory::new(directory.path().join("i-1"));
        let event = |text: &str| LogEvent { at: 1_795_248_000_000, text: text.to_owned(), ends_line: true };
        sink.put("agent", &[event("one"), event("two\nlines")]).unwrap();
        let path = directory.path().join("i-1/agent.log");
        OpenOptions::new().append(true).open(&path).unwrap().write_all(b"2026-11-21T08:00:00.000Z ha").unwrap();
        sink.put("agent", &[event("half"), event("")]).unwrap();
        let lines: Vec<_> = fs::read_to_string(&path).unwrap().lines().map(|line| line[25..].to_owned()).collect();
        assert_eq!(lines, ["one", "two\\nlines", "ha", "half", ""]);
    }

    #[test]
    fn a_directory_that_cannot_be_written_confirms_nothing() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("i-1"), "a file").unwrap();
        let sink = Directory::new(directory.path().join("i-1"));
        assert_eq!(sink.put("agent", &[]).unwrap_err().reason, LossReason::Unreachable);
    }
}
