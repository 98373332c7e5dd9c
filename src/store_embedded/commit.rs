//! Group commit: one thread applies what many callers hand in, flushes once, then answers them all.

use std::collections::BTreeMap;
use std::path::PathBuf;

use domain::{Code, Error, Result};
use ports::records::{Batch, Write, check, taken_error};
use tokio::sync::{mpsc, oneshot};

use crate::keys::{self, Row};
use crate::seen::Seen;

/// Work for the committer.
pub enum Job {
    Commit(Batch, oneshot::Sender<Result<()>>),
    /// Runs between two groups: what it sees is everything acknowledged so far and nothing else.
    Still(Box<dyn FnOnce(&sled::Tree, &mut Changes) + Send>),
    Close(oneshot::Sender<()>),
}

/// What changed since somebody began to read the tree: keys with their last values, `None` for what was removed.
/// Nothing is noted while it is `None`. Pictures are taken one at a time.
pub type Changes = Option<BTreeMap<Vec<u8>, Option<Vec<u8>>>>;

/// Most batches in a group.
const GROUP: usize = 512;

/// Values of keys that the group changes; `None` is removed.
type Pending = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

pub struct Committer {
    pub db: sled::Db,
    pub tree: sled::Tree,
    pub jobs: mpsc::Receiver<Job>,
    pub dir: PathBuf,
    pub min_free_bytes: u64,
    sequence: u64,
    seen: Seen,
    changes: Changes,
}

/// Whether the disk of `dir` has at least `wanted` bytes left. Errors: `storage_full`.
pub fn check_space(dir: &std::path::Path, wanted: u64) -> Result<()> {
    let free = nix::sys::statvfs::statvfs(dir).map(|s| s.blocks_available() as u64 * s.fragment_size() as u64);
    if free.is_ok_and(|free| free < wanted) { Err(full()) } else { Ok(()) }
}

impl Committer {
    pub fn new(db: sled::Db, tree: sled::Tree, jobs: mpsc::Receiver<Job>, dir: PathBuf, min_free_bytes: u64) -> Result<Self> {
        let sequence = tree.get(keys::SEQUENCE).map_err(store_error)?.map_or(0, |v| number(&v));
        Ok(Self { db, tree, jobs, seen: Seen::new(dir.clone()), dir, min_free_bytes, sequence, changes: None })
    }

    /// Runs until it is closed or every sender is gone. Blocks: give it a thread of its own.
    pub fn run(mut self) {
        while let Some(first) = self.jobs.blocking_recv() {
            let mut group = Vec::new();
            let mut next = Some(first);
            let mut after = None;
            while let Some(job) = next {
                match job {
                    Job::Commit(batch, done) => group.push((batch, done)),
                    other => {
                        after = Some(other);
                        break;
                    }
                }
                next = if group.len() < GROUP { self.jobs.try_recv().ok() } else { None };
            }
            self.commit(group);
            match after {
                Some(Job::Still(work)) => work(&self.tree, &mut self.changes),
                Some(Job::Close(done)) => {
                    if let Err(e) = self.db.flush() {
                        tracing::error!(error = %e, "the store could not be flushed at its end");
                    } else {
                        self.seen.end(self.sequence);
                    }
                    drop(self.tree);
                    drop(self.db);
                    let _ = done.send(());
                    return;
                }
                _ => {}
            }
        }
    }

    fn commit(&mut self, group: Vec<(Batch, oneshot::Sender<Result<()>>)>) {
        if group.is_empty() {
            return;
        }
        let mut pending = Pending::new();
        let mut answers = Vec::with_capacity(group.len());
        for (batch, done) in group {
            // A batch sees those before it; what it would change is kept only if all of it holds.
            let mut own = Pending::new();
            let outcome = batch.0.into_iter().try_for_each(|write| self.prepare(write, &pending, &mut own));
            if outcome.is_ok() {
                pending.append(&mut own);
            }
            answers.push((outcome, done));
        }
        let written = if pending.is_empty() { Ok(()) } else { self.write(pending) };
        for (outcome, done) in answers {
            let _ = done.send(outcome.and_then(|()| written.clone()));
        }
    }

    fn write(&mut self, mut pending: Pending) -> Result<()> {
        check_space(&self.dir, self.min_free_bytes)?;
        pending.insert(keys::SEQUENCE.to_vec(), Some((self.sequence + 1).to_be_bytes().to_vec()));
        let noted = self.changes.is_some().then(|| pending.clone());
        let (mut batch, mut back) = (sled::Batch::default(), sled::Batch::default());
        for (key, value) in pending {
            match self.tree.get(&key).map_err(store_error)? {
                Some(old) => back.insert(key.as_slice(), old),
                None => back.remove(key.as_slice()),
            }
            match value {
                Some(value) => batch.insert(key, value),
                None => batch.remove(key),
            }
        }
        // sled's flush hands the log to the kernel without waiting for the disk; power loss needs the disk's word as well.
        let outcome = self.tree.apply_batch(batch).and_then(|()| self.db.flush()).and_then(|_| Ok(std::fs::File::open(self.dir.join("db/db"))?.sync_data()?));
        if let Err(e) = outcome {
            // Readers must not go on seeing what was refused.
            if let Err(again) = self.tree.apply_batch(back) {
                tracing::error!(error = %again, "a refused write could not be taken back");
            }
            return Err(store_error(e));
        }
        self.sequence += 1;
        self.seen.tell(self.sequence);
        if let (Some(changes), Some(noted)) = (&mut self.changes, noted) {
            changes.extend(noted);
        }
        Ok(())
    }

