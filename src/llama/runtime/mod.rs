//! The server's side of local inference: which models are loaded, and who talks to them.
//!
//! Models are loaded when they are asked for, one worker process each, within a memory budget; idle ones leave by least
//! recent use and after their keep-alive. A worker that ends or falls silent costs its own requests and is started again
//! with the next one.

mod link;
mod sources;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use domain::{
    Code, Error, Result,
    id::DownloadId,
    model::{Download, EffectiveSettings, LoadState, LocalModel, ModelKind, ModelSettings, RuntimeStatus},
    time::Millis,
};
use futures::stream::BoxStream;
use parking_lot::Mutex;
use ports::{models::ModelLibrary, records::Records};
use serde::{Deserialize, Serialize};

use crate::{
    chat,
    library::{Downloads, Entry, Library, Manifest, bundle},
    worker::protocol::Load,
};
use link::Link;

/// Section `[llama]` of the configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Folder of the model files; empty = `models` here if there is one, else `models` in the data directory.
    pub models_dir: PathBuf,
    /// Memory that all loaded models may take together, in MB; 0 = 60 % of the machine's.
    pub memory_mb: u64,
    /// Tokens of a model's context, shared by the answers generated at once; never more than the model was trained for.
    pub context_size: u32,
    /// Answers generated at once.
    pub parallel: u32,
    /// Finished conversations whose beginnings are kept for the next request.
    pub prefixes: u32,
    /// Prompt tokens computed in a step while others generate.
    pub prefill: u32,
    /// Threads of a model; 0 = all cores but one, yet two where there are only two.
    pub threads: u32,
    /// Niceness of the workers, 0 to 19.
    pub nice: i32,
    /// Seconds without use after which a model is unloaded.
    pub keep_alive_secs: u64,
    /// Requests that may wait for a model beyond those it runs.
    pub queue: u32,
    /// Requests of one workspace that may wait.
    pub queue_per_tenant: u32,
    /// Longest time a model may take to load.
    pub load_timeout_secs: u64,
    /// A worker that has work and says nothing for this long is ended.
    pub watchdog_secs: u64,
    pub chat: chat::Settings,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            models_dir: PathBuf::new(),
            memory_mb: 0,
            context_size: 8192,
            parallel: 16,
            prefixes: 32,
            prefill: 256,
            threads: 0,
            nice: 5,
            keep_alive_secs: 1800,
            queue: 256,
            queue_per_tenant: 64,
            load_timeout_secs: 300,
            watchdog_secs: 120,
            chat: chat::Settings::default(),
        }
    }
}

/// A failed load is not tried again sooner than this.
const BACK_OFF: Duration = Duration::from_secs(2);

#[derive(Default)]
struct Slot {
    link: Option<Arc<Link>>,
    /// How far a load is, 0 to 1.
    loading: Option<f32>,
    failed: Option<(Error, Millis)>,
    crashes: u32,
}

/// Loads models and talks to them; the `ModelSource` and `ModelLibrary` of the server.
pub struct Runtime {
    me: Weak<Self>,
    settings: Settings,
    budget: u64,
    library: Arc<Library>,
    downloads: Arc<Downloads>,
    exe: PathBuf,
    slots: Mutex<HashMap<String, Slot>>,
    /// One load at a time: each looks at the memory that is left.
    loading: tokio::sync::Mutex<()>,
}

fn memory_total() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = text.lines().find_map(|l| l.strip_prefix("MemTotal:")).and_then(|l| l.split_whitespace().next()).and_then(|n| n.parse::<u64>().ok());
    kib.map_or(4 << 30, |k| k * 1024)
}

