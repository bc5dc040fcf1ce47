//! Storage that loses what was not synced, as a machine that loses its power does: a file system in memory, mounted with
//! FUSE. It knows at every moment what would be found after a power cut at just that moment, so that one run shows all of
//! them. Nobody has to be killed for it: processes that go on after the moment are not seen in it.

mod files;
mod server;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use fuser::{BackgroundSession, Config, MountOption};

use files::Files;
use server::Server;

/// What is found after a power cut: files by their paths. Directories without files are not in it.
pub type Found = BTreeMap<String, Arc<[u8]>>;

/// A moment at which the power may go: before something is asked of the storage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moment {
    /// How many listeners had been started by then, as far as is known outside.
    pub started: usize,
    /// What is found if nothing arrived that was not synced.
    pub synced: Found,
    /// The same, but new names arrived as soon as they were made, before what is in the files.
    pub names_early: Found,
    /// The same as `synced`, but names that were removed went at once.
    pub removed_early: Found,
}

impl Moment {
    /// Everything that may be found.
    #[must_use]
    pub fn found(&self) -> [(&'static str, &Found); 3] {
        [
            ("nothing arrived that was not synced", &self.synced),
            ("new names arrived before their files' content", &self.names_early),
            ("removals arrived before what was made earlier", &self.removed_early),
        ]
    }
}

/// See the module. Unmounted when it is dropped.
#[derive(Debug)]
pub struct Storage {
    session: Option<BackgroundSession>,
    shared: Arc<Mutex<Shared>>,
}

struct Shared {
    files: Files,
    started: Box<dyn Fn() -> usize + Send>,
    moments: Vec<Moment>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Shared").field("moments", &self.moments.len()).finish_non_exhaustive()
    }
}

impl Shared {
    /// Every call of a process comes by here before it has an effect.
    fn note(&mut self) {
        let moment = Moment {
            started: (self.started)(),
            synced: self.files.found(files::Names::Synced),
            names_early: self.files.found(files::Names::New),
            removed_early: self.files.found(files::Names::NotRemoved),
        };
        if self.moments.last() != Some(&moment) {
            self.moments.push(moment);
        }
    }
}

impl Storage {
    /// Mounts an empty one at this directory. `started` is asked at every moment how many listeners were started.
    #[must_use]
    pub fn mount(directory: &Path, started: impl Fn() -> usize + Send + 'static) -> Self {
        let shared = Shared { files: Files::new(), started: Box::new(started), moments: Vec::new() };
        let shared = Arc::new(Mutex::new(shared));
        let mut config = Config::default();
        config.mount_options = vec![MountOption::FSName("mayfly-test".to_owned()), MountOption::DefaultPermissions];
        let session = fuser::spawn_mount(Server(Arc::clone(&shared)), directory, &config).unwrap_or_else(|error| {
            panic!("cannot mount a FUSE file system: {error}; it needs /dev/fuse, and fusermount3 where the tests are not root's")
        });
        Self { session: Some(session), shared }
    }

    /// The moments so far, this one included.
    #[must_use]
    pub fn moments(&self) -> Vec<Moment> {
        let mut shared = self.shared.lock().unwrap();
        shared.note();
        shared.moments.clone()
    }
}

impl Drop for Storage {
    fn drop(&mut self) {
        if let Some(session) = self.session.take() {
            let _ = session.umount_and_join();
        }
    }
}

/// Puts on a directory what is found there after a power cut.
pub fn put(found: &Found, directory: &Path) {
    for (path, content) in found {
        let path = directory.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, &**content).unwrap();
    }
}
