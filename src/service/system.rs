//! How the machine and the installation stand; backups.

use std::{path::{Path, PathBuf}, sync::Arc};

use domain::{Error, Result, id::TenantId, settings::InstanceSettings, time::Millis};
use ports::{backup::{Backup, BackupReport}, models::ModelLibrary, records::Records};

/// Below this much free disk a check warns.
const LOW_DISK_BYTES: u64 = 1 << 30;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckStatus {
    Ok,
    Warn,
    Fail,
}

/// One thing looked at, and what to do about it.
#[derive(Clone, Debug)]
pub struct Check {
    pub name: &'static str,
    pub status: CheckStatus,
    pub message: String,
    pub hint: String,
}

/// Bytes throughout.
#[derive(Clone, Debug)]
pub struct SystemStatus {
    pub version: String,
    pub started_at: Millis,
    pub data_dir: PathBuf,
    pub disk_free_bytes: u64,
    pub disk_total_bytes: u64,
    /// Proportional set size of this process, without model workers.
    pub pss_bytes: u64,
    pub memory_total_bytes: u64,
    pub memory_available_bytes: u64,
    pub checks: Vec<Check>,
}

pub struct System {
    records: Records,
    backup: Arc<dyn Backup>,
    library: Arc<dyn ModelLibrary>,
    data_dir: PathBuf,
    version: String,
    started_at: Millis,
}

/// A figure of a `/proc` file in bytes (the kernel writes kB); 0 when it is not there.
fn proc_bytes(file: &str, name: &str) -> u64 {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let line = text.lines().find_map(|l| l.strip_prefix(name));
    line.and_then(|rest| rest.trim_start_matches(':').split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) * 1024
}

impl System {
    pub fn new(records: Records, backup: Arc<dyn Backup>, library: Arc<dyn ModelLibrary>, data_dir: PathBuf, version: String, started_at: Millis) -> Self {
        Self { records, backup, library, data_dir, version, started_at }
    }
    pub fn version(&self) -> &str {
        &self.version
    }
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// Whether requests can be served: the store answers.
    pub async fn ready(&self) -> Result<()> {
        self.records.get::<InstanceSettings>(TenantId::INSTANCE, b"instance").await.map(|_| ())
    }

    pub async fn status(&self) -> Result<SystemStatus> {
        let dir = self.data_dir.clone();
        let measured = tokio::task::spawn_blocking(move || {
            let disk = nix::sys::statvfs::statvfs(&dir).ok();
            let (free, total) = disk.map_or((0, 0), |d| (d.blocks_available() * d.fragment_size(), d.blocks() * d.fragment_size()));
            (free, total, proc_bytes("/proc/self/smaps_rollup", "Pss"), proc_bytes("/proc/meminfo", "MemTotal"), proc_bytes("/proc/meminfo", "MemAvailable"))
        });
        let (disk_free_bytes, disk_total_bytes, pss_bytes, memory_total_bytes, memory_available_bytes) = measured.await.map_err(Error::internal)?;
        let mut checks = vec![match self.ready().await {
            Ok(()) => match self.backup.recovered() {
                Some(what) => Check { name: "store", status: CheckStatus::Warn, message: what, hint: "what was written after that export is lost; look for it in a backup, and check the disk".into() },
                None => Check { name: "store", status: CheckStatus::Ok, message: "the store answers".into(), hint: String::new() },
            },
            Err(e) => Check { name: "store", status: CheckStatus::Fail, message: e.message, hint: "look into the log; restore a backup if the data is damaged".into() },
        }];
        let low = disk_free_bytes < LOW_DISK_BYTES;
        checks.push(Check {
            name: "disk",
            status: if low { CheckStatus::Warn } else { CheckStatus::Ok },
            message: format!("{} MiB are free in the data directory", disk_free_bytes >> 20),
            hint: if low { "free some space; below it uploads and backups are refused".into() } else { String::new() },
        });
        checks.push(match self.library.list().await {
            Ok(models) if models.iter().any(|m| m.problem.is_none()) => {
                Check { name: "models", status: CheckStatus::Ok, message: format!("{} model files are present", models.len()), hint: String::new() }
            }
            Ok(_) => Check { name: "models", status: CheckStatus::Warn, message: "there is no usable model file".into(), hint: "add a `.gguf` file on the models page".into() },
            Err(e) => Check { name: "models", status: CheckStatus::Fail, message: e.message, hint: "check that the models folder exists and can be read".into() },
        });
        Ok(SystemStatus {
            version: self.version.clone(),
            started_at: self.started_at,
            data_dir: self.data_dir.clone(),
            disk_free_bytes,
            disk_total_bytes,
            pss_bytes,
            memory_total_bytes,
            memory_available_bytes,
            checks,
        })
    }

    /// Writes a consistent backup to `to` beside ongoing writes.
    pub async fn backup(&self, to: &Path) -> Result<BackupReport> {
        self.backup.backup(to).await
    }
}