impl Runtime {
    /// `worker_exe` is this executable. Loads nothing yet, except pinned models, which load behind its back.
    pub async fn start(settings: Settings, manifest: Manifest, records: Records, worker_exe: PathBuf) -> Result<Arc<Self>> {
        let library = Library::open(settings.models_dir.clone(), manifest, records.clone())?;
        let (exe, dir) = (worker_exe.clone(), settings.models_dir.clone());
        let unpacked = tokio::task::spawn_blocking(move || bundle::unpack(&exe, &dir)).await.map_err(Error::internal)??;
        if unpacked > 0 {
            tracing::info!(models = unpacked, folder = %settings.models_dir.display(), "the models inside this executable were unpacked");
        }
        let downloads = Downloads::open(library.clone(), records).await?;
        let budget = if settings.memory_mb > 0 { settings.memory_mb << 20 } else { memory_total() / 10 * 6 };
        let runtime = Arc::new_cyclic(|me| Self { me: me.clone(), settings, budget, library, downloads, exe: worker_exe, slots: Mutex::new(HashMap::new()), loading: tokio::sync::Mutex::new(()) });
        let keeper = Arc::downgrade(&runtime);
        tokio::spawn(async move {
            if let Some(runtime) = keeper.upgrade() {
                for entry in runtime.library.entries().await.unwrap_or_default().into_iter().filter(|e| e.settings.pinned) {
                    if let Err(e) = runtime.link(&entry.id).await {
                        tracing::warn!(model = entry.id, error = %e, "a pinned model did not load");
                    }
                }
            }
            loop {
                tokio::time::sleep(Duration::from_secs(2)).await;
                let Some(runtime) = keeper.upgrade() else { return };
                runtime.look_after().await;
            }
        });
        Ok(runtime)
    }

    /// Ends all workers.
    pub async fn shutdown(&self) {
        self.downloads.pause_all().await;
        for slot in self.slots.lock().values_mut() {
            if let Some(link) = slot.link.take() {
                link.kill();
            }
        }
    }

    /// Ends what is idle for longer than its keep-alive, and what hangs.
    async fn look_after(&self) {
        let entries = self.library.entries().await.unwrap_or_default();
        for (id, slot) in self.slots.lock().iter_mut() {
            let Some(link) = slot.link.clone() else { continue };
            let entry = entries.iter().find(|e| e.id == *id);
            let keep = entry.map_or(self.settings.keep_alive_secs, |e| e.settings.keep_alive_secs.unwrap_or(self.settings.keep_alive_secs));
            let pinned = entry.is_some_and(|e| e.settings.pinned);
            let idle = link.in_flight() == 0 && Millis::now().since(link.last_used()) >= Duration::from_secs(keep);
            if link.silent_for() >= Duration::from_secs(self.settings.watchdog_secs) {
                tracing::error!(model = id, "a worker hangs (`llama.watchdog_secs`) and is ended");
                link.kill();
            }
            if !link.is_alive() {
                slot.crashes += 1;
                slot.link = None;
            } else if entry.is_none() || (idle && !pinned) {
                link.kill();
                slot.link = None;
            }
        }
    }

    fn effective(&self, entry: &Entry) -> EffectiveSettings {
        let s = &entry.settings;
        let trained = entry.facts.as_ref().map_or(0, |f| f.context_length);
        let wanted = s.context_size.unwrap_or(self.settings.context_size);
        let cores = std::thread::available_parallelism().map_or(1, |n| n.get() as u32);
        let threads = if self.settings.threads > 0 { self.settings.threads } else if cores > 2 { cores - 1 } else { cores };
        EffectiveSettings {
            // One request may use all of it, so what the model was trained for is the most that makes sense unless asked for by name.
            context_size: if trained > 0 && s.context_size.is_none() { wanted.min(trained) } else { wanted },
            parallel: s.parallel.unwrap_or(self.settings.parallel),
            keep_alive_secs: s.keep_alive_secs.unwrap_or(self.settings.keep_alive_secs),
            threads: s.threads.unwrap_or(threads),
            query_prefix: entry.query_prefix.clone(),
            passage_prefix: entry.passage_prefix.clone(),
        }
    }

    fn describe(&self, entry: Entry) -> LocalModel {
        let load = match self.slots.lock().get(&entry.id) {
            Some(Slot { link: Some(link), .. }) if link.is_alive() => {
                let stats = link.stats();
                let (running, under_way) = (stats.running, link.in_flight());
                LoadState::Loaded { since: link.since, last_used: link.last_used(), memory_bytes: link.memory(), running: running.max(under_way.min(link.parallel)), queued: under_way.saturating_sub(link.parallel) }
            }
            Some(Slot { loading: Some(progress), .. }) => LoadState::Loading { progress: *progress },
            Some(Slot { failed: Some((error, _)), .. }) => LoadState::Failed { code: error.code.as_str().into(), message: error.message.clone() },
            _ => LoadState::Unloaded,
        };
        LocalModel {
            effective: self.effective(&entry),
            sha256: entry.built_in.as_ref().map(|b| b.sha256.clone()),
            built_in: entry.built_in.is_some(),
            id: entry.id,
            kind: entry.kind,
            file: entry.file,
            bytes: entry.bytes,
            modified_at: entry.modified_at,
            facts: entry.facts,
            problem: entry.problem,
            settings: entry.settings,
            load,
        }
    }

