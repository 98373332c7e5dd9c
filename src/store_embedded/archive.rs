//! Backups and exports: one file that proves it is whole.
//!
//! A zstd stream of a tar (`manifest.json`, `records`, `blobs/…`), then a trailer: [`MAGIC`] and the SHA-256 of all that
//! stands before it. A file that was cut off or changed has no fitting trailer.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use domain::{Code, Error, Result};
use ports::backup::{Backup, BackupReport};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{
    SCHEMA_VERSION, Store,
    blobs::{files_below, io_error, sync_dir},
    commit::{Changes, Job, check_space, store_error},
};

const MAGIC: &[u8; 16] = b"filbert-backup-1";
const TRAILER: u64 = 16 + 32;
/// Longest key or value that is read back.
const LONGEST: u64 = 1 << 30;

#[derive(Serialize, Deserialize)]
struct Manifest {
    schema: u32,
    records: u64,
    blobs: u64,
}

fn invalid(path: &Path, why: &str) -> Error {
    Error::new(Code::InvalidBackup, format!("`{}` cannot be restored: {why}; nothing was changed", path.display()))
}

/// Stands for the length of a value that was removed.
const REMOVED: u64 = u64::MAX;

/// Writes every key and value of `tree` as (length, bytes) pairs, lengths 8 bytes little-endian. Returns how many.
pub fn dump(tree: &sled::Tree, to: &mut impl Write) -> Result<u64> {
    let mut n = 0;
    for entry in tree.iter() {
        let (key, value) = entry.map_err(store_error)?;
        for part in [key.as_ref(), value.as_ref()] {
            to.write_all(&(part.len() as u64).to_le_bytes()).and_then(|()| to.write_all(part)).map_err(io_error)?;
        }
        n += 1;
    }
    Ok(n)
}

/// Appends changes to a dump: later entries win, [`REMOVED`] removes. Returns how many.
fn append(changes: BTreeMap<Vec<u8>, Option<Vec<u8>>>, to: &mut impl Write) -> Result<u64> {
    let n = changes.len() as u64;
    let mut write = |length: u64, bytes: &[u8]| to.write_all(&length.to_le_bytes()).and_then(|()| to.write_all(bytes)).map_err(io_error);
    for (key, value) in changes {
        write(key.len() as u64, &key)?;
        match value {
            Some(value) => write(value.len() as u64, &value)?,
            None => write(REMOVED, &[])?,
        }
    }
    Ok(n)
}

/// What one length announces.
enum Part {
    Bytes(Vec<u8>),
    Removed,
}

fn read_part(from: &mut impl Read) -> std::io::Result<Option<Part>> {
    let mut length = [0; 8];
    match from.read_exact(&mut length) {
        Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    }
    let length = u64::from_le_bytes(length);
    if length == REMOVED {
        return Ok(Some(Part::Removed));
    }
    if length > LONGEST {
        return Err(std::io::Error::other("a record is longer than can be"));
    }
    let mut bytes = Vec::new();
    from.take(length).read_to_end(&mut bytes)?;
    if bytes.len() as u64 != length { Err(std::io::ErrorKind::UnexpectedEof.into()) } else { Ok(Some(Part::Bytes(bytes))) }
}

/// Copies what passes into a digest and a count.
struct Hashing<W> {
    inner: W,
    digest: Sha256,
}
impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, data: &[u8]) -> std::io::Result<usize> {
        let n = self.inner.write(data)?;
        self.digest.update(&data[..n]);
        Ok(n)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        self.inner.flush()
    }
}

