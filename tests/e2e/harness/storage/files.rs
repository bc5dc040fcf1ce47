//! Files and directories in memory: as processes see them, and as they were when they were last synced.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Found;

/// The number of the root directory, which FUSE fixes.
pub(super) const ROOT: u64 = 1;

type Entries = BTreeMap<String, u64>;

/// A file, a directory or a socket.
#[derive(Debug)]
pub(super) struct Node {
    /// What `st_mode` says.
    pub(super) mode: u32,
    pub(super) links: u32,
    pub(super) content: Vec<u8>,
    pub(super) entries: Entries,
    synced_content: Arc<[u8]>,
    synced_entries: Entries,
}

/// Which names of a directory are found after a power cut.
#[derive(Clone, Copy, Debug)]
pub(super) enum Names {
    /// Those that were synced.
    Synced,
    /// Those that are there now.
    New,
    /// Those that were synced and were not removed since.
    NotRemoved,
}

/// All of them, by number.
#[derive(Debug)]
pub(super) struct Files {
    nodes: BTreeMap<u64, Node>,
    next: u64,
}

impl Files {
    pub(super) fn new() -> Self {
        let mut files = Self { nodes: BTreeMap::new(), next: ROOT };
        files.make(directory(0o700));
        files
    }

    /// Makes one that has no name yet.
    pub(super) fn make(&mut self, mode: u32) -> u64 {
        let node = Node {
            mode,
            links: 0,
            content: Vec::new(),
            entries: Entries::new(),
            synced_content: Arc::default(),
            synced_entries: Entries::new(),
        };
        let number = self.next;
        self.next += 1;
        self.nodes.insert(number, node);
        number
    }

    pub(super) fn get(&mut self, number: u64) -> &mut Node {
        self.nodes.get_mut(&number).unwrap()
    }

    pub(super) fn look_up(&mut self, directory: u64, name: &str) -> Option<u64> {
        self.get(directory).entries.get(name).copied()
    }

    /// Gives it a name; what had that name has it no more.
    pub(super) fn link(&mut self, directory: u64, name: &str, number: u64) {
        self.get(number).links += 1;
        if let Some(old) = self.get(directory).entries.insert(name.to_owned(), number) {
            self.get(old).links -= 1;
        }
    }

    pub(super) fn unlink(&mut self, directory: u64, name: &str) -> Option<u64> {
        let number = self.get(directory).entries.remove(name)?;
        self.get(number).links -= 1;
        Some(number)
    }

    /// The content of a file, the names of a directory: each is synced for itself.
    pub(super) fn sync(&mut self, number: u64) {
        let node = self.get(number);
        if *node.synced_content != *node.content {
            node.synced_content = node.content.as_slice().into();
        }
        node.synced_entries.clone_from(&node.entries);
    }

    /// What is found after a power cut.
    pub(super) fn found(&self, names: Names) -> Found {
        let mut found = Found::new();
        self.find(ROOT, "", names, &mut found);
        found
    }

    fn find(&self, directory: u64, path: &str, names: Names, found: &mut Found) {
        let node = &self.nodes[&directory];
        let entries = if matches!(names, Names::New) { &node.entries } else { &node.synced_entries };
        for (name, number) in entries {
            if matches!(names, Names::NotRemoved) && !node.entries.contains_key(name) {
                continue;
            }
            let (node, path) = (&self.nodes[number], format!("{path}{name}"));
            match node.mode & KIND {
                DIRECTORY => self.find(*number, &format!("{path}/"), names, found),
                FILE => drop(found.insert(path, Arc::clone(&node.synced_content))),
                _ => {} // a socket means nothing to another boot
            }
        }
    }
}

/// The kinds in `st_mode`, by inode(7).
const KIND: u32 = 0o170_000;
const DIRECTORY: u32 = 0o040_000;
const FILE: u32 = 0o100_000;

pub(super) fn directory(mode: u32) -> u32 {
    DIRECTORY | mode & !KIND
}

pub(super) fn is_directory(mode: u32) -> bool {
    mode & KIND == DIRECTORY
}

pub(super) fn is_file(mode: u32) -> bool {
    mode & KIND == FILE
}

pub(super) fn file(mode: u32) -> u32 {
    FILE | mode & !KIND
}
