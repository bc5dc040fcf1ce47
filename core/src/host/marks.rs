//! What a run remembers of its machine: how low it got, and what was crossed.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::sample::Sample;
use super::thresholds::Thresholds;

/// What can be in trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum WarningKind {
    /// The room on a disk.
    Disk,
    /// The files that a disk can still take.
    Inodes,
    /// Memory that is available.
    Memory,
    /// Waiting for memory.
    MemoryPressure,
    /// Waiting for disks.
    IoPressure,
    /// The way out.
    Network,
    /// What shuts jobs off from the instance's credentials.
    Isolation,
}

/// A threshold that was crossed, for the first time in this run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Warning {
    /// When, RFC 3339.
    pub at: String,
    /// What.
    pub kind: WarningKind,
    /// For people.
    pub text: String,
}

/// How low a disk got.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DiskMark {
    /// A path on it.
    pub path: PathBuf,
    /// The fewest free bytes.
    pub free_bytes: u64,
    /// By how much less was free, at most, than at the first look: what the job wrote there.
    #[serde(default)]
    pub grown_bytes: u64,
    #[serde(skip)]
    first_free: u64,
    /// The fewest free inodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub free_inodes: Option<u64>,
}

/// The lowest of what a machine can have too little of, the highest of what it can have too much of, over what this
/// agent process saw.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Marks {
    /// The lowest, of each disk.
    pub disks: Vec<DiskMark>,
    /// The lowest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_available_bytes: Option<u64>,
    /// The highest share of a minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_pressure_percent: Option<f32>,
    /// The highest share of a minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub io_pressure_percent: Option<f32>,
    /// AWS's clock minus this machine's, by the last sample.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_difference_seconds: Option<i64>,
    /// What was crossed, once per kind.
    pub warnings: Vec<Warning>,
    /// Only what was there can be lost.
    #[serde(skip)]
    was_online: bool,
}

impl Marks {
    /// Takes one more sample in, and returns what is newly wrong.
    pub fn note(&mut self, sample: &Sample, thresholds: Thresholds, at: &str) -> Vec<Warning> {
        for disk in &sample.disks {
            let inodes = disk.inodes.map(|(free, _)| free);
            match self.disks.iter_mut().find(|mark| mark.path == disk.watched.path) {
                Some(mark) => {
                    mark.free_bytes = mark.free_bytes.min(disk.free_bytes);
                    mark.grown_bytes = mark.first_free.saturating_sub(mark.free_bytes);
                    mark.free_inodes = lower(mark.free_inodes, inodes);
                }
                None => self.disks.push(DiskMark {
                    path: disk.watched.path.clone(),
                    free_bytes: disk.free_bytes,
                    grown_bytes: 0,
                    first_free: disk.free_bytes,
                    free_inodes: inodes,
                }),
            }
        }
        self.memory_available_bytes = lower(self.memory_available_bytes, sample.memory.map(|memory| memory.available));
        self.memory_pressure_percent = higher(self.memory_pressure_percent, sample.memory_pressure);
        self.io_pressure_percent = higher(self.io_pressure_percent, sample.io_pressure);
        self.clock_difference_seconds = sample.clock.or(self.clock_difference_seconds);
        self.was_online |= sample.online == Some(true);
        let was_online = self.was_online;
        let told = |(kind, _): &(WarningKind, String)| *kind != WarningKind::Network || was_online;
        thresholds
            .troubles(sample)
            .into_iter()
            .filter(told)
            .filter_map(|(kind, text)| self.warn(kind, text, at))
            .collect()
    }

    /// Takes in that something is wrong, and returns it if it is news.
    pub fn warn(&mut self, kind: WarningKind, text: String, at: &str) -> Option<Warning> {
        if self.warnings.iter().any(|warning| warning.kind == kind) {
            return None;
        }
        let warning = Warning { at: at.to_owned(), kind, text };
        self.warnings.push(warning.clone());
        Some(warning)
    }
}

fn lower(known: Option<u64>, seen: Option<u64>) -> Option<u64> {
    known.into_iter().chain(seen).min()
}

fn higher(known: Option<f32>, seen: Option<f32>) -> Option<f32> {
    known.into_iter().chain(seen).reduce(f32::max)
}

#[cfg(test)]
mod tests {
    use super::super::sample::{Disk, WatchedPath};
    use super::*;

    const THRESHOLDS: Thresholds = Thresholds { min_disk: 400 };

    fn sample(free_bytes: u64, online: bool) -> Sample {
        let watched = WatchedPath { of: "the runner", path: "/r".into() };
        Sample {
            disks: vec![Disk { watched, free_bytes, size_bytes: 1 << 40, inodes: None }],
            online: Some(online),
            ..Sample::default()
        }
    }

    #[test]
    fn the_lowest_is_kept_and_a_kind_is_told_once() {
        let mut marks = Marks::default();
        let told: Vec<usize> =
            [500, 99, 300, 7, 200].map(|free| marks.note(&sample(free, true), THRESHOLDS, "now").len()).to_vec();
        assert_eq!(told, [0, 1, 0, 0, 0], "the log fills with the same warning");
        assert_eq!((marks.disks[0].free_bytes, marks.disks[0].grown_bytes), (7, 493));
        assert_eq!(marks.warnings.len(), 1);
    }

    #[test]
    fn a_network_that_never_was_is_not_lost() {
        let mut marks = Marks::default();
        assert_eq!(marks.note(&sample(500, false), THRESHOLDS, "now"), []);
        assert_eq!(marks.note(&sample(500, true), THRESHOLDS, "now"), []);
        let lost = marks.note(&sample(500, false), THRESHOLDS, "later");
        assert_eq!(lost.first().map(|warning| warning.kind), Some(WarningKind::Network));
    }
}
