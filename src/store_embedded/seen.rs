//! What the database must at least hold, told beside it.
//!
//! sled opens a log that was emptied or cut as if the rest had never been. The file `seen` holds a sequence number that was
//! durable; a database that is behind it has lost something and is treated as damaged.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use domain::Result;

use crate::blobs::{io_error, sync_dir};

const FILE: &str = "seen";
/// The file may lag behind by this much: a smaller loss at the very end is what a crash may cost anyway.
const EVERY: Duration = Duration::from_secs(1);

/// The sequence that was durable; nothing for a directory that was never used.
pub fn read(dir: &Path) -> Option<u64> {
    std::fs::read_to_string(dir.join(FILE)).ok()?.trim().parse().ok()
}

/// Writes the file, beside and renamed.
pub fn write(dir: &Path, sequence: u64) -> Result<()> {
    let part = dir.join("run").join("seen.part");
    std::fs::write(&part, sequence.to_string()).map_err(io_error)?;
    std::fs::rename(&part, dir.join(FILE)).map_err(io_error)
}

/// Whether something else in the directory says that it was in use.
pub fn has_history(dir: &Path) -> bool {
    let damaged = |name: &str| name.starts_with("db.damaged-");
    let aside = std::fs::read_dir(dir).into_iter().flatten().flatten().any(|e| e.file_name().to_str().is_some_and(damaged));
    aside || !crate::archive::exports(&dir.join("exports")).is_empty()
}

/// Keeps the file up to date, at most once in a while.
pub struct Seen {
    dir: PathBuf,
    written: Option<Instant>,
}

impl Seen {
    pub fn new(dir: PathBuf) -> Self {
        Self { dir, written: None }
    }
    /// `sequence` is durable now.
    pub fn tell(&mut self, sequence: u64) {
        if self.written.is_none_or(|at| at.elapsed() >= EVERY) {
            self.written = Some(Instant::now());
            self.write(sequence);
        }
    }
    /// The last word.
    pub fn end(&self, sequence: u64) {
        self.write(sequence);
        let _ = sync_dir(&self.dir);
    }
    fn write(&self, sequence: u64) {
        if let Err(e) = write(&self.dir, sequence) {
            tracing::warn!(error = %e, "what the store holds could not be noted");
        }
    }
}