/// Packs a dump and a folder of blobs into `to`, which appears whole or not at all.
pub fn pack(records: &Path, count: u64, blobs: Option<&Path>, to: &Path) -> Result<BackupReport> {
    let folder = to.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let part = tempfile::NamedTempFile::new_in(folder).map_err(io_error)?;
    let names = blobs.map(files_below).transpose().map_err(io_error)?.unwrap_or_default();
    let manifest = Manifest { schema: SCHEMA_VERSION, records: count, blobs: names.len() as u64 };
    let write = || -> std::io::Result<String> {
        let hashing = Hashing { inner: BufWriter::new(part.as_file()), digest: Sha256::new() };
        let mut tar = tar::Builder::new(zstd::Encoder::new(hashing, 3)?);
        let json = serde_json::to_vec(&manifest)?;
        let mut header = tar::Header::new_gnu();
        header.set_size(json.len() as u64);
        header.set_mode(0o600);
        header.set_cksum();
        tar.append_data(&mut header, "manifest.json", json.as_slice())?;
        tar.append_path_with_name(records, "records")?;
        for name in &names {
            if let Some(root) = blobs {
                tar.append_path_with_name(root.join(name), format!("blobs/{name}"))?;
            }
        }
        let Hashing { mut inner, digest } = tar.into_inner()?.finish()?;
        let hash = digest.finalize();
        inner.write_all(MAGIC)?;
        inner.write_all(&hash)?;
        inner.flush()?;
        part.as_file().sync_all()?;
        Ok(hex::encode(hash))
    };
    let sha256 = write().map_err(io_error)?;
    let bytes = part.as_file().metadata().map_err(io_error)?.len();
    part.persist(to).map_err(|e| io_error(e.error))?;
    sync_dir(folder).map_err(io_error)?;
    Ok(BackupReport { records: count, blobs: manifest.blobs, bytes, sha256 })
}

/// Checks the trailer. Errors: `invalid_backup`.
fn verify(path: &Path) -> Result<(u64, String)> {
    let mut file = File::open(path).map_err(|e| invalid(path, &e.to_string()))?;
    let length = file.metadata().map_err(io_error)?.len();
    if length < TRAILER {
        return Err(invalid(path, "it is no backup of Filbert, or it was cut off"));
    }
    let mut digest = Sha256::new();
    std::io::copy(&mut BufReader::new((&mut file).take(length - TRAILER)), &mut digest).map_err(io_error)?;
    let mut trailer = [0; TRAILER as usize];
    file.seek(SeekFrom::Start(length - TRAILER)).and_then(|_| file.read_exact(&mut trailer)).map_err(io_error)?;
    if &trailer[..16] != MAGIC {
        return Err(invalid(path, "it is no backup of Filbert, or it was cut off"));
    }
    let hash = digest.finalize();
    if trailer[16..] != hash[..] {
        return Err(invalid(path, "its checksum does not fit; the file is damaged"));
    }
    Ok((length - TRAILER, hex::encode(hash)))
}

/// Unpacks a backup into `dir`, an existing empty folder: a `db` and `blobs`. Errors: `invalid_backup`.
pub fn unpack(path: &Path, dir: &Path) -> Result<BackupReport> {
    let (length, sha256) = verify(path)?;
    let damaged = |e: std::io::Error| invalid(path, &e.to_string());
    let file = File::open(path).map_err(damaged)?;
    let mut tar = tar::Archive::new(zstd::Decoder::new(file.take(length)).map_err(damaged)?);
    let db = crate::open_db(&dir.join("db"), 16)?;
    let tree = db.open_tree("data").map_err(store_error)?;
    let mut manifest: Option<Manifest> = None;
    let (mut entries, mut blobs) = (0, 0);
    for entry in tar.entries().map_err(damaged)? {
        let mut entry = entry.map_err(damaged)?;
        let name = entry.path().map_err(damaged)?.to_string_lossy().into_owned();
        match name.as_str() {
            "manifest.json" => manifest = Some(serde_json::from_reader(&mut entry).map_err(|e| invalid(path, &e.to_string()))?),
            "records" => {
                let mut from = BufReader::new(&mut entry);
                while let Some(key) = read_part(&mut from).map_err(damaged)? {
                    let Part::Bytes(key) = key else { return Err(invalid(path, "a record in it has no key")) };
                    match read_part(&mut from).map_err(damaged)?.ok_or_else(|| invalid(path, "its records end too early"))? {
                        Part::Bytes(value) => drop(tree.insert(key, value).map_err(store_error)?),
                        Part::Removed => drop(tree.remove(key).map_err(store_error)?),
                    }
                    entries += 1;
                }
            }
            _ => {
                let blob = name.strip_prefix("blobs/").ok_or_else(|| invalid(path, "it holds something that is neither a record nor a blob"))?;
                crate::blobs::check_name(blob).map_err(|_| invalid(path, "a blob in it has a name that cannot be"))?;
                let to = dir.join("blobs").join(blob);
                std::fs::create_dir_all(to.parent().unwrap_or(dir)).map_err(io_error)?;
                let mut file = File::create(&to).map_err(io_error)?;
                std::io::copy(&mut entry, &mut file).map_err(damaged)?;
                file.sync_all().map_err(io_error)?;
                blobs += 1;
            }
        }
    }
    let manifest = manifest.ok_or_else(|| invalid(path, "it has no manifest"))?;
    if manifest.schema > SCHEMA_VERSION {
        return Err(invalid(path, &format!("it was made by a newer version (schema {}, this one knows {SCHEMA_VERSION})", manifest.schema)));
    }
    if (manifest.records, manifest.blobs) != (entries, blobs) {
        return Err(invalid(path, "it holds fewer records or blobs than it says"));
    }
    db.flush().map_err(store_error)?;
    File::open(dir.join("db/db")).and_then(|f| f.sync_all()).map_err(io_error)?;
    sync_below(dir).map_err(io_error)?;
    Ok(BackupReport { records: entries, blobs, bytes: length + TRAILER, sha256 })
}

