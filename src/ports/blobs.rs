//! Blobs: uploads, long texts, run payloads. Written beside, fsynced, renamed; never half there.

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;

use domain::Result;

/// A blob's name: `/`-separated segments of `[A-Za-z0-9._-]`, none of them `.` or `..`, at most 255 bytes.
pub type BlobName = str;

#[async_trait]
pub trait Blobs: Send + Sync + 'static {
    /// Writes all of `data` under `name`, replacing what was there. Durable when it returns.
    /// With `limit`, more bytes than that are `request_entity_too_large` and nothing is kept. Returns the size.
    async fn put(&self, name: &BlobName, data: BoxStream<'_, std::io::Result<Bytes>>, limit: Option<u64>) -> Result<u64>;
    /// `None` if there is no such blob.
    async fn get(&self, name: &BlobName) -> Result<Option<Bytes>>;
    /// The blob as a stream of pieces, from byte `offset`, with its whole size.
    async fn stream(&self, name: &BlobName, offset: u64) -> Result<Option<(u64, BoxStream<'static, std::io::Result<Bytes>>)>>;
    async fn size(&self, name: &BlobName) -> Result<Option<u64>>;
    /// Removing what is not there is fine.
    async fn delete(&self, name: &BlobName) -> Result<()>;
    /// Names that start with `prefix`, sorted.
    async fn list(&self, prefix: &str) -> Result<Vec<String>>;
}
