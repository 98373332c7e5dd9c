//! The embedded store: records in sled, blobs in files.
//!
//! One directory holds everything: `db/` (sled), `blobs/`, `exports/` (periodic logical exports), `run/` (what only lives
//! as long as the process) and `lock`.
//!
//! *Invariants:* a commit that returned survives `kill -9`; a batch is there whole or not at all; nothing here is read
//! half-written; one process a directory; a database that does not open is moved aside, never deleted.

mod archive;
mod blobs;
mod commit;
mod keys;
mod lock;
mod migrate;
mod records;
mod seen;
#[cfg(test)]
mod tests;

use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use domain::{Code, Error, Result};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

pub use archive::restore;
pub use migrate::{MIGRATIONS, Migration};

use blobs::io_error;
use commit::{Committer, Job, store_error};

/// Version of what lies in the tree; each migration raises it by one.
pub const SCHEMA_VERSION: u32 = 1;

/// How the store behaves: section `[store]` of the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Memory for cached records, in MB.
    pub cache_mb: u64,
    /// Writes are refused with `storage_full` while the disk has fewer free bytes.
    pub min_free_bytes: u64,
    /// Seconds between logical exports, from which a damaged database is restored; 0 = none.
    pub export_secs: u64,
    /// Exports kept.
    pub exports_kept: usize,
    /// Commits that may wait before callers wait to hand theirs in.
    pub queue: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { cache_mb: 32, min_free_bytes: 64 << 20, export_secs: 3600, exports_kept: 3, queue: 4096 }
    }
}

/// An open data directory. Records, blobs and backups through the traits of `ports`.
pub struct Store {
    dir: PathBuf,
    tree: sled::Tree,
    jobs: mpsc::Sender<Job>,
    settings: Settings,
    /// Set when the database had to be restored from an export: what happened, for the log and `doctor`.
    recovered: Option<String>,
    /// One picture at a time: the committer notes changes for one reader.
    pictures: tokio::sync::Mutex<()>,
    _lock: lock::Lock,
}

fn closed() -> Error {
    Error::new(Code::Unavailable, "the store is closed because the server stops; try again when it is back")
}

/// Opens sled, turning its panics into errors.
fn open_db(path: &Path, cache_mb: u64) -> Result<sled::Db> {
    let config = sled::Config::new().path(path).mode(sled::Mode::LowSpace).cache_capacity(cache_mb << 20).flush_every_ms(None);
    match std::panic::catch_unwind(AssertUnwindSafe(|| config.open())) {
        Ok(outcome) => outcome.map_err(store_error),
        Err(_) => Err(Error::new(Code::StoreCorrupt, "the database cannot be opened because it is damaged")),
    }
}

/// Opens the database and reads it through once where that is cheap: the schema's version must be there.
fn open_checked(dir: &Path, settings: &Settings) -> Result<(sled::Db, sled::Tree)> {
    let db = open_db(&dir.join("db"), settings.cache_mb)?;
    let tree = std::panic::catch_unwind(AssertUnwindSafe(|| -> Result<sled::Tree> {
        let tree = db.open_tree("data").map_err(store_error)?;
        let fresh = tree.is_empty();
        let sequence = tree.get(keys::SEQUENCE).map_err(store_error)?.map_or(0, |v| commit::number(&v));
        let seen = seen::read(dir);
        if seen.is_some_and(|seen| sequence < seen) || (fresh && (seen.is_some() || seen::has_history(dir))) {
            return Err(Error::new(Code::StoreCorrupt, "the database has lost what it held: its files were emptied, cut off or replaced"));
        }
        match tree.get(keys::SCHEMA).map_err(store_error)? {
            None if fresh => {
                tree.insert(keys::SCHEMA, &SCHEMA_VERSION.to_be_bytes()).map_err(store_error)?;
                db.flush().map_err(store_error)?;
                std::fs::File::open(dir.join("db/db")).and_then(|f| f.sync_all()).and_then(|()| blobs::sync_dir(&dir.join("db"))).map_err(io_error)?;
            }
            None => return Err(Error::new(Code::StoreCorrupt, "the database has records but no schema version")),
            Some(_) => {}
        }
        if seen.is_none() {
            seen::write(dir, sequence)?;
            blobs::sync_dir(dir).map_err(io_error)?;
        }
        Ok(tree)
    }));
    match tree {
        Ok(tree) => Ok((db, tree?)),
        Err(_) => Err(Error::new(Code::StoreCorrupt, "the database cannot be read because it is damaged")),
    }
}

