//! Step output as upstream keeps it on disk while a job runs: the same text
//! under `_diag/pages` and `_diag/blocks`, once per step and once for the job,
//! visible in steps of 4096 bytes, deleted shortly after its end.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use mayfly_fake_runner::clock;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
const VISIBLE_STEP: usize = 4096;

type Open = (PathBuf, BufWriter<File>);

/// One record's files. Clones write to the same files.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pages {
    files: Arc<Mutex<Vec<Open>>>,
    /// The job's record, which gets every line of its steps as well.
    job: Option<Box<Self>>,
}

impl Pages {
    pub(crate) fn open(diag: &Path, timeline: &str, record: &str, job: Option<&Self>) -> Self {
        let names = [("pages", format!("{timeline}_{record}_1.log")), ("blocks", format!("{timeline}_{record}.1"))];
        let open = |(directory, name): &(&str, String)| -> io::Result<Open> {
            let directory = diag.join(directory);
            fs::create_dir_all(&directory)?;
            let path = directory.join(name);
            let mut file = BufWriter::with_capacity(VISIBLE_STEP, File::create(&path)?);
            file.write_all(BYTE_ORDER_MARK)?;
            Ok((path, file))
        };
        let files = names.iter().filter_map(|name| open(name).ok()).collect();
        Self { files: Arc::new(Mutex::new(files)), job: job.cloned().map(Box::new) }
    }

    pub(crate) fn line(&self, text: &str) {
        let line = format!("{} {text}\n", clock::round_trip_stamp());
        self.write(line.as_bytes());
        if let Some(job) = &self.job {
            job.write(line.as_bytes());
        }
    }

    fn write(&self, bytes: &[u8]) {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        for (_, file) in files.iter_mut() {
            let _ = file.write_all(bytes);
        }
    }

    /// Flushes and deletes; later lines go nowhere.
    pub(crate) fn delete(&self) {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        for (path, file) in files.drain(..) {
            drop(file);
            let _ = fs::remove_file(path);
        }
    }
}