/// Makes the entries of a folder and of all folders below durable.
fn sync_below(dir: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(dir)?.flatten().filter(|e| e.path().is_dir()) {
        sync_below(&entry.path())?;
    }
    sync_dir(dir)
}

/// Restores a backup into `dir`, which must be absent or empty. Everything is checked and unpacked beside it first.
///
/// # Errors
/// `invalid_backup` for a damaged, cut-off or foreign file, `conflict` when `dir` is not empty; then nothing has changed.
pub fn restore(backup: &Path, dir: &Path) -> Result<BackupReport> {
    if std::fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(Error::new(Code::Conflict, format!("`{}` is not empty; restore into a new directory", dir.display())));
    }
    verify(backup)?;
    let parent = dir.parent().filter(|p| !p.as_os_str().is_empty()).map_or_else(|| PathBuf::from("."), Path::to_owned);
    std::fs::create_dir_all(&parent).map_err(io_error)?;
    let beside = tempfile::Builder::new().prefix(".restoring-").tempdir_in(&parent).map_err(io_error)?;
    let report = unpack(backup, beside.path())?;
    if dir.exists() {
        std::fs::remove_dir(dir).map_err(io_error)?;
    }
    std::fs::rename(beside.keep(), dir).map_err(io_error)?;
    sync_dir(&parent).map_err(io_error)?;
    Ok(report)
}

/// What a picture of the store consists of, in a folder that goes with it.
struct Picture {
    folder: tempfile::TempDir,
    records: u64,
}

impl Store {
    /// A consistent picture, taken beside ongoing writes: the tree is read while the committer notes what changes; between
    /// two groups of commits the notes are added, and the picture is the tree of that moment. Blobs are linked, those that
    /// are there already before that moment.
    async fn picture(&self, with_blobs: bool) -> Result<Picture> {
        check_space(&self.dir, self.settings.min_free_bytes)?;
        let _turn = self.pictures.lock().await;
        let folder = tempfile::Builder::new().prefix("picture-").tempdir_in(self.dir.join("run")).map_err(io_error)?;
        self.still(|_, changes| *changes = Some(BTreeMap::new())).await?;
        // However it ends, the notes end too.
        let outcome = self.copy(folder.path(), with_blobs).await;
        if outcome.is_err() {
            let _ = self.still(|_, changes| *changes = None).await;
        }
        Ok(Picture { records: outcome?, folder })
    }

