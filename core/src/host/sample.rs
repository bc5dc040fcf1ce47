//! What the kernel told of the machine at one moment.

use std::path::PathBuf;

/// A directory whose disk matters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchedPath {
    /// What it is for, such as `the runner`.
    pub of: &'static str,
    /// Where it is. One that is not there yet counts as its parent.
    pub path: PathBuf,
}

/// The room on a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk {
    /// The first path that is on it.
    pub watched: WatchedPath,
    /// Free bytes, without those reserved for root: what a job does cannot use them.
    pub free_bytes: u64,
    /// All bytes.
    pub size_bytes: u64,
    /// Free inodes and all inodes. `None` where the file system makes them as needed, such as btrfs.
    pub inodes: Option<(u64, u64)>,
}

/// The machine's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// What can be had without swapping, in bytes.
    pub available: u64,
    /// All of it.
    pub total: u64,
}

/// The machine at one moment. What this kernel does not tell is absent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sample {
    /// The disks of the paths.
    pub disks: Vec<Disk>,
    /// Memory.
    pub memory: Option<Memory>,
    /// For how much of the last minute something waited for a CPU, in percent (PSI).
    pub cpu_pressure: Option<f32>,
    /// For how much of the last minute everything waited for memory, in percent (PSI).
    pub memory_pressure: Option<f32>,
    /// The same for disks.
    pub io_pressure: Option<f32>,
    /// Whether there is a way out: a default route over an interface with a carrier.
    pub online: Option<bool>,
    /// AWS's clock minus this machine's, in seconds.
    pub clock: Option<i64>,
}