    fn value(&self, key: &[u8], pending: &Pending, own: &Pending) -> Result<Option<Vec<u8>>> {
        if let Some(value) = own.get(key).or_else(|| pending.get(key)) {
            return Ok(value.clone());
        }
        Ok(self.tree.get(key).map_err(store_error)?.map(|v| v.to_vec()))
    }

    fn row(&self, key: &[u8], pending: &Pending, own: &Pending) -> Result<Option<Row>> {
        self.value(key, pending, own)?.map(|bytes| decode(&bytes)).transpose()
    }

    fn prepare(&self, write: Write, pending: &Pending, own: &mut Pending) -> Result<()> {
        match write {
            Write::Put { kind, tenant, id, version, bytes, indexes, expect } => {
                let key = keys::row(kind, tenant, &id);
                let old = self.row(&key, pending, own)?;
                check(kind, expect, old.as_ref().map(|r| r.revision))?;
                let revision = old.as_ref().map_or(0, |r| r.revision) + 1;
                match old {
                    Some(old) => old.indexes.into_iter().for_each(|entry| drop(own.insert(entry, None))),
                    None => self.count(kind, tenant, 1, pending, own)?,
                }
                let mut entries = Vec::with_capacity(indexes.len());
                for entry in indexes {
                    let mut entry_key = keys::index(kind, entry.index, tenant);
                    keys::escape(&entry.key, true, &mut entry_key);
                    if entry.unique && self.is_taken(&entry_key, &id, pending, own)? {
                        return Err(taken_error(kind, entry.index));
                    }
                    entry_key.extend_from_slice(&id);
                    own.insert(entry_key.clone(), Some(Vec::new()));
                    entries.push(entry_key);
                }
                let row = Row { version, revision, bytes, indexes: entries };
                own.insert(key, Some(postcard::to_stdvec(&row).map_err(Error::internal)?));
            }
            Write::Delete { kind, tenant, id, expect } => {
                let key = keys::row(kind, tenant, &id);
                let old = self.row(&key, pending, own)?;
                check(kind, expect, old.as_ref().map(|r| r.revision))?;
                if let Some(old) = old {
                    old.indexes.into_iter().for_each(|entry| drop(own.insert(entry, None)));
                    own.insert(key, None);
                    self.count(kind, tenant, -1, pending, own)?;
                }
            }
        }
        Ok(())
    }

    /// Whether another record than `id` has an entry that begins with `prefix`, a whole index key.
    fn is_taken(&self, prefix: &[u8], id: &[u8], pending: &Pending, own: &Pending) -> Result<bool> {
        let is_own = |key: &[u8]| &key[prefix.len()..] == id;
        for changes in [own, pending] {
            let mut range = changes.range(prefix.to_vec()..).take_while(|(k, _)| k.starts_with(prefix));
            if range.any(|(k, v)| v.is_some() && !is_own(k) && own.get(k).is_none_or(Option::is_some)) {
                return Ok(true);
            }
        }
        for key in self.tree.scan_prefix(prefix).keys() {
            let key = key.map_err(store_error)?;
            let removed = own.get(key.as_ref()).or_else(|| pending.get(key.as_ref())).is_some_and(Option::is_none);
            if !removed && !is_own(&key) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn count(&self, kind: &str, tenant: domain::id::TenantId, change: i64, pending: &Pending, own: &mut Pending) -> Result<()> {
        let key = keys::counter(kind, tenant);
        let old = self.value(&key, pending, own)?.map_or(0, |v| number(&v));
        own.insert(key, Some(old.saturating_add_signed(change).to_be_bytes().to_vec()));
        Ok(())
    }
}

/// A number as counters keep it; 0 when it is not one.
pub fn number(bytes: &[u8]) -> u64 {
    bytes.try_into().map_or(0, u64::from_be_bytes)
}

pub fn decode(bytes: &[u8]) -> Result<Row> {
    postcard::from_bytes(bytes).map_err(|e| Error::new(Code::StoreCorrupt, "a stored record cannot be read; restore a backup or run `filbert doctor`").source(e))
}

fn full() -> Error {
    Error::new(Code::StorageFull, "the disk of the data directory is full (`store.min_free_bytes`); free some space and try again")
}

/// sled's error as ours.
pub fn store_error(e: sled::Error) -> Error {
    match &e {
        sled::Error::Io(io) if io.kind() == std::io::ErrorKind::StorageFull => full().source(e),
        sled::Error::Io(io) if matches!(io.kind(), std::io::ErrorKind::UnexpectedEof | std::io::ErrorKind::InvalidData) => damaged(e),
        sled::Error::Corruption { .. } | sled::Error::Unsupported(_) | sled::Error::ReportableBug(_) => damaged(e),
        _ => Error::internal(e),
    }
}

fn damaged(e: sled::Error) -> Error {
    Error::new(Code::StoreCorrupt, "the store is damaged; restart to restore its last export, or restore a backup").source(e)
}
