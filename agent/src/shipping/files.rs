//! The files of a directory that a stream follows: the runner's `_diag`, its console, the agent's own log.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use tracing::warn;

use super::follow::{Followed, Place, Portion};
use super::intake::Intake;
use super::stamp::Stamp;
use super::voice::Voice;
use mayfly_core::record::LossReason;

/// So many names of a directory are looked at.
const MOST_NAMES: usize = 4096;

/// So many files are followed; a run makes some three.
const MOST_FILES: usize = 64;

/// So many bytes are read at one go; then others have their turn.
const BURST: u64 = 4 * 1024 * 1024;

/// Which files.
#[derive(Clone, Copy, Debug)]
pub(super) enum Names {
    /// The one with this name.
    This(&'static str),
    /// Those that begin like this and end with `.log`.
    Begin(&'static str),
}

/// See the module.
#[derive(Debug)]
pub(super) struct Files {
    directory: PathBuf,
    names: Names,
    stamp: Stamp,
    followed: BTreeMap<String, Followed>,
    /// From an earlier agent process.
    places: BTreeMap<String, Place>,
    /// Those that cannot be read; said once.
    spoilt: BTreeSet<String>,
}

impl Files {
    pub(super) fn new(directory: &Path, names: Names, stamp: Stamp) -> Self {
        let (followed, places, spoilt) = Default::default();
        Self { directory: directory.to_owned(), names, stamp, followed, places, spoilt }
    }

    /// Goes on from these places, by the files' paths.
    pub(super) fn resume(&mut self, places: &BTreeMap<String, Place>) {
        let prefix = format!("{}/", self.directory.display());
        let own = places.iter().filter_map(|(path, place)| Some((path.strip_prefix(&prefix)?.to_owned(), *place)));
        self.places = own.collect();
    }

    /// Adds how far each file was read.
    pub(super) fn places(&self, places: &mut BTreeMap<String, Place>) {
        for (name, place) in self.followed.iter().map(|(name, file)| (name, file.place())).chain(
            self.places
                .iter()
                .filter(|(name, _)| !self.followed.contains_key(*name))
                .map(|(name, place)| (name, *place)),
        ) {
            places.insert(self.directory.join(name).display().to_string(), place);
        }
    }

    /// Takes in what is new, as far as there is room. Returns whether there is more. `last`: nobody writes any more.
    pub(super) fn read(&mut self, intake: &mut Intake, buffer: &mut Vec<u8>, last: bool, voice: &Voice) -> bool {
        let names = self.look(intake, voice);
        let mut burst = 0;
        for name in names {
            let path = self.directory.join(&name);
            let Some(file) = self.followed.get_mut(&name) else { continue };
            let gone = file.is_replaced(&path);
            loop {
                let before = file.place().offset;
                match file.read(intake, buffer, last || gone) {
                    Ok(Portion::Nothing) => break,
                    Ok(Portion::Full) => return true,
                    Ok(Portion::More) => burst += file.place().offset.saturating_sub(before),
                    Err(error) => {
                        self.spoil(&name, &error, intake, voice);
                        break;
                    }
                }
                if burst > BURST {
                    return true;
                }
            }
            if gone {
                self.followed.remove(&name);
                // The next look finds what has its name now.
                self.places.remove(&name);
                if path.exists() {
                    return true;
                }
            }
        }
        false
    }

    /// Leaves out what is outrun, while nothing can be taken in. What cannot be read then is told at the next reading.
    pub(super) fn relieve(&mut self, intake: &mut Intake, buffer: &mut Vec<u8>) {
        for file in self.followed.values_mut() {
            let _ = file.relieve(intake, buffer);
        }
    }

    /// Up to where the file of this name was read.
    pub(super) fn offset(&self, name: &str) -> Option<u64> {
        self.followed.get(name).map(|file| file.place().offset)
    }

    /// How many lines are there and were not read.
    pub(super) fn unread(&self, buffer: &mut Vec<u8>, most: u64) -> u64 {
        self.followed.values().map(|file| file.unread(buffer, most)).sum()
    }

    /// Begins to follow what is new, and tells all that are followed, the oldest name first.
    fn look(&mut self, intake: &mut Intake, voice: &Voice) -> Vec<String> {
        for name in self.there() {
            if self.followed.contains_key(&name) || self.spoilt.contains(&name) {
                continue;
            }
            if self.followed.len() >= MOST_FILES {
                self.spoil(&name, &io::Error::other("there are too many"), intake, voice);
                continue;
            }
            match Followed::open(&self.directory.join(&name), self.stamp, self.places.get(&name).copied()) {
                Ok(file) => drop(self.followed.insert(name, file)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => self.spoil(&name, &error, intake, voice),
            }
        }
        self.followed.keys().cloned().collect()
    }

    fn there(&self) -> Vec<String> {
        let prefix = match self.names {
            Names::This(name) => return vec![name.to_owned()],
            Names::Begin(prefix) => prefix,
        };
        let Ok(entries) = fs::read_dir(&self.directory) else { return Vec::new() };
        let names = entries.flatten().take(MOST_NAMES).filter_map(|entry| entry.file_name().into_string().ok());
        let mut names: Vec<_> = names.filter(|name| name.starts_with(prefix) && name.ends_with(".log")).collect();
        names.sort();
        names
    }

    fn spoil(&mut self, name: &str, error: &io::Error, intake: &mut Intake, voice: &Voice) {
        self.followed.remove(name);
        if self.spoilt.len() < MOST_NAMES && self.spoilt.insert(name.to_owned()) {
            // How many lines are in it nobody knows; one says that something is missing.
            intake.lost(LossReason::Unreadable, 1);
            if self.spoilt.len() <= 10 {
                let path = self.directory.join(name);
                voice.say(|| warn!("the log {:?} is not shipped: {error}", path));
            }
        }
    }
}
