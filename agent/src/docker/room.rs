//! How much room is left where Docker keeps images, containers and volumes.

use std::path::PathBuf;

use nix::sys::statvfs::statvfs;
use serde::Deserialize;

use super::{CALL, Docker, DockerError};

/// The room on the file system of Docker's data root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Room {
    /// The data root, such as `/var/lib/docker`.
    pub path: PathBuf,
    /// Free bytes, without those reserved for root: the daemon could use them, what a job does there cannot.
    pub free_bytes: u64,
    /// Free inodes. `None` where the file system makes them as needed, such as btrfs.
    pub free_inodes: Option<u64>,
}

#[derive(Deserialize)]
struct Info {
    #[serde(rename = "DockerRootDir")]
    root: PathBuf,
}

impl Docker {
    /// Asks the daemon for its data root, and the system for the room there.
    ///
    /// # Errors
    /// [`DockerError::NoFigures`] if the data root cannot be seen from here, and whatever the daemon's answer lacks.
    pub async fn data_root_room(&self) -> Result<Room, DockerError> {
        let Info { root } = self.get("/info", &[], CALL).await?;
        // Not sent to another thread: the data root is on a local disk, where this asks memory only.
        let figures =
            statvfs(&root).map_err(|error| DockerError::NoFigures { path: root.clone(), cause: error.to_string() })?;
        Ok(Room {
            path: root,
            free_bytes: figures.blocks_available().saturating_mul(figures.fragment_size()),
            free_inodes: (figures.files() > 0).then(|| figures.files_available()),
        })
    }
}