    async fn copy(&self, to: &Path, with_blobs: bool) -> Result<u64> {
        let (tree, file, blobs) = (self.tree.clone(), to.join("records"), with_blobs.then(|| self.dir.join("blobs")));
        let (folder, root) = (to.join("blobs"), blobs.clone());
        let (mut out, entries) = tokio::task::spawn_blocking(move || -> Result<_> {
            let mut out = BufWriter::new(File::create(file).map_err(io_error)?);
            let n = dump(&tree, &mut out)?;
            out.flush().map_err(io_error)?;
            if let Some(root) = root {
                link(&root, &folder).map_err(io_error)?;
            }
            Ok((out, n))
        })
        .await
        .map_err(Error::internal)??;
        let folder = to.join("blobs");
        let changes = self
            .still(move |_, changes| {
                let taken = changes.take().unwrap_or_default();
                blobs.map_or(Ok(()), |root| link(&root, &folder)).map(|()| taken)
            })
            .await?
            .map_err(io_error)?;
        let more = append(changes, &mut out)?;
        out.flush().map_err(io_error)?;
        Ok(entries + more)
    }

    /// Runs `work` between two groups of commits.
    async fn still<T: Send + 'static>(&self, work: impl FnOnce(&sled::Tree, &mut Changes) -> T + Send + 'static) -> Result<T> {
        let (done, answer) = tokio::sync::oneshot::channel();
        let job = move |tree: &sled::Tree, changes: &mut Changes| drop(done.send(work(tree, changes)));
        self.jobs.send(Job::Still(Box::new(job))).await.map_err(|_| crate::closed())?;
        answer.await.map_err(|_| crate::closed())
    }

    /// Writes the records, without blobs, into the folder of exports, and removes the oldest beyond `exports_kept`.
    pub async fn export(&self) -> Result<BackupReport> {
        let picture = self.picture(false).await?;
        let folder = self.dir.join("exports");
        let keep = self.settings.exports_kept.max(1);
        tokio::task::spawn_blocking(move || {
            let name = format!("{}.filbert", uuid::Uuid::now_v7());
            let report = pack(&picture.folder.path().join("records"), picture.records, None, &folder.join(name))?;
            // The newest one from before a migration stays beside the regular ones.
            let (before, regular): (Vec<PathBuf>, Vec<PathBuf>) = exports(&folder).into_iter().partition(|p| is_from_before_a_migration(p));
            for (all, keep) in [(before, 1), (regular, keep)] {
                for old in all.iter().take(all.len().saturating_sub(keep)) {
                    let _ = std::fs::remove_file(old);
                }
            }
            Ok(report)
        })
        .await
        .map_err(Error::internal)?
    }
}

fn is_from_before_a_migration(path: &Path) -> bool {
    path.file_name().and_then(|n| n.to_str()).is_some_and(|n| n.starts_with("before-"))
}

/// Links every blob that is not linked yet.
fn link(root: &Path, to: &Path) -> std::io::Result<()> {
    for name in files_below(root)? {
        let link = to.join(&name);
        if link.exists() {
            continue;
        }
        std::fs::create_dir_all(link.parent().unwrap_or(to))?;
        match std::fs::hard_link(root.join(&name), &link) {
            // Deleted since it was listed.
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            other => other?,
        }
    }
    Ok(())
}

/// Exports in `folder`, oldest first: their names end in an id that is ordered by time.
pub fn exports(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|e| e.path());
    let mut all: Vec<PathBuf> = entries.filter(|p| p.extension().is_some_and(|e| e == "filbert")).collect();
    let made = |p: &PathBuf| p.file_stem().and_then(|n| n.to_str()).and_then(|n| n.get(n.len().saturating_sub(36)..)).unwrap_or_default().to_owned();
    all.sort_by_key(made);
    all
}

#[async_trait]
impl Backup for Store {
    async fn backup(&self, to: &Path) -> Result<BackupReport> {
        let picture = self.picture(true).await?;
        let to = to.to_owned();
        tokio::task::spawn_blocking(move || {
            let blobs = picture.folder.path().join("blobs");
            pack(&picture.folder.path().join("records"), picture.records, blobs.is_dir().then_some(blobs.as_path()), &to)
        })
        .await
        .map_err(Error::internal)?
    }
    fn recovered(&self) -> Option<String> {
        self.recovered.clone()
    }
}