    fn loaded(&self, id: &str) -> Option<Arc<Link>> {
        self.slots.lock().get(id).and_then(|s| s.link.clone()).filter(|l| l.is_alive())
    }

    /// The worker of a model, loaded if need be. Errors: `model_not_found`, `invalid_model_file`, `out_of_memory`.
    async fn link(&self, id: &str) -> Result<Arc<Link>> {
        if let Some(link) = self.loaded(id) {
            return Ok(link);
        }
        // Whoever asked may go away; others wait for the same load.
        let Some(runtime) = self.me.upgrade() else { return Err(Error::new(Code::Unavailable, "the server is stopping")) };
        let id = id.to_owned();
        tokio::spawn(async move { runtime.bring_up(&id).await }).await.map_err(Error::internal)?
    }

    async fn bring_up(&self, id: &str) -> Result<Arc<Link>> {
        let entry = self.library.entry(id).await?;
        if let Some(problem) = &entry.problem {
            return Err(Error::new(Code::InvalidModelFile, format!("`{id}`: {problem}")).param("model"));
        }
        let _turn = self.loading.lock().await;
        if let Some(link) = self.loaded(id) {
            return Ok(link);
        }
        if let Some(Slot { failed: Some((error, at)), .. }) = self.slots.lock().get(id) {
            if Millis::now().since(*at) < BACK_OFF {
                return Err(error.clone());
            }
        }
        let effective = self.effective(&entry);
        self.make_room(&entry, &effective)?;
        self.slots.lock().entry(id.to_owned()).or_default().loading = Some(0.0);
        let load = Load {
            path: entry.path.clone(),
            kind: entry.kind,
            context: effective.context_size,
            parallel: effective.parallel,
            prefixes: self.settings.prefixes,
            prefill: self.settings.prefill,
            threads: effective.threads,
            nice: self.settings.nice,
            pooling: entry.settings.pooling,
            chat_template: entry.settings.chat_template.clone(),
            chat: self.settings.chat.clone(),
        };
        let progress = |done| {
            if let Some(slot) = self.slots.lock().get_mut(id) {
                slot.loading = Some(done);
            }
        };
        let outcome = Link::start(&self.exe, id, load, Duration::from_secs(self.settings.load_timeout_secs), progress).await;
        let mut slots = self.slots.lock();
        let slot = slots.entry(id.to_owned()).or_default();
        slot.loading = None;
        match outcome {
            Ok(link) => {
                tracing::info!(model = id, kernels = link.ready.kernels, context = link.ready.context, "model loaded");
                slot.failed = None;
                slot.link = Some(link.clone());
                Ok(link)
            }
            Err(error) => {
                slot.failed = Some((error.clone(), Millis::now()));
                Err(error)
            }
        }
    }

    /// Ends idle models, least recently used first, until the new one fits the budget.
    fn make_room(&self, entry: &Entry, effective: &EffectiveSettings) -> Result<()> {
        let cache = entry.facts.as_ref().filter(|_| entry.kind == ModelKind::Chat).map_or(0, |f| {
            // Keys and values at two bytes each; grouped-query models take a fraction, so this is the most it can be.
            u64::from(effective.context_size) * u64::from(f.layers) * u64::from(f.embedding_length) * 4 / 3
        });
        let wanted = entry.bytes + cache;
        let mut slots = self.slots.lock();
        loop {
            let used: u64 = slots.values().filter_map(|s| s.link.as_ref()).map(|l| l.memory()).sum();
            if used + wanted <= self.budget {
                return Ok(());
            }
            let idle = slots.iter_mut().filter(|(_, s)| s.link.as_ref().is_some_and(|l| l.in_flight() == 0)).min_by_key(|(_, s)| s.link.as_ref().map(|l| l.last_used()));
            match idle {
                Some((id, slot)) => {
                    tracing::info!(model = id, "unloaded to make room");
                    if let Some(link) = slot.link.take() {
                        link.kill();
                    }
                }
                None => {
                    let mb = |b: u64| b >> 20;
                    let why = format!("`{}` needs about {} MB and {} of {} MB are in use (`llama.memory_mb`); wait for running requests, unload a model, or raise the limit", entry.id, mb(wanted), mb(used), mb(self.budget));
                    return Err(Error::new(Code::OutOfMemory, why).retry_after(Duration::from_secs(5)));
                }
            }
        }
    }
}

