//! The disk under the state directory: full, read-only, and well again.

use std::fs;
use std::process::Command;

use super::{World, run};
use crate::plan::Disk;

impl World {
    /// In memory, even a disk that has nothing: a sync that takes seconds, because of what else is going on on a test machine,
    /// is a fault that no plan knows of.
    pub(super) fn mount(&self) {
        fs::create_dir_all(self.run.state()).unwrap();
        let size = if self.disk == Disk::Plain { "size=256m,mode=700" } else { "size=1m,mode=700" };
        run(Command::new("mount").args(["-t", "tmpfs", "-o", size, "chaos"]).arg(self.run.state()));
        fs::create_dir_all(self.runtime()).unwrap();
        run(Command::new("mount").args(["-t", "tmpfs", "-o", "size=256m,mode=755", "chaos"]).arg(self.runtime()));
        if self.disk == Disk::ReadOnly {
            run(Command::new("mount").args(["-o", "remount,bind,ro"]).arg(self.run.state()));
        }
    }

    pub(crate) fn fill_disk(&self) {
        let filler = self.run.state().join("filler");
        let mut size = 1 << 20;
        // Down to the last page.
        while size >= 4096 {
            let Ok(mut file) = fs::OpenOptions::new().append(true).create(true).open(&filler) else { return };
            if std::io::Write::write_all(&mut file, &vec![1; size]).is_err() {
                size /= 2;
            }
        }
    }

    pub(crate) fn free_disk(&self) {
        let _ = fs::remove_file(self.run.state().join("filler"));
    }

    pub(crate) fn make_disk_writable(&self) {
        run(Command::new("mount").args(["-o", "remount,bind,rw"]).arg(self.run.state()));
    }
}
