//! Downloads of model files: resumed by HTTP range, checked before they appear.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::{
    Code, Error, Result,
    id::{DownloadId, TenantId},
    model::{Download, DownloadState},
    time::Millis,
};
use futures::StreamExt;
use parking_lot::Mutex;
use ports::records::Records;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::sync::CancellationToken;

use super::{Library, check_file_name, gguf};

struct Job {
    download: Download,
    stop: CancellationToken,
}

/// All downloads, running and past.
pub struct Downloads {
    library: Arc<Library>,
    records: Records,
    jobs: Mutex<HashMap<DownloadId, Job>>,
}

impl Downloads {
    /// Reads what earlier processes began; what ran then is paused now.
    pub async fn open(library: Arc<Library>, records: Records) -> Result<Arc<Self>> {
        let mut jobs = HashMap::new();
        for mut download in records.all::<Download>(TenantId::INSTANCE).to_vec().await? {
            if matches!(download.state, DownloadState::Running | DownloadState::Verifying) {
                download.state = DownloadState::Paused;
            }
            jobs.insert(download.id, Job { download, stop: CancellationToken::new() });
        }
        Ok(Arc::new(Self { library, records, jobs: Mutex::new(jobs) }))
    }

    /// Newest first.
    pub fn all(&self) -> Vec<Download> {
        let mut all: Vec<Download> = self.jobs.lock().values().map(|j| j.download.clone()).collect();
        all.sort_by_key(|d| std::cmp::Reverse(d.id));
        all
    }

    /// Begins a download. Errors: `invalid_param` for the address, the name or the checksum; `conflict` when the file is there.
    pub async fn start(self: &Arc<Self>, address: &str, file_name: Option<&str>, sha256: Option<&str>) -> Result<Download> {
        let parsed = url::Url::parse(address).ok().filter(|u| matches!(u.scheme(), "http" | "https") && u.has_host());
        let parsed = parsed.ok_or_else(|| Error::invalid("url", "this is not an `http` or `https` address"))?;
        let file = file_name.map_or_else(|| parsed.path_segments().and_then(|mut s| s.next_back()).unwrap_or_default().to_owned(), str::to_owned);
        check_file_name(&file)?;
        let sha256 = sha256.map(|s| s.trim().to_lowercase()).filter(|s| !s.is_empty());
        if sha256.as_ref().is_some_and(|s| s.len() != 64 || !s.bytes().all(|b| b.is_ascii_hexdigit())) {
            return Err(Error::invalid("sha256", "this is not a SHA-256 checksum: 64 hexadecimal digits"));
        }
        let busy = self.jobs.lock().values().any(|j| j.download.file == file && matches!(j.download.state, DownloadState::Running | DownloadState::Paused | DownloadState::Verifying));
        if busy || self.library.dir.join(&file).exists() {
            return Err(Error::new(Code::Conflict, format!("`{file}` is there already, or on its way; choose another name")).param("file_name"));
        }
        let now = Millis::now();
        let download = Download {
            id: DownloadId::new(),
            url: parsed.into(),
            file,
            sha256,
            state: DownloadState::Running,
            received_bytes: 0,
            total_bytes: None,
            rate: None,
            error: None,
            created_at: now,
            updated_at: now,
        };
        self.records.put(&download).await?;
        self.run(download.clone());
        Ok(download)
    }

    fn run(self: &Arc<Self>, download: Download) {
        let stop = CancellationToken::new();
        let id = download.id;
        self.jobs.lock().insert(id, Job { download, stop: stop.clone() });
        let downloads = self.clone();
        tokio::spawn(async move {
            let outcome = tokio::select! {
                () = stop.cancelled() => return,
                outcome = downloads.fetch(id) => outcome,
            };
            let result = downloads.change(id, |d| match outcome {
                Ok(()) => {
                    d.state = DownloadState::Done;
                    d.rate = None;
                }
                Err(e) => {
                    d.state = DownloadState::Failed;
                    d.rate = None;
                    d.error = Some(e.message);
                }
            });
            if let Err(e) = result.await {
                tracing::warn!(error = %e, "a download's end could not be noted");
            }
        });
    }

    /// Changes a download and stores it.
    async fn change(&self, id: DownloadId, change: impl FnOnce(&mut Download)) -> Result<Download> {
        let download = {
            let mut jobs = self.jobs.lock();
            let job = jobs.get_mut(&id).ok_or_else(|| Error::not_found("download", id))?;
            change(&mut job.download);
            job.download.updated_at = Millis::now();
            job.download.clone()
        };
        self.records.put(&download).await?;
        Ok(download)
    }

    fn part(&self, id: DownloadId) -> PathBuf {
        self.library.dir.join(format!(".{id}.part"))
    }

