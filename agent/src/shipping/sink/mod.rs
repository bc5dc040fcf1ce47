//! Where lines go.

mod cloudwatch;
mod directory;

use std::path::{Path, PathBuf};

use tokio::sync::watch;

use super::batch::{Batch, LogEvent, lines};
use crate::platform::aws::Aws;
use cloudwatch::CloudWatch;
use directory::Directory;
use mayfly_core::record::LossReason;

/// The log group and the way to it; known some time after the agent's start.
#[derive(Clone, Debug)]
pub struct Destination {
    /// The group.
    pub group: String,
    /// The way to AWS, with connections that nobody else uses.
    pub aws: Aws,
}

/// See the module.
#[derive(Debug)]
pub(super) enum Sink {
    CloudWatch(CloudWatch),
    Directory(Directory),
}

/// A batch was accepted, and so many of its lines were dropped all the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Dropped {
    pub(super) old: u64,
    pub(super) new: u64,
}

/// A batch was not accepted.
#[derive(Clone, Debug)]
pub(super) struct SinkError {
    /// What becomes of the lines if that lasts.
    pub(super) reason: LossReason,
    /// What came back.
    pub(super) detail: String,
}

impl Sink {
    /// Streams of this instance in a CloudWatch Logs group.
    pub(super) fn cloudwatch(instance: &str, destination: watch::Receiver<Option<Destination>>) -> Self {
        Self::CloudWatch(CloudWatch::new(instance, destination))
    }

    /// Files of this instance in a directory.
    pub(super) fn directory(directory: &Path, instance: &str) -> Self {
        Self::Directory(Directory::new(place(directory, instance)))
    }

    /// Hands a batch over. Accepted, it is the sink's.
    pub(super) async fn put(&self, stream: &str, batch: &Batch) -> Result<Dropped, SinkError> {
        match self {
            Self::CloudWatch(sink) => sink.put(stream, batch.events()).await,
            Self::Directory(sink) => sink.put(stream, batch.events()).map(|()| Dropped::default()),
        }
    }
}

/// An instance's id is the cloud's, a machine's name a person's: it leads nowhere else.
fn place(directory: &Path, instance: &str) -> PathBuf {
    let name: String = instance.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '-' }).collect();
    directory.join(name)
}

fn dropped(events: &[LogEvent], old_end: usize, new_start: Option<usize>) -> Dropped {
    let old_end = old_end.min(events.len());
    let new_start = new_start.unwrap_or(events.len()).clamp(old_end, events.len());
    Dropped { old: lines(&events[..old_end]), new: lines(&events[new_start..]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_services_places_of_what_it_dropped_are_lines() {
        let events: Vec<_> = (0..6).map(|at| LogEvent { at, text: "x".to_owned(), ends_line: at != 4 }).collect();
        assert_eq!(dropped(&events, 0, None), Dropped::default());
        assert_eq!(dropped(&events, 2, Some(3)), Dropped { old: 2, new: 2 }, "a piece of a line counts as one");
        assert_eq!(dropped(&events, 99, Some(0)), Dropped { old: 5, new: 0 }, "strange answers count no line twice");
    }

    #[test]
    fn a_machines_name_stays_inside_the_directory() {
        assert_eq!(place(Path::new("/logs"), "../../etc"), Path::new("/logs/------etc"));
    }
}
