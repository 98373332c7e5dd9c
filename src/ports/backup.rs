//! Backup while serving.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use std::path::Path;

use domain::Result;

/// What a backup holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupReport {
    pub records: u64,
    pub blobs: u64,
    /// Size of the backup file in bytes.
    pub bytes: u64,
    /// SHA-256 of the backup file in hex.
    pub sha256: String,
}

#[async_trait]
pub trait Backup: Send + Sync + 'static {
    /// Writes a consistent picture of everything (records, blobs, master key) into one checksummed file, beside
    /// ongoing writes. Every write acknowledged before the call is in it. `to` appears whole or not at all.
    async fn backup(&self, to: &Path) -> Result<BackupReport>;
    /// What had to be repaired when the store was opened, for people.
    fn recovered(&self) -> Option<String> {
        None
    }
}