#[async_trait]
impl ModelLibrary for Runtime {
    async fn list(&self) -> Result<Vec<LocalModel>> {
        Ok(self.library.entries().await?.into_iter().map(|e| self.describe(e)).collect())
    }
    async fn get(&self, id: &str) -> Result<LocalModel> {
        Ok(self.describe(self.library.entry(id).await?))
    }
    async fn add_file(&self, from: &Path) -> Result<LocalModel> {
        Ok(self.describe(self.library.add_file(from).await?))
    }
    async fn add_upload(&self, file_name: &str, data: BoxStream<'_, std::io::Result<Bytes>>) -> Result<LocalModel> {
        Ok(self.describe(self.library.add_upload(file_name, data).await?))
    }
    async fn download(&self, url: &str, file_name: Option<&str>, sha256: Option<&str>) -> Result<Download> {
        self.downloads.start(url, file_name, sha256).await
    }
    async fn downloads(&self) -> Result<Vec<Download>> {
        Ok(self.downloads.all())
    }
    async fn pause_download(&self, id: DownloadId) -> Result<Download> {
        self.downloads.pause(id).await
    }
    async fn resume_download(&self, id: DownloadId) -> Result<Download> {
        self.downloads.resume(id).await
    }
    async fn cancel_download(&self, id: DownloadId) -> Result<()> {
        self.downloads.cancel(id).await
    }
    async fn remove(&self, id: &str) -> Result<()> {
        self.unload(id).await?;
        self.library.delete(id).await
    }
    async fn configure(&self, settings: ModelSettings) -> Result<LocalModel> {
        let entry = self.library.configure(settings).await?;
        // An idle worker goes at once; a busy one ends with its last request and the next one loads anew. A failure
        // to load with the old settings is forgotten.
        self.unload(&entry.id).await?;
        Ok(self.describe(entry))
    }
    async fn load(&self, id: &str) -> Result<LocalModel> {
        self.link(id).await?;
        self.get(id).await
    }
    async fn unload(&self, id: &str) -> Result<LocalModel> {
        let link = self.slots.lock().get_mut(id).and_then(|s| {
            s.failed = None;
            s.link.take()
        });
        if let Some(link) = link {
            // New requests load afresh; those under way are let finish.
            tokio::spawn(async move {
                while link.in_flight() > 0 && link.is_alive() {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                link.kill();
            });
        }
        self.get(id).await
    }
    async fn status(&self) -> Result<RuntimeStatus> {
        let slots = self.slots.lock();
        let links: Vec<&Arc<Link>> = slots.values().filter_map(|s| s.link.as_ref()).filter(|l| l.is_alive()).collect();
        let mut counters: BTreeMap<String, u64> = BTreeMap::new();
        for stats in links.iter().map(|l| l.stats()) {
            for (name, n) in [("prompt_tokens", stats.prompt_tokens), ("cached_tokens", stats.cached_tokens), ("generated_tokens", stats.generated_tokens), ("steps", stats.steps), ("put_back", stats.put_back)] {
                *counters.entry(name.into()).or_default() += n;
            }
        }
        counters.insert("crashes".into(), slots.values().map(|s| u64::from(s.crashes)).sum());
        Ok(RuntimeStatus {
            memory_budget_bytes: self.budget,
            memory_used_bytes: links.iter().map(|l| l.memory()).sum(),
            loaded: links.len() as u32,
            running: links.iter().map(|l| l.in_flight().min(l.parallel)).sum(),
            queued: links.iter().map(|l| l.in_flight().saturating_sub(l.parallel)).sum(),
            cpu_features: vec![crate::cpu::best().name().into()],
            counters,
        })
    }
}