/// Moves a damaged database aside and restores the newest export that is whole.
fn recover(dir: &Path, settings: &Settings, why: &Error) -> Result<(sled::Db, sled::Tree, String)> {
    let whole = archive::exports(&dir.join("exports")).into_iter().rev().find_map(|export| {
        let beside = tempfile::Builder::new().prefix("recover-").tempdir_in(dir.join("run")).ok()?;
        archive::unpack(&export, beside.path()).ok().map(|report| (export, beside, report))
    });
    let Some((export, beside, report)) = whole else {
        let hint = format!("the database in `{}` does not open and there is no whole export to restore; restore a backup with `filbert restore`", dir.display());
        return Err(Error::new(Code::StoreCorrupt, hint).source(why.clone()));
    };
    let aside = dir.join(format!("db.damaged-{}", uuid::Uuid::now_v7()));
    swap(&beside.path().join("db"), &dir.join("db"), &aside).map_err(io_error)?;
    blobs::sync_dir(dir).map_err(io_error)?;
    // What the export lacks is lost; the new database is not to be measured by the old one.
    let _ = std::fs::remove_file(dir.join("seen"));
    let (db, tree) = open_checked(dir, settings)?;
    let what = format!(
        "the database did not open ({}); {} rows were restored from the export `{}`, and the damaged files were moved to `{}`",
        why.message,
        report.records,
        export.file_name().unwrap_or_default().to_string_lossy(),
        aside.display()
    );
    Ok((db, tree, what))
}

/// Puts `new` where `old` is and `old` where `aside` names, so that at every moment a database stands at `old`'s place
/// or the next start sees that one is missing.
fn swap(new: &Path, old: &Path, aside: &Path) -> std::io::Result<()> {
    use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
    if !old.exists() {
        return std::fs::rename(new, old);
    }
    std::fs::rename(new, aside)?;
    if renameat2(AT_FDCWD, aside, AT_FDCWD, old, RenameFlags::RENAME_EXCHANGE).is_ok() {
        return Ok(());
    }
    // A file system that cannot exchange.
    let third = aside.with_extension("new");
    std::fs::rename(aside, &third)?;
    std::fs::rename(old, aside)?;
    std::fs::rename(&third, old)
}

impl Store {
    /// Opens `dir`, making it if it is not there. Migrates older schemas, taking an export first; restores the newest
    /// export when the database is damaged. Blocks for as long as sled needs to read its log.
    ///
    /// # Errors
    /// `conflict` when another process has the directory, `store_corrupt` when nothing can be restored or the schema is
    /// newer than this version, `storage_full` and `internal_server_error` for what the disk says.
    pub fn open(dir: &Path, settings: &Settings) -> Result<Arc<Self>> {
        for folder in ["", "blobs", "exports", "run"] {
            std::fs::create_dir_all(dir.join(folder)).map_err(|e| {
                Error::new(Code::Internal, format!("the data directory `{}` cannot be used: {e}; check its rights, or choose another with `--data`", dir.display())).source(e)
            })?;
        }
        let lock = lock::Lock::take(&dir.join("lock"))?;
        // What an earlier process left unfinished.
        let unfinished = dir.join("blobs").join(blobs::UNFINISHED);
        let _ = std::fs::remove_dir_all(&unfinished);
        std::fs::create_dir_all(&unfinished).map_err(io_error)?;
        for entry in std::fs::read_dir(dir.join("run")).map_err(io_error)?.flatten().filter(|e| e.path().is_dir()) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
        for entry in std::fs::read_dir(dir.join("exports")).map_err(io_error)?.flatten().filter(|e| e.path().extension().is_none_or(|e| e != "filbert")) {
            let _ = std::fs::remove_file(entry.path());
        }
        let (db, tree, recovered) = match open_checked(dir, settings) {
            Ok((db, tree)) => (db, tree, None),
            Err(why) if why.code == Code::StoreCorrupt => {
                let (db, tree, what) = recover(dir, settings, &why)?;
                tracing::error!("{what}");
                (db, tree, Some(what))
            }
            Err(other) => return Err(other),
        };
        migrate::run(&db, &tree, MIGRATIONS, &dir.join("exports"))?;
        let (jobs, receiver) = mpsc::channel(settings.queue.max(1));
        let committer = Committer::new(db, tree.clone(), receiver, dir.to_owned(), settings.min_free_bytes)?;
        std::thread::Builder::new().name("committer".into()).spawn(move || committer.run()).map_err(io_error)?;
        Ok(Arc::new(Self { dir: dir.to_owned(), tree, jobs, settings: settings.clone(), recovered, pictures: tokio::sync::Mutex::new(()), _lock: lock }))
    }

    /// Makes exports every `export_secs` for as long as the store lives. Call it once, inside a runtime.
    pub fn start_exports(self: &Arc<Self>) {
        let (every, store): (_, Weak<Self>) = (self.settings.export_secs, Arc::downgrade(self));
        if every == 0 {
            return;
        }
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_secs(every)).await;
                let Some(store) = store.upgrade() else { return };
                if let Err(e) = store.export().await {
                    tracing::warn!(error = %e, "the periodic export failed");
                }
            }
        });
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }
    /// What had to be repaired when it was opened.
    pub fn recovered(&self) -> Option<&str> {
        self.recovered.as_deref()
    }

    /// Flushes and ends. Commits handed in before are still made; later ones are `unavailable`.
    pub async fn close(&self) {
        let (done, answer) = oneshot::channel();
        if self.jobs.send(Job::Close(done)).await.is_ok() {
            let _ = answer.await;
        }
    }
}
