//! The library of local model files and the runtime that loads them.

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use std::path::Path;

use domain::{
    Result,
    id::DownloadId,
    model::{Download, LocalModel, ModelSettings, RuntimeStatus},
};

#[async_trait]
pub trait ModelLibrary: Send + Sync + 'static {
    /// Every `.gguf` in the models folder, looked at afresh: a dropped-in file appears without a restart.
    async fn list(&self) -> Result<Vec<LocalModel>>;
    async fn get(&self, id: &str) -> Result<LocalModel>;
    /// Takes a file that lies on this machine (copied, checked, renamed into place).
    async fn add_file(&self, from: &Path) -> Result<LocalModel>;
    /// Takes an uploaded file; refuses what is no readable GGUF and then keeps nothing.
    async fn add_upload(&self, file_name: &str, data: BoxStream<'_, std::io::Result<Bytes>>) -> Result<LocalModel>;
    /// Starts (or resumes) a download; returns at once.
    async fn download(&self, url: &str, file_name: Option<&str>, sha256: Option<&str>) -> Result<Download>;
    async fn downloads(&self) -> Result<Vec<Download>>;
    /// Interrupts it, keeping what has come.
    async fn pause_download(&self, id: DownloadId) -> Result<Download>;
    async fn resume_download(&self, id: DownloadId) -> Result<Download>;
    /// Stops it and removes what has come.
    async fn cancel_download(&self, id: DownloadId) -> Result<()>;
    /// Unloads the model and deletes its file. Built-in models come back with the next `make models`.
    async fn remove(&self, id: &str) -> Result<()>;
    /// Stores settings; a loaded model is reloaded with them when it is next idle.
    async fn configure(&self, settings: ModelSettings) -> Result<LocalModel>;
    /// Brings it into memory, unloading idle ones (least recently used first) to stay in budget. Waits until it is ready.
    async fn load(&self, id: &str) -> Result<LocalModel>;
    /// Frees its memory once running requests are done.
    async fn unload(&self, id: &str) -> Result<LocalModel>;
    async fn status(&self) -> Result<RuntimeStatus>;
}
