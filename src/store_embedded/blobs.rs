//! Blobs as files: written beside, fsynced, renamed.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use bytes::Bytes;
use domain::{Code, Error, Result};
use futures::{StreamExt, stream::BoxStream};
use ports::blobs::{BlobName, Blobs};
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};

use crate::Store;

/// Folder of files that are still being written; emptied when the store opens.
pub const UNFINISHED: &str = ".unfinished";

/// Checks a blob's name. Errors: `invalid_param`.
pub fn check_name(name: &str) -> Result<()> {
    let good = !name.is_empty()
        && name.len() <= 255
        && name.split('/').all(|s| !s.is_empty() && s != "." && s != ".." && !s.starts_with(UNFINISHED) && s.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)));
    if good { Ok(()) } else { Err(Error::invalid("name", "this is not a blob's name: use letters, digits, `.`, `_`, `-` and `/` between them, at most 255 bytes")) }
}

pub(crate) fn io_error(e: std::io::Error) -> Error {
    match e.kind() {
        std::io::ErrorKind::StorageFull => Error::new(Code::StorageFull, "the disk of the data directory is full; free some space and try again").source(e),
        _ => Error::internal(e),
    }
}

/// Makes a folder's entries durable.
pub(crate) fn sync_dir(dir: &Path) -> std::io::Result<()> {
    std::fs::File::open(dir)?.sync_all()
}

impl Store {
    fn blob_path(&self, name: &str) -> Result<PathBuf> {
        check_name(name)?;
        Ok(self.dir.join("blobs").join(name))
    }
}

fn absent<T>(outcome: std::io::Result<T>) -> Result<Option<T>> {
    match outcome {
        Ok(value) => Ok(Some(value)),
        Err(e) if matches!(e.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => Ok(None),
        Err(e) => Err(io_error(e)),
    }
}

#[async_trait]
impl Blobs for Store {
    async fn put(&self, name: &BlobName, mut data: BoxStream<'_, std::io::Result<Bytes>>, limit: Option<u64>) -> Result<u64> {
        let path = self.blob_path(name)?;
        let root = self.dir.join("blobs");
        let part = root.join(UNFINISHED).join(uuid::Uuid::now_v7().to_string());
        // Removes what was begun, also when the caller goes away in the middle.
        let guard = tempfile::TempPath::try_from_path(&part).map_err(io_error)?;
        let mut file = tokio::fs::File::create(&part).await.map_err(io_error)?;
        let mut size = 0;
        while let Some(piece) = data.next().await {
            let piece = piece.map_err(|e| Error::new(Code::BadRequest, "the upload ended too early; send it again").source(e))?;
            size += piece.len() as u64;
            if let Some(limit) = limit.filter(|l| size > *l) {
                return Err(Error::new(Code::RequestTooLarge, format!("the file has more than the {limit} bytes that are allowed")));
            }
            file.write_all(&piece).await.map_err(io_error)?;
        }
        file.flush().await.map_err(io_error)?;
        file.sync_all().await.map_err(io_error)?;
        drop(file);
        tokio::task::spawn_blocking(move || -> Result<()> {
            let folder = path.parent().unwrap_or(&path).to_owned();
            std::fs::create_dir_all(&folder).map_err(io_error)?;
            guard.persist(&path).map_err(|e| io_error(e.error))?;
            // Folders that are new are entries of theirs.
            folder.ancestors().take_while(|a| a.starts_with(&root)).try_for_each(sync_dir).map_err(io_error)
        })
        .await
        .map_err(Error::internal)??;
        Ok(size)
    }

    async fn get(&self, name: &BlobName) -> Result<Option<Bytes>> {
        Ok(absent(tokio::fs::read(self.blob_path(name)?).await)?.map(Bytes::from))
    }

    async fn stream(&self, name: &BlobName, offset: u64) -> Result<Option<(u64, BoxStream<'static, std::io::Result<Bytes>>)>> {
        let Some(mut file) = absent(tokio::fs::File::open(self.blob_path(name)?).await)? else { return Ok(None) };
        let size = file.metadata().await.map_err(io_error)?.len();
        file.seek(std::io::SeekFrom::Start(offset)).await.map_err(io_error)?;
        let pieces = futures::stream::try_unfold(file, |mut file| async move {
            let mut buffer = bytes::BytesMut::with_capacity(64 * 1024);
            let n = file.read_buf(&mut buffer).await?;
            Ok((n > 0).then(|| (buffer.freeze(), file)))
        });
        Ok(Some((size, pieces.boxed())))
    }

    async fn size(&self, name: &BlobName) -> Result<Option<u64>> {
        Ok(absent(tokio::fs::metadata(self.blob_path(name)?).await)?.map(|m| m.len()))
    }

    async fn delete(&self, name: &BlobName) -> Result<()> {
        absent(tokio::fs::remove_file(self.blob_path(name)?).await).map(|_| ())
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>> {
        let root = self.dir.join("blobs");
        let prefix = prefix.to_owned();
        tokio::task::spawn_blocking(move || {
            let mut names: Vec<String> = files_below(&root).map_err(io_error)?.into_iter().filter(|n| n.starts_with(&prefix)).collect();
            names.sort_unstable();
            Ok(names)
        })
        .await
        .map_err(Error::internal)?
    }
}

/// Names of all finished blobs below `root`.
pub(crate) fn files_below(root: &Path) -> std::io::Result<Vec<String>> {
    let (mut names, mut folders) = (Vec::new(), vec![String::new()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(root.join(&folder))? {
            let entry = entry?;
            let Some(name) = entry.file_name().to_str().map(|n| if folder.is_empty() { n.to_owned() } else { format!("{folder}/{n}") }) else { continue };
            if name == UNFINISHED {
                continue;
            }
            if entry.file_type()?.is_dir() { folders.push(name) } else { names.push(name) }
        }
    }
    Ok(names)
}