    async fn fetch(&self, id: DownloadId) -> Result<()> {
        let failed = |what: String| Error::new(Code::UpstreamError, what);
        let download = self.jobs.lock().get(&id).map(|j| j.download.clone()).ok_or_else(|| Error::not_found("download", id))?;
        let part = self.part(id);
        let have = tokio::fs::metadata(&part).await.map_or(0, |m| m.len());
        let client = reqwest::Client::builder().connect_timeout(Duration::from_secs(20)).read_timeout(Duration::from_secs(60)).build().map_err(Error::internal)?;
        let mut request = client.get(&download.url);
        if have > 0 {
            request = request.header(reqwest::header::RANGE, format!("bytes={have}-"));
        }
        let answer = request.send().await.map_err(|e| failed(format!("the server cannot be reached: {}", e.without_url())))?;
        let status = answer.status();
        let whole = status == reqwest::StatusCode::RANGE_NOT_SATISFIABLE && have > 0;
        let resumed = status == reqwest::StatusCode::PARTIAL_CONTENT;
        if !whole {
            if !status.is_success() {
                return Err(failed(format!("the server answered {status}")));
            }
            let start = if resumed { have } else { 0 };
            let total = answer.content_length().map(|n| n + start);
            let mut file = tokio::fs::OpenOptions::new().create(true).write(true).append(resumed).truncate(!resumed).open(&part).await.map_err(super::io)?;
            let (mut received, mut told, mut at) = (start, start, Instant::now());
            let note = |received: u64, rate: Option<u64>| {
                if let Some(job) = self.jobs.lock().get_mut(&id) {
                    job.download.received_bytes = received;
                    job.download.total_bytes = total;
                    job.download.rate = rate.or(job.download.rate);
                }
            };
            let mut pieces = answer.bytes_stream();
            while let Some(piece) = pieces.next().await {
                let piece = piece.map_err(|e| failed(format!("the connection broke: {}; resume to go on", e.without_url())))?;
                file.write_all(&piece).await.map_err(super::io)?;
                received += piece.len() as u64;
                let passed = at.elapsed();
                if passed >= Duration::from_millis(500) {
                    note(received, Some(((received - told) as f64 / passed.as_secs_f64()) as u64));
                    (told, at) = (received, Instant::now());
                }
            }
            file.flush().await.map_err(super::io)?;
            file.sync_all().await.map_err(super::io)?;
            note(received, None);
            if total.is_some_and(|t| t != received) {
                return Err(failed(format!("{received} of {} bytes came; resume to go on", total.unwrap_or(0))));
            }
        }
        self.change(id, |d| d.state = DownloadState::Verifying).await?;
        self.verify(&part, download.sha256.as_deref()).await?;
        tokio::fs::rename(&part, self.library.dir.join(&download.file)).await.map_err(super::io)
    }

    /// A file that is wrong is removed: resuming it would not help.
    async fn verify(&self, part: &std::path::Path, sha256: Option<&str>) -> Result<()> {
        let outcome = async {
            if let Some(expected) = sha256 {
                let mut file = tokio::fs::File::open(part).await.map_err(super::io)?;
                let (mut digest, mut buffer) = (Sha256::new(), vec![0; 1 << 20]);
                loop {
                    let n = file.read(&mut buffer).await.map_err(super::io)?;
                    if n == 0 {
                        break;
                    }
                    digest.update(&buffer[..n]);
                }
                let found = hex::encode(digest.finalize());
                if found != expected {
                    return Err(Error::new(Code::ChecksumMismatch, format!("the file's checksum is `{found}`, not the expected one; it was not kept")));
                }
            }
            gguf::read(part).map(|_| ())
        }
        .await;
        if outcome.is_err() {
            let _ = tokio::fs::remove_file(part).await;
        }
        outcome
    }

    fn state(&self, id: DownloadId) -> Result<DownloadState> {
        self.jobs.lock().get(&id).map(|j| j.download.state).ok_or_else(|| Error::not_found("download", id))
    }

    pub async fn pause(&self, id: DownloadId) -> Result<Download> {
        if self.state(id)? != DownloadState::Running {
            return Err(Error::new(Code::Conflict, "this download is not running"));
        }
        if let Some(job) = self.jobs.lock().get(&id) {
            job.stop.cancel();
        }
        self.change(id, |d| {
            d.state = DownloadState::Paused;
            d.rate = None;
        })
        .await
    }

    pub async fn resume(self: &Arc<Self>, id: DownloadId) -> Result<Download> {
        if !matches!(self.state(id)?, DownloadState::Paused | DownloadState::Failed) {
            return Err(Error::new(Code::Conflict, "this download is not paused and has not failed"));
        }
        let download = self
            .change(id, |d| {
                d.state = DownloadState::Running;
                d.error = None;
            })
            .await?;
        self.run(download.clone());
        Ok(download)
    }

    pub async fn cancel(&self, id: DownloadId) -> Result<()> {
        let job = self.jobs.lock().remove(&id).ok_or_else(|| Error::not_found("download", id))?;
        job.stop.cancel();
        let _ = tokio::fs::remove_file(self.part(id)).await;
        self.records.delete::<Download>(TenantId::INSTANCE, id.as_bytes().as_slice()).await
    }

    /// For the end of the process: all that runs can be resumed later.
    pub async fn pause_all(&self) {
        for download in self.all().into_iter().filter(|d| d.state == DownloadState::Running) {
            let _ = self.pause(download.id).await;
        }
    }
}
